"""Five steps of the engine on fixed batches, under torchrun; losses, first gradients and last weights go to a file."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import torch

from radisim_cl.models.build import Towers, build
from radisim_cl.specs.curriculum import ModelSpec, OptimizerSpec, ProfileSpec
from radisim_cl.specs.losses import ClipLossSpec, MultiPositiveLossSpec

LR, STEPS, BATCH = 0.05, 5, 64


def batch(step: int, part: slice = slice(None)) -> SimpleNamespace:
    """Pairs that depend on the step alone: random images and tokens, three modalities, captions that claim some of their labels."""
    g = torch.Generator().manual_seed(step)
    tokens = torch.randint(1, 400, (BATCH, 16), generator=g)
    tokens[:, 12] = 49407
    facts = torch.randint(0, 4, (BATCH, 2), generator=g)
    images = torch.randint(0, 256, (BATCH, 3, 32, 32), generator=g, dtype=torch.uint8)
    claims, captions = torch.rand(BATCH, 2, generator=g) < 0.5, torch.randint(1, 40, (BATCH,), generator=g)
    return SimpleNamespace(images=images[part], tokens=tokens[part], facts=facts[part], claims=claims[part], captions=captions[part])


def plain(arch: str, precision: torch.dtype = torch.float32) -> dict[str, object]:
    """The oracle: one process, plain PyTorch, the whole batch."""
    from radisim_cl.losses import clip, multi_positive

    built = build(ModelSpec(arch=arch), seed=1)
    towers = Towers(built.model, built.preprocess).to(precision)
    optimizer = torch.optim.SGD(towers.parameters(), lr=LR)
    losses, gradients = [], {}
    terms = [clip.build(ClipLossSpec(), 0, 1), multi_positive.build(MultiPositiveLossSpec(), 0, 1)]
    for step in range(STEPS):
        b = batch(step)
        image, text, scale = towers(b.images, b.tokens)
        features = SimpleNamespace(image=image, text=text, logit_scale=scale)
        total = torch.stack([t(features, b).reshape(()) for t in terms]).sum()
        optimizer.zero_grad()
        torch.autograd.backward(total)
        if step == 0:
            gradients = {n.removeprefix("clip."): p.grad.clone() for n, p in towers.named_parameters() if p.grad is not None}
        optimizer.step()
        losses.append(float(total.detach()))
    return {"losses": losses, "gradients": gradients, "weights": {k: v.detach() for k, v in towers.clip.state_dict().items()}}


def main(arch: str, zero: int, out: str) -> None:
    """The same through the engine."""
    from deepspeed.utils import safe_get_full_grad

    from radisim_cl.losses import clip, multi_positive
    from radisim_cl.train.engine import Engine

    built = build(ModelSpec(arch=arch), seed=1)
    profile = ProfileSpec.model_validate({"model": {"arch": arch}, "budget": {"samples": 1}, "global_batch": BATCH, "zero": zero})
    engine = Engine(built, profile, OptimizerSpec(kind="sgd", grad_clip=0.0))
    terms = [clip.build(ClipLossSpec(), engine.rank, engine.world), multi_positive.build(MultiPositiveLossSpec(), engine.rank, engine.world)]
    losses: list[float] = []
    gradients: dict[str, torch.Tensor] = {}
    inner = engine._engine

    def watched(step=inner.step) -> None:  # type: ignore[no-untyped-def]
        if not gradients:
            gradients.update({n.removeprefix("clip."): safe_get_full_grad(p).clone() for n, p in inner.module.named_parameters()})
        step()

    inner.step = watched
    for step in range(STEPS):
        b = batch(step, engine.slots)
        features = engine.features(b.images, b.tokens)
        total = torch.stack([t(features, b).reshape(()) for t in terms]).sum()
        losses.append(engine.mean(total))
        assert engine.step(total, LR)
    weights = engine.weights()
    if engine.rank == 0:
        torch.save({"losses": losses, "gradients": gradients, "weights": weights}, Path(out))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
