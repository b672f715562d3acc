"""What one pass over shared images gains, and what a second scoring costs, beside embedding each image once; medians of interleaved runs.

    make perf
"""

from __future__ import annotations

import itertools
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from radisim_cl.bench import evaluate
from radisim_cl.bench.items import items
from radisim_cl.bench.kept import Memory
from radisim_cl.corpus.corpora import Corpora
from radisim_cl.data.images import decode, resize
from radisim_cl.models.build import build
from radisim_cl.models.embedder import Embedder
from radisim_cl.runs.embedded import ready
from radisim_cl.runs.planned.subtasks import planned_subtasks
from radisim_cl.specs.benchmark import BenchmarkSpec, load_benchmark
from radisim_cl.specs.catalog import load_catalog
from radisim_cl.specs.curriculum import ModelSpec

SHARED, REPEATS = 24, 7
"""Subtasks that ask about the same images; runs of each kind, in turn, of the loop one."""
SMALL = "radisim-tiny-resnet"
"""The model, unless another is named: `python perf/bench.py ViT-B-32`, once, and without the loop, as that takes many minutes."""


def shared(spec: BenchmarkSpec) -> BenchmarkSpec:
    """As many subtasks about the images of one, each with an id of its own."""
    one = next(s for s in spec.subtasks if s.id == "mod.ct_mr_dr")
    return spec.model_copy(update={"subtasks": [one.model_copy(update={"id": f"shared.{i:02d}"}) for i in range(SHARED)]})


def main() -> None:
    """Prints a table of ratios."""
    catalog = ready(load_catalog("phantom", Path()))
    spec = shared(load_benchmark("radiologist-24", Path()))
    corpora = Corpora(catalog, spec.version)
    plans = planned_subtasks(spec, corpora, set())
    arch = sys.argv[1] if len(sys.argv) > 1 else SMALL
    repeats = REPEATS if arch == SMALL else 1
    embedder = Embedder(build(ModelSpec(arch=arch), 0))
    asked = items(spec.subtasks[0], corpora, "report")
    files = [corpora[s].image(int(r)) for s, r in zip(asked["source"], asked["row"], strict=True)]

    def once() -> None:
        with ThreadPoolExecutor(1) as reader:
            loaded = reader.map(lambda f: resize(decode(f), embedder.preprocess), files)
            embedder.images(torch.stack(batch) for batch in iter(lambda: list(itertools.islice(loaded, 128)), []))

    def one_pass() -> None:
        evaluate.answers(embedder, spec, plans, corpora, "report", readers=1)

    def loop() -> None:
        for plan in plans:
            evaluate.answers(embedder, spec, [plan], corpora, "report", readers=1)

    with tempfile.TemporaryDirectory() as folder:
        filled = Memory(Path(folder))
        evaluate.answers(embedder, spec, plans, corpora, "report", memory=filled)
        filled.save()
        made: list[int] = []

        def again() -> None:
            memory = Memory(Path(folder))
            evaluate.answers(embedder, spec, plans, corpora, "report", readers=1, memory=memory)
            made.append(memory.images.made + memory.texts.made)

        kinds: dict[str, Callable[[], None]] = {
            "each unique image embedded once": once, f"{SHARED} subtasks in one pass": one_pass, "again, from the cache": again,
            **({f"{SHARED} subtasks in a loop": loop} if arch == SMALL else {})}
        found: dict[str, list[float]] = {name: [] for name in kinds}
        for kind in kinds.values():
            kind()  # warms up
        for repeat in range(repeats):
            for name, kind in kinds.items():
                if kind is loop and repeat:
                    continue  # takes as long as all the others together
                start = time.perf_counter()
                kind()
                found[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in found.items()}
    base = median["each unique image embedded once"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    table = Table(title=f"{len(files)} images, {arch}: medians of {repeats} interleaved runs; not from the cache: {max(made)}; "
                        f"peak memory {peak:.2f} GiB", title_justify="left")
    for column in ("", "seconds", "of each image once"):
        table.add_column(column, justify="right" if column else "left")
    for name, value in median.items():
        table.add_row(name, f"{value:.2f}", f"{value / base:.2f}x")
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
