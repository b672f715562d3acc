"""The reference is what the specs say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def made() -> str:
    """The page as the script prints it now."""
    return subprocess.run([sys.executable, str(DOCS / "reference.py")], capture_output=True, text=True, check=True).stdout


def test_the_reference_is_current(made: str) -> None:
    assert (DOCS / "reference.md").read_text() == made, "run `make reference`, and commit docs/reference.md"


def test_every_field_says_what_it_means(made: str) -> None:
    rows = [line.strip("| ").split(" | ") for line in made.splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert [row for row in rows if len(row) != 4 or not row[3].strip()] == []


def test_every_group_of_fields_that_is_linked_to_stands_on_the_page_once(made: str) -> None:
    headings = [h.lower().replace(" ", "-") for h in re.findall(r"^##+ (.+)$", made, re.M)]
    assert set(re.findall(r"\]\(#([^)]+)\)", made)) <= set(headings)
    assert len(set(headings)) == len(headings)
