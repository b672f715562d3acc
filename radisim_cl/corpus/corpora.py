"""Corpora on disk: a manifest with one row a pair, and images beside it."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from radisim_cl.corpus.blobs import Blob
from radisim_cl.corpus.splits import cut
from radisim_cl.errors import InputError
from radisim_cl.files import sha256
from radisim_cl.registry import hint
from radisim_cl.specs.catalog import CatalogSpec

COLUMNS = ("id", "patient", "study", "image", "caption", "modality", "anatomy", "plane", "level", "split", "labels", "mask", "licence")
"""A manifest's columns. `id` and `image` are required; `patient` defaults to `id`. `labels` are `name[@place]`, joined by `|`. `image` and `mask`
are paths, or `shard.tar:offset:length`."""
DERIVED = ("label", "place")
"""Made from `labels`: the names joined by " and "; the place, where there is exactly one label with a place."""


@dataclass(frozen=True)
class Corpus:
    """A data set with its splits cut.

    Attributes:
        name: as in the catalog.
        frame: one row a pair: COLUMNS and DERIVED as strings, "" where missing; `split` is train, tune, gate or report.
        folder: images, masks and shards are named relative to it.
        digest: SHA-256 of the manifest.
        structures: by pixel value of the masks, the structure.
    """

    name: str
    frame: pd.DataFrame
    folder: Path
    digest: str
    structures: Mapping[int, str]

    def image(self, row: int) -> Blob:
        """Where a row's image is."""
        return Blob.of(self.folder, str(self._cells["image"][row]))

    def mask(self, row: int) -> Blob | None:
        """Where a row's mask is: an 8-bit label map of the image's own size; None where it has none."""
        name = str(self._cells["mask"][row])
        return Blob.of(self.folder, name) if name else None

    def record(self, row: int) -> dict[str, str]:
        """A row of the manifest."""
        return {column: cells[row].as_py() for column, cells in self._cells.items()}

    @functools.cached_property
    def _cells(self) -> dict[str, pa.StringArray]:
        """By column: a cell of an Arrow array is had in a tenth of the time that a row of a frame takes."""
        return {str(name): pa.array(column, pa.large_string()) for name, column in self.frame.items()}

    @property
    def licences(self) -> list[str]:
        """Licences of its pairs."""
        return sorted(set(self.frame["licence"]) - {""})


def open_corpus(catalog: CatalogSpec, name: str, version: str) -> Corpus:
    """Reads a manifest and cuts its splits for a benchmark version.

    Raises:
        InputError: unknown corpus, missing root or manifest, missing columns, duplicate ids.
    """
    path = manifest(catalog, name)
    spec, frame = catalog.corpora[name], read_manifest(path)
    if unknown := [c for c in (*spec.columns, *spec.values) if c not in COLUMNS]:
        raise InputError(f"corpus {name!r}: {unknown[0]!r} under 'columns' or 'values' of the catalog is no column of a manifest. "
                         f"{hint(unknown[0], COLUMNS)}")
    if lacking := [theirs for theirs in spec.columns.values() if theirs not in frame]:
        raise InputError(f"{path}: no column {lacking[0]!r}, which the catalog maps. {hint(lacking[0], frame.columns)}")
    replaced = [ours for ours, theirs in spec.columns.items() if ours in frame and ours not in spec.columns.values()]
    frame = frame.drop(columns=replaced).rename(columns={theirs: ours for ours, theirs in spec.columns.items()})
    if absent := [c for c in ("id", "image") if c not in frame]:
        raise InputError(f"{path}: no column {absent[0]!r}; it has {', '.join(frame.columns)}. Map it under 'columns' in the catalog")
    if frame["id"].duplicated().any():
        twice = frame.index[frame["id"].duplicated()][0]
        raise InputError(f"{path}:{twice + 2}: the id of this row stands on an earlier row too; ids must be unique")
    for column in (c for c in COLUMNS if c not in frame):
        frame[column] = frame["id"] if column == "patient" else spec.licence if column == "licence" else ""
    frame = frame[list(COLUMNS)]
    frame["patient"] = frame["patient"].where(frame["patient"].str.strip() != "", frame["id"])
    if spec.patient is not None:
        found = frame["patient"].str.extract(spec.patient, expand=False)
        if found.isna().any():
            line = int(found.isna().to_numpy().argmax()) + 2
            raise InputError(f"{path}:{line}: the catalog's pattern {spec.patient!r} does not match this row's patient; widen it")
        frame["patient"] = found
    for column, values in spec.values.items():
        frame[column] = frame[column].replace(values)
    frame["label"] = _each(frame["labels"], _label)
    frame["place"] = _each(frame["labels"], _place)
    frame["split"] = cut(frame, spec.splits, version, name)
    if spec.patient_ids:
        frame["patient"] = f"{spec.patient_ids}/" + frame["patient"]
    return Corpus(name, frame, path.parent, sha256(path), spec.structures)


def manifest(catalog: CatalogSpec, name: str) -> Path:
    """Where a corpus's manifest is.

    Raises:
        InputError: unknown corpus, missing root or manifest.
    """
    if name not in catalog.corpora:
        raise InputError(f"unknown source {name!r} in catalog {catalog.name!r}. {hint(name, catalog.corpora)}")
    if not Path(catalog.root).is_dir():
        raise InputError(f"catalog {catalog.name!r}: root {catalog.root} is not a folder")
    path = Path(catalog.root) / catalog.corpora[name].manifest
    if not path.is_file():
        raise InputError(f"corpus {name!r}: no manifest {path}")
    return path


def read_manifest(path: Path, separator: str = ",") -> pd.DataFrame:
    """All cells as text, "" where there is nothing, the same from CSV and from Parquet.

    Raises:
        InputError: it is not a table of either kind.
    """
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path).apply(_text)
        return pd.read_csv(path, dtype=str, keep_default_na=False, sep=separator)
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: is empty; a manifest has a line of column names and one line a pair") from None
    except UnicodeDecodeError as e:
        raise InputError(f"{path}: not UTF-8 (byte {e.start}); save it as UTF-8") from None
    except (ValueError, OSError, EOFError, zlib.error) as e:  # pandas' and Arrow's parsing errors are ValueErrors; the others are of .gz
        raise InputError(f"{path}: cannot be read as a table: {str(e).splitlines()[0]}") from None


def _text(column: pd.Series[Any]) -> pd.Series[str]:
    return column.fillna("") if column.dtype == "str" else column.convert_dtypes().astype("string").fillna("").astype("str")


def _each(column: pd.Series[str], change: Callable[[str], str]) -> pd.Series[str]:
    """A function of the cells, called once for each value."""
    codes, values = pd.factorize(column)
    return pd.Series(pd.array([change(v) for v in values], dtype="str").take(codes), index=column.index)


def _label(labels: str) -> str:
    return " and ".join(part.partition("@")[0] for part in labels.split("|")) if labels else ""


def _place(labels: str) -> str:
    return labels.partition("@")[2] if "|" not in labels else ""


def matches(frame: pd.DataFrame, where: Mapping[str, str | list[str]]) -> pd.Series[bool]:
    """Rows whose columns have the values asked for.

    Raises:
        InputError: no such column.
    """
    out = pd.Series(True, index=frame.index)
    for column, wanted in where.items():
        if column not in frame:
            raise InputError(f"no column {column!r}. {hint(column, frame.columns)}")
        out &= frame[column].isin([wanted] if isinstance(wanted, str) else wanted)
    return out


class Corpora:
    """The corpora of a catalog, each read once."""

    def __init__(self, catalog: CatalogSpec, version: str) -> None:
        self.catalog = catalog
        self.open = functools.cache(lambda name: open_corpus(catalog, name, version))

    def __getitem__(self, name: str) -> Corpus:
        return self.open(name)
