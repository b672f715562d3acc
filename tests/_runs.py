"""Runs in processes of their own, what came out of them, and whether two came out the same."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from conftest import World
from safetensors.torch import load_file

from radisim_cl.records import events as ev
from radisim_cl.records.ledger import read

LENGTH = "profiles.laptop.budget.samples=800"


def start(world: World, out: str, nproc: int = 1, more: Sequence[str] = ("--set", LENGTH), **environment: str) -> subprocess.Popen[bytes]:
    """A run in the background, in a process group of its own."""
    command = [sys.executable, "-m", "radisim_cl", "run", "toy", "--out", out, "--nproc", str(nproc), "--no-report", *more]
    return subprocess.Popen(command, cwd=world.root, env={**os.environ, "OMP_NUM_THREADS": "1", **environment}, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, start_new_session=True)


def wait_for_events(run: Path, n: int) -> None:
    """Until the ledger has n lines: the run is well under way."""
    for _ in range(4000):
        if (run / "ledger.jsonl").is_file() and (run / "ledger.jsonl").read_bytes().count(b"\n") >= n:
            return
        time.sleep(0.05)
    raise AssertionError("the run did not get under way")


def weights(run: Path) -> dict[str, torch.Tensor]:
    """Of every stage's exported model."""
    return {f"{p.parent.name}/{k}": v for p in sorted((run / "export").glob("*/*.safetensors")) for k, v in load_file(p).items()}


def drawn(run: Path) -> dict[tuple[str | None, int], dict[str, int]]:
    """Pairs by source at every checkpoint."""
    return {(e.stage, e.batch): e.drawn for e in read(run)[0] if isinstance(e, ev.CheckpointCommitted)}


def outcome(run: Path) -> dict[str, Any]:
    """Weights of every stage, optimizer state (of ZeRO 0), what was drawn, what was decided."""
    events = read(run)[0]
    last = [e for e in events if isinstance(e, ev.CheckpointCommitted)][-1]
    checkpoint = torch.load(run / "checkpoints" / last.tag / "mp_rank_00_model_states.pt", weights_only=False)
    return {
        "weights": weights(run),
        "module": checkpoint["module"], "optimizer": checkpoint["optimizer"]["state"], "rng": checkpoint["radisim"]["rngs"][0]["torch"],
        "drawn": drawn(run),
        "decided": [(e.stage, e.look, e.decision, e.reasons) for e in events if isinstance(e, ev.GateDecided)],
        "scored": [(e.split, e.stage, e.look, e.digest) for e in events if isinstance(e, ev.Scored)],
        "report": [p.read_text() for p in sorted((run / "scores").glob("report-*.json"))],
    }


def same(a: Any, b: Any, path: str = "") -> None:
    """Bit for bit."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for k in a:
            same(a[k], b[k], f"{path}/{k}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            same(x, y, f"{path}/{i}")
    else:
        assert a == b, path
