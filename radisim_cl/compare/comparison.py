"""From finished runs to a comparison. Curricula are told apart by name, and seeds are replicates; what comes first is the reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from radisim_cl.compare.paired import Pair, holm, over_patients, over_seeds, pair, together
from radisim_cl.compare.records import Comparison, Contrast, Effect, Group, RunRecord, SeedEffect
from radisim_cl.compare.runs import Finished
from radisim_cl.errors import InputError
from radisim_cl.files import sha256_text
from radisim_cl.specs.curriculum import YokedSpec

TOLERANCE = 0.01
"""Part of the reference's samples by which a run may differ and still count as one of the same budget."""


def compare(runs: Sequence[Finished], allow_different: bool = False) -> Comparison:
    """Every curriculum against the first one.

    Args:
        runs: finished ones; the first one's curriculum is the reference.
        allow_different: take runs of another budget too, and say by how much they differ.

    Raises:
        InputError: fewer than two curricula, or runs that cannot be compared; the message says in what they differ.
    """
    by_name: dict[str, dict[int, Finished]] = {}
    for run in runs:
        if run.seed in by_name.setdefault(run.name, {}):
            raise InputError(f"{run.folder} and {by_name[run.name][run.seed].folder} are both seed {run.seed} of {run.name!r}; leave one out")
        by_name[run.name][run.seed] = run
    if len(by_name) < 2:
        raise InputError(f"all runs are of {' or '.join(by_name) or 'nothing'}; name runs of two curricula or more")
    _same_questions(runs)
    for group in by_name.values():
        _one_curriculum(list(group.values()))
    records = {name: [group[seed].record() for seed in sorted(group)] for name, group in by_name.items()}
    budgets = _budgets(records)
    if budgets and not allow_different:
        raise InputError("not as many samples, so a difference may be one of length (--allow-different compares them all the same):"
                         + "".join(f"\n  {line}" for line in budgets))
    first, reference = next(iter(by_name.items()))
    plan = runs[0].plan
    return Comparison(
        benchmark=plan.benchmark.name, version=plan.benchmark.version, catalog=plan.catalog.name,
        items=runs[0].asked["subtask"].value_counts(sort=False).to_dict(),
        groups=[_group(name, list(group.values()), records[name]) for name, group in by_name.items()],
        contrasts=[_contrast(name, group, first, reference) for name, group in by_name.items() if name != first],
        differences=[*budgets, *_told(by_name, records)], notice=" ".join(dict.fromkeys(r.plan.notice for r in runs if r.plan.notice)),
    )


def _contrast(name: str, group: Mapping[int, Finished], first: str, reference: Mapping[int, Finished]) -> Contrast:
    seeds = sorted(group.keys() & reference.keys())
    if not seeds:
        raise InputError(f"{name!r} and {first!r} have no seed in common ({_listed(group)}; {_listed(reference)}); runs are compared seed by seed")
    before, after = [reference[s].measurement for s in seeds], [group[s].measurement for s in seeds]
    benchmark = reference[seeds[0]].plan.benchmark
    subtasks, usable = list[Effect](), dict[str, list[list[Pair]]]()
    for spec in benchmark.subtasks:
        key, undecidable = (spec.id, "skill"), next((m.undecidable[spec.id] for m in (*before, *after) if spec.id in m.undecidable), "")
        if not all(key in m.estimates for m in (*before, *after)):
            continue
        pairs = [pair(b.estimates[key], a.estimates[key], b.answers[spec.id], a.answers[spec.id], spec.metric)
                 for b, a in zip(before, after, strict=True)]
        subtasks.append(_effect("subtask", spec.id, spec.suite, pairs, undecidable))
        if not undecidable:
            usable.setdefault(spec.suite, []).append(pairs)
    tested = [i for i, e in enumerate(subtasks) if e.p is not None]
    for i, corrected in zip(tested, holm([subtasks[i].p or 0.0 for i in tested]), strict=True):
        subtasks[i] = subtasks[i].model_copy(update={"p_holm": corrected})
    suites = {suite: [together(of_seed) for of_seed in zip(*pairs, strict=True)] for suite, pairs in usable.items()}
    effects = [*subtasks, *(_effect("suite", suite, suite, pairs) for suite, pairs in suites.items())]
    if suites:
        effects.append(_effect("overall", "all suites", "", [together(of_seed) for of_seed in zip(*suites.values(), strict=True)]))
    return Contrast(curriculum=name, reference=first, seeds=seeds, effects=effects)


def _effect(level: str, name: str, suite: str, pairs: Sequence[Pair], undecidable: str = "") -> Effect:
    each = [p.second.value - p.first.value for p in pairs]
    patients, seeds = over_patients(pairs), over_seeds(each)
    return Effect.model_validate({
        "level": level, "id": name, "suite": suite, "reference": float(np.mean([p.first.value for p in pairs])),
        "skill": float(np.mean([p.second.value for p in pairs])), "difference": float(np.mean(each)),
        "low": patients.low if patients else None, "high": patients.high if patients else None,
        "p": patients.p if patients and not undecidable else None, "undecidable": undecidable,
        "seeds": SeedEffect(differences=each, deviation=seeds[0] if seeds else None, low=seeds[1] if seeds else None,
                            high=seeds[2] if seeds else None),
    })


def _group(name: str, runs: Sequence[Finished], records: list[RunRecord]) -> Group:
    control = runs[0].plan.curriculum.control
    matrices = [_after(r) for r in records]
    same = all(list(m) == list(matrices[0]) for m in matrices)
    suites = list(dict.fromkeys(s for m in matrices for row in m.values() for s in row))
    return Group(
        curriculum=name, control=control.kind if control else None, runs=records,
        after={stage: {s: _mean(m[stage].get(s) for m in matrices) for s in suites if all(s in m[stage] for m in matrices)}
               for stage in matrices[0]} if same else {},
        forgotten={s: _mean(_forgotten([row[s] for row in m.values() if s in row]) for m in matrices) for s in suites},
    )


def _after(record: RunRecord) -> dict[str, dict[str, float]]:
    """By accepted stage, the report split's skill by suite."""
    out: dict[str, dict[str, float]] = {}
    for point in record.points:
        if point.split == "report" and point.stage:
            out.setdefault(point.stage, {})[point.suite] = point.skill.value
    return out


def _forgotten(skills: Sequence[float]) -> float:
    return max(0.0, max(skills[:-1], default=skills[-1]) - skills[-1])


def _mean(values: Iterable[float | None]) -> float:
    return float(np.mean([v for v in values if v is not None]))


def _listed(group: Mapping[int, Finished]) -> str:
    return "seeds " + ", ".join(map(str, sorted(group)))


def _same_questions(runs: Sequence[Finished]) -> None:
    """Runs were asked the same questions about the same patients.

    Raises:
        InputError: with what differs, whatever is allowed.
    """
    ours = _questions(runs[0])
    wrong = [f"{run.folder}, {what}: {theirs.get(what, 'absent')}, not {ours.get(what, 'absent')}"
             for run in runs[1:] for theirs in (_questions(run),) for what in sorted(ours.keys() | theirs.keys())
             if ours.get(what) != theirs.get(what)]
    if wrong:
        more = f"\n  ... and {len(wrong) - 20} more" if len(wrong) > 20 else ""
        raise InputError(f"not comparable with {runs[0].folder}, which was asked other questions:" + "".join(f"\n  {w}" for w in wrong[:20]) + more)


def _questions(run: Finished) -> dict[str, str]:
    plan = run.plan
    asked = {i.source for s in plan.benchmark.subtasks for i in s.items}
    out = {"benchmark": f"{plan.benchmark.name} {plan.benchmark.version}", "catalog": plan.catalog.name}
    out |= {f"corpus {name}": corpus.digest[:12] for name, corpus in plan.corpora.items() if name in asked}
    for spec in plan.benchmark.subtasks:
        settings = sha256_text(spec.model_dump_json())[:8]
        out[f"subtask {spec.id}"] = f"{spec.protocol} {spec.metric} {settings}"
        out[f"prompts of {spec.id}"] = spec.prompts_digest()
    for name, items in run.asked.groupby("subtask"):
        rows = sha256_text(items.to_csv(index=False))[:8]
        out[f"report split of {name}"] = f"{len(items)} items of {items['patient'].nunique()} patients ({rows})"
    return out


def _one_curriculum(runs: Sequence[Finished]) -> None:
    """Runs of one name are seeds of one plan.

    Raises:
        InputError: with what else differs.
    """
    control = runs[0].plan.curriculum.control
    # What differs by seed: the seed; where the seed or another run of it makes the stages, these.
    free: tuple[str, ...] = ("curriculum.seed:",)
    if control and (isinstance(control, YokedSpec) or control.kind == "shuffled"):
        free += ("curriculum.control.run:", "stages", "scale.budget")
    for run in runs[1:]:
        if wrong := [d for d in run.plan.differences(runs[0].plan) if not d.startswith(free)]:
            raise InputError(f"{run.folder} and {runs[0].folder} both have the name {run.name!r} and are not seeds of one plan:"
                             + "".join(f"\n  {w}" for w in wrong[:20]))


def _budgets(records: Mapping[str, list[RunRecord]]) -> list[str]:
    """Runs that have seen more or fewer samples, or taken more or fewer steps, than the reference's first."""
    base = next(iter(records.values()))[0]
    return [f"{r.folder}: {getattr(r, what):,} {what}, not {getattr(base, what):,} ({getattr(r, what) / getattr(base, what) - 1:+.1%})"
            for group in records.values() for r in group for what in ("samples", "steps")
            if abs(getattr(r, what) - getattr(base, what)) > TOLERANCE * getattr(base, what)]


def _told(by_name: Mapping[str, Mapping[int, Finished]], records: Mapping[str, list[RunRecord]]) -> list[str]:
    """What else the groups differ in: seeds without a partner, scale, looks, rewinds, and what was seen by source."""
    first = next(iter(by_name))
    base, out = records[first], []
    scale = {name: next(iter(group.values())).plan.curriculum.scale for name, group in by_name.items()}
    seen = {name: {s: _mean(r.exposures.get(s, 0) for r in group) for s in {s for g in records.values() for r in g for s in r.exposures}}
            for name, group in records.items()}
    for name, group in records.items():
        out += [f"{r.folder}: rewound {r.rewinds} times" for r in group if r.rewinds]
        if name == first:
            continue
        if alone := sorted(by_name[name].keys() ^ by_name[first].keys()):
            out.append(f"{name}: seeds {', '.join(map(str, alone))} have no partner and count for nothing in the differences")
        for field in ("model", "global_batch", "zero", "precision", "lr_scale"):
            if getattr(scale[name], field) != getattr(scale[first], field):
                out.append(f"{name}: {field} {getattr(scale[name], field)}, not {getattr(scale[first], field)}")
        looks, theirs = _mean(r.looks for r in group), _mean(r.looks for r in base)
        if looks != theirs:
            out.append(f"{name}: {looks:g} looks at the gate split, not {theirs:g}")
        total = sum(seen[first].values())
        out += [f"{name}: {seen[name][s]:,.0f} pairs of {s}, not {seen[first][s]:,.0f} ({(seen[name][s] - seen[first][s]) / total:+.1%} of all)"
                for s in sorted(seen[name]) if abs(seen[name][s] - seen[first][s]) > TOLERANCE * total]
    return out
