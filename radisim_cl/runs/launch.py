"""Several ranks on this machine: torchrun launches `python -m radisim_cl resume` on each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from radisim_cl.errors import EXIT_DONE, EXIT_FAULT, EXIT_GATE
from radisim_cl.runs.directory import state
from radisim_cl.runs.signals import once


def ranks(run: Path, nproc: int) -> int:
    """Runs with `nproc` ranks and returns the run's own exit code: torchrun returns 1 whatever its workers say."""
    threads = str(max(1, (os.cpu_count() or 1) // nproc))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={nproc}", "-m", "radisim_cl", "resume", str(run),
               "--no-report"]
    child = subprocess.Popen(command, env={"OMP_NUM_THREADS": threads, **os.environ})
    once(lambda _: child.send_signal(signal.SIGTERM))
    failed = child.wait() != 0
    now = state(run)
    if now.status == "finished":
        return EXIT_DONE
    if now.status == "stopped":
        return EXIT_GATE
    return now.exit_code if now.status == "failed" else EXIT_FAULT if failed else EXIT_DONE
