"""One run, one writer. The lock is the kernel's, so it goes with the process that held it, however that ended."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from radisim_cl.errors import RadisimError

LOCK, HOLDER = ".lock", ".lock.holder"


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Holds the run directory.

    Raises:
        RadisimError: another live process holds it; the message says which.
    """
    lock = FileLock(run / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RadisimError(f"{run} is held by {_told(run)}; wait for it, or stop it") from None
    try:
        (run / HOLDER).write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        yield
    finally:
        lock.release()


def holder(run: Path) -> str:
    """Who holds the run directory; empty if nobody does."""
    if not (run / LOCK).is_file():
        return ""
    try:
        with FileLock(run / LOCK, timeout=0):
            return ""
    except Timeout:
        return _told(run)


def _told(run: Path) -> str:
    try:
        who = json.loads((run / HOLDER).read_text())
        return f"process {who['pid']} on {who['host']}"
    except (OSError, ValueError, KeyError):
        return "another process"
