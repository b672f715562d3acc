"""What a curriculum is compared with: as many samples, without one thing that the curriculum adds (docs/design/controls.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from radisim_cl.errors import InputError
from radisim_cl.files import sha256_text
from radisim_cl.registry import hint
from radisim_cl.specs.curriculum import AugmentSpec, CurriculumSpec, DataSpec, MixtureEntry, StageSpec, TrainSpec
from radisim_cl.specs.gates import GateSpec
from radisim_cl.specs.losses import LossSpec
from radisim_cl.specs.plan import StagePlan

Stages = list[StageSpec]


def controlled(spec: CurriculumSpec, planned: Sequence[StagePlan], lengths: Mapping[str, int]) -> CurriculumSpec:
    """The curriculum that a control stands for. Its budget is exactly the lengths, so nothing is in reserve.

    Args:
        spec: a curriculum with a `control`.
        planned: its stages as they would be trained without one, with the shares that the catalog gives their mixtures.
        lengths: by stage name, its optimizer steps.
    """
    assert spec.control is not None
    batches = [lengths[p.spec.name] for p in planned]
    timed = [_replace(p.spec, "train", share=n / sum(batches)) for p, n in zip(planned, batches, strict=True)]
    match spec.control.kind:
        case "joint":
            stages = [_joint(timed, planned)]
        case "joint_restarts":
            data, losses = _marginal(timed, planned), _losses(timed, planned)
            stages = [s.model_copy(update={"data": data, "losses": losses}) for s in timed]
        case "reversed":
            stages = _replaying(timed[::-1], [s.data.replay for s in timed])
        case "shuffled":
            stages = _replaying(_shuffled(timed, spec.seed), [s.data.replay for s in timed])
        case "no_replay":
            stages = _replaying(timed, [0.0] * len(timed))
        case "ungated" | "yoked":
            stages = timed
    scale = spec.scale
    budget = scale.budget.model_copy(update={"samples": sum(batches) * scale.global_batch, "reserve": 0.0, "unspent": "nobody"})
    gates = "off" if spec.control.kind in ("ungated", "yoked") else "observe"
    return spec.model_copy(update={"stages": stages, "profiles": spec.profiles | {
        spec.profile: scale.model_copy(update={"budget": budget, "gates": gates})}})


def without(spec: CurriculumSpec, stages: Iterable[str], shorter: bool = False) -> CurriculumSpec:
    """A curriculum with stages left out, and a name that says so.

    Args:
        spec: the curriculum.
        stages: names of those to leave out.
        shorter: nobody gets their samples; otherwise the other stages share them.

    Raises:
        InputError: no such stage, or none would be left.
    """
    names, dropped = [s.name for s in spec.stages], list(dict.fromkeys(stages))
    for stage in dropped:
        if stage not in names:
            raise InputError(f"--drop {stage}: no such stage in {spec.name!r}. {hint(stage, names)}")
    keep = [i for i, name in enumerate(names) if name not in dropped]
    if not keep:
        raise InputError(f"--drop: nothing is left of {spec.name!r}, which has {', '.join(names)}")
    name, profiles = "-".join([spec.name, "without", *dropped]), spec.profiles
    if shorter:
        part = sum(spec.stages[i].train.share for i in keep) / sum(s.train.share for s in spec.stages)
        budget = spec.scale.budget.model_copy(update={"samples": round(spec.scale.budget.samples * part)})
        name, profiles = f"{name}-shorter", profiles | {spec.profile: spec.scale.model_copy(update={"budget": budget})}
    out = spec.model_copy(update={"name": name, "profiles": profiles, "stages": [spec.stages[i] for i in keep]})
    if spec._node:  # so that what is wrong with a stage is still said at its line
        written = spec._node.value["stages"]
        out._node = replace(spec._node, value=spec._node.value | {"stages": replace(written, value=[written.value[i] for i in keep])})
    return out


def _replace(stage: StageSpec, part: str, **fields: object) -> StageSpec:
    """A stage with fields of one of its parts changed."""
    return stage.model_copy(update={part: getattr(stage, part).model_copy(update=fields)})


def _replaying(stages: Sequence[StageSpec], replay: Sequence[float]) -> Stages:
    """Replay belongs to the place in the order: what comes k-th replays as much as the curriculum's k-th stage."""
    return [_replace(s, "data", replay=r) for s, r in zip(stages, replay, strict=True)]


def _shuffled(stages: Stages, seed: int) -> Stages:
    """In an order of the seed's that is not the curriculum's own."""
    draw, out = 0, stages
    while out == stages and len(stages) > 1:
        out = sorted(stages, key=lambda s: sha256_text(f"{seed} {draw} {s.name}"))
        draw += 1
    return out


def _joint(stages: Stages, planned: Sequence[StagePlan]) -> StageSpec:
    """One stage of everything; its gate looks at what all gates look at."""
    lr, final_lr, warmup = (_mean(stages, [getattr(s.train, field) for s in stages]) for field in ("lr", "final_lr", "warmup"))
    train = TrainSpec(share=1.0, lr=lr, final_lr=final_lr, warmup=warmup)
    requires = {r.model_dump_json(): r for s in stages for r in s.gate.requires}
    return StageSpec(name="joint", question=" ".join(s.question for s in stages), data=_marginal(stages, planned), losses=_losses(stages, planned),
                     train=train, gate=GateSpec(requires=list(requires.values()), looks=1))


def _mean(stages: Stages, values: Sequence[float]) -> float:
    """Over the samples, not over the stages."""
    return sum(s.train.share * v for s, v in zip(stages, values, strict=True)) / sum(s.train.share for s in stages)


def _marginal(stages: Stages, planned: Sequence[StagePlan]) -> DataSpec:
    """The mixture of the whole plan, replay included. A pair may be seen as often as in all stages together."""
    weights, entries = dict[str, list[float]](), dict[str, MixtureEntry]()
    for i, stage in enumerate(planned):
        for e in stage.entries:
            where = sorted((column, sorted([v] if isinstance(v, str) else v)) for column, v in e.entry.where.items())
            key = repr((e.entry.source, where, e.entry.captions))
            entries.setdefault(key, e.entry)
            weights.setdefault(key, [0.0] * len(planned))[i] += e.share
    mixture = [entries[k].model_copy(update={"weight": _mean(stages, w), "optional": False}) for k, w in weights.items() if any(w)]
    changes = [s.data.augment for s in stages]
    augment = AugmentSpec(**{field: _mean(stages, [getattr(c, field) for c in changes]) for field in AugmentSpec.model_fields})
    return DataSpec(mixture=mixture, max_repeats=sum(s.data.max_repeats for s in stages), augment=augment)


def _losses(stages: Stages, planned: Sequence[StagePlan]) -> list[LossSpec]:
    """Every loss of every stage. One that a stage does not have, or cannot use, counts 0 there.

    Losses that differ in more than their weight are different ones. Those that compare with the model that entered a stage are left out: they
    are about the order.
    """
    weights, losses = dict[str, list[float]](), dict[str, LossSpec]()
    for i, stage in enumerate(planned):
        for loss in (x for x in stage.contributing if not x.entry):
            key = loss.model_dump_json(exclude={"weight", "required"})
            losses.setdefault(key, loss)
            weights.setdefault(key, [0.0] * len(planned))[i] += loss.weight
    return [losses[k].model_copy(update={"weight": _mean(stages, w), "required": False}) for k, w in weights.items()]
