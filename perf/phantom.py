"""How fast the phantom is drawn and read, beside what training takes in; medians of interleaved repeats on this machine.

    make perf
"""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional

from radisim_cl.corpus.blobs import Blob
from radisim_cl.data.images import decode, resize
from radisim_cl.models.build import build
from radisim_cl.phantom import exams, make
from radisim_cl.phantom.patients import Patient, generator
from radisim_cl.phantom.sources import SOURCES
from radisim_cl.phantom.sources._base import modality
from radisim_cl.phantom.sources.training import TOMOGRAPHY, film
from radisim_cl.specs.catalog import PhantomSpec
from radisim_cl.specs.curriculum import BudgetSpec, ModelSpec, OptimizerSpec, ProfileSpec
from radisim_cl.train.engine import Engine

ARCH, REPEATS, SIZES, BATCH, PICTURES, PATIENTS = "radisim-tiny-resnet", 5, (64, 96, 224), 64, 12, 6
"""The laptop's model; repeats of everything in turn; pixels a side; samples of a training step; pictures of one measurement;
patients of a source for the disk."""


def drawing(kind: str, size: int) -> Callable[[], int]:
    """Draws PICTURES pictures of one modality, patients included, in every region that has it."""
    order = itertools.count()
    exam = [exams.Exam(region, modality(k), technique, "axial")
            for region, techniques in TOMOGRAPHY.items() for k, technique in techniques if k == kind]
    exam = exam or [film(region, (), generator(0, region), 0.5) for region in ("chest", "knee", "lumbar spine", "abdomen", "pelvis", "head")]

    def draw() -> int:
        exams.body.cache_clear()
        for i in range(PICTURES):
            n = next(order)
            exams.take(exam[i % len(exam)], Patient.draw(0, f"perf-{kind}-{n}", "F"), generator(0, "perf", kind, n), size)
        return PICTURES

    return draw


def reading(files: list[Blob], pixels: int) -> Callable[[], int]:
    """Decodes and resizes 256 images of the corpora in one thread."""
    preprocess = build(ModelSpec(arch=ARCH), seed=0).preprocess.model_copy(update={"size": pixels})
    turn = itertools.cycle(files)

    def read() -> int:
        for file in itertools.islice(turn, 256):
            resize(decode(file), preprocess)
        return 256

    return read


def training() -> Callable[[int], int]:
    """A step of the laptop's model at batch 64 with CLIP's loss, through the engine, in so many threads."""
    profile = ProfileSpec(model=ModelSpec(arch=ARCH), budget=BudgetSpec(samples=6400), global_batch=BATCH)
    built = build(profile.model, 0)
    engine, size = Engine(built, profile, OptimizerSpec()), built.preprocess.size
    images = torch.randint(0, 256, (BATCH, 3, size, size), dtype=torch.uint8, device=engine.device)
    tokens = built.tokenizer(["axial contrast-enhanced T1 MRI of the brain showing glioma"] * BATCH).to(engine.device)
    target = torch.arange(BATCH, device=engine.device)

    def train(threads: int) -> int:
        torch.set_num_threads(threads)
        f = engine.features(images, tokens)
        logits = f.logit_scale * f.image @ f.text.T
        engine.step((functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2, 1e-4)
        torch.set_num_threads(1)
        return BATCH

    return train


def rates(tasks: dict[str, Callable[[], int]]) -> dict[str, float]:
    """Items a second: medians over repeats, each of which does every task once; the first repeat only warms up."""
    found: dict[str, list[float]] = {name: [] for name in tasks}
    for repeat in range(REPEATS + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            n = task()
            if repeat:
                found[name].append(n / (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in found.items()}


def sampled(folder: Path) -> Iterator[tuple[str, int, float]]:
    """By source: pictures and bytes of the default phantom, from a few of its patients."""
    spec = PhantomSpec()
    for name, source in SOURCES.items():
        for sub in ("images", "masks"):
            (folder / name / sub).mkdir(parents=True)
        rows = [row for i in range(PATIENTS) for row in make.one(spec, source, i, folder / name)]
        size = sum(p.stat().st_size for p in (folder / name).rglob("*.png"))
        scale = make.patients(source, spec) / PATIENTS
        yield name, round(len(rows) * scale), size * scale


def main() -> None:
    """Prints two tables."""
    torch.set_num_threads(1)
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as temporary:
        disk = list(sampled(Path(temporary)))
        files = [Blob(path) for path in sorted(Path(temporary).rglob("images/*.png"))]
        np.random.default_rng(0).shuffle(files)
        tasks = {f"draw {kind} {size}": drawing(kind, size) for size in SIZES for kind in ("CT", "MR", "DR")}
        train = training()
        tasks |= {"read 128": reading(files, 128)} | {f"train {n}": partial(train, n) for n in sorted({1, cores})}
        rate = rates(tasks)
    taken = max(value for name, value in rate.items() if name.startswith("train"))
    title = f"Phantom: medians of {REPEATS} interleaved repeats, {cores} cores, load {os.getloadavg()[0]:.1f}"
    table = Table(title=title, title_justify="left")
    for column in ("", "pictures/s", "of what training takes in"):
        table.add_column(column, justify="left" if not column else "right")
    for name, value in rate.items():
        what, _, rest = name.partition(" ")
        label = {"draw": f"drawn in one core: {rest} px", "read": f"read from disk in one thread, resized to {rest} px",
                 "train": f"{ARCH} trains, batch {BATCH}, threads: {rest}"}[what]
        table.add_row(label, f"{value:,.0f}" if value >= 100 else f"{value:.1f}", f"{value / taken:.2f}x")
    pictures, size = sum(n for _, n, _ in disk), sum(b for _, _, b in disk)
    mean = statistics.harmonic_mean([rate[f"draw {kind} 96"] for kind in ("CT", "MR", "DR")], weights=[0.35, 0.4, 0.25])
    Console(width=120).print(table)
    print(f"The default phantom: about {pictures:,} pictures, {size / 1e6:.0f} MB (from {PATIENTS} patients a source); drawn once, "
          f"about {pictures / mean / 60:.1f} minutes of one core without what sources draw in vain.")


if __name__ == "__main__":
    main()
