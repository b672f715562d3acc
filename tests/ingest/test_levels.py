"""The stage of a caption: the rules against two readers of real captions.

`level_audit.csv` holds, of every caption of the open sample, the first digits of its SHA-256 and what two readers said who knew the levels' meaning,
but neither the rules nor each other's answers. They read carefully and are no radiologists.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest
from conftest import REAL, real
from sklearn.metrics import cohen_kappa_score

from radisim_cl.files import sha256_text
from radisim_cl.ingest._levels import level

READERS = ("first_reader", "second_reader")
AUDIT = pd.read_csv(Path(__file__).with_name("level_audit.csv"))


def agreement(ours: list[str], theirs: list[str]) -> tuple[int, float]:
    """Captions of one level, and Cohen's kappa."""
    return sum(a == b for a, b in zip(ours, theirs, strict=True)), float(cohen_kappa_score(ours, theirs))


def test_two_readers_agree_on_what_the_levels_mean() -> None:
    same, kappa = agreement(*(AUDIT[reader].tolist() for reader in READERS))
    assert (same, len(AUDIT)) == (232, 236)
    assert kappa == pytest.approx(0.94, abs=0.005)


@real
def test_the_rules_agree_with_readers_as_the_docs_say() -> None:
    """docs/ingest.md has these figures."""
    captions = {row["caption"] for file in Path(str(REAL)).glob("*/manifest.csv") for row in csv.DictReader(file.open()) if row["caption"]}
    ours = {sha256_text(caption)[:16]: level(caption) or "none" for caption in captions}
    assert set(ours) == set(AUDIT["caption_sha256"])
    found = [agreement([ours[key] for key in AUDIT["caption_sha256"]], AUDIT[reader].tolist()) for reader in READERS]
    assert [same for same, _ in found] == [225, 223]
    assert [kappa for _, kappa in found] == pytest.approx([0.83, 0.80], abs=0.005)
