"""The engine trains as plain PyTorch does: one rank and two, ZeRO 0 to 3, every loss alone and with others (most of it is slow)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from _ranks import ALONE, BATCH, SETS, STEPS, chosen, plain
from conftest import World

HERE = Path(__file__).parent
HARD = pytest.mark.slow


def by_engine(world: World, ranks: int, zero: int, tmp: Path, losses: str, pieces: int, scale: dict[str, object]) -> dict[str, Any]:
    out = tmp / f"{ranks}-{zero}.pt"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}", str(HERE / "_ranks.py"),
               f"local-dir:{world.root / 'model'}", str(zero), str(out), losses, str(BATCH // ranks // pieces), json.dumps(scale)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = torch.load(out)
    return found


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return float((a.double() - b.double()).abs().max() / b.double().abs().max().clamp(min=1e-12))


CHECKPOINT = {"checkpoint_activations": True}


@pytest.mark.parametrize(("ranks", "zero", "losses", "pieces", "scale"), [
    (2, 1, "pairs", 2, {}), (1, 0, "all", 8, CHECKPOINT),
    *(pytest.param(ranks, zero, "every", pieces, {}, marks=HARD) for ranks in (1, 2) for zero in range(4) for pieces in (1, 2, 8)),
    *(pytest.param(*case, CHECKPOINT, marks=HARD) for case in (
        (1, 0, "all pairs", 1), (2, 1, "all pairs", 1), (2, 2, "all pairs", 2), (1, 3, "all pairs", 1), (2, 3, "all pairs", 2))),
])
def test_losses_gradients_and_sgd_weights_equal_plain_pytorch(shared_world: World, tmp_path: Path, ranks: int, zero: int, losses: str, pieces: int,
                                                              scale: dict[str, object]) -> None:
    """In double precision, also where the towers see a batch in pieces and the loss sees all of it, and where activations are made again."""
    found = by_engine(shared_world, ranks, zero, tmp_path, losses, pieces, scale)
    for name in chosen(losses.split()):
        same(found[name], plain(f"local-dir:{shared_world.root / 'model'}", (SETS | ALONE)[name]), name)


def same(ours: dict[str, Any], oracle: dict[str, Any], losses: str) -> None:
    """To 1e-5: of losses, of each tensor's largest gradient (or a thousandth of the model's), of its largest weight."""
    assert len(ours["losses"]) == STEPS
    assert ours["losses"] == pytest.approx(oracle["losses"], rel=1e-5), losses
    largest = max(float(g.abs().max()) for g in oracle["gradients"].values())
    for name, gradient in oracle["gradients"].items():
        difference = float((ours["gradients"][name].reshape(gradient.shape) - gradient).abs().max())
        assert difference <= 1e-5 * max(float(gradient.abs().max()), 1e-3 * largest), (losses, name)
    for name, gradient in ours["gradients"].items():
        assert name in oracle["gradients"] or not gradient.any(), (losses, name)
    for name, weight in oracle["weights"].items():
        if weight.is_floating_point() and weight.numel() and name != "attn_mask":
            assert relative(ours["weights"][name].reshape(weight.shape), weight) < 1e-5, (losses, name)


def test_the_oracle_moves(shared_world: World) -> None:
    """The comparison would also hold for a model that does not learn; this one does."""
    moved: dict[str, Any] = plain(f"local-dir:{shared_world.root / 'model'}", SETS["all"])
    assert moved["losses"][0] != moved["losses"][-1]
    assert all(float(g.abs().max()) > 0 for n, g in moved["gradients"].items() if "visual" in n and "proj" in n)
