"""The training loop: read, embed, lose, step. Everything else that happens in a run is in `runs/runner.py`."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from radisim_cl.data.loader import Loader, Lost
from radisim_cl.errors import RadisimError
from radisim_cl.losses._base import Loss
from radisim_cl.models.build import Towers, Wanted
from radisim_cl.registry import plugin
from radisim_cl.specs.curriculum import HealthSpec, TrainSpec
from radisim_cl.specs.losses import LossSpec
from radisim_cl.train.engine import Engine
from radisim_cl.train.health import HISTORY, Ailment, spikes
from radisim_cl.train.schedule import learning_rate, rising


@dataclass(frozen=True)
class Step:
    """One step of a stage.

    Attributes:
        batch: steps done in the stage after it.
        losses: by name, unweighted, mean over ranks; and `total`, weighted.
        used: by name, pairs of the global batch that took part, of losses that need more than an image and a caption.
        lr: learning rate used.
        logit_scale: inverse temperature.
        updated: whether the weights have changed as they should.
        drawn: pairs of this rank's part of the batch, by `source/modality`; none where nothing was learned from them.
        ailment: what was wrong with it, and why it changed nothing. A spike says that steps before it have harmed the weights.
        pairs: of this rank's part of the batch, by source and row, where something was wrong.
        lost: pairs of this rank's part that others stood in for.
    """

    batch: int
    losses: dict[str, float]
    used: dict[str, int]
    lr: float
    logit_scale: float
    updated: bool
    drawn: dict[str, int]
    ailment: Ailment | None = None
    pairs: Sequence[str] = ()
    lost: Sequence[Lost] = ()


@dataclass(frozen=True)
class Weighted:
    """A loss that contributes.

    Attributes:
        name: its kind; the second of a kind is `kind-2`.
        spec: with its weight.
        loss: as built for this rank.
    """

    name: str
    spec: LossSpec
    loss: Loss


def build_losses(specs: Sequence[LossSpec], engine: Engine) -> list[Weighted]:
    """The losses of this rank."""
    out: list[Weighted] = []
    for s in specs:
        nth = 1 + sum(s.kind == w.spec.kind for w in out)
        name = s.kind if nth == 1 else f"{s.kind}-{nth}"
        out.append(Weighted(name, s, plugin("radisim_cl.losses", s.kind).build(s, engine.rank, engine.world)))
    return out


def wanted(losses: Sequence[Weighted], vocabulary: Sequence[str], tokenizer: Callable[[list[str]], Tensor], device: torch.device,
           entry: Towers | None = None) -> Wanted:
    """What the losses want embedded beside the pairs, each text once.

    Args:
        losses: from `build_losses`.
        vocabulary: words of the regions of the stage's sources.
        tokenizer: texts to (n, context) ids.
        device: where the model is.
        entry: the model that entered the stage, if a loss compares with it.
    """
    texts = list(dict.fromkeys(t for w in losses for prompts in w.spec.prompts(vocabulary) for t in prompts))
    tokens = tokenizer(texts).to(device) if texts else ()
    return Wanted(dict(zip(texts, tokens, strict=True)), any(w.spec.patches for w in losses), entry)


def train_stage(engine: Engine, loader: Loader, losses: Sequence[Weighted], beside: Wanted, spec: TrainSpec, planned: int,
                start: int, stop: int, health: HealthSpec, recent: list[float], skipped: Container[int] = ()) -> Iterator[Step]:
    """Trains steps start..stop-1 of a stage, yielding after each.

    Args:
        engine: the model.
        loader: this rank's batches.
        losses: from `build_losses`.
        beside: from `wanted`.
        spec: learning rate and warm-up.
        planned: steps of the stage without extensions; the length of the schedule, and of what weights' warm-ups are shares of.
        start: steps already done.
        stop: steps at the next look.
        health: when a step is ill.
        recent: losses of the last steps; grows.
        skipped: steps, from 0, that are passed over.

    Raises:
        RadisimError: too many steps in a row were ill.
    """
    in_vain = 0
    for n, batch in enumerate(loader.batches(start, stop), start):
        if n in skipped:
            yield Step(n + 1, {}, {}, 0.0, 0.0, False, {})
            continue
        batch = batch.to(engine.device)
        features = engine.features(batch.images, batch.tokens, beside)
        terms = {w.name: w.loss(features, batch) for w in losses}
        weights = [w.spec.weight * rising(w.spec.warmup, n, planned) for w in losses]
        total = torch.stack([(x * terms[w.name].value).reshape(()) for x, w in zip(weights, losses, strict=True)]).sum()
        lr = learning_rate(spec, n, planned)
        level = engine.mean(total)
        ailment: Ailment | None = "loss spike" if spikes(level, recent, health.spike) else engine.step(total, lr)
        in_vain = in_vain + 1 if ailment else 0
        if in_vain > health.max_skipped:
            raise RadisimError(f"{in_vain} steps in a row, up to step {n + 1}, had a {ailment}; lower the learning rate")
        if ailment is None:
            recent[:] = [*recent[1 - HISTORY :], level]
        yield Step(
            batch=n + 1,
            losses={k: engine.mean(t.value) for k, t in terms.items()} | {"total": level},
            used={w.name: engine.total(terms[w.name].pairs) for w in losses if w.spec.needs},
            lr=lr,
            logit_scale=float(features.logit_scale.detach()),
            updated=ailment is None,
            drawn=batch.drawn() if ailment is None else {},
            ailment=ailment,
            pairs=[f"{p.corpus.name}:{p.row}" for p in batch.pairs] if ailment else (),
            lost=batch.lost,
        )
