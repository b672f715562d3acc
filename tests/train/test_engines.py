"""What one rank's engine does in fp16, with compiled blocks, and over 200 steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from _engines import CURVE, plain_curve
from conftest import World

HERE = Path(__file__).parent


def by_engine(world: World, case: str, stages: list[int], file: Path) -> dict[int, Any]:
    command = [sys.executable, str(HERE / "_engines.py"), str(world.root / "model"), case, json.dumps(stages), str(file)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[int, Any] = torch.load(file)
    return found


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return all(same(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.slow
def test_fp16_whose_gradients_overflow_changes_nothing_but_the_factor(shared_world: World, tmp_path: Path) -> None:
    """And a checkpoint has the factor. On CPUs, where a run in fp16 is refused and autocast does the same, slowly."""
    for zero, found in by_engine(shared_world, "fp16", [0, 1, 2, 3], tmp_path / "found.pt").items():
        assert found["said"] == "gradient not finite", zero
        assert same(found["before"], found["after"]), zero
        factor, halved, kept = found["factors"]
        assert (halved, kept) == (factor / 2, factor / 2), zero
        assert found["then"] == [None, None], zero
        assert same(*found["weights"]), zero
        assert not same(found["weights"][0], found["after"]["weights"]), zero


@pytest.mark.slow
def test_compiled_and_not_go_on_from_each_other(shared_world: World, tmp_path: Path) -> None:
    for found in by_engine(shared_world, "compiled", [0, 1, 2], tmp_path / "found.pt").values():
        for case in found.values():
            assert case["equal"]
            one, other = case["weights"]
            assert one.keys() == other.keys()
            assert not any("_orig_mod" in k for k in one)
            for name, weight in one.items():
                if "in_proj_bias" not in name:  # the key bias has no gradient but rounding noise, which Adam makes steps of
                    torch.testing.assert_close(other[name], weight, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_200_steps_are_those_of_plain_pytorch(shared_world: World, tmp_path: Path) -> None:
    expected = plain_curve(f"local-dir:{shared_world.root / 'model'}")
    assert expected[-1] < 0.8 * expected[0]
    for found in by_engine(shared_world, "curve", [0, 1, 2, 3], tmp_path / "found.pt").values():
        assert len(found["losses"]) == CURVE
        assert found["losses"] == pytest.approx(expected, rel=0.02)
