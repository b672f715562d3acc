"""Controls: as many samples as the curriculum, of the same sources where only the order is to differ, and nothing else changed."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import World, make_world

from radisim_cl.corpus.corpora import Corpora
from radisim_cl.data.mixture import Mixture
from radisim_cl.errors import InputError, SpecError
from radisim_cl.records import events as ev
from radisim_cl.records.ledger import Ledger
from radisim_cl.records.realised import accepted, exposures
from radisim_cl.runs import planning
from radisim_cl.runs.planned import estimates
from radisim_cl.specs.controls import controlled, without
from radisim_cl.specs.curriculum import load
from radisim_cl.specs.losses import LossSpec
from radisim_cl.specs.plan import Plan

RULES = ("joint", "joint_restarts", "reversed", "shuffled", "ungated", "no_replay")
LONGER = "profiles.laptop.budget.samples=40_000"
UNSPENT = "profiles.laptop.budget.unspent=last_stage"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A curriculum of three unequal stages of three sources, with replay, losses of all sorts, and a control of it of each kind."""
    world = make_world(tmp_path_factory.mktemp("controls") / "world")
    catalog = yaml.safe_load((world.root / "catalogs/toy.yaml").read_text())
    corpus = catalog["corpora"]["drawn"]
    world.edit("catalogs/toy.yaml", corpora={"drawn": corpus, "second": corpus, "third": corpus})
    one: dict[str, Any] = {"source": "drawn", "captions": "modality", "weight": 3}
    two = {"source": "second", "captions": "anatomy", "where": {"modality": ["CT", "MR"]}}
    again = {"source": "second", "captions": "anatomy", "where": {"modality": ["MR", "CT"]}, "weight": 0.5}
    three = {"source": "third", "weight": 2}
    world.edit("stages/modality.yaml", data={"mixture": [one], "max_repeats": 1000}, train={"share": 0.2, "lr": 1e-3, "warmup": 0.1})
    world.edit("stages/anatomy.yaml", data={"mixture": [one | {"weight": 1}, two], "replay": 0.25, "max_repeats": 1000},
               losses=[{"kind": "clip", "weight": 0.5}], train={"share": 0.5, "lr": 2e-3})
    third = yaml.safe_load((world.root / "stages/anatomy.yaml").read_text()) | {
        "name": "last", "data": {"mixture": [again, three, {"source": "fourth", "optional": True}], "replay": 0.4, "max_repeats": 1000},
        "losses": [{"kind": "clip"}, {"kind": "retain", "weight": 0.5, "required": False}, {"kind": "region", "required": False}],
        "train": {"share": 0.3, "lr": 4e-4}}
    (world.root / "stages/last.yaml").write_text(yaml.safe_dump(third))
    world.edit("curricula/toy.yaml", stages=[{"use": s} for s in ("modality", "anatomy", "last")])
    for kind in RULES:
        (world.root / f"curricula/{kind}.yaml").write_text(yaml.safe_dump({"use": "toy", "name": kind, "control": {"kind": kind}}))
    yoked = {"use": "toy", "name": "yoked", "control": {"kind": "yoked", "run": "runs/gated-{seed}"}}
    (world.root / "curricula/yoked.yaml").write_text(yaml.safe_dump(yoked))
    (world.root / "stages/broken.yaml").write_text(yaml.safe_dump(third | {"losses": [{"kind": "region"}]}))
    broken = {"use": "toy", "stages": [{"use": s} for s in ("modality", "anatomy", "broken")]}
    (world.root / "curricula/broken.yaml").write_text(yaml.safe_dump(broken))
    return world


@pytest.fixture(autouse=True)
def here(made: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The working directory is that world; how fast this machine is does not matter here."""
    monkeypatch.chdir(made.root)
    monkeypatch.setattr(estimates, "_macs_per_second", lambda: 1e9)
    return made


@cache
def make(name: str, *sets: str) -> Plan:
    """The plan of one of the working directory's curricula."""
    return planning.plan(load(f"curricula/{name}.yaml", sets), Path("curricula"))


def lengths(plan: Plan) -> list[int]:
    """Steps of each stage, of a run that no gate lengthens."""
    last = plan.reserve * (plan.curriculum.scale.budget.unspent == "last_stage")
    return [s.batches + last * (s is plan.stages[-1]) for s in plan.stages]


def drawn(plan: Plan) -> Counter[tuple[str, str]]:
    """Pairs by source and captions that its stages really draw."""
    corpora, spec, out = Corpora(plan.catalog, plan.benchmark.version), plan.curriculum, Counter[tuple[str, str]]()
    for stage, batches in zip(plan.stages, lengths(plan), strict=True):
        mixture = Mixture(stage.entries, corpora, plan.templates, spec.scale.global_batch, spec.seed, stage.spec.name, 0)
        for e, n in zip(stage.entries, mixture.drawn(batches), strict=True):
            out[e.entry.source, e.entry.captions] += int(n)
    return out


@pytest.mark.parametrize("sets", [(LONGER,), (LONGER, UNSPENT)], ids=["reserved", "unspent"])
def test_every_control_has_the_samples_of_the_curriculum(here: World, sets: tuple[str, ...]) -> None:
    base = make("toy", *sets)
    for kind in RULES:
        control = make(kind, *sets)
        assert sum(lengths(control)) == sum(lengths(base)), kind
        assert control.reserve == 0
        by_name = dict(zip([s.spec.name for s in base.stages], lengths(base), strict=True))
        assert kind == "joint" or {s.spec.name: n for s, n in zip(control.stages, lengths(control), strict=True)} == by_name
        assert {control.curriculum.gate_mode(s.spec) for s in control.stages} == {"off" if kind == "ungated" else "observe"}


@pytest.mark.parametrize("kind", ["joint", "joint_restarts"])
@pytest.mark.parametrize("sets", [(LONGER,), (LONGER, UNSPENT)], ids=["reserved", "unspent"])
def test_a_joint_control_sees_what_the_curriculum_sees(here: World, kind: str, sets: tuple[str, ...]) -> None:
    base, control = drawn(make("toy", *sets)), drawn(make(kind, *sets))
    assert control.keys() == base.keys()
    for what, pairs in base.items():
        assert abs(control[what] - pairs) <= 0.01 * pairs, what


def test_a_joint_control_is_one_stage_that_looks_at_everything(here: World) -> None:
    base = make("toy")
    (stage,) = make("joint").stages
    shares = [n / sum(lengths(base)) for n in lengths(base)]
    assert stage.spec.name == "joint"
    assert set(stage.spec.gate.targets) == {"modality", "anatomy"}
    assert stage.spec.train.lr == pytest.approx(sum(w * s.spec.train.lr for w, s in zip(shares, base.stages, strict=True)))
    assert stage.spec.data.max_repeats == 3000
    # The same filter in another order is one ingredient; what replays is another stage's.
    assert len(stage.entries) == 3
    assert [e.entry.source for e in stage.entries] == ["drawn", "second", "third"]


@pytest.mark.parametrize("kind", ["joint", "joint_restarts"])
def test_losses_weigh_as_much_as_over_all_stages_together(here: World, kind: str) -> None:
    shares = [n / sum(lengths(make("toy"))) for n in lengths(make("toy"))]
    for stage in make(kind).stages:
        weights = {loss.kind: loss.weight for loss in stage.spec.losses}
        # What nothing has a mask for is left out, and so is what compares with the model that entered a stage.
        assert weights == pytest.approx({"multi_positive": shares[0], "clip": 0.5 * shares[1] + shares[2]})


def test_an_order_changes_the_order_and_replay_keeps_its_place(here: World) -> None:
    base = {s.spec.name: s.spec for s in make("toy").stages}
    for kind in ("reversed", "shuffled"):
        specs = [s.spec for s in make(kind).stages]
        assert [s.data.replay for s in specs] == [0.0, 0.25, 0.4]
        assert [s.train.lr for s in specs] == [base[s.name].train.lr for s in specs]
        assert [s.data.mixture for s in specs] == [base[s.name].data.mixture for s in specs]
    assert [s.spec.name for s in make("reversed").stages] == ["last", "anatomy", "modality"]


def test_the_seed_draws_an_order_that_is_not_the_curriculums_own(here: World) -> None:
    base, spec = make("toy"), load("curricula/shuffled.yaml")

    def order(seed: int) -> tuple[str, ...]:
        steps = dict(zip([s.spec.name for s in base.stages], lengths(base), strict=True))
        return tuple(s.name for s in controlled(spec.model_copy(update={"seed": seed}), base.stages, steps).stages)

    found = [order(seed) for seed in range(40)]
    assert found == [order(seed) for seed in range(40)]
    assert len(set(found)) == 5
    assert ("modality", "anatomy", "last") not in found


def test_what_does_not_fit_is_said_of_the_control(here: World) -> None:
    """`retain` compares with the model that enters the stage, and the first one's is random."""
    with pytest.raises(SpecError) as told:
        make("reversed", "stages.last.losses=[{kind: retain}]")
    (problem,) = told.value.problems
    assert (problem.where.split(":")[0], problem.field) == ("curricula/reversed.yaml", "control")
    assert "stages[0].losses[0].kind" in problem.message


def test_without_replay_no_stage_sees_another_ones_pairs(here: World) -> None:
    assert all(e.stage == s.spec.name for s in make("no_replay").stages for e in s.entries)


def test_without_gates_the_stream_is_that_of_gates_that_pass(here: World) -> None:
    base, control = make("toy", LONGER, UNSPENT), make("ungated", LONGER, UNSPENT)

    def stream(plan: Plan) -> list[tuple[str, int, list[tuple[str, float]], list[LossSpec]]]:
        return [(s.spec.name, n, [(e.entry.source, e.share) for e in s.entries], list(s.spec.losses))
                for s, n in zip(plan.stages, lengths(plan), strict=True)]

    assert stream(control) == stream(base)


def finish(world: World, folder: str, stages: dict[str, int], done: bool = True) -> None:
    """A ledger of a run whose stages came to be so long."""
    (world.root / folder).mkdir(parents=True)
    ledger, total = Ledger(world.root / folder), 0
    versions: dict[str, Any] = {"git": "", "versions": {}, "corpora": {}}
    ledger.append(ev.RunStarted(name="toy", plan="", seed=0, reserve=9, stages=list(stages), world_size=1, **versions))
    start: dict[str, Any] = {"attempt": 0, "manifest": "", "asked": {}}
    ledger.append(ev.CheckpointCommitted(tag="initial", stage=None, batch=0, total=0, why="initial", drawn={}, **start))
    for name, n in stages.items():
        total += n
        ledger.append(ev.StageStarted(stage=name, attempt=0, planned=1))
        for batch in (1, n):
            ledger.append(ev.CheckpointCommitted(tag=f"{name}-{batch}", stage=name, batch=batch, total=total, why="look",
                                                 drawn={"drawn/CT": batch, "second/MR": 2 * batch}, **start))
        ledger.append(ev.StageFinished(stage=name, attempt=0, passed=True, export=""))
    if done:
        ledger.append(ev.RunFinished())


def test_yoked_is_as_long_as_the_run_became(here: World) -> None:
    finish(here, "runs/gated-5", {"modality": 3, "anatomy": 17, "last": 8})
    plan = make("yoked", "seed=5")
    assert [s.batches for s in plan.stages] == [3, 17, 8]
    assert {plan.curriculum.gate_mode(s.spec) for s in plan.stages} == {"off"}
    events = Ledger(here.root / "runs/gated-5").events
    assert {name: c.batch for name, c in accepted(events).items()} == {"modality": 3, "anatomy": 17, "last": 8}
    assert exposures(events) == {"drawn": 28, "second": 56}


def test_yoked_refuses_a_run_that_is_not_there_not_finished_or_of_other_stages(here: World) -> None:
    finish(here, "runs/gated-1", {"modality": 3}, done=False)
    finish(here, "runs/gated-2", {"modality": 3, "grading": 4})
    for seed, why in ((0, "not a run that has finished"), (1, "not a run that has finished"), (2, "has the stages modality, grading, and these are")):
        with pytest.raises(SpecError, match=why) as told:
            make("yoked", f"seed={seed}")
        assert [p.field for p in told.value.problems] == ["control.run"]


def test_a_stage_that_is_left_out_leaves_its_samples_to_the_others_or_to_nobody(here: World) -> None:
    spec = load("curricula/toy.yaml", (LONGER,))
    base, same, shorter = (planning.plan(s, Path("curricula")) for s in (spec, without(spec, ["anatomy"]), without(spec, ["anatomy"], shorter=True)))
    assert [s.spec.name for s in same.stages] == ["modality", "last"]
    assert sum(lengths(same)) == sum(lengths(base))
    assert lengths(shorter) == pytest.approx([lengths(base)[0], lengths(base)[2]], abs=1)
    assert (same.curriculum.name, shorter.curriculum.name) == ("toy-without-anatomy", "toy-without-anatomy-shorter")
    assert {e.stage for s in same.stages for e in s.entries} == {"modality", "last"}


def test_what_cannot_be_left_out(here: World) -> None:
    spec = load("curricula/toy.yaml")
    with pytest.raises(InputError, match=r"--drop anatmy: no such stage in 'toy'\. Did you mean 'anatomy'\?"):
        without(spec, ["anatmy"])
    with pytest.raises(InputError, match="nothing is left"):
        without(spec, ["modality", "anatomy", "last"])


def test_what_is_wrong_with_a_stage_is_at_its_line_though_one_before_it_is_left_out(here: World) -> None:
    with pytest.raises(SpecError) as told:
        planning.plan(without(load("curricula/broken.yaml"), ["anatomy"]), Path("curricula"))
    assert told.value.problems[0].where.startswith("stages/broken.yaml:")
    assert told.value.problems[0].field == "stages[1].losses[0].kind"


def test_shares_of_a_control_sum_to_one(here: World) -> None:
    for kind in ("joint", "joint_restarts", "no_replay", "ungated"):
        assert [sum(e.share for e in s.entries) for s in make(kind).stages] == pytest.approx([1.0] * len(make(kind).stages))
