"""Ranks that something else launches: the Slurm script with Slurm's commands played by scripts, and torchrun on two machines that are one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import World

from radisim_cl.records import events as ev
from radisim_cl.records.ledger import read
from radisim_cl.records.state import fold

SCRIPT = Path(__file__).parents[2] / "docs" / "slurm.sh"
SRUN = """#!/usr/bin/env bash
# Two tasks; a signal goes to both; ends with the largest of their codes.
shift
for k in 0 1; do SLURM_PROCID=$k SLURM_LOCALID=$k SLURM_NTASKS=2 "$@" & pids[$k]=$!; done
trap 'kill -USR1 "${pids[@]}" 2> /dev/null' USR1
worst=0
for pid in "${pids[@]}"; do
  while :; do wait "$pid"; code=$?; [ $code -gt 128 ] && kill -0 "$pid" 2> /dev/null || break; done
  [ $code -gt $worst ] && worst=$code
done
exit $worst
"""
SCONTROL = """#!/usr/bin/env bash
if [ "$1" = show ]; then echo localhost; else echo "$@" >> requeued; fi
"""


def port() -> str:
    """A port that nobody uses."""
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return str(s.getsockname()[1])


def job(world: World) -> subprocess.Popen[str]:
    """The script as Slurm would start it."""
    tools = world.root / "bin"
    tools.mkdir(exist_ok=True)
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "MASTER_PORT": port(),
                                "SLURM_JOB_NODELIST": "n[1-2]", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen(["bash", str(SCRIPT), "toy"], cwd=world.root, env=environment, text=True, stderr=subprocess.PIPE)


@pytest.mark.slow
def test_a_job_that_is_told_to_stop_is_queued_again_and_goes_on(world: World) -> None:
    first, run = job(world), world.root / "runs" / "toy"
    until = time.monotonic() + 200
    while not ((run / "ledger.jsonl").is_file() and any(isinstance(e, ev.StageStarted) for e in read(run)[0])):
        assert first.poll() is None, first.stderr and first.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.2)
    first.send_signal(signal.SIGUSR1)
    assert first.wait(200) == 75
    assert (world.root / "requeued").read_text() == "requeue 7\n"
    assert fold(read(run)[0]).status == "failed"
    again = job(world)
    assert again.wait(400) == 0, again.stderr and again.stderr.read()
    state = fold(read(run)[0])
    assert (state.status, state.world_size) == ("finished", 2)
    assert (world.root / "requeued").read_text() == "requeue 7\n"


@pytest.mark.slow
def test_torchrun_on_two_machines(world: World) -> None:
    rendezvous = ["--nnodes=2", "--nproc_per_node=1", "--rdzv_backend=c10d", f"--rdzv_endpoint=localhost:{port()}", "--rdzv_id=toy"]
    command = [sys.executable, "-m", "torch.distributed.run", *rendezvous, "-m", "radisim_cl", "run", "toy"]
    nodes = [subprocess.Popen(command, cwd=world.root, env=os.environ | {"GLOO_SOCKET_IFNAME": "lo"}) for _ in range(2)]
    assert [node.wait(400) for node in nodes] == [0, 0]
    state = fold(read(world.root / "runs" / "toy")[0])
    assert (state.status, state.world_size) == ("finished", 2)
