"""What is run on hostile files: in a process whose memory and processor time are bounded."""

from __future__ import annotations

import multiprocessing
import resource
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

_SECONDS = 600
"""Of the clock, after which a process that takes no processor time hangs."""


def bounded(check: Callable[[], object], megabytes: int = 300, seconds: int = 120) -> None:
    """Fails where `check` raises, ends its process, hangs, or takes more than it may.

    Args:
        check: run in a child of this process.
        megabytes: peak of the memory that is resident, beside what the child began with.
        seconds: of processor time, at which the kernel ends the child.
    """
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_run, args=(check, theirs, seconds))
    child.start()
    theirs.close()
    try:
        said, taken = ours.recv() if ours.poll(_SECONDS) else ("it hangs", 0)
    except EOFError:
        child.join()
        said, taken = f"its process ended with {child.exitcode}", 0
    child.kill()
    child.join()
    if said:
        pytest.fail(said, pytrace=False)
    assert taken < 1024 * megabytes, f"it took {taken // 1024} MB of memory"


def _run(check: Callable[[], object], pipe: Connection, seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    before, said = _peak(), ""
    try:
        check()
    except BaseException:  # the parent says what it was
        said = traceback.format_exc()
    pipe.send((said, _peak() - before))


def _peak() -> int:
    """Kilobytes of this process's memory that were resident at the most; a child begins with what is resident then."""
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
