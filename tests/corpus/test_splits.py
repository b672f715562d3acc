"""Splits: by patient, the same in every corpus, stable when data are added, and official where the set has its own."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radisim_cl.corpus.splits import cut, positions
from radisim_cl.errors import InputError
from radisim_cl.specs.catalog import SPLITS, Shares

SHARES: Shares = {"train": 0.5, "tune": 0.1, "gate": 0.25, "report": 0.15}
MANY = [f"patient {i}" for i in range(4000)]

patients = st.lists(st.text(max_size=4), min_size=1, max_size=40)
versions = st.text(min_size=1, max_size=5)
shares = st.lists(st.integers(0, 5), min_size=4, max_size=4).filter(any).map(lambda n: {s: k / sum(n) for s, k in zip(SPLITS, n, strict=True)})


def rows(ids: list[str], own: list[str] | str = "") -> pd.DataFrame:
    """A manifest with one row for each patient given."""
    return pd.DataFrame({"patient": ids, "split": own})


def of_patient(ids: list[str], parts: Shares, version: str = "v1") -> dict[str, str]:
    """The split of each patient, asserted to be one."""
    frame = rows(ids)
    found = frame.assign(split=cut(frame, {"*": parts}, version, "c")).groupby("patient")["split"].agg(set)
    assert all(len(s) == 1 for s in found)
    return {str(p): next(iter(s)) for p, s in found.items()}


@settings(max_examples=40, database=None)
@given(patients, shares, versions)
def test_a_patient_is_in_one_split_and_every_split_has_a_share(ids: list[str], parts: Shares, version: str) -> None:
    found = of_patient(ids, parts, version)
    assert found.keys() == set(ids)
    assert all(parts[s] > 0 for s in found.values())  # type: ignore[index]


@settings(max_examples=40, database=None)
@given(patients, patients, shares, versions)
def test_adding_patients_moves_nobody_in_any_corpus(ids: list[str], others: list[str], parts: Shares, version: str) -> None:
    before = of_patient(ids, parts, version)
    assert of_patient([*reversed(others), *reversed(ids)], parts, version).items() >= before.items()


def test_a_patient_falls_at_the_same_place_whatever_the_shares() -> None:
    """Who trains with a smaller share also trains with a larger one, so corpora cut differently leak as little as they can."""
    small = of_patient(MANY, {"train": 0.3, "report": 0.7})
    large = of_patient(MANY, {"train": 0.6, "report": 0.4})
    assert {p for p, s in small.items() if s == "train"} < {p for p, s in large.items() if s == "train"}


def test_shares_are_kept_within_chance() -> None:
    found = pd.Series(of_patient(MANY, SHARES)).value_counts(normalize=True)
    for split, share in SHARES.items():
        assert found[split] == pytest.approx(share, abs=4 * (share * (1 - share) / len(MANY)) ** 0.5)


def test_another_version_cuts_differently_and_the_same_one_alike() -> None:
    one, other = of_patient(MANY, SHARES, "v1"), of_patient(MANY, SHARES, "v2")
    assert one == of_patient(MANY, SHARES, "v1")
    stayed = sum(one[p] == other[p] for p in MANY) / len(MANY)
    assert stayed == pytest.approx(sum(s * s for s in SHARES.values()), abs=0.04)


def test_where_a_patient_falls_is_fixed_for_good() -> None:
    """Published splits must not move with a new release of the package."""
    assert positions("toy-1", [f"patient{i:03d}" for i in range(3)]).round(6).tolist() == [0.493128, 0.424373, 0.980584]


def test_the_sets_own_splits_are_honoured_and_only_the_rest_is_cut() -> None:
    own = [("train", "val", "test", "")[i % 4] for i in range(len(MANY))]
    frame = rows(MANY, own)
    found = cut(frame, {"train": {"train": 1.0}, "test": {"report": 1.0}, "*": {"tune": 0.5, "gate": 0.5}}, "v1", "c")
    assert set(found[frame["split"] == "train"]) == {"train"}
    assert set(found[frame["split"] == "test"]) == {"report"}
    assert set(found[frame["split"].isin(["val", ""])]) == {"tune", "gate"}


def test_a_patient_in_two_of_the_sets_own_splits_is_refused() -> None:
    frame = rows(["a", "b", "a", "c", "c"], ["train", "train", "test", "test", "train"])
    with pytest.raises(InputError, match=r"corpus mine: 2 patients stand in more than one .* correct the manifest") as caught:
        cut(frame, {"train": {"train": 1.0}, "test": {"report": 1.0}}, "v1", "mine")
    assert caught.value.exit_code == 2


def test_own_splits_that_the_catalog_does_not_name_do_not_matter() -> None:
    found = cut(rows(["a", "a"], ["train", "test"]), {"*": SHARES}, "v1", "c")
    assert found.nunique() == 1


def test_an_own_split_without_shares_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"corpus mine: split 'val' .* name it or add '\*'"):
        cut(rows(["a", "b"], ["train", "val"]), {"train": {"train": 1.0}}, "v1", "mine")
