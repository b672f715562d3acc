"""Manifests: what is read from them, what is made from their labels, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from radisim_cl.corpus.blobs import Blob
from radisim_cl.corpus.corpora import COLUMNS, DERIVED, Corpora, Corpus, matches, open_corpus
from radisim_cl.errors import InputError
from radisim_cl.runs.overlaps import Overlaps
from radisim_cl.specs.catalog import CatalogSpec, CorpusSpec, Shares

ROWS: dict[str, list[str | int | None]] = {
    "id": ["a", "b", "c", "d"], "image": ["i/a.png", "i/b.png", "i/c.png", "i/d.png"], "patient": [1, 1, 2, 10], "modality": ["CT", "MR", "CT", "DR"],
    "labels": ["mass@left-upper", "mass@left-upper|cyst@centre", None, "KL grade 2"], "caption": ["A mass, left.", 'Says "cyst".', None, " "],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A catalog's root with a folder for a corpus."""
    (tmp_path / "set").mkdir()
    return tmp_path


def write(root: Path, rows: dict[str, Any] | str | bytes, name: str = "manifest.csv") -> None:
    """A manifest of the corpus."""
    path = root / "set" / name
    if isinstance(rows, dict):
        frame = pd.DataFrame(rows)
        frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    else:
        path.write_bytes(rows.encode() if isinstance(rows, str) else rows)


def read(root: Path, manifest: str = "manifest.csv", name: str = "mine", version: str = "v1", **spec: Any) -> Corpus:
    """The corpus `mine`."""
    spec = {"splits": {"*": {"train": 1.0}}} | spec
    return open_corpus(CatalogSpec(name="toy", root=str(root), corpora={"mine": CorpusSpec(manifest=f"set/{manifest}", **spec)}), name, version)


def test_a_corpus_has_every_column_as_text(root: Path) -> None:
    write(root, ROWS)
    corpus = read(root, licence="CC0")
    assert set(corpus.frame.columns) == {*COLUMNS, *DERIVED}
    assert all(isinstance(v, str) for v in corpus.frame.to_numpy().ravel())
    assert corpus.frame["patient"].tolist() == ["1", "1", "2", "10"]
    assert set(corpus.frame["mask"]) == {""}
    assert corpus.frame["caption"].tolist()[1:3] == ['Says "cyst".', ""]
    assert corpus.image(1) == Blob(root / "set" / "i" / "b.png")
    assert corpus.licences == ["CC0"]


@pytest.mark.parametrize("rows", [
    pytest.param({k: ["" if x is None else x for x in v] for k, v in ROWS.items()}, id="every cell filled"),
    pytest.param(ROWS, id="cells missing"),
    pytest.param(ROWS | {"patient": [1, 1, None, 10]}, id="a whole number missing"),
])
def test_csv_and_parquet_are_read_alike(root: Path, rows: dict[str, Any]) -> None:
    write(root, {k: pd.array(v, dtype="Int64") if k == "patient" else v for k, v in rows.items()})
    write(root, {k: pd.array(v, dtype="Int64") if k == "patient" else v for k, v in rows.items()}, "manifest.parquet")
    pd.testing.assert_frame_equal(read(root).frame, read(root, "manifest.parquet").frame, check_dtype=False)


def test_the_digest_is_of_the_manifests_bytes(root: Path) -> None:
    write(root, ROWS)
    before = read(root).digest
    assert read(root, version="v2").digest == before
    write(root, ROWS | {"modality": ["CT", "MR", "CT", "CT"]})
    assert read(root).digest != before


def test_a_manifest_of_ids_and_images_is_enough(root: Path) -> None:
    write(root, {"id": ["007", "1e5", "NA"], "image": ["x", "y", "z"]})
    frame = read(root).frame
    assert frame["id"].tolist() == frame["patient"].tolist() == ["007", "1e5", "NA"]
    assert set(frame["label"]) == set(frame["licence"]) == {""}


def test_a_licence_of_the_manifest_stands_before_the_catalogs(root: Path) -> None:
    write(root, ROWS | {"licence": ["CC0", "CC-BY", "CC0", ""]})
    assert read(root, licence="MIT").licences == ["CC-BY", "CC0"]


@pytest.mark.parametrize(("labels", "label", "place"), [
    ("", "", ""), ("mass", "mass", ""), ("mass@left-upper", "mass", "left-upper"), ("mass|cyst", "mass and cyst", ""),
    ("mass@left-upper|cyst", "mass and cyst", ""), ("mass@left-upper|cyst@centre", "mass and cyst", ""), ("KL grade 2", "KL grade 2", ""),
])
def test_label_and_place_are_made_from_labels(root: Path, labels: str, label: str, place: str) -> None:
    write(root, ROWS | {"labels": labels})
    assert set(read(root).frame[["label", "place"]].itertuples(index=False, name=None)) == {(label, place)}


def test_columns_and_values_are_mapped_to_ours(root: Path) -> None:
    write(root, {"uid": ["a", "b"], "file": ["x", "y"], "finding": ["m@left", "ok"], "body": ["brain", "head"], "modality": ["CT", "MR"]})
    frame = read(root, columns={"id": "uid", "image": "file", "labels": "finding", "anatomy": "body"},
                 values={"anatomy": {"brain": "head"}, "labels": {"ok": "normal"}, "modality": {"CT": "MR", "MR": "CT"}}).frame
    assert frame["id"].tolist() == ["a", "b"]
    assert frame["anatomy"].tolist() == ["head", "head"]
    assert frame["label"].tolist() == ["m", "normal"]
    assert frame["modality"].tolist() == ["MR", "CT"]


def test_a_mapped_column_replaces_one_of_our_name(root: Path) -> None:
    write(root, ROWS | {"finding": ["x", "y", "z", "w"]})
    assert read(root, columns={"labels": "finding"}).frame["label"].tolist() == ["x", "y", "z", "w"]


def test_patients_are_found_in_longer_names_and_kept_together(root: Path) -> None:
    write(root, {"id": [f"{p:03d}_{copy}" for p in range(200) for copy in "abc"], "image": "x"})
    frame = read(root, patient=r"^(\d+)_", splits={"*": {"train": 0.5, "report": 0.5}}).frame
    assert set(frame["patient"]) == {f"{p:03d}" for p in range(200)}
    assert frame.groupby("patient")["split"].nunique().eq(1).all()
    assert set(frame["split"]) == {"train", "report"}


@pytest.mark.parametrize(("rows", "spec", "message"), [
    pytest.param({"id": ["1_a", "b"], "image": ["x", "y"]}, {"patient": r"^(\d+)_"}, r"manifest\.csv:3: .*does not match", id="no patient in an id"),
    pytest.param({"id": ["a", "b", "a"], "image": ["x", "y", "z"]}, {}, r"manifest\.csv:4: the id .* must be unique", id="duplicate id"),
    pytest.param({"id": ["a"], "img": ["x"]}, {}, r"no column 'image'; it has id, img\. Map it under 'columns'", id="no image column"),
    pytest.param({"uid": ["a"], "image": ["x"]}, {}, r"no column 'id'; it has uid, image", id="no id column"),
    pytest.param(ROWS, {"columns": {"labels": "finding"}}, r"'finding'", id="a mapped column that the file does not have"),
    pytest.param(ROWS, {"columns": {"lables": "labels"}}, r"'lables'.*'labels'", id="a mapping to a column that is not ours"),
    pytest.param(ROWS, {"values": {"modalty": {"CT": "MR"}}}, r"'modalty'.*'modality'", id="values of no column"),
    pytest.param("", {}, r"manifest\.csv.*empty", id="empty file"),
    pytest.param("id,image\na,x,y,z\nb,x\nc,x,y,z,w,v\n", {}, r"manifest\.csv", id="rows of different lengths"),
    pytest.param(b"id,image\n\xe9,x\n", {}, r"manifest\.csv.*UTF-8", id="not UTF-8"),
])
def test_a_manifest_that_cannot_be_used_is_refused_in_words(root: Path, rows: Any, spec: dict[str, Any], message: str) -> None:
    write(root, rows)
    with pytest.raises(InputError, match=message) as caught:
        read(root, **spec)
    assert caught.value.exit_code == 2


def test_a_parquet_file_that_is_none_is_refused_in_words(root: Path) -> None:
    write(root, "not parquet", "manifest.parquet")
    with pytest.raises(InputError, match=r"manifest\.parquet"):
        read(root, "manifest.parquet")


def test_an_unknown_corpus_a_missing_manifest_and_a_missing_root_are_named(root: Path) -> None:
    write(root, ROWS)
    with pytest.raises(InputError, match=r"unknown source 'mime' in catalog 'toy'\. Did you mean 'mine'\? Known: mine\."):
        read(root, name="mime")
    with pytest.raises(InputError, match=r"corpus 'mine': no manifest .*set/other\.csv"):
        read(root, "other.csv")
    with pytest.raises(InputError, match=r"catalog 'toy': root .*nowhere is not a folder"):
        read(root / "nowhere")


@pytest.mark.parametrize(("where", "kept"), [
    ({}, "abcd"), ({"modality": "CT"}, "ac"), ({"modality": ["CT", "DR"]}, "acd"), ({"modality": "CT", "patient": "1"}, "a"),
    ({"modality": "PET"}, ""), ({"label": "mass and cyst"}, "b"), ({"labels": ""}, "c"),
])
def test_a_filter_keeps_rows_that_have_the_values_in_every_column(root: Path, where: dict[str, Any], kept: str) -> None:
    write(root, ROWS)
    frame = read(root).frame
    assert "".join(frame.loc[matches(frame, where), "id"]) == kept


def test_a_filter_on_no_column_names_the_nearest(root: Path) -> None:
    write(root, ROWS)
    with pytest.raises(InputError, match=r"no column 'modalty'\. Did you mean 'modality'\?"):
        matches(read(root).frame, {"modalty": "CT"})


Cross = Callable[[Shares, Shares], dict[tuple[str, str], int]]


@pytest.fixture
def cross(root: Path) -> Cross:
    """Patients who cross between two corpora of 100 patients each, half of them the same, cut by these shares."""
    for name, first in (("one", 0), ("two", 50)):
        (root / f"{name}.csv").write_text("id,image\n" + "".join(f"p{i},x\n" for i in range(first, first + 100)))

    def crossing(one: Shares, two: Shares) -> dict[tuple[str, str], int]:
        specs = {n: CorpusSpec(manifest=f"{n}.csv", splits={"*": s}) for n, s in (("one", one), ("two", two))}
        corpora = Corpora(CatalogSpec(name="toy", root=str(root), corpora=specs), "v1")
        asked = [corpora[n].frame.assign(source=n, row=corpora[n].frame.index) for n in specs]
        return {(o.source, o.held): o.patients for o in (found.counted() for found in Overlaps(corpora, asked).by_patient(specs))}

    return crossing


def test_patients_of_two_corpora_cross_only_where_the_cuts_differ(cross: Cross) -> None:
    assert cross({"train": 0.5, "gate": 0.5}, {"train": 0.5, "gate": 0.5}) == {}
    assert cross({"train": 1.0}, {"report": 1.0}) == {("one", "two"): 50}
    assert cross({"gate": 1.0}, {"train": 1.0}) == {("two", "one"): 50}


def test_masks_and_what_their_values_mean(root: Path) -> None:
    write(root, ROWS | {"mask": ["m/a.png", None, "", "m/d.png"]})
    corpus = read(root, structures={"1": "liver", "7": "left kidney"})
    assert [corpus.mask(row) for row in range(4)] == [Blob(corpus.folder / "m/a.png"), None, None, Blob(corpus.folder / "m/d.png")]
    assert corpus.structures == {1: "liver", 7: "left kidney"}
    assert not read(root).structures
