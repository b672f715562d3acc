"""Scripts of `perf/` that need what a test machine may not have: every line of them, on what it has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PERF = Path(__file__).parent.parent / "perf"


@pytest.mark.slow
def test_the_gpu_script_measures_its_peer_and_every_zero_stage() -> None:
    options = "--device cpu --arch radisim-tiny --precision bf16 --batch 2 --steps 1"
    command = [sys.executable, str(PERF / "gpu.py"), *options.split()]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "120"})
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"(open_clip_train|ours, ZeRO \d) +. +[\d.]+ . +[\d.]+x . +\d+% . +[\d.]+ ", done.stdout)
    assert rows == ["open_clip_train", *(f"ours, ZeRO {n}" for n in range(4))], done.stdout
