"""What follows a look that did not pass: in the ledger, in the mixture, in the budget, and after a crash in the middle of it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from _runs import outcome, same, start, wait_for_events
from conftest import World, make_world
from safetensors.torch import load_file

from radisim_cl.records import events as ev
from radisim_cl.records.ledger import read
from radisim_cl.records.state import RunState, fold
from radisim_cl.runs.directory import load_plan

NEVER = "stages.anatomy.gate.requires=[{kind: threshold, suite: anatomy, at_least: 1.0}]"


def policy(world: World, **gate: object) -> list[str]:
    """`--set` arguments of a gate of the second stage that is never passed."""
    return [a for text in (NEVER, *(f"stages.anatomy.gate.{k}={v}" for k, v in gate.items())) for a in ("--set", text)]


def told(run: Path) -> tuple[RunState, list[ev.GateDecided], list[ev.CheckpointCommitted]]:
    """State, decisions on the second stage, and its checkpoints."""
    events = read(run)[0]
    return (fold(events), [e for e in events if isinstance(e, ev.GateDecided) and e.stage == "anatomy"],
            [e for e in events if isinstance(e, ev.CheckpointCommitted) and e.stage == "anatomy"])


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A run that the second stage's gate has stopped, and that no test changes."""
    world = make_world(tmp_path_factory.mktemp("stopped") / "world")
    assert world.cli("run", "toy", *policy(world, on_fail="stop")).returncode == 3
    return world


def test_advance_flagged_goes_on_and_every_page_says_so(world: World) -> None:
    done = world.cli("run", "toy", *policy(world, on_fail="advance_flagged"))
    assert done.returncode == 0, done.stderr
    state, decisions, _ = told(world.root / "runs" / "toy")
    assert [d.decision for d in decisions] == ["advance_flagged"]
    assert (state.status, state.flagged) == ("finished", ["anatomy"])
    assert "advanced all the same: anatomy" in done.stdout
    assert "advanced all the same: anatomy" in world.cli("status", "toy").stdout
    assert "advanced all the same: anatomy" in (world.root / "runs/toy/scores/report-anatomy.json").read_text()


def test_replay_up_repairs_with_more_of_the_earlier_stage_and_another_stream(world: World) -> None:
    done = world.cli("run", "toy", *policy(world, on_fail="replay_up", then="advance_flagged", extend_by=0.4, max_attempts=3))
    assert done.returncode == 0, done.stderr
    run = world.root / "runs" / "toy"
    plan, (state, decisions, saved) = load_plan(run), told(run)
    assert [(d.decision, d.attempt, d.batches, d.forgotten) for d in decisions] == [
        ("replay_up", 0, 4, ["modality"]), ("replay_up", 1, 1, ["modality"]), ("advance_flagged", 2, 0, [])]
    assert [(c.attempt, c.batch) for c in saved] == [(0, 4), (0, 8), (0, 10), (1, 12), (1, 14), (2, 15)]
    assert (plan.reserve, state.reserve) == (5, 0), "the second repair got what was left"
    repaired, own = plan.repair(1, ["modality"]), plan.stages[1].entries
    assert sum(e.share for e in repaired) == pytest.approx(1)
    assert sum(e.share for e in repaired if e.stage == "modality") == pytest.approx(0.25 + 0.75 / 2)
    assert sum(e.share for e in own if e.stage == "modality") == pytest.approx(0.25)
    assert sum(saved[-1].drawn.values()) == 15 * 16
    assert sum(saved[-1].asked.values()) == pytest.approx(15 * 16, abs=1)


def test_rollback_begins_the_stage_again_with_other_samples_and_a_lower_rate(world: World) -> None:
    arguments = policy(world, on_fail="rollback", then="advance_flagged", rollback_lr=0.5)
    done = world.cli("run", "toy", *arguments, "--set", "profiles.laptop.budget={samples: 480, reserve: 0.4}")
    assert done.returncode == 0, done.stderr
    run = world.root / "runs" / "toy"
    state, decisions, saved = told(run)
    plan, begun = load_plan(run), next(e for e in read(run)[0] if isinstance(e, ev.StageStarted) and e.stage == "anatomy")
    n = plan.stages[1].batches
    assert [(d.decision, d.attempt, d.batches) for d in decisions] == [("rollback", 0, n), ("advance_flagged", 1, 0)]
    assert decisions[1].alpha == pytest.approx(decisions[0].alpha / 2)
    assert [(c.attempt, c.batch) for c in saved if c.why == "look"] == [(0, n), (1, n)]
    assert saved[0].drawn == saved[len(saved) // 2].drawn or saved[0].total == saved[len(saved) // 2].total
    assert (state.abandoned, state.total, state.reserve) == (n, 2 * n, plan.reserve - n)
    assert begun.attempt == 0


@pytest.mark.slow
@pytest.mark.parametrize("on_fail", ["replay_up", "rollback"])
def test_killed_after_the_decision_it_goes_on_as_if_nothing_had_happened(world: World, on_fail: str) -> None:
    more = [*policy(world, on_fail=on_fail, then="advance_flagged"), "--set", "profiles.laptop.budget={samples: 480, reserve: 0.4}"]
    whole = start(world, "whole", more=more)
    assert whole.wait(300) == 0, whole.stderr and whole.stderr.read()
    decided = next(i for i, e in enumerate(read(world.root / "whole")[0], 1) if isinstance(e, ev.GateDecided) and e.decision == on_fail)
    cut = start(world, "cut", more=more)
    wait_for_events(world.root / "cut", decided)
    cut.send_signal(signal.SIGKILL)
    cut.wait(60)
    cut = start(world, "cut", more=more)
    assert cut.wait(300) == 0, cut.stderr and cut.stderr.read()
    same(outcome(world.root / "whole"), outcome(world.root / "cut"))


def test_a_fork_goes_on_under_another_policy_and_leaves_its_parent_alone(stopped: World) -> None:
    world = stopped
    run, new = world.root / "runs" / "toy", world.root / "runs" / "lenient"
    before = (run / "ledger.jsonl").read_bytes()
    refused = world.cli("resume", "toy")
    assert refused.returncode == 3
    assert "--fork NEW --set stages.anatomy.gate.then=advance_flagged" in refused.stderr
    done = world.cli("resume", "toy", "--fork", "lenient", "--set", "stages.anatomy.gate.on_fail=advance_flagged")
    assert done.returncode == 0, done.stderr
    assert (run / "ledger.jsonl").read_bytes() == before
    state = fold(read(new)[0])
    assert (state.status, state.flagged, state.total) == ("finished", ["anatomy"], 20)
    forked = next(e for e in read(new)[0] if isinstance(e, ev.Forked))
    assert (forked.parent, forked.changed) == ("toy", ["stages[1].spec.gate.on_fail: 'advance_flagged', not 'stop'"])
    first, second = (load_file(r / "export/1-modality/open_clip_model.safetensors") for r in (run, new))
    assert all((first[k] == second[k]).all() for k in first)
    assert "FORKED from toy" in world.cli("log", "lenient").stdout


def test_a_fork_from_the_beginning_of_a_stage_trains_it_by_the_edited_file(world: World) -> None:
    assert world.cli("run", "toy").returncode == 0
    world.edit("stages/anatomy.yaml", train={"share": 0.5, "lr": 5e-4, "warmup": 0.2})
    refused = world.cli("run", "toy")
    assert refused.returncode == 2
    assert "stages[1].spec.train.lr: 0.0005, not 0.001" in refused.stderr
    assert "--fork NEW --curriculum FILE" in refused.stderr
    done = world.cli("resume", "toy", "--fork", "gentle", "--stage", "anatomy", "--curriculum", "curricula/toy.yaml")
    assert done.returncode == 0, done.stderr
    old, new = (load_file(world.root / "runs" / r / "export/2-anatomy/open_clip_model.safetensors") for r in ("toy", "gentle"))
    assert any((old[k] != new[k]).any() for k in old)


@pytest.mark.parametrize(("change", "complaint"), [
    (["--set", "stages.modality.train.lr=1e-4"], "stages[0] (modality) is over"),
    (["--set", "profiles.laptop.global_batch=8"], "scale.global_batch: 8, not 16"),
    (["--set", "optimizer.weight_decay=0.1"], "curriculum.optimizer.weight_decay: 0.1, not 0.2"),
    (["--set", "profiles.laptop.budget.reserve=0.01", "--stage", "anatomy"], None),
])
def test_a_fork_changes_what_is_to_come_only(stopped: World, change: list[str], complaint: str | None) -> None:
    done = stopped.cli("resume", "toy", "--fork", "other", *change)
    if complaint is None:
        assert done.returncode == 3, "it stops by the same gate again"
        return
    assert done.returncode == 2
    assert complaint in done.stderr
    assert not (stopped.root / "runs" / "other").exists()


def test_changes_take_a_fork(world: World) -> None:
    done = world.cli("resume", "toy", "--set", "seed=4")
    assert done.returncode == 2
    assert "no run 'toy'" in done.stderr or "--fork NEW" in done.stderr


@pytest.mark.parametrize(("change", "complaint"), [
    (["--set", "stages.modality.gate.on_fail=replay_up"], "nothing to replay in the first stage"),
    (["--set", "stages.anatomy.gate.on_fail=rollback"], "'rollback' trains the stage's 10 steps again, and the reserve has 5"),
    (["--set", "stages.anatomy.gate.requires=[{kind: any_of, requires: [{kind: threshold, suite: anatom, at_least: 0.1}]}]"],
     "stages[1].gate.requires[0].requires[0].suite: unknown suite 'anatom'"),
    (["--set", "stages.anatomy.gate.requires=[{kind: all_of, requires: [{kind: retention, max_dorp: 0.1}]}]"], "Did you mean 'max_drop'?"),
])
def test_gates_that_make_no_sense_are_refused(world: World, change: list[str], complaint: str) -> None:
    done = world.cli("validate", "toy", *change)
    assert done.returncode == 2
    assert complaint in done.stderr, done.stderr
