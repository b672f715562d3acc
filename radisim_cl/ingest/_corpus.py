"""From records to a corpus on disk: ids hashed, images written once, what cannot be read counted."""

from __future__ import annotations

import collections
import itertools
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

from radisim_cl.corpus.card import card_in
from radisim_cl.corpus.corpora import COLUMNS
from radisim_cl.corpus.hashes import Progress, quiet
from radisim_cl.errors import InputError
from radisim_cl.files import sha256
from radisim_cl.ingest._card import finish
from radisim_cl.ingest._checks import checks, checks_in
from radisim_cl.ingest._levels import level
from radisim_cl.ingest._parts import WHOLE, Part, alone, begun, ending
from radisim_cl.ingest._protocol import Record, Settings, UnusableError, UnwantedError
from radisim_cl.ingest._records import Records
from radisim_cl.ingest._site import Site
from radisim_cl.ingest._tables import Row, Table
from radisim_cl.registry import hint, plugin

_BLOCKS = 64, 4096
"""Files that keep what has been done, about: at least, if there are as many records, so that processes share them evenly and little is done
again; at most, however many records there are."""
_BLOCK = 16
"""Records of a block, between the two: a file for each record would take a tenth of the time of a small picture."""
_PACKED = 1
"""Of PNGs, from 0 to 9: at 6, which is usual, packing takes as long as all the rest of an ingestion."""
_NAMES = 5
"""Characters from which on a native id that stands in a caption is taken for one."""


@dataclass(frozen=True)
class _Task:
    layout: str
    number: int
    records: tuple[Record, ...]
    settings: Settings
    site: Site
    out: Path


def ingest(layout: str, folder: Path, out: Path, settings: Settings, site: Site, table: Table | None = None, licence: str = "",
           most_unusable: float = 0.05, jobs: int = 1, progress: Progress = quiet, part: Part = WHOLE,
           where: Mapping[str, Sequence[str]] | None = None, known: Sequence[Path] = ()) -> dict[str, object]:
    """Makes a corpus: `images/`, `masks/`, `manifest.parquet`, `checks.parquet`, `card.yaml`. Killed and called again, it goes on where it was.

    Args:
        layout: a module of this package.
        folder: where the files are.
        out: where the corpus will be.
        settings: how pictures are made.
        site: whose secret hashes the ids.
        table: of the files that are wanted and what is known of them; None: all files whose names end as the layout's do.
        licence: where the table has none; instead of the layout's own.
        most_unusable: share of the records that may be left out, 0 to 1.
        jobs: processes; the corpus does not depend on it.
        progress: called with what is being done, how many are done, and of how many.
        part: of several processes that write to one `out`; the one that finds all others done finishes the corpus.
        where: by column of the manifest, the values that are wanted of what the layout itself tells.
        known: corpora that this command has made before; patients and pictures that they share with this one are counted on the card.

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
    if len({other.name for other in known}) < len(known):
        raise InputError("--known: two folders of the same name, by which a card tells them apart; rename one, or name it once")
    about, others = module.ABOUT.within(folder), [sha256(checks_in(other)) for other in known]
    with alone(out, part):
        records, unwanted = _wanted(layout, folder, out, table, settings, site, licence, where)
        size = max(1, min(_BLOCK, records.n // _BLOCKS[0]), records.n // _BLOCKS[1])
        asked = {"layout": layout, "block": size, "settings": asdict(settings), "patient": site.patient, "salt": site.pseudonym("salt", ""),
                 "facts": records.digest, "known": others}
        if card := begun(out, part, asked):
            return card
        parts = [_part(out, n) for n in range(-(-records.n // size))]
        mine = parts[part.number - 1::part.of]
        open_ = {n for n in range(part.number - 1, len(parts), part.of) if not _done(parts[n])}
        tasks = (_Task(layout, n, block, settings, site, out) for n, block in enumerate(records.blocks(size)) if n in open_)
        for done, _ in enumerate(_each(tasks, jobs), len(mine) - len(open_) + 1):
            progress("records", min(done * size, records.n), min(len(mine) * size, records.n))
        left = sum(not _done(p) for p in parts)
        if left and not card_in(out):  # a part that finishes the corpus writes the card before it takes away what the others have left
            return {"open": left}
        with ending(out) if part.of > 1 else nullcontext():
            if not (card := card_in(out)):
                card = finish(out, parts, layout, settings, about, unwanted, records.n, most_unusable, known, progress)
                shutil.rmtree(out / "parts")
            return card


def _part(out: Path, number: int) -> Path:
    """What became of a block of records."""
    return out / "parts" / f"{number:06d}.json"


def _done(part: Path) -> bool:
    return part.is_file() and part.stat().st_size > 0  # a machine that lost its power can leave an empty one


def _wanted(layout: str, folder: Path, out: Path, table: Table | None, settings: Settings, site: Site, licence: str,
            where: Mapping[str, Sequence[str]] | None) -> tuple[Records, collections.Counter[str]]:
    """Records to be read, and why others are not wanted."""
    module, unwanted = plugin("radisim_cl.ingest", layout), collections.Counter[str]()

    def wanted() -> Iterator[Record]:
        listed = module.records(_files(folder, table, module.ENDINGS), folder, settings)
        for record in _known(listed, folder, table, licence or module.ABOUT.licence, where):
            if record.unwanted:
                unwanted[record.unwanted] += 1
            else:
                yield record

    records = Records(wanted(), site, out.parent)
    if not records.n:
        why = " and is in the table" if table else " and is wanted" if unwanted or where else ""
        raise InputError(f"{folder}: no file that ends in {' or '.join(e for e in module.ENDINGS if e)}{why}")
    if records.strangers:
        raise InputError(f"--patient {site.patient}: does not match {records.strangers} of {records.n} patients; widen it")
    return records, unwanted


def _files(folder: Path, table: Table | None, endings: Sequence[str]) -> Iterator[Path]:
    """Folder by folder, each in order."""
    if table is None:
        for home, below, names in os.walk(folder):
            below.sort()
            paths = (Path(home, name) for name in sorted(names) if not name.startswith("."))
            yield from (p for p in paths if any(p.name.lower().endswith(e) if e else not p.suffix for e in endings) and p.is_file())
        return
    if gone := [name for name in table.rows if not (folder / name).is_file() or not (folder / name).resolve().is_relative_to(folder.resolve())]:
        raise InputError(f"{len(gone)} of {len(table.rows)} files of the table are not under {folder}")
    yield from (folder / name for name in sorted(table.rows))


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
        mask, patient, study = (facts.pop(name, "") for name in ("mask", "patient", "study"))
        if facts.get("caption") and not facts.get("level"):
            facts["level"] = level(facts["caption"], facts.get("labels", ""))
        yield replace(record, facts=facts, masks=(folder / mask,) if mask else record.masks, patient=patient or record.patient,
                      study=study or record.study)


def _each(tasks: Iterator[_Task], jobs: int) -> Iterator[None]:
    """Does them in turn; a pool is given no more than it can begin."""
    if jobs == 1:
        yield from map(_one, tasks)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        waiting = collections.deque(pool.submit(_one, task) for task in itertools.islice(tasks, 2 * jobs))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(_one, task) for task in itertools.islice(tasks, 1))


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
    part = _part(task.out, task.number)
    temporary = part.with_suffix(".tmp")
    temporary.write_text(json.dumps({"rows": rows, "left out": left_out, "not wanted": unwanted}))
    temporary.replace(part)


def _written(record: Record, task: _Task) -> list[Row]:
    if record.unusable:
        raise UnusableError(record.unusable)
    if len(record.patient) >= _NAMES and any(record.patient in record.facts.get(c, "") for c in ("caption", "labels")):
        raise UnusableError("a caption or label that holds the patient's id")
    rows, key = list[Row](), task.site.pseudonym("study", record.key)
    for k, picture in enumerate(plugin("radisim_cl.ingest", task.layout).pictures(record, task.settings)):
        name = f"{key}-{k:02d}"
        Image.fromarray(picture.pixels).save(task.out / "images" / f"{name}.png", compress_level=_PACKED)
        row = {**picture.facts, **{c: v for c, v in record.facts.items() if v}, "id": name,
               "study": task.site.pseudonym("study", record.study or record.key),
               "patient": task.site.pseudonym("patient", task.site.patient_of(record.patient)), "image": f"images/{name}.png",
               "plane": record.facts.get("plane") or picture.plane, "window": picture.window,
               **checks(picture)}
        if picture.mask is not None:
            Image.fromarray(picture.mask).save(task.out / "masks" / f"{name}.png")
            row["mask"] = f"masks/{name}.png"
        rows.append(row)
    return rows
