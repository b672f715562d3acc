"""From records to a corpus on disk: ids hashed, images written once, what cannot be read counted."""

from __future__ import annotations

import collections
import hmac
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import yaml
from PIL import Image

from radisim_cl.corpus.corpora import COLUMNS
from radisim_cl.errors import InputError
from radisim_cl.files import sha256_text, write_atomic
from radisim_cl.ingest._protocol import Record, Settings, UnusableError
from radisim_cl.registry import hint, plugin

EXTRA = ("window",)
"""Columns of a manifest beside those that are read: how grey values were made."""
Row = dict[str, str]


@dataclass(frozen=True)
class Site:
    """Who ingests: what is kept secret, and what counts as one patient.

    Attributes:
        salt: of the site; ids cannot be guessed without it, and are the same in all corpora that were made with it.
        patient: regular expression whose first group, in the native patient id, is the patient; empty: all of it.
    """

    salt: str
    patient: str = ""

    def pseudonym(self, kind: str, native: str) -> str:
        """20 hexadecimal digits of HMAC-SHA256."""
        return hmac.new(self.salt.encode(), f"{kind}\0{native}".encode(), "sha256").hexdigest()[:20]

    def patient_of(self, native: str) -> str:
        """What counts as the patient; empty where the pattern does not match."""
        if not self.patient:
            return native
        found = re.search(self.patient, native)
        return found.group(1) or "" if found else ""


@dataclass(frozen=True)
class Table:
    """What is known of files beforehand: a CSV with a column `path`, relative to the folder, and columns of a manifest."""

    rows: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, path: Path, columns: Mapping[str, str], where: Mapping[str, Sequence[str]]) -> Table:
        """
        Args:
            path: of the CSV.
            columns: our column name to the file's, where they differ.
            where: by column of the file, the values that are wanted.

        Raises:
            InputError: it cannot be read, or lacks a column.
        """
        try:
            frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        except (OSError, ValueError) as e:
            raise InputError(f"{path}: cannot be read as a table: {str(e).splitlines()[0]}") from None
        for name in ("path", *columns.values(), *where):
            if name not in frame:
                raise InputError(f"{path}: no column {name!r}. {hint(name, frame.columns)}")
        for name in columns:
            if name not in COLUMNS:
                raise InputError(f"--column {name}={columns[name]}: {name!r} is no column of a manifest. {hint(name, COLUMNS)}")
        for name, values in where.items():
            frame = frame[frame[name].isin(values)]
        if twice := int(frame["path"].duplicated().sum()):
            raise InputError(f"{path}: {twice} rows name a file that an earlier row names too; a file has one row")
        ours = {**{c: c for c in COLUMNS if c in frame}, **columns}
        return cls({row["path"]: {c: row[theirs] for c, theirs in ours.items()} for row in frame.to_dict("records")})


@dataclass(frozen=True)
class _Task:
    layout: str
    record: Record
    settings: Settings
    site: Site
    out: Path

    @property
    def study(self) -> str:
        return self.site.pseudonym("study", self.record.key)

    @property
    def part(self) -> Path:
        return self.out / "parts" / f"{self.study}.json"


def ingest(layout: str, folder: Path, out: Path, settings: Settings, site: Site, table: Table | None = None, licence: str = "",
           most_unusable: float = 0.05, jobs: int = 1, progress: Callable[[str, int, int], None] = lambda what, done, of: None) -> dict[str, object]:
    """Makes a corpus: `images/`, `masks/`, `manifest.parquet`, `card.yaml`. Killed and called again, it goes on where it was.

    Args:
        layout: a module of this package.
        folder: where the files are.
        out: where the corpus will be.
        settings: how pictures are made.
        site: whose secret hashes the ids.
        table: of the files that are wanted and what is known of them; None: all files whose names end as the layout's do.
        licence: where the table has none.
        most_unusable: share of the records that may be left out, 0 to 1.
        jobs: processes; the corpus does not depend on it.
        progress: called with what is being done, how many are done, and of how many.

    Returns:
        The card.

    Raises:
        InputError: nothing there, `out` in `folder`, another ingestion's remains in `out`, or too much that cannot be read.
    """
    module = plugin("radisim_cl.ingest", layout)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    if out.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"--out {out} lies in {folder}, which would then hold its own copies; write it elsewhere")
    records = list(_known(module.records(_files(folder, table, module.ENDINGS), folder), folder, table, licence))
    if not records:
        raise InputError(f"{folder}: no file that ends in {' or '.join(e for e in module.ENDINGS if e)}" + (" and is in the table" if table else ""))
    if unmatched := sum(not site.patient_of(r.patient) for r in records):
        raise InputError(f"--patient {site.patient}: does not match {unmatched} of {len(records)} patients; widen it")
    _same(out, {"layout": layout, "settings": asdict(settings), "patient": site.patient, "salt": site.pseudonym("salt", ""),
                "facts": sha256_text(json.dumps([(site.pseudonym("study", r.key), dict(r.facts)) for r in records]))})
    if (out / "card.yaml").is_file():
        return dict(yaml.safe_load((out / "card.yaml").read_text()))
    for name in ("images", "masks", "parts"):
        (out / name).mkdir(parents=True, exist_ok=True)
    tasks = [_Task(layout, r, settings, site, out) for r in records]
    if len({t.study for t in tasks}) < len(tasks):
        raise InputError("two records have one key; series numbers or file names must be unique")
    open_ = [t for t in tasks if not t.part.is_file()]
    for done, _ in enumerate(_each(open_, jobs), len(tasks) - len(open_) + 1):
        progress("records", done, len(tasks))
    return _finish(tasks, out, most_unusable)


def _files(folder: Path, table: Table | None, endings: Sequence[str]) -> list[Path]:
    if table is None:
        return sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")
                      and any(p.name.lower().endswith(e) if e else not p.suffix for e in endings))
    if gone := [name for name in table.rows if not (folder / name).is_file()]:
        raise InputError(f"{len(gone)} of {len(table.rows)} files of the table are not under {folder}")
    return [folder / name for name in sorted(table.rows)]


def _known(records: Iterator[Record], folder: Path, table: Table | None, licence: str) -> Iterator[Record]:
    """With what the table says: of a series, what it says of the first file."""
    for record in records:
        facts = dict(table.rows[record.files[0].relative_to(folder).as_posix()]) if table else {}
        facts["licence"] = facts.get("licence") or licence
        mask, patient = facts.pop("mask", ""), facts.pop("patient", "")
        yield replace(record, facts=facts, mask=folder / mask if mask else None, patient=patient or record.patient)


def _same(out: Path, asked: dict[str, object]) -> None:
    """What lies in `out` was begun with the same settings."""
    path, text = out / "ingest.json", json.dumps(asked, indent=1)
    if path.is_file() and path.read_text() != text:
        raise InputError(f"{out} was begun with other settings or files; give another --out, or delete it")
    if not path.is_file() and out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out} is not empty and no corpus of this command; give another --out")
    write_atomic(path, text)


def _each(tasks: Sequence[_Task], jobs: int) -> Iterator[None]:
    if jobs == 1:
        yield from map(_one, tasks)
    else:
        with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
            yield from pool.map(_one, tasks, chunksize=4)


def _one(task: _Task) -> None:
    """Writes a record's images, then what became of it."""
    rows, reason = list[Row](), ""
    try:
        for k, picture in enumerate(plugin("radisim_cl.ingest", task.layout).pictures(task.record, task.settings)):
            name = f"{task.study}-{k:02d}"
            Image.fromarray(picture.pixels).save(task.out / "images" / f"{name}.png")
            row = {**picture.facts, **{c: v for c, v in task.record.facts.items() if v}, "id": name, "study": task.study,
                   "patient": task.site.pseudonym("patient", task.site.patient_of(task.record.patient)), "image": f"images/{name}.png",
                   "plane": picture.plane, "window": picture.window}
            if picture.mask is not None:
                Image.fromarray(picture.mask).save(task.out / "masks" / f"{name}.png")
                row["mask"] = f"masks/{name}.png"
            rows.append(row)
    except UnusableError as e:
        rows, reason = [], str(e)
    write_atomic(task.part, json.dumps({"rows": rows, "left out": reason}))


def _finish(tasks: Sequence[_Task], out: Path, most_unusable: float) -> dict[str, object]:
    parts = [json.loads(t.part.read_text()) for t in tasks]
    reasons = collections.Counter(p["left out"] for p in parts if p["left out"])
    if reasons.total() > most_unusable * len(tasks):
        each = "; ".join(f"{n} x {reason}" for reason, n in reasons.most_common(8))
        raise InputError(f"{reasons.total()} of {len(tasks)} records cannot be used ({each}), and {most_unusable:.1%} may be left out; "
                         "take them out of the table, or allow more with --most-unusable")
    frame = pd.DataFrame([row for p in parts for row in p["rows"]], columns=[*COLUMNS, *EXTRA]).fillna("")
    frame = frame.sort_values("id", ignore_index=True)
    frame.to_parquet(out / "manifest.parquet", index=False)
    card: dict[str, object] = {
        "name": out.name, "licences": sorted(set(frame["licence"]) - {""}), "layout": tasks[0].layout, "settings": asdict(tasks[0].settings),
        "records": len(tasks), "left_out": dict(reasons), "patients": int(frame["patient"].nunique()), "pairs": len(frame),
        "by_modality": {str(k): int(v) for k, v in frame["modality"].value_counts().items()},
        "windows": {str(k): int(v) for k, v in frame["window"].str.replace(r":.*", "", regex=True).value_counts().items()},
        "ids": "hashed with the site's secret; captions and labels are as the table gave them",
    }
    write_atomic(out / "card.yaml", yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=120))
    shutil.rmtree(out / "parts")
    return card
