"""Runs that are killed, many of them: forked from one process that has imported everything, which takes longer than the runs.

    python _forks.py FOLDER < JOBS

Each line of JOBS is a JSON object: `args` of `radisim-cl`, and how it ends: `call`, the number of the call of fsync, replace or rename at which it is
killed, before or after (`late`) the call is made; or `seconds` after which it is; or neither. Writes a line for each: its exit code, negative if it
was killed, and the number of such calls.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import radisim_cl.cli
import radisim_cl.runs.runner


def arm(call: int | None, late: bool, count: Path) -> None:
    """Counts the calls that make something durable, and kills this process at one of them."""
    calls = 0

    def armed(made: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            count.write_text(str(calls))
            if calls == call and not late:
                os.kill(os.getpid(), signal.SIGKILL)
            out = made(*args, **options)
            if calls == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return out

        return wrapper

    for name in ("fsync", "replace", "rename"):
        setattr(os, name, armed(getattr(os, name)))


def run(job: dict[str, Any], folder: Path) -> dict[str, int]:
    """One job, in a child."""
    count, began = folder / ".calls", time.monotonic()
    count.write_text("0")
    child = os.fork()
    if not child:
        os.chdir(folder)
        os.setsid()
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        arm(job.get("call"), bool(job.get("late")), count)
        sys.argv = ["radisim-cl", *job["args"]]
        try:
            radisim_cl.cli.main()
        except SystemExit as e:
            os._exit(int(e.code or 0))
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return {"exit": os.waitstatus_to_exitcode(status), "calls": int(count.read_text() or 0)}
        if time.monotonic() - began > job.get("seconds", 600):
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.005)


def main() -> None:
    """Every job, in turn."""
    folder = Path(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line), folder)), flush=True)


if __name__ == "__main__":
    main()
