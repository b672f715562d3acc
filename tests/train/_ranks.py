"""Five steps of the engine on fixed batches, under torchrun; losses, first gradients and last weights go to a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from radisim_cl.models.build import Built, Embedded, Features, Towers, Wanted, build
from radisim_cl.models.texts import shortened
from radisim_cl.registry import plugin
from radisim_cl.specs.curriculum import ModelSpec, OptimizerSpec, ProfileSpec
from radisim_cl.specs.losses import (
    BACKGROUND,
    BODY,
    ClipLossSpec,
    GradeSpec,
    LossSpec,
    MultiPositiveLossSpec,
    OrdinalLossSpec,
    RegionLossSpec,
    RetainLossSpec,
    SiglipLossSpec,
)

LR, STEPS, BATCH = 0.05, 5, 64
WORDS = (BACKGROUND, BODY, "heart", "left_lung", "liver")
GRADES = [GradeSpec(values=[v], names=[v]) for v in ("mild", "moderate", "severe")]
SETS: dict[str, list[LossSpec]] = {"pairs": [ClipLossSpec(), MultiPositiveLossSpec(), SiglipLossSpec(weight=0.02)],
                                   "all": [ClipLossSpec(), RegionLossSpec(), OrdinalLossSpec(grades=GRADES), RetainLossSpec()]}
ALONE: dict[str, list[LossSpec]] = {s.kind: [s] for specs in SETS.values() for s in specs}


SHORT = 8
"""Positions to which texts are cut, of 16."""


def batch(step: int, part: slice = slice(None)) -> SimpleNamespace:
    """Pairs that depend on the step alone: random images and tokens, labels, captions that claim some of them, masks mostly on the first rank."""
    g = torch.Generator().manual_seed(step)
    tokens = torch.randint(1, 400, (BATCH, 16), generator=g)
    tokens[:, 6] = 49407
    tokens[:, 7:] = 0
    facts = torch.randint(0, 4, (BATCH, 2), generator=g)
    images = torch.randint(0, 256, (BATCH, 3, 32, 32), generator=g, dtype=torch.uint8)
    claims, captions = torch.rand(BATCH, 2, generator=g) < 0.5, torch.randint(1, 40, (BATCH,), generator=g)
    areas = torch.rand(BATCH, 16, len(WORDS), generator=g) * (torch.rand(BATCH, 1, len(WORDS), generator=g) < 0.6)
    masked = torch.rand(BATCH, 1, 1, generator=g) < torch.linspace(1.2, -0.2, BATCH)[:, None, None]
    labels = [("mild", "severe", "", "other", "moderate")[i] for i in torch.randint(0, 5, (BATCH,), generator=g)]
    return SimpleNamespace(images=images[part], tokens=tokens[part], facts=facts[part], claims=claims[part], captions=captions[part],
                           regions=(areas * masked / len(WORDS))[part], vocabulary=WORDS, labels=labels[part])


def wanted(built: Built, specs: Sequence[LossSpec], entry: Towers | None = None) -> Wanted:
    """What the losses want beside the pairs."""
    from radisim_cl.train import loop

    return loop.wanted([loop.Weighted(s.kind, s, plugin("radisim_cl.losses", s.kind).build(s, 0, 1)) for s in specs], WORDS, built.tokenizer,
                       torch.device("cpu"), entry)


def plain(arch: str, specs: Sequence[LossSpec]) -> dict[str, object]:
    """The oracle: one process, plain PyTorch in double precision, the whole batch; passes of their own for patches and for prompts."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.Tensor, "float", torch.Tensor.double)  # the towers give single precision otherwise
        return _plain(arch, specs)


def _plain(arch: str, specs: Sequence[LossSpec]) -> dict[str, object]:
    built = build(ModelSpec(arch=arch, logit_bias=-10), seed=1)
    towers = Towers(built.model, built.preprocess).double()
    optimizer = torch.optim.SGD(towers.parameters(), lr=LR)
    losses, gradients = [], {}
    terms = [plugin("radisim_cl.losses", s.kind).build(s, 0, 1) for s in specs]
    beside, entered = wanted(built, specs), build(ModelSpec(arch=arch), seed=2)
    before = Towers(entered.model.eval(), entered.preprocess).double()
    for step in range(STEPS):
        b = batch(step)
        image, text, scale, bias = towers(b.images, b.tokens)
        prompted = {t: towers.text(ids[None])[0] for t, ids in beside.tokens.items()}
        features = Features(image, text, scale, bias, towers.patches(b.images) if beside.patches else image[:, None], prompted,
                            Embedded(*(x.detach() for x in before(b.images, b.tokens))))
        total = torch.stack([s.weight * t(features, b).value.reshape(()) for s, t in zip(specs, terms, strict=True)]).sum()
        optimizer.zero_grad()
        torch.autograd.backward(total)
        if step == 0:
            gradients = {n.removeprefix("clip."): p.grad.clone() for n, p in towers.named_parameters() if p.grad is not None}
        optimizer.step()
        losses.append(float(total.detach()))
    return {"losses": losses, "gradients": gradients, "weights": {k: v.detach() for k, v in towers.clip.state_dict().items()}}


def main(arch: str, zero: int, out: str, names: Sequence[str], micro: int, scale: dict[str, object]) -> None:
    """The same through the engine, for each of some sets of losses; `every`: all sets, and each loss alone."""
    model = ModelSpec(arch=arch, logit_bias=-10)
    profile = ProfileSpec.model_validate({"model": model.model_dump(), "budget": {"samples": 1}, "global_batch": BATCH, "zero": zero,
                                          "micro_batch": micro, **scale})
    found = {name: trained(model, profile, (SETS | ALONE)[name]) for name in chosen(names)}
    if torch.distributed.get_rank() == 0:
        torch.save(found, Path(out))


def chosen(names: Sequence[str]) -> list[str]:
    """Keys of SETS and ALONE."""
    return [*SETS, *ALONE] if "every" in names else list(names)


def trained(model: ModelSpec, profile: ProfileSpec, specs: Sequence[LossSpec]) -> dict[str, object]:
    """Losses, first gradients and last weights of a set of losses."""
    from deepspeed.utils import safe_get_full_grad

    from radisim_cl.train.engine import Engine

    built = build(model, seed=1)
    engine = Engine(built, profile, OptimizerSpec(kind="sgd", grad_clip=0.0))
    terms = [plugin("radisim_cl.losses", s.kind).build(s, engine.rank, engine.world) for s in specs]
    entered = build(model, seed=2)
    beside = wanted(built, specs, engine.frozen(entered, entered.model.state_dict()) if any(s.entry for s in specs) else None)
    losses: list[float] = []
    gradients: dict[str, torch.Tensor] = {}
    inner = engine._engine

    def watched(step=inner.step) -> None:  # type: ignore[no-untyped-def]
        if not gradients and inner.is_gradient_accumulation_boundary():
            grads = {n.removeprefix("clip."): safe_get_full_grad(p) for n, p in inner.module.named_parameters()}
            gradients.update({n: g.clone() for n, g in grads.items() if g is not None})
        step()

    inner.step = watched
    for step in range(STEPS):
        b = batch(step, engine.slots)
        tokens = shortened(built.model, lambda _, b=b: b.tokens, beside.tokens.values())([])  # type: ignore[misc]
        assert tokens.shape[1] == SHORT or (tokens.shape[1] == 16 and beside.tokens)  # some prompts are longer
        features = engine.features(b.images, tokens, beside)
        total = torch.stack([s.weight * t(features, b).value.reshape(()) for s, t in zip(specs, terms, strict=True)]).sum()
        losses.append(engine.mean(total))
        assert engine.step(total, LR) is None
    return {"losses": losses, "gradients": gradients, "weights": engine.weights()}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4].split(), int(sys.argv[5]), json.loads(sys.argv[6]))
