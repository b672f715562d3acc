"""Who is at work in a corpus that is being made: one process, or several that each have a part of it; and whether it was begun for the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from radisim_cl.corpus.card import card_in
from radisim_cl.errors import InputError, RadisimError
from radisim_cl.files import write_atomic

_PATIENCE_S = 10.0
"""That parts wait for one another at their beginning."""
_END_S = 3600.0
"""That a part waits for another one that finishes the corpus."""


@dataclass(frozen=True)
class Part:
    """Which of several processes, each on a share of the records, this one is: from 1."""

    number: int = 1
    of: int = 1


WHOLE = Part()


def _lock(out: Path, part: Part) -> Path:
    return out.parent / (f".{out.name}.lock" if part.of == 1 else f".{out.name}.{part.number}-of-{part.of}.lock")


@contextmanager
def alone(out: Path, part: Part) -> Iterator[None]:
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


def begun(out: Path, part: Part, asked: Mapping[str, object]) -> dict[str, object]:
    """The card if all is done; else makes the folders, or finds them made for the same, one part after the other.

    Raises:
        InputError: what lies in `out` was begun for something else.
        RadisimError: another process holds it.
    """
    with _held(_lock(out, WHOLE), out, _PATIENCE_S) if part.of > 1 else nullcontext():
        _same(out, asked)
        if not (card := card_in(out)):
            for name in ("images", "masks", "parts"):
                (out / name).mkdir(exist_ok=True)
        return card


@contextmanager
def ending(out: Path) -> Iterator[None]:
    """Holds all of `out`, after whichever part does so now."""
    with _held(_lock(out, WHOLE), out, _END_S):
        yield


def _same(out: Path, asked: Mapping[str, object]) -> None:
    """What lies in `out` was begun with the same settings."""
    path, text = out / "ingest.json", json.dumps(asked, indent=1)
    if path.is_file() and path.read_text() != text:
        raise InputError(f"{out} was begun with other settings or files; give another --out, or delete it")
    if not path.is_file() and out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out} is not empty and no corpus of this command; give another --out")
    write_atomic(path, text)
