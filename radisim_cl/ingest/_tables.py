"""Tables, JSON and file lists that come with images; what is wrong in them is said with file and line."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from radisim_cl.corpus.corpora import COLUMNS, read_manifest
from radisim_cl.errors import InputError
from radisim_cl.registry import hint

Row = dict[str, str]
_MOST = 2**30
"""Bytes that a table may hold when it is unpacked; those that come with images have a tenth of it."""


@dataclass(frozen=True)
class Table:
    """What is known of files beforehand: a table with a column `path`, relative to the folder, and columns of a manifest."""

    rows: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, path: Path, columns: Mapping[str, str], where: Mapping[str, Sequence[str]]) -> Table:
        """
        Args:
            path: of the CSV, TSV, JSONL or Parquet file.
            columns: our column name, or `path`, to the file's, where they differ.
            where: by column of the file, the values that are wanted.

        Raises:
            InputError: it cannot be read, or lacks a column.
        """
        columns = {"path": "path", **columns}
        found = frame(path, [*columns.values(), *where])
        for name in columns:
            if name not in (*COLUMNS, "path"):
                raise InputError(f"--column {name}={columns[name]}: {name!r} is no column of a manifest. {hint(name, COLUMNS)}")
        for name, values in where.items():
            found = found[found[name].isin(values)]
        if twice := int(found[columns["path"]].duplicated().sum()):
            raise InputError(f"{path}: {twice} rows name a file that an earlier row names too; a file has one row")
        ours = {**{c: c for c in COLUMNS if c in found}, **columns}
        return cls({row[columns["path"]]: {c: row[theirs] for c, theirs in ours.items() if c != "path"} for row in found.to_dict("records")})


class Files:
    """The files of a folder, by where a table says they are: only what was listed is ever opened."""

    def __init__(self, files: Iterable[Path], folder: Path) -> None:
        self.folder = folder
        self.by_path = {f.relative_to(folder).as_posix(): f for f in files}
        self.by_name = {f.name: f for f in self.by_path.values()}

    def at(self, path: str) -> Path | None:
        """A file by its path, which may begin with the folders that the folder lies in."""
        while path not in self.by_path and "/" in path:
            path = path.partition("/")[2]
        return self.by_path.get(path)

    def under(self, home: Path, path: str) -> Path | None:
        """A file by its path from a folder in this one."""
        return self.by_path.get(f"{home.relative_to(self.folder).as_posix()}/{path}".removeprefix("./"))

    def named(self, name: str) -> Path | None:
        """A file by its name alone, wherever it is."""
        return self.by_name.get(name)


def the(folder: Path, *names: str) -> Path:
    """The file of a folder, or of one below it, that has one of these names.

    Raises:
        InputError: none has.
    """
    for name in names:
        if found := sorted([*folder.glob(name), *folder.glob(f"*/{name}")]):
            return found[0]
    raise InputError(f"{folder}: no file {' or '.join(names)}; give the folder that holds it")


def frame(path: Path, columns: Iterable[str] = (), separator: str = ",") -> pd.DataFrame:
    """All cells of a table as text, "" where there is nothing. CSV (also `.csv.gz`), TSV, JSONL, Parquet, or the first sheet of an `.xlsx`.

    Raises:
        InputError: it cannot be read, or lacks a column.
    """
    ending = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    _fits(path)
    if ending in ("jsonl", "ndjson"):
        found = pd.DataFrame([{k: _cell(v) for k, v in row.items()} for _, row in jsonl(path)]).fillna("")
    elif ending == "xlsx":
        try:
            found = pd.read_excel(path, dtype=str, keep_default_na=False, engine="openpyxl").rename(columns=str)
        except Exception as e:  # the library raises what it likes at bytes that it did not expect
            raise InputError(f"{path}: cannot be read as a sheet; save it anew as .xlsx") from e
    else:
        found = read_manifest(path, "\t" if ending == "tsv" else separator)
    for name in columns:
        if name not in found:
            raise InputError(f"{path}: no column {name!r}. {hint(name, map(str, found.columns))}")
    return found


def _fits(path: Path) -> None:
    """A packed table is not read where it holds too much: a kilobyte can hold a megabyte of blanks."""
    holds = 0
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as f:
                while holds <= _MOST and (some := len(f.read(2**20))):
                    holds += some
        elif path.suffix == ".xlsx":
            with zipfile.ZipFile(path) as packed:
                holds = sum(member.file_size for member in packed.infolist())
    except Exception as e:  # the libraries raise what they like at bytes that they did not expect
        raise InputError(f"{path}: cannot be unpacked: {_short(e)}; copy it anew") from None
    if holds > _MOST:
        raise InputError(f"{path}: holds more than {_MOST / 2**30:g} GiB when it is unpacked; keep the rows that are wanted")


def rows(path: Path, columns: Iterable[str] = (), separator: str = ",") -> list[Row]:
    """The rows of a table; errors as in `frame`."""
    out: list[Row] = frame(path, columns, separator).to_dict("records")  # type: ignore[assignment]
    return out


def jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Lines, from 1, and their objects.

    Raises:
        InputError: not UTF-8, or a line that is no JSON object.
    """
    line = 0
    try:
        with path.open(encoding="utf-8") as f:
            for line, text in enumerate(f, 1):
                if text.strip():
                    yield line, _object(json.loads(text), f"{path}:{line}")
    except (OSError, ValueError, RecursionError) as e:
        raise InputError(f"{path}:{line}: no JSON in UTF-8: {_short(e)}") from None


def objects(path: Path, key: str = "") -> list[dict[str, Any]]:
    """The objects of a JSON file that is a list of them, or an object with the list under `key`.

    Raises:
        InputError: it is no such file.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as e:
        raise InputError(f"{path}: no JSON in UTF-8: {_short(e)}") from None
    found = found.get(key, [found]) if isinstance(found, dict) else found
    if not isinstance(found, list):
        raise InputError(f"{path}: must be a list of objects, not {type(found).__name__}")
    return [_object(one, f"{path}[{i}]") for i, one in enumerate(found)]


def text(found: Mapping[str, Any], *keys: str) -> str:
    """What an object says under the first of the keys that it has, as one line; "" where it is no text or number."""
    value = next((found[k] for k in keys if found.get(k) not in (None, "")), "")
    return " ".join(str(value).split()) if isinstance(value, str | int | float) else ""


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where}: must be an object with fields, not {type(value).__name__}")
    return value


def _cell(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _short(e: BaseException) -> str:
    return (str(e).splitlines() or [type(e).__name__])[0]
