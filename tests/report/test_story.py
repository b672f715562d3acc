"""What a ledger says, on ledgers written by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import World

from radisim_cl.records import events as ev
from radisim_cl.records.scorecard import Interval, Scorecard, SubtaskScore, SuiteScore
from radisim_cl.report.story import Story, threshold
from radisim_cl.report.told import ledger, needs, not_shown, pauses
from radisim_cl.runs import planning
from radisim_cl.specs.curriculum import load
from radisim_cl.specs.plan import Plan

BATCH = 16


@pytest.fixture(scope="module")
def plan(shared_world: World) -> Plan:
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(shared_world.root)
        return planning.plan(load(shared_world.curriculum), shared_world.root / "curricula")


def written(plan: Plan, *told: tuple[int, ev.AnyEvent]) -> Story:
    """Events with the second at which they were written."""
    events = [e.model_copy(update={"number": n, "time": f"2026-01-01T00:{s // 60:02d}:{s % 60:02d}+00:00"}) for n, (s, e) in enumerate(told)]
    return Story(Path("nowhere"), plan, events, "", [], {})


def started() -> ev.RunStarted:
    return ev.RunStarted(name="toy", plan="p", seed=3, reserve=4, stages=["modality", "anatomy"], world_size=1, git="", versions={}, corpora={})


def checkpoint(tag: str, stage: str | None, attempt: int, batch: int, total: int, drawn: dict[str, int] | None = None) -> ev.CheckpointCommitted:
    return ev.CheckpointCommitted(tag=tag, manifest="", stage=stage, attempt=attempt, batch=batch, total=total, why="look", drawn=drawn or {},
                                  asked={k: float(v) for k, v in (drawn or {}).items()})


def scored(split: str, stage: str, attempt: int, total: int) -> ev.Scored:
    return ev.Scored.model_validate({"split": split, "stage": stage, "attempt": attempt, "look": 1, "total": total, "file": "f", "digest": "",
                                     "suites": None})


def decided(stage: str, attempt: int, passed: bool | None = True) -> ev.GateDecided:
    return ev.GateDecided(stage=stage, attempt=attempt, look=1, mode="observe", passed=passed, reasons=["r"], alpha=0.025, evidence="f",
                          decision="advance")


def stage(name: str, attempt: int, begin: int, end: int, at: int, passed: bool = True) -> list[tuple[int, ev.AnyEvent]]:
    """Ten seconds of training, two of looking, three of reporting."""
    return [(at, ev.StageStarted(stage=name, attempt=attempt, planned=end - begin)),
            (at + 10, checkpoint(f"{name}-{attempt}", name, attempt, end - begin, end, {"a/CT": 3, "a/MR": 1, "b/c/CT": end})),
            (at + 11, scored("gate", name, attempt, end)), (at + 12, decided(name, attempt, passed)), (at + 15, scored("report", name, attempt, end)),
            (at + 15, ev.StageFinished(stage=name, attempt=attempt, passed=passed, export=f"export/{name}"))]


def rewound(plan: Plan) -> Story:
    """Killed in the first stage; the second one is rewound after it had been accepted."""
    first = stage("modality", 0, 0, 5, 0)
    return written(plan, (0, started()), (0, checkpoint("initial", None, 0, 0, 0)), first[0],
                   (100, ev.RunResumed(world_size=1, versions={})), *[(s + 100, e) for s, e in first[1:]],
                   *stage("anatomy", 0, 5, 9, 120, passed=False), (136, ev.RunFinished()),
                   (200, ev.Rewound(stage="anatomy", checkpoint="modality-0")), (210, ev.RunResumed(world_size=2, versions={})),
                   *stage("anatomy", 1, 5, 9, 215))


def test_attempts_know_where_they_lie_and_whether_they_count(plan: Plan) -> None:
    found = [(a.stage, a.attempt, a.start // BATCH, a.end // BATCH, a.kept, [d.passed for d, _, _ in a.looks], [x // BATCH for x, _ in a.reported])
             for a in rewound(plan).attempts]
    assert found == [("modality", 0, 0, 5, True, [True], [5]), ("anatomy", 0, 5, 9, False, [False], [9]), ("anatomy", 1, 5, 9, True, [True], [9])]


def test_only_work_counts_as_time(plan: Plan) -> None:
    story = rewound(plan)
    assert [(a.began, a.left) for a in story.attempts] == [(0, 15), (20, 35), (41, 56)]
    assert [(p.at, p.seconds, p.rewound) for p in story.pauses] == [(0, 100, False), (36, 74, True)]
    assert story.worked[-1] == 56


def test_the_path_leaves_out_what_a_rewind_left_aside(plan: Plan) -> None:
    story = rewound(plan)
    assert [e.attempt for e in story.path if isinstance(e, ev.StageFinished)] == [0, 1]
    assert (story.resumes, story.state.rewinds, story.flagged) == (2, 1, [])
    assert story.mixed()["anatomy"] == ({"a": 4.0, "b/c": 9.0}, {"a": 4.0, "b/c": 9.0})


def test_repairs_go_on_and_rollbacks_begin_again(plan: Plan) -> None:
    policy = decided("modality", 0, False)
    first = stage("modality", 0, 0, 5, 0)[:3]
    repaired = written(plan, (0, started()), (0, checkpoint("initial", None, 0, 0, 0)), *first,
                       (12, policy.model_copy(update={"decision": "replay_up", "batches": 2, "forgotten": ["x"]})),
                       (20, checkpoint("modality-1", "modality", 1, 7, 7)), (21, scored("gate", "modality", 1, 7)), (22, decided("modality", 1)))
    assert [(a.attempt, a.start // BATCH, a.end // BATCH, a.kept) for a in repaired.attempts] == [(0, 0, 5, True), (1, 5, 7, True)]
    again = written(plan, (0, started()), (0, checkpoint("initial", None, 0, 0, 0)), *first,
                    (12, policy.model_copy(update={"decision": "rollback", "batches": 4})),
                    (20, checkpoint("modality-1", "modality", 1, 5, 5)), (21, scored("gate", "modality", 1, 5)), (22, decided("modality", 1)))
    assert [(a.attempt, a.start // BATCH, a.end // BATCH, a.kept) for a in again.attempts] == [(0, 0, 5, False), (1, 0, 5, True)]
    assert [e.attempt for e in again.path if isinstance(e, ev.CheckpointCommitted) and e.stage] == [1]
    assert (again.state.abandoned, again.state.total) == (5, 5)


@pytest.mark.parametrize(("code", "words"), [(75, "stopped by a signal"), (1, "ended by a fault, exit code 1")])
def test_the_words_of_an_error_stay_in_the_ledger(plan: Plan, code: int, words: str) -> None:
    failed = ev.RunFailed(exit_code=code, error="InputError: images/patient007.png cannot be decoded")
    story = written(plan, (0, started()), (5, failed), (9, ev.RunResumed(world_size=1, versions={})))
    told = pauses(story) + str(list(ledger(story)))
    assert told.startswith(f" Interrupted for 4 s ({words}")
    assert "patient007" not in told


def test_what_gates_ask_for(plan: Plan) -> None:
    assert needs(plan)["modality"] == ["lower bound of modality skill >= -1"]
    assert (threshold(plan, "modality"), threshold(plan, "nothing")) == (-1.0, None)


def score(name: str, **changes: object) -> SubtaskScore:
    i = Interval(value=0.7, low=0.6, high=0.8)
    usual: dict[str, object] = {"id": name, "suite": "modality", "metric": "auc", "scores": {"auc": i}, "skill": i, "chance": 0.5, "items": 9,
                                "patients": {}, "prompts": "p", "floors": {"thumbnail": Interval(value=0.6, low=0.5, high=0.7)}}
    return SubtaskScore.model_validate(usual | changes)


def test_what_is_not_shown_is_said(plan: Plan) -> None:
    high, low = Interval(value=0.5, low=0.1, high=0.9), Interval(value=0.5, low=-0.1, high=0.9)
    card = Scorecard(benchmark="toy", version="1", catalog="toy", split="gate", stage="anatomy", look=1, samples=1, subtasks=[
        score("few", undecidable="too few"), score("blind", floors={"thumbnail": Interval(value=0.8, low=0.5, high=1)}),
        score("seen", trained_on=["drawn"])],
        suites=[SuiteScore(suite="modality", skill=high, subtasks=[], left_out=[]), SuiteScore(suite="anatomy", skill=low, subtasks=[], left_out=[])],
        missing={"gone": "no source"})
    story = rewound(plan)
    story = replace(story, gates=[(scored("gate", "anatomy", 1, 9), card)])
    told = "\n".join(not_shown(story))
    for words in ("seed 3", "stays sealed", "somebody went back by hand", "Skill on few:", "gone: catalog toy has no data for it",
                  "better than chance at anatomy:", "seeing was needed for blind:", "Zero-shot skill on seen:", "3 subtasks at once"):
        assert words in told, words
    assert "would have let the run pass" not in told
