"""Which micro batch a machine takes, found by trying: whole steps of a profile's model, each size in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import torch
from rich.table import Table

from radisim_cl.data.loader import Batch
from radisim_cl.errors import InputError
from radisim_cl.models.build import Wanted, build
from radisim_cl.specs.curriculum import CurriculumSpec, ProfileSpec
from radisim_cl.specs.losses import ClipLossSpec
from radisim_cl.train.engine import Engine
from radisim_cl.train.loop import build_losses

SMALLEST = 8
"""Pairs; fewer are tried only where there are no more."""
STEPS = 3
"""Timed steps of a size, after one that warms up."""
GAIN = 1.05
"""On CPUs, a size that is not so many times as fast as the one before is the last piece that is tried."""


@dataclass(frozen=True)
class Trial:
    """A size that was tried.

    Attributes:
        micro: pairs that go through the towers at a time.
        rate: pairs a second of one rank; None where it failed.
        gib: peak memory: of the accelerator, or of the process; None where it failed.
        note: why it failed.
    """

    micro: int
    rate: float | None
    gib: float | None
    note: str = ""


def sizes(local: int) -> list[int]:
    """From small to a rank's whole batch, each twice the one before."""
    out = [local]
    while out[0] % 2 == 0 and out[0] // 2 >= SMALLEST:
        out.insert(0, out[0] // 2)
    return out


def tried(spec: CurriculumSpec, ranks: int, progress: Callable[[str, int, int], None]) -> list[Trial]:
    """Doubles until memory does not suffice; on CPUs also until nothing is gained, and then takes all at once, which spares a pass.

    Args:
        spec: whose profile in use is tried.
        ranks: of the run that is meant; the batch of one of them is tried, by one.
        progress: told of each size.

    Raises:
        InputError: the model cannot be built.
    """
    local = spec.scale.global_batch // ranks
    patches, cuda = any(loss.patches for stage in spec.stages for loss in stage.losses), torch.cuda.is_available()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    out, todo, of = list[Trial](), sizes(local), len(sizes(local))
    while todo:
        progress("trying micro batches", of - len(todo), of)
        micro = todo.pop(0)
        if not cuda and out and out[-1].gib is not None and out[-1].gib * micro / out[-1].micro > memory:
            out.append(Trial(micro, None, None, f"not tried: may need more than the {memory:.0f} GiB that there are"))
            break
        try:
            out.append(_alone(spec, micro, local, patches))
        except InputError as e:
            if not todo:
                raise
            out.append(Trial(micro, None, None, str(e)))
            todo = todo[-1:]
            continue
        now, before = out[-1].rate, out[-2].rate if len(out) > 1 else None
        if now is None:
            break
        if not cuda and before is not None and now < GAIN * before:
            todo = todo[-1:]
    return out


def _alone(spec: CurriculumSpec, micro: int, local: int, patches: bool) -> Trial:
    """One size in a process of its own: what it leaves in memory, or its being killed, is no other's."""
    scale = spec.scale.model_copy(update={"global_batch": local, "micro_batch": micro if micro < local else None})
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            found = pool.submit(_steps, scale, spec, patches).result()
        except BrokenProcessPool:
            found = "out of memory: the process was killed"
    return Trial(micro, None, None, found) if isinstance(found, str) else Trial(micro, *found)


def _steps(scale: ProfileSpec, spec: CurriculumSpec, patches: bool) -> tuple[float, float] | str:
    """Pairs a second and peak GiB of training on noise; or that memory did not suffice."""
    try:
        built = build(scale.model.model_copy(update={"pretrained": None}), 0)
        engine = Engine(built, scale, spec.optimizer)
        (clip,), n, nothing = build_losses([ClipLossSpec()], engine), scale.global_batch, torch.empty(0)
        images = torch.randint(0, 256, (n, 3, built.preprocess.size, built.preprocess.size), dtype=torch.uint8, device=engine.device)
        tokens = built.tokenizer(["image " * 1000]).expand(n, -1).to(engine.device)
        batch, times = Batch(images, tokens, nothing, nothing, nothing, nothing, [], []), []
        for _ in range(1 + STEPS):
            began = time.perf_counter()
            features = engine.features(images, tokens, Wanted({}, patches))
            engine.step(clip.loss(features, batch).value + 0 * features.patches.sum(), 0.0)
            if engine.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
        peak = torch.cuda.max_memory_reserved() if engine.device.type == "cuda" else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return n / statistics.median(times[1:]), peak / 2**30
    except RuntimeError as e:
        if isinstance(e, torch.OutOfMemoryError) or "allocate memory" in str(e):
            return "out of memory"
        raise


def table(trials: list[Trial], local: int) -> Table:
    """What was found."""
    out = Table()
    for column in ("micro_batch", "pieces", "pairs/s", "peak GiB", ""):
        out.add_column(column, justify="left" if not column else "right")
    for t in trials:
        rate, gib = (f"{t.rate:,.1f}" if t.rate else "-", f"{t.gib:.1f}" if t.gib else "-")
        out.add_row(f"{t.micro:,}", f"{local // t.micro:,}", rate, gib, t.note or ("all at once: no micro_batch" if t.micro == local else ""))
    return out


def advice(trials: list[Trial], profile: str, local: int) -> str:
    """What to write into the profile.

    Raises:
        InputError: nothing fits.
    """
    found = [(t.rate, t.micro) for t in trials if t.rate]
    if not found:
        raise InputError(f"not even {trials[-1].micro} pairs at a time fit: {trials[-1].note}; take checkpoint_activations: true, another precision "
                         "or a smaller model")
    _, best = max(found)
    if best == local:
        return f"profiles.{profile} needs no micro_batch: the {local:,} pairs of a rank fit at once, and nothing is faster"
    return f"write micro_batch: {best} into profiles.{profile}"
