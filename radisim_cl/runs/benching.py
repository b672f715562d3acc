"""`radisim-cl bench`: any open_clip model, scored on a benchmark, with what a reader needs beside the scores."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pandas as pd
import torch
from rich.console import Console

from radisim_cl.bench import evaluate, measure
from radisim_cl.bench.kept import Memory, floors
from radisim_cl.bench.pictures import Pictures
from radisim_cl.bench.published import shown_published
from radisim_cl.corpus.corpora import Corpora
from radisim_cl.errors import InputError
from radisim_cl.files import write_atomic
from radisim_cl.models import arch
from radisim_cl.models.build import build
from radisim_cl.models.embedder import Embedder
from radisim_cl.models.precision import Precision, autocast
from radisim_cl.records.scorecard import Scorecard
from radisim_cl.registry import hint
from radisim_cl.runs.directory import PLAN, load_plan, state
from radisim_cl.runs.embedded import ready
from radisim_cl.runs.planned.subtasks import planned_subtasks
from radisim_cl.specs.benchmark import BenchmarkSpec, load_benchmark
from radisim_cl.specs.catalog import CatalogSpec, load_catalog
from radisim_cl.specs.curriculum import ModelSpec
from radisim_cl.specs.datasets import PublishedSpec

WEIGHTS = (".safetensors", ".bin", ".pth")
"""Endings of files that open_clip takes for a folder's weights."""


@dataclass(frozen=True)
class Subject:
    """What is scored.

    Attributes:
        name: for files and tables.
        spec: how open_clip makes it.
        trained_on: sources of a run, on which its scores are not zero-shot; of other models nothing is known.
        stage: of a run, the last accepted one.
        samples: of a run, pairs seen until then.
        benchmark, catalog: of a run, its own.
        not_held_out: of a run, what of its benchmark it was trained on, in a sentence.
        sealed: the run that it is of, if that has stages to go: nobody looks at its report split before.
        precision: that of the training and scoring of the run that it is of.
    """

    name: str
    spec: ModelSpec
    trained_on: frozenset[str] = frozenset()
    stage: str | None = None
    samples: int = 0
    benchmark: BenchmarkSpec | None = None
    catalog: CatalogSpec | None = None
    not_held_out: str = ""
    sealed: str = ""
    precision: Precision | Literal["auto"] = "auto"


def subject(model: str, pretrained: str | None = None, runs: Path = Path("runs")) -> Subject:
    """What a name stands for: a run by path or name, an exported folder, `hf-hub:org/name`, or an open_clip name with `pretrained`.

    Raises:
        InputError: none of these; or it would have random weights.
    """
    for folder in (Path(model), runs / model):
        if (folder / PLAN).is_file():
            if pretrained:
                raise InputError(f"--pretrained {pretrained}: {folder} is a run, and has weights of its own; remove the option")
            return _of_run(folder)
    if model.startswith("hf-hub:"):
        return Subject(_plain(model.removeprefix("hf-hub:")), ModelSpec(arch=model, pretrained=pretrained))
    folder = Path(model.removeprefix("local-dir:"))
    if (folder / "open_clip_config.json").is_file():
        if not pretrained and not any(f.suffix in WEIGHTS for f in folder.iterdir()):
            raise InputError(f"{folder} has a configuration and no weights ({', '.join(WEIGHTS)}); name a weights file with --pretrained")
        exported = ModelSpec(arch=f"local-dir:{folder}", pretrained=pretrained)
        return _as_its_run(Subject(_plain(folder.resolve().name), exported), folder, pretrained)
    if model in arch.known():
        if not pretrained:
            raise InputError(f"{model} without --pretrained has random weights; name a weights file or a tag: "
                             f"{', '.join(_tags(model)) or 'open_clip has none for it'}")
        return _as_its_run(Subject(_plain(f"{model}-{Path(pretrained).stem}"), ModelSpec(arch=model, pretrained=pretrained)), pretrained)
    named = [p.parent.name for p in sorted(runs.glob(f"*/{PLAN}"))]
    raise InputError(f"{model!r} is no run, no exported folder (with open_clip_config.json), no hf-hub: name and no open_clip model. "
                     f"{hint(model, [*named, *arch.known()])}")


def _of_run(folder: Path) -> Subject:
    now, plan = state(folder), load_plan(folder)
    accepted = now.accepted
    if not accepted:
        raise InputError(f"{folder} has accepted no stage yet, so it has no exported model; `radisim-cl resume {folder}` goes on")
    stage, finished = list(accepted.items())[-1]
    through = [s for s in plan.stages if s.spec.name in accepted]
    samples = sum(s.total for s in now.scores if s.stage == stage and s.split == "report") * plan.curriculum.scale.global_batch
    trained_on = frozenset(source for s in through for source in s.sources)
    trained_on |= {o.held for o in plan.overlaps if o.source in trained_on}
    who = Subject(_plain(folder.resolve().name), ModelSpec(arch=f"local-dir:{folder / finished.export}"), trained_on, stage, samples,
                  plan.benchmark, plan.catalog, plan.not_held_out)
    return _as_its_run(who, folder / PLAN)


def _as_its_run(who: Subject, *files: str | Path | None) -> Subject:
    """With what is known of the run in whose directory one of the files lies, if one does: in which precision, and whether it goes on."""
    runs = [p for f in files if f and Path(f).exists() for p in Path(f).resolve().parents if (p / PLAN).is_file()]
    if not runs:
        return who
    unfinished = [str(run) for run in runs if len((now := state(run)).accepted) < len(now.names)]
    return replace(who, sealed=unfinished[0] if unfinished else "", precision=load_plan(runs[0]).curriculum.scale.precision)


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-")


def _tags(model: str) -> list[str]:
    import open_clip

    return list(open_clip.list_pretrained_tags_by_model(model))


def bench(who: Subject, benchmark: str | None, catalog: str | None, split: Literal["tune", "gate", "report"], out: Path | None, readers: int,
          precision: Literal["auto", "fp32", "bf16"], console: Console) -> tuple[Scorecard, dict[str, list[PublishedSpec]], Path]:
    """Scores a model, and writes `scorecard.json`, `answers.parquet` and `pictures/`.

    A second call with the same weights, images and prompts decodes and embeds nothing.

    Args:
        who: from `subject`.
        benchmark, catalog: names or files; None: those of the run, or `radiologist-24` and `phantom`.
        split: whose items are asked; thresholds come from `tune` in any case.
        out: where to; `bench/<model>-<benchmark>-<split>` if None.
        readers: threads that read and decode.
        precision: bf16 is autocast; `auto`: a run's own, and of other models bf16 where this machine has instructions for it.
        console: what is going on.

    Returns:
        The scorecard; by subtask, the figures of others that may stand beside it; and the folder.

    Raises:
        InputError, SpecError: nothing can be scored, or not yet; the folder holds something else.
    """
    spec = who.benchmark if benchmark is None and who.benchmark else load_benchmark(benchmark or "radiologist-24", Path())
    made = ready(who.catalog if catalog is None and who.catalog else load_catalog(catalog or "phantom", Path()))
    corpora = Corpora(made, spec.version)
    subtasks = planned_subtasks(spec, corpora, set(who.trained_on), [split])
    if all(p.missing for p in subtasks):
        raise InputError(f"catalog {made.name!r} has data for none of the {len(subtasks)} subtasks of {spec.name!r}; "
                         f"`radisim-cl ls subtasks --benchmark {spec.name} --catalog {made.name}` says what each needs")
    if who.sealed and split == "report":
        raise InputError(f"the report split stays sealed until {who.sealed} has finished; score it on --split gate")
    folder = out or Path("bench") / f"{who.name}-{spec.name}-{split}"
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "scorecard.json").is_file():
        raise InputError(f"{folder} is not empty and holds no scorecard; choose another --out")
    for p in subtasks:
        if p.missing:
            console.print(f"[yellow]left out: {p.id}[/yellow]: {p.missing}", highlight=False)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    embedder = Embedder(build(who.spec, 0), device, autocast(who.precision if precision == "auto" else precision, device))
    memory, kept = Memory.of(embedder.digest()), floors()
    notice = " ".join(filter(None, (made.notice, who.not_held_out)))
    pictures = Pictures(folder / "pictures", spec, corpora, notice)
    with console.status(f"{who.name} on the {split} split of {spec.name}"):
        rows = evaluate.answers(embedder, spec, subtasks, corpora, split, readers, memory=memory, show=pictures.seen, templates=True)
        frame = pd.concat([rows, evaluate.floor_answers(spec, subtasks, corpora, split, readers, kept)], ignore_index=True)
        memory.save()
        kept.save()
    m = measure.measure(frame, spec, split)
    card = measure.scorecard(m, spec, subtasks, made.name, who.stage, 0, who.samples, notice, who.name)
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(folder / "answers.parquet")
    pictures.answered(m)
    write_atomic(folder / "scorecard.json", card.model_dump_json(indent=1))
    console.print(f"embedded now: {memory.images.made:,} images and {memory.texts.made:,} texts; the others are in the cache", highlight=False)
    return card, {s.id: shown_published(s, made, split) for s in spec.subtasks}, folder
