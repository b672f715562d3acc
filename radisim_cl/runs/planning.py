"""From a curriculum and a catalog to a plan. Reads manifests, imports no torch, and reports every problem at once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from radisim_cl.bench.items import items, rarest
from radisim_cl.corpus.corpora import Corpora
from radisim_cl.data.mixture import candidates, exposures
from radisim_cl.errors import InputError, Problem, SpecError
from radisim_cl.models import arch
from radisim_cl.registry import hint
from radisim_cl.specs.benchmark import BenchmarkSpec, load_benchmark
from radisim_cl.specs.catalog import CatalogSpec, TemplateSet, load_catalog, load_templates
from radisim_cl.specs.curriculum import CurriculumSpec, MixtureEntry, StageSpec
from radisim_cl.specs.losses import LossSpec
from radisim_cl.specs.metrics import BY_PROTOCOL, RANGES
from radisim_cl.specs.plan import CorpusPlan, EntryPlan, Estimates, LossPlan, Plan, StagePlan, SubtaskPlan


Rows = npt.NDArray[np.int64]
T = TypeVar("T")


def plan(spec: CurriculumSpec, near: Path | None = None) -> Plan:
    """Resolves a curriculum against its catalog and benchmark.

    Args:
        spec: from `load`.
        near: folder beside which `benchmarks/`, `catalogs/` and `templates/` are looked for first.

    Raises:
        SpecError: every problem, each with file, line, field and what to do.
    """
    problems: list[Problem] = []
    benchmark = _get(problems, spec, ("benchmark",), lambda: load_benchmark(spec.benchmark, near))
    catalog = _get(problems, spec, ("catalog",), lambda: load_catalog(spec.catalog, near))
    problems += _scale_problems(spec)
    if benchmark is None or catalog is None:
        raise SpecError(problems)
    templates = _get(problems, catalog, ("templates",), lambda: load_templates(catalog.templates, near) if catalog.templates else None)
    problems += _gate_problems(spec, benchmark)
    corpora = Corpora(catalog, benchmark.version)
    reserve, batches = _budget(spec, problems)
    stages: list[StagePlan] = []
    for i, stage in enumerate(spec.stages):
        made = _stage(spec, i, batches[i], reserve, corpora, templates, problems)
        if made:
            stages.append(made)
    subtasks = _subtasks(spec, benchmark, corpora, problems)
    if problems:
        raise SpecError(problems)
    used = sorted({e.entry.source for s in stages for e in s.entries} | {i.source for b in benchmark.subtasks for i in b.items
                                                                         if i.source in catalog.corpora})
    for (train, held), count in corpora.crossing(used).items():
        problems.append(catalog.problem(("corpora", held, "splits"), f"{count} patients are in the train split of {train!r} and in a "
                                        f"benchmark split of {held!r}; give both the same 'splits'"))
    for suite in benchmark.suites:
        if not any(s.suite == suite and not s.missing for s in subtasks):
            needed = [i for i, s in enumerate(spec.stages) if any(r.suite == suite for r in s.gate.requires)]
            problems += [spec.problem(("stages", i, "gate", "requires"), f"suite {suite!r} has no subtask with data in catalog "
                                      f"{catalog.name!r}") for i in needed]
    if problems:
        raise SpecError(problems)
    scored = sum(s.items.get("gate", 0) * 2 + s.items.get("report", 0) for s in subtasks)
    return Plan(
        curriculum=spec, benchmark=benchmark, catalog=catalog, templates=templates,
        corpora={n: CorpusPlan(pairs=len(corpora[n].frame), digest=corpora[n].digest, licences=corpora[n].licences) for n in used},
        stages=stages, reserve=reserve, subtasks=subtasks, estimates=_estimates(spec, sum(batches) + reserve, scored * len(stages)),
    )


def _get(problems: list[Problem], spec: CurriculumSpec | CatalogSpec, field: tuple[str, ...], make: Callable[[], T]) -> T | None:
    try:
        return make()
    except SpecError as e:
        problems += e.problems
    except InputError as e:
        problems.append(spec.problem(field, str(e)))
    return None


def _scale_problems(spec: CurriculumSpec) -> list[Problem]:
    at: tuple[str | int, ...] = ("profiles", spec.profile)
    name = spec.scale.model.arch
    out = []
    if not name.startswith(("hf-hub:", "local-dir:")) and name not in arch.known():
        out.append(spec.problem((*at, "model", "arch"), f"unknown model {name!r}. {hint(name, arch.known())}"))
    if name.startswith("local-dir:") and arch.config(name) is None:
        out.append(spec.problem((*at, "model", "arch"), f"no open_clip_config.json in {name.removeprefix('local-dir:')}"))
    return out


def _gate_problems(spec: CurriculumSpec, benchmark: BenchmarkSpec) -> list[Problem]:
    out = []
    subtasks = {s.id: s for s in benchmark.subtasks}
    for i, stage in enumerate(spec.stages):
        for j, need in enumerate(stage.gate.requires):
            at: tuple[str | int, ...] = ("stages", i, "gate", "requires", j)
            if need.suite is not None and need.suite not in benchmark.suites:
                out.append(spec.problem((*at, "suite"), f"unknown suite {need.suite!r} in benchmark {benchmark.name!r}. "
                                                        f"{hint(need.suite, benchmark.suites)}"))
            if need.subtask is not None and need.subtask not in subtasks:
                out.append(spec.problem((*at, "subtask"), f"unknown subtask {need.subtask!r} in benchmark {benchmark.name!r}. "
                                                          f"{hint(need.subtask, subtasks)}"))
            known: tuple[str, ...] = ("skill",)
            if need.subtask in subtasks:
                known += BY_PROTOCOL[subtasks[need.subtask].protocol]
            if need.metric not in known and (need.suite or need.subtask in subtasks):
                out.append(spec.problem((*at, "metric"), f"{need.suite or need.subtask!r} has no metric {need.metric!r}. "
                                                         f"{hint(need.metric, known)}"))
            low, high = RANGES.get(need.metric, (-math.inf, math.inf))
            values = need.at_least if isinstance(need.at_least, dict) else {"at_least": need.at_least}
            for where, value in values.items():
                if not low <= value <= high:
                    out.append(spec.problem((*at, "at_least"), f"{where}: {value:g} can never be reached or never be missed; "
                                                               f"{need.metric} lies between {low:g} and {high:g}"))
    return out


def _budget(spec: CurriculumSpec, problems: list[Problem]) -> tuple[int, list[int]]:
    """Steps of the reserve, and of each stage."""
    scale = spec.scale
    total, shares = scale.budget.samples // scale.global_batch, [s.train.share for s in spec.stages]
    reserve = int(total * scale.budget.reserve)
    batches = [int((total - reserve) * s / sum(shares)) for s in shares]
    for i, n in enumerate(batches):
        if n < 1:
            problems.append(spec.problem(("stages", i, "train", "share"), f"the stage gets 0 steps: {scale.budget.samples:,} samples x "
                                         f"{1 - scale.budget.reserve:g} x {shares[i]:g}/{sum(shares):g} is less than one batch of "
                                         f"{scale.global_batch}; raise the budget or the share"))
    return reserve, batches


def _stage(spec: CurriculumSpec, i: int, batches: int, reserve: int, corpora: Corpora, templates: TemplateSet | None,
           problems: list[Problem]) -> StagePlan | None:
    stage, before = spec.stages[i], len(problems)
    parts = [(stage.name, ("stages", i, "data", "mixture", j), e, (1 - (stage.data.replay if i else 0)) * w)
             for j, (e, w) in enumerate(_weights(stage))]
    if stage.data.replay and i:
        for p, passed in enumerate(spec.stages[:i]):
            parts += [(passed.name, ("stages", p, "data", "mixture", j), e, stage.data.replay / i * w)
                      for j, (e, w) in enumerate(_weights(passed))]
    rows: list[Rows] = []
    for owner, at, entry, share in parts:
        try:
            rows.append(candidates(corpora, entry, templates))
        except InputError as e:
            rows.append(np.empty(0, dtype=np.int64))
            if owner == stage.name:
                field = "captions" if "level" in str(e) or "captions:" in str(e) else "where" if "column" in str(e) else "source"
                problems.append(spec.problem((*at, field), str(e)))
            continue
        if not len(rows[-1]) and share > 0 and owner == stage.name:
            problems.append(spec.problem(at, f"source {entry.source!r} has no training pair with {entry.where or 'any value'} and captions "
                                             f"{entry.captions!r}; remove the entry or widen it"))
    if len(problems) > before:
        return None
    largest = batches + min(reserve, (stage.gate.looks - 1) * _extension(stage, batches)) \
        + (reserve if spec.scale.budget.unspent == "last_stage" and i == len(spec.stages) - 1 else 0)
    entries = [EntryPlan(entry=e, stage=owner, share=share, available=len(r), requested=round(share * batches * spec.scale.global_batch),
                         repeats=0.0) for (owner, _, e, share), r in zip(parts, rows, strict=True)]
    entries = _settle(spec, i, entries, rows, largest * spec.scale.global_batch, problems)
    return StagePlan(spec=stage, batches=batches, samples=batches * spec.scale.global_batch, extension=_extension(stage, batches),
                     entries=entries, losses=_losses(spec, i, entries, rows, corpora, problems))


def _weights(stage: StageSpec) -> list[tuple[MixtureEntry, float]]:
    total = sum(e.weight for e in stage.data.mixture)
    return [(e, e.weight / total) for e in stage.data.mixture]


def _extension(stage: StageSpec, batches: int) -> int:
    return max(1, round(batches * stage.gate.extend_by))


def _settle(spec: CurriculumSpec, i: int, entries: list[EntryPlan], rows: list[Rows], draws: int,
            problems: list[Problem]) -> list[EntryPlan]:
    """Keeps `max_repeats`: refuses, or moves shares from entries whose pairs would be seen too often to those with pairs left."""
    data, shares = spec.stages[i].data, np.array([e.share for e in entries])

    def seen(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Largest number of times that a pair of each entry is seen, by all entries that hold it."""
        now = [e.model_copy(update={"share": float(s)}) for e, s in zip(entries, shares, strict=True)]
        by_pair = exposures(now, rows, draws)
        return np.array([by_pair[e.entry.source].reindex(r).max() if len(r) else 0.0 for e, r in zip(entries, rows, strict=True)])

    # Every pass of an entry is whole before the next begins, so a pair is seen at most ceil() times.
    cap = data.max_repeats
    for _ in range(200):
        over = seen(shares) > cap * (1 + 1e-9)
        if not over.any():
            break
        if data.on_shortage == "refuse":
            worst = int(np.argmax(seen(shares)))
            problems.append(spec.problem(("stages", i, "data", "max_repeats"), f"a pair of {entries[worst].entry.source!r} would be seen "
                            f"{seen(shares)[worst]:.1f} times, with extensions, and {cap:g} are allowed: {entries[worst].available:,} pairs for "
                            f"{entries[worst].share * draws:,.0f} draws; lower its weight or the budget, raise max_repeats, or set "
                            "on_shortage: redistribute"))
            break
        lowered = np.where(over, shares * cap / np.maximum(seen(shares), 1e-12), shares)
        room = (~over) & (shares > 0) & (seen(lowered) < cap * (1 - 1e-6))
        if not room.any():
            problems.append(spec.problem(("stages", i, "data", "max_repeats"), f"no entry has pairs left: {draws:,} draws, extensions included, "
                            f"and no pair more than {cap:g} times; lower the budget or raise max_repeats"))
            break
        shares = lowered + np.where(room, lowered, 0) / lowered[room].sum() * (shares.sum() - lowered.sum())
    else:
        problems.append(spec.problem(("stages", i, "data", "max_repeats"), "no shares keep it; lower the budget or raise max_repeats"))
    repeats = seen(shares)
    return [e.model_copy(update={"share": float(s), "repeats": round(float(n), 2), "requested": round(e.requested * float(s) / e.share) if e.share else 0})
            for e, s, n in zip(entries, shares, repeats, strict=True)]


def _losses(spec: CurriculumSpec, i: int, entries: list[EntryPlan], rows: list[Rows], corpora: Corpora,
            problems: list[Problem]) -> list[LossPlan]:
    out = []
    for j, loss in enumerate(spec.stages[i].losses):
        lacking = _lacking(loss, entries, rows, corpora)
        if lacking and loss.required:
            sources = ", ".join(sorted({e.entry.source for e in entries}))
            problems.append(spec.problem(("stages", i, "losses", j, "kind"), f"loss {loss.kind!r} needs {lacking}, and no source of the stage "
                                         f"offers it ({sources}); add one that does, or set required: false"))
        out.append(LossPlan(kind=loss.kind, weight=loss.weight, contributes=not lacking, note=f"no source offers {lacking}" if lacking else ""))
    return out


def _lacking(loss: LossSpec, entries: list[EntryPlan], rows: list[Rows], corpora: Corpora) -> str:
    """A column that the loss needs and no pair of the mixture has; empty if there is none."""
    for column in sorted(loss.needs):
        if not any((corpora[e.entry.source].frame.loc[r, column] != "").any() for e, r in zip(entries, rows, strict=True)):
            return column
    return ""


def _subtasks(spec: CurriculumSpec, benchmark: BenchmarkSpec, corpora: Corpora, problems: list[Problem]) -> list[SubtaskPlan]:
    out, trained = [], {e.source for s in spec.stages for e in s.data.mixture}
    for i, subtask in enumerate(benchmark.subtasks):
        absent = [part.source for part in subtask.items if part.source not in corpora.catalog.corpora]
        if absent:
            out.append(SubtaskPlan(id=subtask.id, suite=subtask.suite, items={}, patients={},
                                   missing=f"catalog {corpora.catalog.name!r} has no source {absent[0]!r}"))
            continue
        try:
            frame = items(subtask, corpora)
        except InputError as e:
            problems.append(benchmark.problem(("subtasks", i), str(e)))
            continue
        by_split = dict(list(frame.groupby("split")))
        counts = {str(s): len(f) for s, f in by_split.items()}
        empty = [s for s in ("gate", "report") if not counts.get(s)]
        out.append(SubtaskPlan(
            id=subtask.id, suite=subtask.suite, items=counts,
            patients={str(s): rarest(f, len(subtask.classes)) for s, f in by_split.items()},
            missing=f"no item in the {empty[0]} split" if empty else "",
            trained_on=sorted({part.source for part in subtask.items} & trained),
        ))
    return out


def _estimates(spec: CurriculumSpec, batches: int, scored: int) -> Estimates:
    """Backward passes cost two forward ones; activations are taken as 40 bytes a token, layer and channel."""
    scale = spec.scale
    parameters, image, text = arch.size(scale.model.arch)
    samples = batches * scale.global_batch
    macs = samples * 3 * (image + text) + scored * image
    config = arch.config(scale.model.arch) if parameters else None
    activations = 0.0
    if config:
        v, t = config["vision_cfg"], config["text_cfg"]
        tokens = (v["image_size"] // v["patch_size"]) ** 2 + 1 if isinstance(v["image_size"], int) else 0
        activations = scale.global_batch * 40.0 * (tokens * v["layers"] * v["width"] + t["context_length"] * t["layers"] * t["width"])
    return Estimates(parameters=parameters, memory_gib=round((parameters * 16 + activations) / 2**30, 2),
                     hours=round(macs / _macs_per_second() / 3600, 3) if parameters else 0.0)


def _macs_per_second() -> float:
    """Multiply-adds a second that training reaches here: half of what one matrix product does (docs/design/estimates.md)."""
    a = np.ones((768, 768), dtype=np.float32)
    a @ a
    started, rounds = time.perf_counter(), 10
    for _ in range(rounds):
        a @ a
    return 0.5 * rounds * 768**3 / (time.perf_counter() - started)


