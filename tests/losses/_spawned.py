"""What each of two ranks does in the test of distributed losses; a module of its own, so that a spawned process imports little."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from radisim_cl.registry import plugin
from radisim_cl.specs.losses import LossSpec


@dataclass(frozen=True)
class Made:
    """Features and batch in one: all that a loss is given."""

    image: Tensor
    text: Tensor
    logit_scale: Tensor
    facts: Tensor
    claims: Tensor
    captions: Tensor

    def part(self, rows: slice) -> Made:
        """One rank's rows, as leaves of a graph of their own."""
        image, text, scale = (x.detach().clone().requires_grad_() for x in (self.image[rows], self.text[rows], self.logit_scale))
        return Made(image, text, scale, self.facts[rows], self.claims[rows], self.captions[rows])


def made(seed: int = 0, size: int = 8, width: int = 6) -> Made:
    """Random unit features in double precision; labels with values in common, unknown values, and captions that claim some of them."""
    g = torch.Generator().manual_seed(seed)
    image, text = (torch.nn.functional.normalize(torch.randn(size, width, generator=g, dtype=torch.float64), dim=-1) for _ in range(2))
    facts = torch.randint(0, 3, (size, 3), generator=g)
    claims = (torch.rand(size, 3, generator=g) < 0.5) & (facts != 0)
    captions = torch.randint(1, size, (size,), generator=g)
    return Made(image, text, torch.tensor(14.3, dtype=torch.float64), facts, claims, captions)


def value_and_gradients(spec: LossSpec, data: Made, rank: int = 0, world: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A loss and its gradients by image and text features and by the scale."""
    loss = plugin("radisim_cl.losses", spec.kind).build(spec, rank, world)(data, data)
    return loss.detach(), *torch.autograd.grad(loss, (data.image, data.text, data.logit_scale))


def work(rank: int, world: int, folder: str, specs: list[LossSpec]) -> None:
    """One rank: its half of the batch through every loss; what it finds goes to a file."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    size = len(made().image) // world
    found = [value_and_gradients(spec, made().part(slice(rank * size, (rank + 1) * size)), rank, world) for spec in specs]
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()
