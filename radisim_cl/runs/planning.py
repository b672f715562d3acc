"""From a curriculum and a catalog to a plan. Reads manifests, imports no torch, and reports every problem at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from radisim_cl.corpus.corpora import Corpora, matches
from radisim_cl.data.mixture import candidates, excess, exposures, held_together, passes
from radisim_cl.errors import InputError, Problem, SpecError
from radisim_cl.models import arch
from radisim_cl.models.precision import resolved
from radisim_cl.records.ledger import read
from radisim_cl.records.realised import accepted
from radisim_cl.records.state import fold
from radisim_cl.registry import hint
from radisim_cl.runs.bars import Bars
from radisim_cl.runs.embedded import ready
from radisim_cl.runs.overlaps import Overlaps, settled
from radisim_cl.runs.planned.estimates import estimates
from radisim_cl.runs.planned.gates import gate_problems, unscored
from radisim_cl.runs.planned.losses import planned_losses
from radisim_cl.runs.planned.subtasks import asked_items, by_split
from radisim_cl.specs.benchmark import load_benchmark
from radisim_cl.specs.catalog import CatalogSpec, TemplateSet, load_catalog, load_templates
from radisim_cl.specs.controls import controlled
from radisim_cl.specs.curriculum import CurriculumSpec, MixtureEntry, StageSpec, YokedSpec
from radisim_cl.specs.plan import CorpusPlan, EntryPlan, Plan, StagePlan

Rows = npt.NDArray[np.int64]
T = TypeVar("T")


def plan(spec: CurriculumSpec, near: Path | None = None, like: Plan | None = None) -> Plan:
    """Resolves a curriculum against its catalog and benchmark.

    Args:
        spec: from `load`.
        near: folder beside which `benchmarks/`, `catalogs/` and `templates/` are looked for first.
        like: a plan whose benchmark, catalog and templates are taken instead.

    Raises:
        SpecError: every problem, each with file, line, field and what to do.
    """
    problems: list[Problem] = []
    spec = _on_this_machine(spec)
    benchmark = like.benchmark if like else _get(problems, spec, ("benchmark",), lambda: load_benchmark(spec.benchmark, near))
    catalog = like.catalog if like else _get(problems, spec, ("catalog",), lambda: load_catalog(spec.catalog, near))
    problems += scale_problems(spec)
    refused = bool(catalog and catalog.phantom and spec.scale.synthetic == "refuse")
    if refused and catalog:
        problems.append(spec.problem(("profiles", spec.profile), f"profile {spec.profile!r} refuses synthetic images, and catalog "
                                     f"{catalog.name!r} has no others; give the real data's with --catalog"))
    if benchmark is None or catalog is None or refused:
        raise SpecError(problems)
    catalog = ready(catalog)
    templates = like.templates if like else _get(problems, catalog, ("templates",),
                                                 lambda: load_templates(catalog.templates, near) if catalog.templates else None)
    problems += gate_problems(spec, benchmark)
    if not Path(catalog.root).is_dir():
        problems.append(catalog.problem(("root",), f"{catalog.root} is not a folder; it should hold the corpora of catalog {catalog.name!r}"))
        raise SpecError(problems)
    if catalog.templates and templates is None:
        raise SpecError(problems)
    corpora = Corpora(catalog, benchmark.version)
    reserve, stages = _stages(spec, corpora, templates, problems)
    if spec.control and not problems and (lengths := _lengths(spec, stages, reserve, problems)):
        spec = controlled(spec, stages, lengths)
        unfit: list[Problem] = []
        reserve, stages = _stages(spec, corpora, templates, unfit)
        # The control's stages are written nowhere; what is wrong with them is said of the control.
        problems += [spec.problem(("control",), f"{p.field}: {p.message}") for p in unfit]
    asked = asked_items(benchmark, corpora, problems)
    if problems:
        raise SpecError(problems)
    used = sorted({e.entry.source for s in stages for e in s.entries} | {i.source for b in benchmark.subtasks for i in b.items
                                                                         if i.source in catalog.corpora})
    trained = {e.source for s in spec.stages for e in s.data.mixture}
    with Bars() as progress:
        overlaps = settled(spec, benchmark, Overlaps(corpora, asked.values(), progress), used, sorted(trained & set(used)), problems)
    subtasks = by_split(benchmark, corpora, trained | {o.held for o in overlaps if o.source in trained}, asked)
    available = {s.id for s in subtasks if not s.missing} | {s.suite for s in subtasks if not s.missing}
    problems += unscored(spec, available, catalog.name)
    if problems:
        raise SpecError(problems)
    scored = sum(s.images.get("gate", 0) * 2 + s.images.get("report", 0) for s in subtasks)
    return Plan(
        curriculum=spec, benchmark=benchmark, catalog=catalog, templates=templates,
        corpora={n: CorpusPlan(pairs=len(corpora[n].frame), digest=corpora[n].digest, licences=corpora[n].licences) for n in used},
        stages=stages, reserve=reserve, subtasks=subtasks, overlaps=overlaps,
        estimates=estimates(spec, sum(s.batches for s in stages) + reserve, scored * len(stages)),
    )


def _on_this_machine(spec: CurriculumSpec) -> CurriculumSpec:
    """With what depends on this machine decided once, so that the run is a function of its plan wherever it goes on."""
    scale = spec.scale.model_copy(update={"precision": resolved(spec.scale.precision)})
    return spec.model_copy(update={"profiles": spec.profiles | {spec.profile: scale}})


def _get(problems: list[Problem], spec: CurriculumSpec | CatalogSpec, field: tuple[str, ...], make: Callable[[], T]) -> T | None:
    try:
        return make()
    except SpecError as e:
        problems += e.problems
    except InputError as e:
        problems.append(spec.problem(field, str(e)))
    return None


def scale_problems(spec: CurriculumSpec) -> list[Problem]:
    """What is wrong with the profile in use, whatever the catalog."""
    at: tuple[str | int, ...] = ("profiles", spec.profile)
    name = spec.scale.model.arch
    out = []
    if not name.startswith(("hf-hub:", "local-dir:")) and name not in arch.known():
        out.append(spec.problem((*at, "model", "arch"), f"unknown model {name!r}. {hint(name, arch.known())}"))
    if name.startswith("local-dir:") and arch.config(name) is None:
        out.append(spec.problem((*at, "model", "arch"), f"no open_clip_config.json in {name.removeprefix('local-dir:')}"))
    if spec.scale.compile and spec.scale.zero == 3:
        out.append(spec.problem((*at, "compile"), "ZeRO 3 takes weights away between modules, and a compiled block is never between them; "
                                                  "take zero 0 to 2, or take compile out"))
    return out


def _stages(spec: CurriculumSpec, corpora: Corpora, templates: TemplateSet | None, problems: list[Problem]) -> tuple[int, list[StagePlan]]:
    """Steps of the reserve, and the stages that can be planned."""
    reserve, batches = _budget(spec, problems)
    made = [_stage(spec, i, batches[i], reserve, corpora, templates, problems) for i in range(len(spec.stages))]
    return reserve, [stage for stage in made if stage]


def _lengths(spec: CurriculumSpec, stages: list[StagePlan], reserve: int, problems: list[Problem]) -> dict[str, int]:
    """Optimizer steps of each stage that a control has: the plan's, with what would be left of the reserve; yoked, those of the run that it names."""
    if not isinstance(spec.control, YokedSpec):
        spare = reserve if spec.scale.budget.unspent == "last_stage" else 0
        return {s.spec.name: s.batches + spare * (s is stages[-1]) for s in stages}
    run, names = Path(spec.control.run.format(seed=spec.seed)), [s.spec.name for s in stages]
    events = read(run)[0] if (run / "ledger.jsonl").is_file() else []
    lengths = {name: checkpoint.batch for name, checkpoint in accepted(events).items()}
    wrong = ""
    if fold(events).status != "finished":
        wrong = f"{run} is not a run that has finished, whose lengths the stages could take; finish it, or name another"
    elif list(lengths) != names:
        wrong = f"{run} has the stages {', '.join(lengths)}, and these are {', '.join(names)}; name a run of the same stages"
    if wrong:
        problems.append(spec.problem(("control", "run"), f"{wrong}: --set control.run=FOLDER"))
    return {} if wrong else lengths


def _budget(spec: CurriculumSpec, problems: list[Problem]) -> tuple[int, list[int]]:
    """Steps of the reserve, and of each stage."""
    scale = spec.scale
    total, shares = scale.budget.samples // scale.global_batch, [s.train.share for s in spec.stages]
    reserve = round(total * scale.budget.reserve)
    edges = [round((total - reserve) * sum(shares[:i]) / sum(shares)) for i in range(len(shares) + 1)]
    batches = [edges[i + 1] - edges[i] for i in range(len(shares))]
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
             for j, e, w in _weights(stage, corpora)]
    if not parts:
        problems.append(spec.problem(("stages", i, "data", "mixture"), f"catalog {corpora.catalog.name!r} has none of its sources"))
    if stage.data.replay and i:
        for p, passed in enumerate(spec.stages[:i]):
            parts += [(passed.name, ("stages", p, "data", "mixture", j), e, stage.data.replay / i * w) for j, e, w in _weights(passed, corpora)]
    rows: list[Rows] = []
    usable = True
    for owner, at, entry, share in parts:
        found, problem = _rows(entry, corpora, templates)
        rows.append(found)
        if problem and owner == stage.name:
            problems.append(spec.problem((*at, problem[0]), problem[1]))
        elif not len(found) and share > 0 and owner == stage.name:
            problems.append(spec.problem(at, f"source {entry.source!r} has no training pair with {entry.where or 'any value'} and captions "
                                             f"{entry.captions!r}; remove the entry or widen it"))
        usable &= problem is None
    if not usable or len(problems) > before:
        return None
    more = {"extend": stage.gate.looks - 1, "replay_up": stage.gate.max_attempts - 1}.get(stage.gate.on_fail, 0)
    if stage.gate.on_fail == "rollback" and spec.gate_mode(stage) == "enforce" and batches > reserve:
        problems.append(spec.problem(("stages", i, "gate", "on_fail"), f"'rollback' trains the stage's {batches:,} steps again, and the reserve has "
                                     f"{reserve:,}; raise profiles.{spec.profile}.budget.reserve, or use another policy"))
    takes_all = spec.scale.budget.unspent == "last_stage" and i == len(spec.stages) - 1
    largest = batches + (reserve if takes_all else min(reserve, more * _extension(stage, batches)))
    entries = [EntryPlan(entry=e, stage=owner, share=share, available=len(r), requested=0, repeats=0.0)
               for (owner, _, e, share), r in zip(parts, rows, strict=True)]
    entries = _settle(spec, i, entries, rows, batches * spec.scale.global_batch, largest * spec.scale.global_batch, problems)
    return StagePlan(spec=stage, batches=batches, samples=batches * spec.scale.global_batch, extension=_extension(stage, batches),
                     entries=entries, losses=planned_losses(spec, i, entries, rows, corpora, problems),
                     left_out=[e.source for e in stage.data.mixture if e.optional and e.source not in corpora.catalog.corpora])


def _rows(entry: MixtureEntry, corpora: Corpora, templates: TemplateSet | None) -> tuple[Rows, tuple[str, str] | None]:
    """The rows that an entry draws from, or which of its fields is wrong and how."""
    field = "source"
    try:
        frame = corpora[entry.source].frame
        field = "where"
        matches(frame, entry.where)
        field = "captions"
        return candidates(corpora, entry, templates), None
    except InputError as e:
        return np.empty(0, dtype=np.int64), (field, str(e))


def _weights(stage: StageSpec, corpora: Corpora) -> list[tuple[int, MixtureEntry, float]]:
    """The entries that the catalog has, with their positions and their shares of the mixture."""
    there = [(j, e) for j, e in enumerate(stage.data.mixture) if not e.optional or e.source in corpora.catalog.corpora]
    total = sum(e.weight for _, e in there)
    return [(j, e, e.weight / total) for j, e in there]


def _extension(stage: StageSpec, batches: int) -> int:
    return max(1, round(batches * stage.gate.extend_by))


def _settle(spec: CurriculumSpec, i: int, entries: list[EntryPlan], rows: list[Rows], samples: int, draws: int,
            problems: list[Problem]) -> list[EntryPlan]:
    """Keeps `max_repeats`: refuses, or moves shares from entries whose pairs would be seen too often to those with pairs left."""
    data, shares = spec.stages[i].data, np.array([e.share for e in entries])

    together = held_together(entries, rows)

    def seen(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Largest number of times that a pair of each entry is seen, by all entries that hold it."""
        return exposures(together, np.array([passes(s, draws, len(r)) if len(r) else 0 for s, r in zip(shares.tolist(), rows, strict=True)]))

    def below(pairs: int, share: float) -> float:
        """The largest share that takes a pass less, but for a millionth of a pair, which rounding would otherwise turn into that pass again."""
        return max(0.0, (passes(share, draws, pairs) - 1) * pairs - excess(draws) - 1e-6) / draws

    frozen = np.zeros(len(entries), dtype=bool)
    while (over := (now := seen(shares)) > data.max_repeats).any():
        if data.on_shortage == "refuse":
            worst = int(np.argmax(now))
            problems.append(spec.problem(("stages", i, "data", "max_repeats"), f"a pair of {entries[worst].entry.source!r} would be seen up to "
                            f"{now[worst]:.0f} times, extensions included, and {data.max_repeats:g} are allowed: {entries[worst].available:,} pairs, "
                            f"{entries[worst].share * draws:,.0f} draws; lower its weight or the budget, raise max_repeats, or set "
                            "on_shortage: redistribute"))
            break
        # One pass less for each entry that shows a pair too often; what was lowered once stays low, so this ends.
        frozen |= over
        lowered = np.where(over, [below(e.available, s) for e, s in zip(entries, shares, strict=True)], shares)
        free = ~frozen & (shares > 0)
        if not free.any():
            problems.append(spec.problem(("stages", i, "data", "max_repeats"), f"no entry has pairs left: {draws:,} draws, extensions included, "
                            f"and no pair more than {data.max_repeats:g} times; lower the budget or raise max_repeats"))
            break
        shares = np.where(free, lowered * (1 + (shares.sum() - lowered.sum()) / lowered[free].sum()), lowered)
    repeats = seen(shares)
    return [e.model_copy(update={"share": float(s), "repeats": float(n), "requested": round(float(s) * samples)})
            for e, s, n in zip(entries, shares, repeats, strict=True)]
