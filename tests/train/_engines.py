"""Engines of one rank: fp16 that overflows, blocks that are compiled, and a curve of 200 steps; `main` is run in a process of its own."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from _ranks import BATCH, batch
from open_clip.loss import ClipLoss
from torch import Tensor

from radisim_cl.models.build import Towers, build
from radisim_cl.specs.curriculum import ModelSpec, OptimizerSpec, ProfileSpec
from radisim_cl.train.engine import Engine

LR, CURVE = 1e-3, 200
LOSS = ClipLoss()


def new(arch: str, **scale: object) -> Engine:
    """One of a model from the same seed."""
    profile = ProfileSpec.model_validate({"model": {"arch": arch}, "budget": {"samples": 1}, "global_batch": BATCH, **scale})
    return Engine(build(ModelSpec(arch=arch), seed=1), profile, OptimizerSpec())


def loss(engine: Engine, step: int) -> Tensor:
    """Of a batch."""
    b = batch(step)
    f = engine.features(b.images, b.tokens)
    out = LOSS(f.image, f.text, f.logit_scale)
    assert isinstance(out, Tensor)
    return out


def state(engine: Engine) -> dict[str, Any]:
    """Weights and moments, as they are now."""
    return copy.deepcopy({"weights": engine.weights(), "moments": list(engine._optimizer.state.values())})


def moved(engine: Engine, folder: str, **scale: object) -> Engine:
    """A new engine that has read the old one's checkpoint."""
    engine.save(Path(folder), "here")
    out = new(f"local-dir:{MODEL}", **scale)
    out.load(Path(folder), "here", out.world)
    return out


def fp16(zero: int) -> dict[str, Any]:
    """A step, one whose gradients overflow, one more; then the same from the checkpoint that was written between them."""
    engine = new(f"local-dir:{MODEL}", zero=zero, precision="fp16")
    assert engine._scale
    while engine.step(loss(engine, 0), LR):  # until the first factor fits
        pass
    before, factor = state(engine), engine._scale.factor
    overflowing = loss(engine, 1) * 1e8
    assert overflowing.isfinite()
    said = engine.step(overflowing, LR)
    after, halved = state(engine), engine._scale.factor
    with TemporaryDirectory() as folder:
        again = moved(engine, folder, zero=zero, precision="fp16")
        assert again._scale
        out: dict[str, Any] = {"said": said, "before": before, "after": after, "factors": [factor, halved, again._scale.factor]}
        out["then"] = [e.step(loss(e, 2), LR) for e in (engine, again)]
        return out | {"weights": [e.weights() for e in (engine, again)]}


def compiled(zero: int) -> dict[str, Any]:
    """Two steps compiled, and from there one step as it is and one compiled; and the other way round."""
    out = {}
    for first in (False, True):
        engine = new(f"local-dir:{MODEL}", zero=zero, compile=first)
        for n in range(2):
            engine.step(loss(engine, n), LR)
        with TemporaryDirectory() as folder:
            other = moved(engine, folder, zero=zero, compile=not first)
            equal = all(torch.equal(w, engine.weights()[k]) for k, w in other.weights().items())
            engine.step(loss(engine, 2), LR)
            other.step(loss(other, 2), LR)
            out[str(first)] = {"equal": equal, "weights": [engine.weights(), other.weights()]}
    return out


def curve(zero: int) -> dict[str, Any]:
    """Losses of CURVE steps."""
    engine, out = new(f"local-dir:{MODEL}", zero=zero), []
    for n in range(CURVE):
        value = loss(engine, n % 10)
        out.append(float(value.detach()))
        engine.step(value, LR)
    return {"losses": out}


def plain_curve(arch: str) -> list[float]:
    """The same in plain PyTorch."""
    built = build(ModelSpec(arch=arch), seed=1)
    towers, spec = Towers(built.model, built.preprocess), OptimizerSpec()
    parts = [{"params": [p for p in towers.parameters() if (p.ndim < 2) == vector], "weight_decay": 0.0 if vector else spec.weight_decay}
             for vector in (False, True)]
    optimizer, out = torch.optim.AdamW(parts, lr=LR, betas=(0.9, 0.98), eps=1e-6), []
    for n in range(CURVE):
        b = batch(n % 10)
        value = LOSS(*towers(b.images, b.tokens))
        out.append(float(value.detach()))
        optimizer.zero_grad()
        torch.autograd.backward(value)
        torch.nn.utils.clip_grad_norm_(towers.parameters(), spec.grad_clip)
        optimizer.step()
    return out


if __name__ == "__main__":
    MODEL, case, stages, file = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4]
    torch.save({zero: {"fp16": fp16, "compiled": compiled, "curve": curve}[case](zero) for zero in stages}, file)
