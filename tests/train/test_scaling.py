"""fp16's loss scale: torch's own as the oracle of its factor, and gradients that do not know of it."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from radisim_cl.train import scaling
from radisim_cl.train.scaling import LossScale


def backward(layer: nn.Linear, x: torch.Tensor, factor: float) -> torch.Tensor:
    """The gradient of the weights of a loss that was multiplied."""
    layer.zero_grad()
    torch.autograd.backward((layer(x) ** 2).sum() * factor)
    assert layer.weight.grad is not None
    return layer.weight.grad


def test_gradients_are_those_without_it_bit_for_bit() -> None:
    torch.manual_seed(0)
    x, layer = torch.randn(5, 4), nn.Linear(4, 3)
    expected = backward(layer, x, 1).clone()
    scale = LossScale(layer)
    assert torch.equal(backward(layer, x, scale.factor), expected)


def test_the_factor_is_that_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "GROWS_AFTER", 3)
    theirs, ours = torch.amp.GradScaler("cpu", growth_interval=3), LossScale(nn.Linear(1, 1))
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    factors = []
    for good in itertools.chain([False, False], [True] * 7, [False], [True] * 4):
        theirs.scale(torch.zeros(1))
        weight.grad = torch.full((1,), 1.0 if good else float("inf"))
        theirs.step(optimizer)
        theirs.update()
        ours.update(good)
        factors.append((ours.factor, theirs.get_scale()))
    assert [a for a, _ in factors] == [b for _, b in factors]
    assert len(set(factors)) == 3
    again = LossScale(nn.Linear(1, 1))
    again.restore(ours.state())
    for scale in (ours, again):
        scale.update(True)
        scale.update(True)
    assert (again.factor, again.state()) == (ours.factor, ours.state())
