"""A stage that forgets, at full size on the phantom: its gate sees it, a repair brings back what was lost, and the ledger tells the story."""

from __future__ import annotations

from pathlib import Path

import pytest

from radisim_cl.records import events as ev
from radisim_cl.records.ledger import read
from radisim_cl.runs.directory import create
from radisim_cl.runs.planning import plan
from radisim_cl.runs.runner import resume
from radisim_cl.specs.curriculum import load


@pytest.mark.slow
def test_what_a_stage_without_replay_forgets_is_shown_and_repaired(tmp_path: Path) -> None:
    run = tmp_path / "forgetful"
    create(plan(load("forgetful")), run, nproc=1)
    resume(run)
    first, second = (e for e in read(run)[0] if isinstance(e, ev.GateDecided) and e.stage == "films")
    assert (first.passed, first.decision, first.forgotten) == (False, "replay_up", ["modality", "anatomy"])
    assert "anatomy" in first.reasons[1]
    assert "forgotten" in first.reasons[1]
    assert (second.attempt, second.passed, second.decision) == (1, True, "advance")
    assert "forgotten" not in second.reasons[1]
