"""The optimizer, its groups of parameters, and those that it leaves alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from radisim_cl.specs.curriculum import OptimizerSpec


@dataclass(frozen=True)
class Group:
    """Parameters that are frozen in the same stages and decay alike."""

    names: frozenset[str]
    decays: bool


def groups(clip: nn.Module, freezes: Sequence[frozenset[str]]) -> list[Group]:
    """The trainable parameters by group: those that decay (matrices, but for the scale) first."""
    found: dict[tuple[bool, tuple[bool, ...]], set[str]] = {}
    for name, p in clip.named_parameters():
        if p.requires_grad:
            plain = p.ndim < 2 or name == "logit_scale"
            found.setdefault((plain, tuple(name in names for names in freezes)), set()).add(name)
    return [Group(frozenset(names), not plain) for (plain, _), names in sorted(found.items())]


def build_optimizer(clip: nn.Module, spec: OptimizerSpec, parts: Sequence[Group]) -> torch.optim.Optimizer:
    """AdamW or SGD with a group of parameters for each of `parts`. Before a step, `lr` and `frozen` of each are set: a frozen group is left alone."""
    by_part: list[dict[str, Any]] = [{"params": [p for n, p in clip.named_parameters() if n in part.names], "frozen": False} for part in parts]
    out: torch.optim.Optimizer
    if spec.kind == "sgd":
        out = torch.optim.SGD(by_part, lr=0.0)
    else:
        for group, part in zip(by_part, parts, strict=True):
            group["weight_decay"] = spec.weight_decay if part.decays else 0.0
        out = torch.optim.AdamW(by_part, lr=0.0, betas=(spec.beta1, spec.beta2), eps=spec.eps, fused=True)
    out.register_step_pre_hook(_skip_frozen)
    return out


def _skip_frozen(optimizer: torch.optim.Optimizer, *_: object) -> None:
    """An optimizer leaves alone what has no gradient. ZeRO gives zeros to what has none, and decay and momentum would move it."""
    for group in optimizer.param_groups:
        if group["frozen"]:
            for p in group["params"]:
                p.grad = None
