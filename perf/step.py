"""What a training step on CPUs gains by keeping freed memory and by channels-last images, beside a step without; medians of interleaved processes.

    make perf
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

ARCH, BATCH, STEPS, REPEATS = "radisim-tiny-resnet", 64, 6, 3
"""The laptop's model and batch; timed steps of a process, after two that warm up; processes of each kind, in turn."""


def measured(keep: bool, channels_last: bool) -> float:
    """Samples a second of forward and backward passes of the image tower in this process."""
    import torch

    from radisim_cl.models.build import build
    from radisim_cl.specs.curriculum import ModelSpec
    from radisim_cl.train.engine import keep_memory

    if keep:
        keep_memory()
    built = build(ModelSpec(arch=ARCH), 0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    images = torch.randn(BATCH, 3, built.preprocess.size, built.preprocess.size).contiguous(memory_format=layout)
    start = 0.0
    for n in range(STEPS + 2):
        if n == 2:
            start = time.perf_counter()
        torch.autograd.backward(built.model.encode_image(images).sum())  # type: ignore[operator]
    return STEPS * BATCH / (time.perf_counter() - start)


def main() -> None:
    """Prints a table of ratios."""
    kinds = {"as it is done": (True, True), "freed memory is given back": (False, True), "channels first": (True, False), "both": (False, False)}
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(REPEATS):
        for name, kind in kinds.items():
            done = subprocess.run([sys.executable, __file__, *(str(int(k)) for k in kind)], capture_output=True, text=True, check=True)
            found[name].append(float(done.stdout))
    median = {name: statistics.median(values) for name, values in found.items()}
    table = Table(title=f"Image tower of {ARCH}, batch {BATCH}: medians of {REPEATS} interleaved processes", title_justify="left")
    for column in ("", "samples/s", "of as it is done"):
        table.add_column(column, justify="right" if column else "left")
    for name, value in median.items():
        table.add_row(name, f"{value:.0f}", f"{value / median['as it is done']:.2f}x")
    Console(width=120).print(table)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(measured(sys.argv[1] == "1", sys.argv[2] == "1"))
    else:
        main()
