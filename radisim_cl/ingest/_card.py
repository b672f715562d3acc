"""The end of an ingestion: a manifest of all that was written, and the card that says what it is. Rows wait on disk, not in memory."""

from __future__ import annotations

import collections
import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from radisim_cl.corpus.corpora import COLUMNS
from radisim_cl.errors import InputError
from radisim_cl.files import write_atomic
from radisim_cl.ingest import _checks
from radisim_cl.ingest._checks import Checks, between, within
from radisim_cl.ingest._protocol import About, Settings

EXTRA = ("window",)
"""Columns of a manifest beside those that are read: how grey values were made."""
_CELLS = tuple(dict.fromkeys((*COLUMNS, *EXTRA, *_checks.COLUMNS)))
_ROWS = 10_000
"""Of a table that are in memory at a time."""


def finish(out: Path, parts: Sequence[Path], layout: str, settings: Settings, about: About, unwanted: Mapping[str, int], records: int,
           most_unusable: float, known: Sequence[Path], progress: Callable[[str, int, int], None]) -> dict[str, object]:
    """Writes `manifest.parquet`, `checks.parquet` and `card.yaml` of what the parts say.

    Args:
        out: of the corpus.
        parts: files that say what became of some records each.
        layout: that was read.
        settings: how pictures were made.
        about: the set.
        unwanted: by reason, records that were not read.
        records: that were.
        most_unusable: share of them that may be left out.
        known: other corpora; what they share with this one is counted.
        progress: called with what is being done, how many are done, and of how many.

    Returns:
        The card.

    Raises:
        InputError: more than that were.
    """
    with closing(_database(out / "parts" / "pictures.sqlite")) as db:
        reasons, unwanted = collections.Counter[str](), collections.Counter(unwanted)
        for done, file in enumerate(parts, 1):
            part = json.loads(file.read_text())
            reasons.update(part["left out"])
            unwanted.update(part["not wanted"])
            db.executemany(f"INSERT INTO pictures VALUES ({','.join('?' * len(_CELLS))})",
                           ([row.get(c) or "" for c in _CELLS] for row in part["rows"]))
            progress("the manifest", done, len(parts))
        if reasons.total() > most_unusable * records:
            each = "; ".join(f"{n} x {reason}" for reason, n in reasons.most_common(8))
            raise InputError(f"{reasons.total()} of {records} records cannot be used ({each}), and {most_unusable:.1%} may be left out; "
                             "take them out of the table, or allow more with --most-unusable")
        db.execute("CREATE INDEX by_id ON pictures (id)")
        for name, columns in (("checks", _checks.COLUMNS), ("manifest", (*COLUMNS, *EXTRA))):
            _parquet(out / f"{name}.parquet", db, columns)
        ours = Checks.of(out)
        card: dict[str, object] = {
            "name": out.name, **{k: v for k, v in (("title", about.title), ("url", about.url), ("agreement", about.agreement)) if v},
            "licences": sorted(_count(db, "licence")), "layout": layout, "settings": asdict(settings), "records": records,
            "left_out": dict(reasons), "not_wanted": dict(unwanted), **_counts(db), "duplicates": within(ours, progress),
            **({"shared_with": {folder.name: between(ours, Checks.of(folder), progress) for folder in known}} if known else {}),
            "ids": "hashed with the site's secret; captions and labels are as the files gave them", "catalog": _entry(out.name, about),
        }
    write_atomic(out / "card.yaml", yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=120))
    return card


def _database(file: Path) -> sqlite3.Connection:
    """An empty table of pictures, on disk; of no worth after a crash, and so not kept safe from one."""
    file.unlink(missing_ok=True)
    db = sqlite3.connect(file, isolation_level=None)
    db.execute("PRAGMA journal_mode = OFF")
    db.execute("PRAGMA synchronous = OFF")
    db.execute(f"CREATE TABLE pictures ({', '.join(_CELLS)})")
    return db


def _parquet(file: Path, db: sqlite3.Connection, columns: Iterable[str]) -> None:
    """Writes columns of all pictures, by id; whole or not at all."""
    temporary = file.with_name(f".{file.name}.tmp")
    schema = pa.schema([(c, pa.string()) for c in columns])
    rows = db.execute(f"SELECT {', '.join(schema.names)} FROM pictures INDEXED BY by_id ORDER BY id")
    with pq.ParquetWriter(temporary, schema) as writer:
        while some := rows.fetchmany(_ROWS):
            writer.write_table(pa.table(list(zip(*some, strict=True)), schema=schema))
    temporary.replace(file)


def _count(db: sqlite3.Connection, what: str) -> dict[str, int]:
    """How many pictures have each value of a column or expression, the most frequent first."""
    return dict(db.execute(f"SELECT {what}, COUNT(*) FROM pictures WHERE {what} <> '' GROUP BY 1 ORDER BY 2 DESC, 1"))


def _counts(db: sqlite3.Connection) -> dict[str, object]:
    found, = db.execute("SELECT COUNT(DISTINCT patient), COUNT(*), TOTAL(caption <> ''), TOTAL(mask <> '') FROM pictures")
    return {**{name: int(n) for name, n in zip(("patients", "pairs", "captions", "masks"), found, strict=True)},
            **{f"by_{column}": _count(db, column) for column in ("modality", "level", "split")},
            "windows": _count(db, "substr(window, 1, instr(window || ':', ':') - 1)"), "text_in_pixels": _count(db, "text")}


def _entry(name: str, about: About) -> dict[str, object]:
    """What a catalog says of the corpus, whose root is the folder that it lies in."""
    found: dict[str, object] = {"manifest": f"{name}/manifest.parquet"}
    if about.structures:
        found["structures"] = dict(about.structures)
    for field, told in (("splits", about.splits), ("values", about.values)):
        if told:
            found[field] = {k: dict(v) for k, v in told.items()}
    if about.splits.get("test") == {"report": 1.0}:
        found["official_split"] = True
    return found
