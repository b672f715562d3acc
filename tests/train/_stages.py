"""Stages that freeze and that begin with a new optimizer, by the engine and by plain PyTorch; weights after each go to a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from _ranks import BATCH, batch
from open_clip.loss import ClipLoss
from torch import Tensor

from radisim_cl.models.build import Built, Towers, build
from radisim_cl.models.frozen import frozen
from radisim_cl.specs.curriculum import ModelSpec, OptimizerSpec, ProfileSpec, TrainSpec

STAGES = [TrainSpec(share=1, lr=1e-3, freeze=["image"]), TrainSpec(share=1, lr=1e-3, freeze=["text", "logit_scale"], unlocked={"text": 1}),
          TrainSpec(share=1, lr=1e-3), TrainSpec(share=1, lr=1e-3, optimizer="fresh", freeze=["image"], unlocked={"image": 2})]
STEPS, CUT = 2, 1
"""Of each stage; after which of them the run that is resumed was stopped."""
LR, DECAY = 1e-3, 0.2


def made(arch: str) -> Built:
    """The model at the start."""
    return build(ModelSpec(arch=arch), seed=1)


def plain(arch: str, fresh: bool = True) -> list[dict[str, Tensor]]:
    """The oracle: what is frozen has no gradient, and a new optimizer is a new optimizer; without `fresh` there is one for all stages."""
    built = made(arch)
    towers, loss = Towers(built.model, built.preprocess), ClipLoss()
    vectors, matrices = ([p for _, p in towers.named_parameters() if (p.ndim < 2) == vector] for vector in (True, False))

    def new() -> torch.optim.Optimizer:
        return torch.optim.AdamW([{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}], lr=LR, betas=(0.9, 0.98),
                                 eps=1e-6)

    optimizer, out = new(), []
    for n, stage in enumerate(STAGES):
        left = frozen(built.model, stage)
        for name, p in built.model.named_parameters():
            p.requires_grad_(name not in left)
        if stage.optimizer == "fresh" and fresh:
            optimizer = new()
        for step in range(STEPS):
            b = batch(STEPS * n + step)
            image, text, scale = towers(b.images, b.tokens)
            optimizer.zero_grad()
            torch.autograd.backward(loss(image, text, scale))
            optimizer.step()
        out.append({k: v.detach().clone() for k, v in built.model.state_dict().items()})
    return out


def engine(arch: str, zero: int, micro: int, resumed: bool) -> Iterator[dict[str, Tensor]]:
    """Weights after each stage; of a run that is left after CUT steps of every stage, and taken up by a new engine."""
    from radisim_cl.train.engine import Engine

    built = made(arch)
    model = {"arch": arch}
    profile = ProfileSpec.model_validate({"model": model, "budget": {"samples": 1}, "global_batch": BATCH, "zero": zero, "micro_batch": micro})

    def new() -> Engine:
        return Engine(made(arch), profile, OptimizerSpec(weight_decay=DECAY, grad_clip=0.0), [frozen(built.model, s) for s in STAGES])

    here = new()
    for n, stage in enumerate(STAGES):
        for step in range(STEPS):
            if resumed and step == CUT:
                with TemporaryDirectory() as folder:
                    folder = here.broadcast(folder)
                    here.save(Path(folder), "cut")
                    here.barrier()
                    here = new()
                    here.load(Path(folder), "cut", here.world)
                    here.barrier()
            here.freeze(frozen(built.model, stage))
            if stage.optimizer == "fresh" and not step:
                here.forget()
            b = batch(STEPS * n + step, here.slots)
            features = here.features(b.images, b.tokens)
            loss = ClipLoss(local_loss=True, gather_with_grad=True, rank=here.rank, world_size=here.world)
            assert here.step(loss(features.image, features.text, features.logit_scale), LR) is None
        yield here.weights()


def main(arch: str, zero: int, micro: int, out: str) -> None:
    """Both kinds of runs."""
    found = [list(engine(arch, zero, micro, resumed)) for resumed in (False, True)]
    if torch.distributed.get_rank() == 0:
        torch.save(found, Path(out))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
