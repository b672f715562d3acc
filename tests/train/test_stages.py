"""Freezing, unfreezing and new optimizers give what plain PyTorch gives, and leave what is frozen bit for bit as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from _ranks import BATCH
from _stages import STAGES, made, plain
from conftest import World
from torch import Tensor

from radisim_cl.models.frozen import frozen

HERE = Path(__file__).parent
Stages = list[dict[str, Tensor]]


def by_engine(world: World, ranks: int, zero: int, pieces: int, tmp: Path) -> list[Stages]:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"] if ranks > 1 else []
    command = [sys.executable, *launch, str(HERE / "_stages.py"), arch(world), str(zero), str(BATCH // ranks // pieces), str(tmp / "found.pt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[Stages] = torch.load(tmp / "found.pt")
    return found


def arch(world: World) -> str:
    return f"local-dir:{world.root / 'model'}"


@pytest.fixture(scope="module")
def oracle(shared_world: World) -> Stages:
    """Weights after each stage by plain PyTorch."""
    return plain(arch(shared_world))


def distance(a: Stages, b: Stages, stage: int) -> float:
    """The largest mean difference of a tensor's entries. The attention's key bias has no gradient but rounding noise, which Adam makes steps of."""
    return max(float((a[stage][n].reshape(-1) - w.reshape(-1)).abs().mean()) for n, w in b[stage].items()
               if w.is_floating_point() and "mask" not in n and "in_proj_bias" not in n)


@pytest.mark.parametrize(("ranks", "zero", "pieces"), [
    (1, 0, 1), *(pytest.param(*case, marks=pytest.mark.slow) for case in (
        (1, 1, 2), (1, 2, 1), (1, 3, 1), (2, 0, 2), (2, 1, 1), (2, 2, 1), (2, 3, 2)))])
def test_stages_are_those_of_plain_pytorch_and_what_is_frozen_stays(shared_world: World, oracle: Stages, tmp_path: Path, ranks: int, zero: int,
                                                                    pieces: int) -> None:
    """Bit for bit, and so is every weight of a run that was left and taken up in each stage."""
    whole, resumed = by_engine(shared_world, ranks, zero, pieces, tmp_path)
    built = made(arch(shared_world))
    before = {k: v.detach() for k, v in built.model.state_dict().items()}
    for n, stage in enumerate(STAGES):
        for name, parameter in built.model.named_parameters():
            after = whole[n][name].reshape(parameter.shape)
            assert torch.equal(after, before[name].reshape(parameter.shape)) == (name in frozen(built.model, stage)), (n, name)
            assert torch.equal(after, resumed[n][name].reshape(parameter.shape)), (n, name)
        assert distance(whole, oracle, n) < 1e-6
        before = whole[n]


def test_the_comparison_tells_a_new_optimizer_from_an_old_one(shared_world: World, oracle: Stages) -> None:
    carried = plain(arch(shared_world), fresh=False)
    assert [distance(carried, oracle, n) > 1e-5 for n in range(len(STAGES))] == [s.optimizer == "fresh" for s in STAGES]
