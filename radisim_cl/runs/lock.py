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


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Holds the run directory.

    Raises:
        RadisimError: another live process holds it; the message says which.
    """
    holder = run / ".lock.holder"
    lock = FileLock(run / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        try:
            who = json.loads(holder.read_text())
            told = f"process {who['pid']} on {who['host']}"
        except (OSError, ValueError, KeyError):
            told = "another process"
        raise RadisimError(f"{run} is held by {told}; wait for it, or stop it") from None
    try:
        holder.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        yield
    finally:
        lock.release()
