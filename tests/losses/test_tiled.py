"""The contrastive loss in tiles against the one whose logits are all held."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from _spawned import LEAVES, Made, made, value_and_gradients, work
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from radisim_cl.losses._tiled import info_nce
from radisim_cl.losses.clip import build
from radisim_cl.specs.losses import ClipLossSpec, LossSpec

DENSE = ClipLossSpec(tile=10**6)
TILES = (1, 5, 16, 23, 24, 46)


def batch(precision: torch.dtype, size: int = 47, scale: float = 100.0) -> Made:
    """Pairs at a temperature at which most probabilities are next to nothing."""
    data = made(3, size=size, width=16)
    return data.with_leaves([x.to(precision) for x in data.leaves]).part(slice(None)).with_scale(scale)


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize(("precision", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("scale", [0.5, 14.0, 100.0])
def test_value_and_gradients_are_those_of_the_dense_loss(tile: int, precision: torch.dtype, tolerance: float, scale: float) -> None:
    data = batch(precision, scale=scale)
    found = zip(("value", *LEAVES), value_and_gradients(ClipLossSpec(tile=tile), data), value_and_gradients(DENSE, data), strict=True)
    for name, ours, dense in found:
        assert ours.dtype == precision
        torch.testing.assert_close(ours, dense, rtol=0, atol=tolerance * max(1.0, float(dense.abs().max())), msg=name)


def test_two_ranks_have_the_loss_and_the_gradients_of_the_dense_one(tmp_path: Path) -> None:
    """Tiles that end inside a rank's part, at its end, and beyond it."""
    specs: list[LossSpec] = [ClipLossSpec(tile=t) for t in (1, 3, 4, 5, 7)]
    torch.multiprocessing.spawn(work, (2, str(tmp_path), specs), nprocs=2)  # type: ignore[attr-defined, no-untyped-call]
    ranks = [torch.load(tmp_path / f"{r}.pt") for r in range(2)]
    whole = value_and_gradients(DENSE, made().part(slice(None)))
    for n in range(len(specs)):
        for k, (name, expected) in enumerate(zip(("value", *LEAVES), whole, strict=True)):
            parts = [r[n][k] for r in ranks]
            found = torch.cat(parts) / 2 if name in ("image", "text", "patches") else (parts[0] + parts[1]) / 2
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("far", [1e3, 1e4])
def test_logits_that_would_overflow_do_not(far: float) -> None:
    """Not unit vectors, and the largest logit of a row in the last tile."""
    texts = torch.linspace(-far, far, 9)[:, None]
    value = info_nce(torch.ones(9, 1), texts, torch.tensor(1.0), 0, 1, 2)
    logits, own = texts.T.expand(9, -1), torch.arange(9)
    torch.testing.assert_close(value, (torch.nn.functional.cross_entropy(logits, own) + torch.nn.functional.cross_entropy(logits.T, own)) / 2)


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Elements of the largest tensor that any operation has made."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else [out]:
            if isinstance(x, Tensor):
                self.elements = max(self.elements, x.numel())
        return out


@pytest.mark.parametrize(("tile", "most"), [(10**6, 96 * 96), (8, 96 * 16)])
def test_no_more_logits_are_held_than_a_tile(tile: int, most: int) -> None:
    """The largest tensor, forward or backward, is the features; without tiles it is the logits."""
    data = batch(torch.float32, size=96)
    with Largest() as seen:  # type: ignore[no-untyped-call]
        torch.autograd.grad(build(ClipLossSpec(tile=tile), 0, 1)(data, data).value, (data.image, data.text, data.logit_scale))
    assert seen.elements == most
