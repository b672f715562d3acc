"""Which losses of a stage have what they need."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from radisim_cl.corpus.corpora import Corpora, matches
from radisim_cl.errors import Problem
from radisim_cl.models import arch
from radisim_cl.specs.curriculum import CurriculumSpec
from radisim_cl.specs.losses import LossSpec
from radisim_cl.specs.plan import EntryPlan, LossPlan

Rows = npt.NDArray[np.int64]


def planned_losses(spec: CurriculumSpec, i: int, entries: list[EntryPlan], rows: list[Rows], corpora: Corpora,
            problems: list[Problem]) -> list[LossPlan]:
    """The losses of the i-th stage; what is wrong with them is added to `problems`.

    Args:
        spec: the curriculum.
        i: index of the stage.
        entries: of its mixture.
        rows: by entry, of its source's manifest.
        corpora: the sources.
        problems: grows.
    """
    out = []
    for j, loss in enumerate(spec.stages[i].losses):
        for source in sorted({e.entry.source for e in entries if e.share and loss.patches}):
            if not corpora[source].structures and (corpora[source].frame["mask"] != "").any():
                problems.append(corpora.catalog.problem(("corpora", source, "structures"), f"corpus {source!r} has masks, which loss "
                                                        f"{loss.kind!r} uses; say by pixel value what they show: {{1: liver}}"))
        unfit = _unfit(spec, i, loss)
        if unfit and loss.required:
            problems.append(spec.problem(("stages", i, "losses", j, "kind"), f"loss {loss.kind!r} {unfit}; or set required: false"))
        usable, drawn = _usable(loss, entries, rows, corpora)
        needs = " and ".join(c + " " * (c in loss.where) + " or ".join(map(repr, loss.where.get(c, ()))) for c in sorted(loss.needs))
        if not usable and loss.required:
            sources = ", ".join(sorted({e.entry.source for e in entries}))
            problems.append(spec.problem(("stages", i, "losses", j, "kind"), f"loss {loss.kind!r} needs {needs}, and no source of the stage "
                                         f"offers it ({sources}); add one that does, or set required: false"))
        note = unfit or (f"no source offers {needs}" if not usable else f"{usable:,} of {drawn:,} pairs" if loss.needs else "")
        out.append(LossPlan(kind=loss.kind, weight=loss.weight, contributes=usable > 0 and not unfit, note=note))
    if not any(p.contributes for p in out) and not any(loss.required for loss in spec.stages[i].losses):
        problems.append(spec.problem(("stages", i, "losses"), f"no loss has what it needs ({'; '.join(p.note for p in out)}); add one that has, "
                                     "such as clip, or a source"))
    return out


def _unfit(spec: CurriculumSpec, i: int, loss: LossSpec) -> str:
    """What the loss needs of the model and does not find; a model whose configuration is not here is asked when it is built."""
    model = spec.scale.model
    config = arch.config(model.arch)
    if loss.bias and model.logit_bias is None and config is not None and config.get("init_logit_bias") is None:
        return f"needs a logit_bias, and {model.arch!r} has none; set profiles.{spec.profile}.model.logit_bias (SigLIP starts at -10)"
    if loss.entry and i == 0 and arch.starts_random(model):
        return f"compares with the model that enters the stage, and {model.arch!r} enters the first one with random weights, of which nothing is " \
               f"to stay; set profiles.{spec.profile}.model.pretrained, or take the loss out of this stage"
    return ""


def _usable(loss: LossSpec, entries: list[EntryPlan], rows: list[Rows], corpora: Corpora) -> tuple[int, int]:
    """Pairs of the mixture that have what the loss needs, and all its pairs; one that several entries hold counts once."""
    usable = drawn = 0
    for source in sorted({e.entry.source for e in entries if e.share}):
        held = np.unique(np.concatenate([r for e, r in zip(entries, rows, strict=True) if e.share and e.entry.source == source]))
        frame = corpora[source].frame.loc[held, sorted(loss.needs)]
        drawn += len(held)
        usable += int(((frame != "").all(axis=1) & matches(frame, loss.where)).sum())
    return usable, drawn
