"""What each of two ranks does in the test of distributed losses; a module of its own, so that a spawned process imports little."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
import torch.distributed as dist
from torch import Tensor

from radisim_cl.registry import plugin
from radisim_cl.specs.losses import BACKGROUND, BODY, GradeSpec, LossSpec

WORDS = (BACKGROUND, BODY, "heart", "left_lung", "liver")
GRADES = [GradeSpec(values=["mild", "trace"], names=["mild", "slight"]), GradeSpec(values=["moderate"], names=["moderate"]),
          GradeSpec(values=["severe"], names=["severe", "marked", "grave"])]
EXAMPLES: dict[str, dict[str, Any]] = {"ordinal": {"grades": GRADES}}
"""Fields of the losses that cannot be made without any."""
SPECS: list[LossSpec] = [model(**EXAMPLES.get(model.model_fields["kind"].default, {})) for model in get_args(get_args(LossSpec)[0])]
TEXTS = sorted({t for spec in SPECS for prompts in spec.prompts(WORDS) for t in prompts})
LEAVES = ("image", "text", "logit_scale", "logit_bias", "patches", "prompted")


class Entered(NamedTuple):
    """What the model that entered the stage says of the pairs."""

    image: Tensor
    text: Tensor
    logit_scale: Tensor


@dataclass(frozen=True)
class Made:
    """Features and batch in one: all that a loss is given."""

    image: Tensor
    text: Tensor
    logit_scale: Tensor
    logit_bias: Tensor
    patches: Tensor
    prompted: Tensor
    facts: Tensor
    claims: Tensor
    captions: Tensor
    regions: Tensor
    labels: Sequence[str]
    entry: Entered
    vocabulary: Sequence[str] = WORDS

    def prompts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings of texts that a loss has asked for."""
        return self.prompted[[TEXTS.index(t) for t in texts]]

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """What a gradient is taken by."""
        return tuple(getattr(self, f) for f in LEAVES)

    def with_leaves(self, leaves: Sequence[Tensor]) -> Made:
        """The same with other features."""
        changed: dict[str, Any] = dict(zip(LEAVES, leaves, strict=True))
        return replace(self, **changed, entry=Entered(*(x.to(leaves[0].dtype) for x in self.entry)))

    def with_scale(self, scale: float) -> Made:
        """The same at another temperature."""
        return replace(self, logit_scale=torch.full_like(self.logit_scale, scale).detach().requires_grad_())

    def rows(self, rows: Sequence[int]) -> Made:
        """Some pairs, in the order given."""
        at = torch.tensor(rows)
        by_pair: dict[str, Any] = {f: getattr(self, f)[at] for f in ("image", "text", "patches", "facts", "claims", "captions", "regions")}
        entry = self.entry._replace(image=self.entry.image[at], text=self.entry.text[at])
        return replace(self, **by_pair, entry=entry, labels=[self.labels[i] for i in rows])

    def part(self, rows: slice) -> Made:
        """One rank's rows, as leaves of a graph of their own."""
        mine = self.rows(range(len(self.image))[rows])
        return mine.with_leaves([x.detach().clone().requires_grad_() for x in mine.leaves])


def made(seed: int = 0, size: int = 8, width: int = 6) -> Made:
    """Random unit features in double precision; labels with values in common, unknown values, and captions that claim some of them.

    The first rows have masks, the later ones fewer and the last none; some patches are known in part; every third label is no grade.
    """
    g = torch.Generator().manual_seed(seed)

    def unit(*shape: int) -> Tensor:
        return torch.nn.functional.normalize(torch.randn(*shape, generator=g, dtype=torch.float64), dim=-1)

    image, text = unit(size, width), unit(size, width)
    facts = torch.randint(0, 3, (size, 3), generator=g)
    claims = (torch.rand(size, 3, generator=g) < 0.5) & (facts != 0)
    captions = torch.randint(1, size, (size,), generator=g)
    patches, prompted = unit(size, 4, width), unit(len(TEXTS), width)
    areas = torch.rand(size, 4, len(WORDS), generator=g) * (torch.rand(size, 1, len(WORDS), generator=g) < 0.7) / len(WORDS)
    areas[0, :, 2] += 0.1
    masked = torch.tensor([i < size // 2 or i % 3 == 1 for i in range(size)])
    masked[-1] = False
    labels = [("mild", "", "severe", "moderate", "other", "trace")[i % 6] for i in range(size)]
    scale, bias = torch.tensor(14.3, dtype=torch.float64), torch.tensor([-3.7], dtype=torch.float64)
    return Made(image, text, scale, bias, patches, prompted, facts, claims, captions,
                areas * masked[:, None, None], labels, Entered(unit(size, width), unit(size, width), scale / 2))


def value_and_gradients(spec: LossSpec, data: Made, rank: int = 0, world: int = 1) -> tuple[Tensor, ...]:
    """A loss and its gradients by LEAVES, zeros where it does not depend on one."""
    loss = plugin("radisim_cl.losses", spec.kind).build(spec, rank, world)(data, data).value
    return loss.detach(), *torch.autograd.grad(loss, data.leaves, allow_unused=True, materialize_grads=True)


def work(rank: int, world: int, folder: str, specs: list[LossSpec]) -> None:
    """One rank: its half of the batch through every loss; what it finds goes to a file."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    size = len(made().image) // world
    found = [value_and_gradients(spec, made().part(slice(rank * size, (rank + 1) * size)), rank, world) for spec in specs]
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.barrier()  # meanwhile gloo's threads let go of their tensors: one that does so while the interpreter ends aborts it
    dist.destroy_process_group()
