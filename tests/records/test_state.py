"""The state of a run as a fold over hand-written stories."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from radisim_cl.records import events as ev
from radisim_cl.records.state import RunState, fold

STAGES = ["one", "two", "three"]


def begun(reserve: int = 100) -> ev.RunStarted:
    """A run of three stages."""
    return ev.RunStarted(name="toy", plan="digest", seed=1, reserve=reserve, stages=STAGES, world_size=2, git="", versions={}, corpora={})


def stage(name: str, planned: int = 40, attempt: int = 0, from_reserve: int = 0) -> ev.StageStarted:
    """A stage begins."""
    return ev.StageStarted(stage=name, attempt=attempt, planned=planned, from_reserve=from_reserve)


def saved(name: str | None, batch: int, total: int, attempt: int = 0) -> ev.CheckpointCommitted:
    """A checkpoint."""
    return ev.CheckpointCommitted(tag=f"{name}-{attempt}-{batch}", manifest="m", stage=name, attempt=attempt, batch=batch, total=total,
                                  why="periodic", drawn={}, asked={})


def scored(name: str | None, look: int, split: Literal["gate", "report"] = "gate", attempt: int = 0) -> ev.Scored:
    """A split is scored."""
    return ev.Scored(split=split, stage=name, attempt=attempt, look=look, total=0, file=f"{split}-{name}-{attempt}-{look}", digest="d", suites=None)


def decided(name: str, look: int, decision: Literal["advance", "extend", "stop"] = "advance", batches: int = 0, attempt: int = 0) -> ev.GateDecided:
    """A gate decides."""
    return ev.GateDecided(stage=name, attempt=attempt, look=look, mode="enforce", passed=decision == "advance", reasons=["r"], alpha=0.05,
                          evidence=f"gate-{name}-{attempt}-{look}", decision=decision, batches=batches)


def accepted(name: str, attempt: int = 0) -> ev.StageFinished:
    """A stage is accepted."""
    return ev.StageFinished(stage=name, attempt=attempt, passed=True, export=f"export/{name}")


START: list[Any] = [begun(), saved(None, 0, 0), scored(None, 0), scored(None, 0, "report")]


def passed(name: str, total: int, attempt: int = 0) -> list[Any]:
    """A stage of 40 steps that passes at its first look."""
    return [stage(name, attempt=attempt), saved(name, 40, total, attempt), scored(name, 1, attempt=attempt),
            decided(name, 1, attempt=attempt), scored(name, 1, "report", attempt), accepted(name, attempt)]


def test_nothing_happened() -> None:
    state = fold([])
    assert (state.status, state.stage, state.total, state.started) == ("new", 0, 0, False)


def test_a_fresh_start() -> None:
    state = fold(START)
    assert (state.status, state.plan, state.names, state.world_size) == ("running", "digest", STAGES, 2)
    assert (state.stage, state.name, state.started, state.total, state.reserve) == (0, "one", False, 0, 100)
    assert state.checkpoint == START[1]
    assert state.scored is None, "look 0 is no look of a stage"
    assert len(state.scores) == 2


def test_a_stage_in_progress() -> None:
    state = fold([*START, stage("one"), saved("one", 10, 10), saved("one", 20, 20)])
    assert (state.started, state.attempt, state.batch, state.target, state.look, state.total) == (True, 0, 20, 40, 0, 20)
    assert state.checkpoint is not None
    assert state.checkpoint.tag == "one-0-20"
    assert not state.reported


def test_a_stage_that_ends_the_last_has_nothing_reported() -> None:
    """Whatever was reported before, the stage that begins has its report split yet to be scored."""
    assert fold([*START, stage("one")]).reported is False
    assert fold([*START, *passed("one", 40), stage("two")]).reported is False
    assert fold([*START, *passed("one", 40)[:-1]]).reported is True


def test_a_look_scored_and_not_yet_decided() -> None:
    before = [*START, stage("one"), saved("one", 40, 40), scored("one", 1)]
    state = fold(before)
    assert state.scored == before[-1]
    assert (state.look, state.decided) == (0, None)
    state = fold([*before, decided("one", 1)])
    assert (state.scored, state.look) == (None, 1)
    assert state.decided is not None


def test_an_extension_consumes_the_reserve_and_moves_the_next_look() -> None:
    state = fold([*START, stage("one"), saved("one", 40, 40), scored("one", 1), decided("one", 1, "extend", 20)])
    assert (state.reserve, state.target, state.batch, state.look, state.decided) == (80, 60, 40, 1, None)
    state = fold([*START, stage("one"), saved("one", 40, 40), scored("one", 1), decided("one", 1, "extend", 20), saved("one", 60, 60),
                  scored("one", 2), decided("one", 2, "extend", 15)])
    assert (state.reserve, state.target, state.batch, state.look, state.total) == (65, 75, 60, 2, 60)
    assert [d.batches for d in state.decisions] == [20, 15]


def test_a_stage_is_accepted_and_the_next_begins_with_a_clean_slate() -> None:
    events = [*START, *passed("one", 40)]
    state = fold(events)
    assert (state.stage, state.name, state.started, state.decided, state.total) == (1, "two", False, None, 40)
    assert state.accepted == {"one": events[-1]}
    state = fold([*events, stage("two", 30)])
    assert (state.started, state.batch, state.target, state.look, state.total) == (True, 0, 30, 0, 40)
    assert set(state.entries) == {"one", "two"}
    assert state.entries["two"].checkpoint.tag == "one-0-40"


def test_the_last_stage_may_be_given_what_is_left_of_the_reserve() -> None:
    state = fold([*START, *passed("one", 40), *passed("two", 80), stage("three", 140, from_reserve=100)])
    assert (state.reserve, state.target) == (0, 140)
    assert state.entries["three"].reserve == 100, "which a rewind gives back"


def test_a_finished_run() -> None:
    state = fold([*START, *passed("one", 40), *passed("two", 80), *passed("three", 120), ev.RunFinished()])
    assert (state.status, state.stage, state.name, state.total) == ("finished", 3, "three", 120)
    assert list(state.accepted) == STAGES


def test_a_run_that_a_gate_stopped() -> None:
    state = fold([*START, stage("one"), saved("one", 40, 40), scored("one", 1), decided("one", 1, "stop"), ev.RunStopped(stage="one")])
    assert (state.status, state.stage, state.accepted) == ("stopped", 0, {})
    assert state.decided is not None
    assert state.decided.decision == "stop"


def test_a_failure_keeps_the_place_and_a_resume_takes_it_up() -> None:
    events = [*START, stage("one"), saved("one", 10, 10), ev.RunFailed(exit_code=75, error="SIGTERM")]
    failed = fold(events)
    assert (failed.status, failed.exit_code, failed.error, failed.batch, failed.started) == ("failed", 75, "SIGTERM", 10, True)
    resumed = fold([*events, ev.RunResumed(world_size=1, versions={})])
    assert (resumed.status, resumed.exit_code, resumed.error, resumed.world_size) == ("running", 0, "", 1)
    assert (resumed.batch, resumed.target, resumed.attempt, resumed.started, resumed.total) == (10, 40, 0, True, 10)
    assert resumed.checkpoint == failed.checkpoint


TWO_PASSED = [*START, stage("one"), saved("one", 40, 40), scored("one", 1), decided("one", 1, "extend", 20), saved("one", 60, 60), scored("one", 2),
              decided("one", 2), scored("one", 2, "report"), accepted("one"), *passed("two", 100), stage("three"), saved("three", 10, 110)]


@pytest.mark.parametrize(("to", "kept", "reserve", "total"), [("one", [], 100, 0), ("two", ["one"], 80, 60), ("three", ["one", "two"], 80, 100)])
def test_a_rewind_restores_the_state_in_which_a_stage_began(to: str, kept: list[str], reserve: int, total: int) -> None:
    entry = fold(TWO_PASSED).entries[to].checkpoint
    state = fold([*TWO_PASSED, ev.Rewound(stage=to, checkpoint=entry.tag)])
    assert (state.status, state.stage, state.name, state.started) == ("running", STAGES.index(to), to, False)
    assert (list(state.accepted), list(state.entries), state.reserve, state.total) == (kept, kept, reserve, total)
    assert (state.scored, state.decided, state.rewinds, state.checkpoint) == (None, None, 1, entry)
    assert len(state.decisions) == 3, "what came after stays on record"


def test_a_rewound_stage_begins_anew_with_its_next_attempt() -> None:
    state = fold([*TWO_PASSED, ev.Rewound(stage="two", checkpoint="one-0-60"), stage("two", attempt=1), saved("two", 5, 65, 1)])
    assert (state.attempt, state.batch, state.target, state.look, state.total, state.reserve, state.reported) == (1, 5, 40, 0, 65, 80, False)
    assert state.attempts == {"one": 0, "two": 1, "three": 0}
    assert state.entries["two"].checkpoint.tag == "one-0-60"
    finished = fold([*TWO_PASSED, ev.Rewound(stage="two", checkpoint="one-0-60"), *passed("two", 100, 1), *passed("three", 140, 1), ev.RunFinished()])
    assert (finished.status, finished.accepted["two"].attempt, finished.accepted["three"].attempt) == ("finished", 1, 1)


def test_two_rewinds_in_a_row_to_ever_earlier_stages() -> None:
    state = fold([*TWO_PASSED, ev.Rewound(stage="two", checkpoint="one-0-60"), ev.Rewound(stage="one", checkpoint="None-0-0")])
    assert (state.stage, state.total, state.reserve, state.rewinds, list(state.entries)) == (0, 0, 100, 2, [])


def test_a_process_that_ends_between_a_rewind_and_the_stage_leaves_the_rewind_standing() -> None:
    state = fold([*TWO_PASSED, ev.Rewound(stage="two", checkpoint="one-0-60"), ev.RunFailed(exit_code=1, error="power"),
                  ev.RunResumed(world_size=2, versions={})])
    assert (state.status, state.stage, state.started, state.total, state.reserve) == ("running", 1, False, 60, 80)
    assert state.attempts["two"] == 0, "so that the next attempt is 1"


def test_a_stopped_run_can_be_rewound_and_goes_on() -> None:
    events = [*START, stage("one"), saved("one", 40, 40), scored("one", 1), decided("one", 1, "stop"), ev.RunStopped(stage="one"),
              ev.RunResumed(world_size=1, versions={}), ev.Rewound(stage="one", checkpoint="None-0-0"), stage("one", attempt=1)]
    state = fold(events)
    assert (state.status, state.stage, state.started, state.attempt, state.decided, state.reserve) == ("running", 0, True, 1, None, 100)


@pytest.mark.parametrize("cut", range(1, len(TWO_PASSED)))
def test_a_fold_can_be_taken_in_two_parts(cut: int) -> None:
    """What a running process keeps up to date is what another reads from the ledger."""
    state = RunState()
    for e in TWO_PASSED[:cut]:
        state.apply(e)
    assert state == fold(TWO_PASSED[:cut])
