"""The engine trains as plain PyTorch does, on one rank and on two, with ZeRO 0 and 1 (2 and 3 are slow)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from _ranks import BATCH, SETS, STEPS, plain
from conftest import World

HERE = Path(__file__).parent
HARD = pytest.mark.slow


def by_engine(world: World, ranks: int, zero: int, tmp: Path, losses: str, pieces: int) -> dict[str, Any]:
    out = tmp / f"{ranks}-{zero}.pt"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}", str(HERE / "_ranks.py"),
               f"local-dir:{world.root / 'model'}", str(zero), str(out), losses, str(BATCH // ranks // pieces)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = torch.load(out)
    return found


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return float((a.double() - b.double()).abs().max() / b.double().abs().max().clamp(min=1e-12))


@pytest.mark.parametrize(("ranks", "zero", "losses", "pieces"), [
    (1, 0, "pairs", 1), (2, 0, "pairs", 1), (2, 1, "pairs", 2), (1, 0, "all", 8), (2, 0, "all", 1),
    *(pytest.param(*case, marks=HARD) for case in (
        (1, 1, "pairs", 1), (2, 2, "pairs", 1), (2, 3, "pairs", 1), (1, 3, "pairs", 1), (2, 1, "all", 1), (2, 2, "all", 1), (2, 3, "all", 1),
        (1, 0, "all", 2), (1, 0, "pairs", 8), (1, 2, "all", 2), (1, 3, "all", 2), (2, 0, "all", 8), (2, 1, "all", 8), (2, 2, "all", 2),
        (2, 2, "pairs", 8), (2, 3, "all", 2), (2, 3, "pairs", 8))),
])
def test_losses_gradients_and_sgd_weights_equal_plain_pytorch(shared_world: World, tmp_path: Path, ranks: int, zero: int, losses: str,
                                                              pieces: int) -> None:
    """Also where the towers see a batch in pieces and the loss sees all of it."""
    oracle: dict[str, Any] = plain(f"local-dir:{shared_world.root / 'model'}", SETS[losses])
    ours = by_engine(shared_world, ranks, zero, tmp_path, losses, pieces)
    assert len(ours["losses"]) == STEPS
    assert ours["losses"] == pytest.approx(oracle["losses"], rel=1e-5)
    largest = max(float(g.abs().max()) for g in oracle["gradients"].values())
    for name, gradient in oracle["gradients"].items():
        difference = float((ours["gradients"][name].reshape(gradient.shape) - gradient).abs().max())
        assert difference <= 1e-5 * max(float(gradient.abs().max()), 1e-3 * largest), name
    for name, weight in oracle["weights"].items():
        if weight.is_floating_point() and weight.numel() and name != "attn_mask":
            assert relative(ours["weights"][name].reshape(weight.shape), weight) < 1e-5, name


def test_the_oracle_moves(shared_world: World) -> None:
    """The comparison would also hold for a model that does not learn; this one does."""
    moved: dict[str, Any] = plain(f"local-dir:{shared_world.root / 'model'}", SETS["all"])
    assert moved["losses"][0] != moved["losses"][-1]
    assert all(float(g.abs().max()) > 0 for n, g in moved["gradients"].items() if "visual" in n and "proj" in n)
