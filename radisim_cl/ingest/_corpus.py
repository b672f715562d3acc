"""From records to a corpus on disk: ids hashed, images written once, what cannot be read counted."""

from __future__ import annotations

import collections
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import yaml
from filelock import FileLock, Timeout
from PIL import Image

from radisim_cl.corpus.corpora import COLUMNS
from radisim_cl.errors import InputError, RadisimError
from radisim_cl.files import sha256_bytes, sha256_text, write_atomic
from radisim_cl.ingest._levels import level
from radisim_cl.ingest._protocol import About, Record, Settings, UnusableError, UnwantedError
from radisim_cl.ingest._site import Site
from radisim_cl.ingest._tables import Row, Table
from radisim_cl.registry import hint, plugin

EXTRA = ("window",)
"""Columns of a manifest beside those that are read: how grey values were made."""
_BLOCKS = 4096
"""Files that keep what has been done, about, however many records there are."""
_PATIENCE_S = 10.0
_NAMES = 5
"""Characters from which on a native id that stands in a caption is taken for one."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Part:
    """Which of several processes, each on a share of the records, this one is: from 1."""

    number: int = 1
    of: int = 1


@dataclass(frozen=True)
class _Task:
    layout: str
    number: int
    records: tuple[Record, ...]
    settings: Settings
    site: Site
    out: Path

    @property
    def part(self) -> Path:
        return self.out / "parts" / f"{self.number:06d}.json"

    @property
    def done(self) -> bool:
        return self.part.is_file() and self.part.stat().st_size > 0  # a machine that lost its power can leave an empty one


def ingest(layout: str, folder: Path, out: Path, settings: Settings, site: Site, table: Table | None = None, licence: str = "",
           most_unusable: float = 0.05, jobs: int = 1, progress: Progress = lambda what, done, of: None, part: Part = Part(),
           where: Mapping[str, Sequence[str]] | None = None) -> dict[str, object]:
    """Makes a corpus: `images/`, `masks/`, `manifest.parquet`, `card.yaml`. Killed and called again, it goes on where it was.

    Args:
        layout: a module of this package.
        folder: where the files are.
        out: where the corpus will be.
        settings: how pictures are made.
        site: whose secret hashes the ids.
        table: of the files that are wanted and what is known of them; None: all files whose names end as the layout's do.
        licence: where neither the table nor the layout has one.
        most_unusable: share of the records that may be left out, 0 to 1.
        jobs: processes; the corpus does not depend on it.
        progress: called with what is being done, how many are done, and of how many.
        part: of several processes that write to one `out`; the one that finds all others done finishes the corpus.
        where: by column of the manifest, the values that are wanted of what the layout itself tells.

    Returns:
        The card; or `{"open": n}` where n blocks of records are left to other parts.

    Raises:
        InputError: nothing there, `out` in `folder`, another ingestion's remains in `out`, or too much that cannot be read.
        RadisimError: another ingestion is at work in `out`.
    """
    module = plugin("radisim_cl.ingest", layout)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    if out.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"--out {out} lies in {folder}, which would then hold its own copies; write it elsewhere")
    about: About = module.ABOUT
    found = list(_known(module.records(_files(folder, table, module.ENDINGS), folder, settings), folder, table, licence or about.licence, where))
    unwanted = collections.Counter(r.unwanted for r in found if r.unwanted)
    records = [r for r in found if not r.unwanted]
    if not records:
        wanted = " and is in the table" if table else " and is wanted" if found or where else ""
        raise InputError(f"{folder}: no file that ends in {' or '.join(e for e in module.ENDINGS if e)}{wanted}")
    if unmatched := sum(not site.patient_of(r.patient) for r in records):
        raise InputError(f"--patient {site.patient}: does not match {unmatched} of {len(records)} patients; widen it")
    keys = [site.pseudonym("study", r.key) for r in records]
    first = {key: n for n, key in reversed([*enumerate(keys)])}
    records = [r if first[keys[n]] == n else replace(r, unusable="the key of an earlier record") for n, r in enumerate(records)]
    asked = {"layout": layout, "settings": asdict(settings), "patient": site.patient, "salt": site.pseudonym("salt", ""),
             "facts": sha256_text(json.dumps([(key, dict(r.facts)) for key, r in zip(keys, records, strict=True)]))}
    with _alone(out, part):
        if card := _begun(out, part, asked):
            return card
        size = max(1, len(records) // _BLOCKS)
        tasks = [_Task(layout, n, tuple(records[at:at + size]), settings, site, out) for n, at in enumerate(range(0, len(records), size))]
        mine = tasks[part.number - 1::part.of]
        open_ = [t for t in mine if not t.done]
        for done, _ in enumerate(_each(open_, jobs), len(mine) - len(open_) + 1):
            progress("records", min(done * size, len(records)), min(len(mine) * size, len(records)))
        if part.of == 1:
            return _finish(tasks, about, unwanted, most_unusable)
        if left := sum(not t.done for t in tasks):
            return {"open": left}
        with FileLock(_lock(out, Part())):
            return _card_of(out) or _finish(tasks, about, unwanted, most_unusable)


def _files(folder: Path, table: Table | None, endings: Sequence[str]) -> list[Path]:
    if table is None:
        return sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")
                      and any(p.name.lower().endswith(e) if e else not p.suffix for e in endings))
    if gone := [name for name in table.rows if not (folder / name).is_file() or not (folder / name).resolve().is_relative_to(folder.resolve())]:
        raise InputError(f"{len(gone)} of {len(table.rows)} files of the table are not under {folder}")
    return [folder / name for name in sorted(table.rows)]


def _known(records: Iterator[Record], folder: Path, table: Table | None, licence: str,
           where: Mapping[str, Sequence[str]] | None) -> Iterator[Record]:
    """With what the table says (of a series, what it says of the first file), a licence, and the level that a caption serves."""
    for name in where or ():
        if name not in COLUMNS:
            raise InputError(f"--where {name}: no column of a manifest. {hint(name, COLUMNS)}")
    for record in records:
        if table and not record.files:
            continue
        told = dict(table.rows.get(record.files[0].relative_to(folder).as_posix(), {})) if table else {}
        facts = {**record.facts, **{c: v for c, v in told.items() if v}}
        if any(facts.get(name, "") not in values for name, values in (where or {}).items()):
            continue
        facts["licence"] = facts.get("licence") or licence
        mask, patient = facts.pop("mask", ""), facts.pop("patient", "")
        if facts.get("caption") and not facts.get("level"):
            facts["level"] = level(facts["caption"], facts.get("labels", ""))
        yield replace(record, facts=facts, masks=(folder / mask,) if mask else record.masks, patient=patient or record.patient)


def _lock(out: Path, part: Part) -> Path:
    return out.parent / (f".{out.name}.lock" if part.of == 1 else f".{out.name}.{part.number}-of-{part.of}.lock")


@contextmanager
def _alone(out: Path, part: Part) -> Iterator[None]:
    """Holds `out`, or a part's share of it; the locks lie beside it.

    Raises:
        RadisimError: another process holds it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with _held(_lock(out, part), out):
        if part.of == 1:
            for other in out.parent.glob(f".{out.name}.*-of-*.lock"):
                with _held(other, out):
                    pass
        yield


@contextmanager
def _held(lock: Path, out: Path, patience: float = 0) -> Iterator[None]:
    held = FileLock(lock, timeout=patience)
    try:
        held.acquire()
    except Timeout:
        raise RadisimError(f"another ingestion is at work in {out}; wait for it, or stop it") from None
    try:
        yield
    finally:
        held.release()


def _begun(out: Path, part: Part, asked: Mapping[str, object]) -> dict[str, object]:
    """The card if all is done; else makes the folders, or finds them made for the same, one part after the other."""
    with _held(_lock(out, Part()), out, _PATIENCE_S) if part.of > 1 else nullcontext():
        _same(out, asked)
        if not (card := _card_of(out)):
            for name in ("images", "masks", "parts"):
                (out / name).mkdir(exist_ok=True)
        return card


def _card_of(out: Path) -> dict[str, object]:
    return dict(yaml.safe_load((out / "card.yaml").read_text())) if (out / "card.yaml").is_file() else {}


def _same(out: Path, asked: Mapping[str, object]) -> None:
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
    """Writes the images of some records, then what became of them."""
    rows, left_out, unwanted = list[Row](), collections.Counter[str](), collections.Counter[str]()
    for record in task.records:
        try:
            rows += _written(record, task)
        except UnusableError as e:
            left_out[str(e)] += 1
        except UnwantedError as e:
            unwanted[str(e)] += 1
    temporary = task.part.with_suffix(".tmp")
    temporary.write_text(json.dumps({"rows": rows, "left out": left_out, "not wanted": unwanted}))
    temporary.replace(task.part)


def _written(record: Record, task: _Task) -> list[Row]:
    if record.unusable:
        raise UnusableError(record.unusable)
    if len(record.patient) >= _NAMES and any(record.patient in record.facts.get(c, "") for c in ("caption", "labels")):
        raise UnusableError("a caption or label that holds the patient's id")
    rows, key = list[Row](), task.site.pseudonym("study", record.key)
    for k, picture in enumerate(plugin("radisim_cl.ingest", task.layout).pictures(record, task.settings)):
        name = f"{key}-{k:02d}"
        Image.fromarray(picture.pixels).save(task.out / "images" / f"{name}.png")
        row = {**picture.facts, **{c: v for c, v in record.facts.items() if v}, "id": name,
               "study": task.site.pseudonym("study", record.study or record.key),
               "patient": task.site.pseudonym("patient", task.site.patient_of(record.patient)), "image": f"images/{name}.png",
               "plane": record.facts.get("plane") or picture.plane, "window": picture.window,
               "sha256": sha256_bytes(repr(picture.pixels.shape).encode() + picture.pixels.tobytes())}
        if picture.mask is not None:
            Image.fromarray(picture.mask).save(task.out / "masks" / f"{name}.png")
            row["mask"] = f"masks/{name}.png"
        rows.append(row)
    return rows


def _finish(tasks: Sequence[_Task], about: About, unwanted: Mapping[str, int], most_unusable: float) -> dict[str, object]:
    out, records, frames = tasks[0].out, sum(len(t.records) for t in tasks), []
    reasons, unwanted = collections.Counter[str](), collections.Counter(unwanted)
    for task in tasks:
        part = json.loads(task.part.read_text())
        reasons.update(part["left out"])
        unwanted.update(part["not wanted"])
        frames.append(pd.DataFrame(part["rows"], columns=[*COLUMNS, *EXTRA, "sha256"], dtype="str").fillna(""))
    if reasons.total() > most_unusable * records:
        each = "; ".join(f"{n} x {reason}" for reason, n in reasons.most_common(8))
        raise InputError(f"{reasons.total()} of {records} records cannot be used ({each}), and {most_unusable:.1%} may be left out; "
                         "take them out of the table, or allow more with --most-unusable")
    frame = pd.concat(frames, ignore_index=True).sort_values("id", ignore_index=True)
    frame.drop(columns="sha256").to_parquet(out / ".manifest.tmp", index=False)
    (out / ".manifest.tmp").replace(out / "manifest.parquet")
    card = _card(frame, tasks[0], about, records, {"left_out": dict(reasons), "not_wanted": dict(unwanted)})
    write_atomic(out / "card.yaml", yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=120))
    shutil.rmtree(out / "parts")
    return card


def _card(frame: pd.DataFrame, task: _Task, about: About, records: int, counted: Mapping[str, Mapping[str, int]]) -> dict[str, object]:
    def counts(column: str) -> dict[str, int]:
        return {str(k): int(v) for k, v in frame[column][frame[column] != ""].value_counts().items()}

    twice = frame[frame["sha256"].duplicated(keep=False)]
    told = {"title": about.title, "url": about.url, "agreement": about.agreement}
    entry: dict[str, object] = {"manifest": f"{task.out.name}/manifest.parquet"}
    if about.structures:
        entry["structures"] = {int(k): v for k, v in about.structures.items()}
    if about.splits:
        entry["splits"] = {k: dict(v) for k, v in about.splits.items()}
    if about.values:
        entry["values"] = {k: dict(v) for k, v in about.values.items()}
    if about.splits.get("test") == {"report": 1.0}:
        entry["official_split"] = True
    return {
        "name": task.out.name, **{k: v for k, v in told.items() if v}, "licences": sorted(set(frame["licence"]) - {""}),
        "layout": task.layout, "settings": asdict(task.settings), "records": records, **counted,
        "patients": int(frame["patient"].nunique()), "pairs": len(frame), "captions": int((frame["caption"] != "").sum()),
        "masks": int((frame["mask"] != "").sum()),
        "duplicates": {"pictures that an earlier one is the same as": len(twice) - int(twice["sha256"].nunique()),
                       "of them between patients": int((twice.groupby("sha256")["patient"].nunique() - 1).sum())},
        **{f"by_{column}": counts(column) for column in ("modality", "level", "split")},
        "windows": {str(k): int(v) for k, v in frame["window"].str.replace(r":.*", "", regex=True).value_counts().items()},
        "ids": "hashed with the site's secret; captions and labels are as the files gave them",
        "catalog": entry,
    }
