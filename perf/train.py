"""Training steps beside those of open_clip's own trainer: one model, batch, data and precision, one process and two; medians of interleaved runs.

    make perf

Images are synthetic tensors. Captions fill the context (nothing can be cut off), or are of a radiology caption's length: open_clip_train spends the
whole context on either.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import Any

from _open_clip import Batches, arguments, data
from rich.console import Console
from rich.table import Table

ARCH, BATCH, STEPS, REPEATS = "ViT-B-32", 16, 3, 3
"""Model; pairs a step, of all processes together; timed steps, after one that warms up; runs of each kind, in turn."""
CAPTIONS = {
    "full": "opacity " * 75,
    "short": "Axial CT of the chest shows a small nodule in the left upper lobe, without effusion or enlarged lymph nodes.",
}
"""75 words fill the context; 20 are a line or two under a figure."""
ASKED = {"full": 0.98, "short": 1.3}
"""Of open_clip_train's speed."""
LR, DECAY, CLIP = 1e-4, 0.2, 1.0


def ours(caption: str) -> float:
    """Seconds of STEPS steps of the engine that trains stages."""
    import torch

    from radisim_cl.losses.clip import build as clip_loss
    from radisim_cl.models.build import build
    from radisim_cl.models.texts import shortened
    from radisim_cl.specs.curriculum import ModelSpec, OptimizerSpec, ProfileSpec
    from radisim_cl.specs.losses import ClipLossSpec
    from radisim_cl.train.engine import Engine, init_distributed

    model = ModelSpec(arch=ARCH)
    built = build(model, 0)
    profile = ProfileSpec.model_validate({"model": model.model_dump(), "budget": {"samples": 1}, "global_batch": BATCH})
    rank, world = init_distributed()
    engine, mine = Engine(built, profile, OptimizerSpec(weight_decay=DECAY, grad_clip=CLIP)), BATCH // world
    loss, tokenizer = clip_loss(ClipLossSpec(), rank, world), shortened(built.model, built.tokenizer)
    images = torch.randint(0, 256, (mine, 3, built.preprocess.size, built.preprocess.size), dtype=torch.uint8)
    start = 0.0
    for n in range(STEPS + 1):
        if n == 1:
            start = time.perf_counter()
        features: Any = engine.features(images, tokenizer([caption] * mine))
        engine.step(loss(features, features).value, LR)
    return time.perf_counter() - start


def theirs(caption: str) -> float:
    """Seconds of STEPS steps of `open_clip_train.train.train_one_epoch`."""
    import open_clip
    import torch
    from open_clip_train.train import train_one_epoch

    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    mine = BATCH // world
    model = open_clip.create_model(ARCH, output_dict=True)
    tokenizer = open_clip.get_tokenizer(ARCH)
    size = model.visual.image_size[0]
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": [p for p in model.parameters() if p.ndim < 2]}]
    optimizer = torch.optim.AdamW(groups, lr=LR, weight_decay=0.0)
    if world > 1:
        torch.distributed.init_process_group("gloo")
        model = torch.nn.parallel.DistributedDataParallel(model)
    args = arguments(mine, rank=rank, local_rank=rank, world_size=world, grad_clip_norm=CLIP)
    images = torch.randn(mine, 3, size, size)
    loss = open_clip.ClipLoss(local_loss=True, gather_with_grad=True, rank=rank, world_size=world)

    def epoch(n: int) -> None:
        batches = Batches(n, mine, lambda: (images, tokenizer([caption] * mine)))
        train_one_epoch(model, data(batches), loss, 0, optimizer, None, None, None, args)

    epoch(1)
    start = time.perf_counter()
    epoch(STEPS)
    return time.perf_counter() - start


def main() -> None:
    """Prints a table of ratios."""
    found: dict[tuple[int, str, str], list[float]] = {}
    for _ in range(REPEATS):
        for processes in (1, 2):
            start = [] if processes == 1 else ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
            for length in CAPTIONS:
                for who in ("theirs", "ours"):
                    done = subprocess.run([sys.executable, *start, __file__, who, length], capture_output=True, text=True, check=True)
                    seconds = [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("seconds ")]
                    found.setdefault((processes, length, who), []).append(STEPS * BATCH / max(seconds))
    median = {kind: statistics.median(values) for kind, values in found.items()}
    table = Table(title=f"{ARCH}, batch {BATCH}, fp32: medians of {REPEATS} interleaved runs", title_justify="left")
    for column in ("captions", "processes", "open_clip_train, samples/s", "ours", "of open_clip_train", "asked"):
        table.add_column(column, justify="right" if column != "captions" else "left")
    for processes, length in dict.fromkeys(kind[:2] for kind in median):
        peer, own = (median[processes, length, who] for who in ("theirs", "ours"))
        words = f"{len(CAPTIONS[length].split())} words"
        table.add_row(words, str(processes), f"{peer:.2f}", f"{own:.2f}", f"{own / peer:.2f}x", f"{ASKED[length]}x")
    Console(width=120).print(table)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(f"\nseconds {(ours if sys.argv[1] == 'ours' else theirs)(CAPTIONS[sys.argv[2]])}", flush=True)
    else:
        main()
