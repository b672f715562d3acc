"""Renders the phantom's corpora to disk: made once, found again by the digest of everything that they depend on."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from pathlib import Path

import pandas as pd
import yaml
from filelock import FileLock
from PIL import Image

from radisim_cl.corpus.corpora import COLUMNS
from radisim_cl.errors import InputError
from radisim_cl.files import cache_folder, fsync, sha256_text, write_atomic
from radisim_cl.phantom.patients import Patient, generator
from radisim_cl.phantom.sources import SOURCES
from radisim_cl.phantom.sources._base import CODES, STRUCTURES, Source
from radisim_cl.specs.catalog import SYNTHETIC, PhantomSpec

LICENCE = "CC0-1.0 (synthetic)"
NOTICE = SYNTHETIC
_MEGABYTES = 260
"""Of the default phantom on disk."""
_CHUNK = 10
"""Patients that a process makes at a time."""
Row = dict[str, str]


@dataclass(frozen=True)
class _Task:
    spec: PhantomSpec
    source: str
    patients: range
    folder: Path


def digest(spec: PhantomSpec) -> str:
    """Of the setting and of this package's code: another drawing of a rib is another phantom."""
    code = hashlib.sha256()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        code.update(file.relative_to(Path(__file__).parent).as_posix().encode() + b"\0" + file.read_bytes())
    return sha256_text(spec.model_dump_json() + code.hexdigest())[:12]


def folder_of(spec: PhantomSpec) -> Path:
    """Where this phantom is, or will be."""
    return cache_folder() / f"phantom-{digest(spec)}"


def ensure(spec: PhantomSpec, progress: Callable[[int, int], None] = lambda done, of: None, processes: int | None = None,
           folder: Path | None = None) -> Path:
    """Makes the phantom unless it is there; whole or absent.

    Args:
        spec: seed, size, how many patients, how wrong the captions.
        progress: called with patients done and to do.
        processes: how many make it; all cores if None. The corpora do not depend on it.
        folder: where; `folder_of(spec)` if None.

    Returns:
        The folder with one corpus a source.

    Raises:
        InputError: the folder cannot be written, or there is no room.
    """
    folder = folder or folder_of(spec)
    if os.path.isdir(folder):  # unlike Path.is_dir, it takes a folder that may not be entered for absent
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not folder.is_dir():
                _made_whole(spec, folder, progress, processes)
    except OSError as e:
        raise InputError(f"the phantom cannot be made in {folder.parent}: {e.strerror or e}. Make room there, or set RADISIM_CACHE to a folder "
                         f"that can be written and has about {_MEGABYTES * spec.scale * (spec.size / 96) ** 2 + 1:.0f} MB free") from None
    return folder


def _made_whole(spec: PhantomSpec, folder: Path, progress: Callable[[int, int], None], processes: int | None) -> None:
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        make(spec, temporary, progress, processes)
        os.sync()  # thousands of files: once for all is faster than fsync for each
        temporary.replace(folder)
        fsync(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def make(spec: PhantomSpec, folder: Path, progress: Callable[[int, int], None] = lambda done, of: None, processes: int | None = None) -> None:
    """Writes every source's corpus into a folder: images, masks, `manifest.parquet`, `card.yaml`.

    One machine writes the same bytes whatever the number of processes. Machines whose vector units compute a sine otherwise (numpy has one
    kernel for each) write the same ids, labels and captions, and images and masks of which about one pixel in 50,000 differs: by one grey
    level, or more where an edge passes through the pixel.
    """
    tasks = [_Task(spec, s.name, range(i, min(i + _CHUNK, n)), folder)
             for s in SOURCES.values() for n in [patients(s, spec)] for i in range(0, n, _CHUNK)]
    for name in SOURCES:
        for sub in ("images", "masks"):
            (folder / name / sub).mkdir(parents=True, exist_ok=True)
    total, done = sum(len(t.patients) for t in tasks), 0
    rows: dict[str, list[Row]] = {name: [] for name in SOURCES}
    for task, made in zip(tasks, _each(tasks, processes or os.cpu_count() or 1), strict=True):
        rows[task.source] += made
        done += len(task.patients)
        progress(done, total)
    for name, source in SOURCES.items():
        _write(source, spec, rows[name], folder / name)


def patients(source: Source, spec: PhantomSpec) -> int:
    """How many patients a source has at this scale."""
    return max(8, round(source.patients * spec.scale))


def _each(tasks: list[_Task], processes: int) -> Iterator[list[Row]]:
    if processes == 1:
        yield from map(_some, tasks)
        return
    # Not forked: the parent may have torch's threads, which a fork would not copy.
    with ProcessPoolExecutor(processes, get_context("spawn"), _helper) as pool:
        with _uninterrupted():  # Ctrl-C is for this process; those that start here inherit that they ignore it, from their first instruction
            made = pool.map(_some, tasks)
        yield from made


@contextmanager
def _uninterrupted() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # which alone may set this
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _helper() -> None:
    """In each process of the pool: when the one that started it is gone, so is this one."""
    parent = parent_process()
    assert parent is not None
    threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _follow(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def _some(task: _Task) -> list[Row]:
    return list(itertools.chain.from_iterable(one(task.spec, SOURCES[task.source], i, task.folder / task.source) for i in task.patients))


def one(spec: PhantomSpec, source: Source, index: int, folder: Path) -> list[Row]:
    """One patient's part of a source: writes the images, returns the manifest's rows.

    Args:
        spec: of the phantom.
        source: which stand-in.
        index: of the patient, from 0.
        folder: of the corpus.
    """
    name = f"{source.prefix or source.name}-{index:05d}"
    patient = Patient.draw(spec.seed, name, source.sex)
    rng = generator(spec.seed, "source", source.name, index)
    out = []
    for i, shot in enumerate(source.make(patient, rng, spec.size)):
        exam, study = shot.picture.exam, f"{source.name}-{index:05d}-{shot.study}"
        key = f"{study}-{i}"
        pixels = Image.fromarray(shot.picture.pixels)
        if source.size:
            pixels = pixels.resize((source.size, source.size), Image.Resampling.BOX)
        pixels.save(folder / "images" / f"{key}.png")
        row = {"id": key, "patient": name, "study": study, "image": f"images/{key}.png", "mask": "", "licence": LICENCE,
               "caption": shot.caption, "modality": exam.modality, "anatomy": exam.region, "plane": exam.plane, "level": shot.level,
               "labels": shot.labels}
        if shot.masked:
            assert shot.picture.cut is not None, f"{source.name}: a radiograph has no mask"
            Image.fromarray(shot.picture.cut.labels(CODES)).save(folder / "masks" / f"{key}.png")
            row["mask"] = f"masks/{key}.png"
        out.append({c: row[c] for c in source.columns})
    return out


def _write(source: Source, spec: PhantomSpec, rows: list[Row], folder: Path) -> None:
    wrong, missing = _spoil(source, spec, rows)
    frame = pd.DataFrame(rows, columns=[c for c in COLUMNS if c in source.columns])
    frame.to_parquet(folder / "manifest.parquet", index=False)
    if "mask" not in source.columns:
        (folder / "masks").rmdir()
    card = {
        "name": source.name, "stands_for": source.stands_for, "notice": NOTICE, "licence": LICENCE, "seed": spec.seed,
        "pixels": source.size or spec.size,
        "patients": int(frame["patient"].nunique()), "pairs": len(frame), "columns": list(frame.columns),
        "captions": {"wrong": wrong, "missing": missing},
        "by_modality": {str(k): int(v) for k, v in frame["modality"].value_counts().items()} if "modality" in frame else {},
    } | ({"structures": STRUCTURES} if "mask" in source.columns else {})
    write_atomic(folder / "card.yaml", yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=120))


def _spoil(source: Source, spec: PhantomSpec, rows: list[Row]) -> tuple[int, int]:
    """Gives a share of the rows another row's caption, and a share none, as collections do; how many of each."""
    if "caption" not in source.columns or not rows:
        return 0, 0
    own = [r["caption"] for r in rows]
    fate = generator(spec.seed, "captions", source.name).random((len(rows), 2))
    wrong = missing = 0
    for i, (which, other) in enumerate(fate):
        if which < spec.wrong_captions * source.noise:
            rows[i]["caption"] = own[(i + 1 + int(other * (len(rows) - 1))) % len(rows)]
            wrong += 1
        elif which < (spec.wrong_captions + spec.missing_captions) * source.noise:
            rows[i]["caption"] = ""
            missing += 1
    return wrong, missing

