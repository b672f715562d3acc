"""Scorecards of a run, from its stored answers."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from radisim_cl.records.events import Scored
from radisim_cl.runs.scores import measured
from radisim_cl.specs.plan import Plan


def test_answers_are_measured_as_the_split_that_the_ledger_says(tmp_path: Path) -> None:
    """Before they are read: a gate's type alone would not know which file it was given."""
    scored = Scored(split="report", stage="one", attempt=0, look=1, total=10, file="scores/report-one-0-1.parquet", digest="", suites=None)
    with pytest.raises(ValueError, match=r"report-one-0-1\.parquet holds answers to the report split, not to 'gate'"):
        measured(tmp_path, cast(Plan, None), scored, "gate")
