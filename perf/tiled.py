"""The contrastive loss in tiles against the one whose logits are all held: peak memory and processor time of a forward and a backward pass.

    make perf
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

BATCHES, LARGE, WIDTH, TILE = (8192, 16384), 65536, 512, 2048
"""Pairs; so many that only tiles fit; the features' width; the default of `ClipLossSpec.tile`."""


def measured(size: int, tile: int) -> tuple[float, float]:
    """GiB by which a pass raises this process's peak, and its seconds over all threads: what else runs here counts for little."""
    from types import SimpleNamespace

    import torch
    from torch.nn.functional import normalize

    from radisim_cl.losses import clip
    from radisim_cl.specs.losses import ClipLossSpec

    g = torch.Generator().manual_seed(0)
    image, text = (normalize(torch.randn(size, WIDTH, generator=g), dim=-1).requires_grad_() for _ in range(2))
    features = SimpleNamespace(image=image, text=text, logit_scale=torch.tensor([14.3], requires_grad=True))
    loss = clip.build(ClipLossSpec(tile=tile), 0, 1)
    small = SimpleNamespace(**{k: getattr(features, k).detach()[:64].requires_grad_() for k in ("image", "text", "logit_scale")})
    torch.autograd.backward(loss(small, small).value)  # type: ignore[arg-type]  # what the first pass of a process loads is not the loss's
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    torch.autograd.backward(loss(features, features).value)  # type: ignore[arg-type]
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20, time.process_time() - start


def measured_apart(size: int, tile: int) -> tuple[float, float]:
    """The same in a process of its own."""
    told = subprocess.run([sys.executable, __file__, str(size), str(tile)], capture_output=True, text=True, check=True).stdout.split()
    return float(told[0]), float(told[1])


def main() -> None:
    """Prints a table of ratios."""
    table = Table(title=f"clip in tiles of {TILE}, features of {WIDTH}: forward and backward, a process each", title_justify="left")
    for column in ("batch", "dense GiB", "tiled GiB", "of dense", "dense CPU s", "tiled CPU s", "of dense"):
        table.add_column(column, justify="right")
    for size in BATCHES:
        (dense, dense_s), (tiled, tiled_s) = (measured_apart(size, tile) for tile in (size, TILE))
        table.add_row(f"{size:,}", f"{dense:.2f}", f"{tiled:.2f}", f"{tiled / dense:.2f}x", f"{dense_s:.1f}", f"{tiled_s:.1f}",
                      f"{tiled_s / dense_s:.2f}x")
    tiled, tiled_s = measured_apart(LARGE, TILE)
    table.add_row(f"{LARGE:,}", "", f"{tiled:.2f}", "", "", f"{tiled_s:.1f}", "")
    Console(width=120).print(table)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(*measured(int(sys.argv[1]), int(sys.argv[2])))
    else:
        main()
