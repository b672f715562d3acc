"""Training steps beside those of open_clip's own trainer: one model, batch, data and precision; medians of interleaved processes.

    make perf

Images are synthetic tensors. Captions fill the context (nothing can be cut off), or are of a radiology caption's length (WORDS):
open_clip_train spends the whole context on either.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

from rich.console import Console
from rich.table import Table

ARCH, BATCH, STEPS, REPEATS, WORDS = "ViT-B-32", 16, 3, 3, 20
"""Model; pairs a step; timed steps of a process, after one that warms up; processes of each kind, in turn; words of a caption."""
LR, DECAY, CLIP = 1e-4, 0.2, 1.0
KINDS = {"open_clip_train": (False, 75), "ours, nothing to cut": (True, 75), f"open_clip_train, captions of {WORDS} words": (False, WORDS),
         f"ours, captions of {WORDS} words": (True, WORDS)}


def ours(words: int) -> float:
    """Seconds of STEPS steps of the engine that trains stages."""
    import torch

    from radisim_cl.losses.clip import build as clip_loss
    from radisim_cl.models.build import build
    from radisim_cl.models.texts import shortened
    from radisim_cl.specs.curriculum import ModelSpec, OptimizerSpec, ProfileSpec
    from radisim_cl.specs.losses import ClipLossSpec
    from radisim_cl.train.engine import Engine

    model = ModelSpec(arch=ARCH)
    built = build(model, 0)
    profile = ProfileSpec.model_validate({"model": model.model_dump(), "budget": {"samples": 1}, "global_batch": BATCH})
    engine = Engine(built, profile, OptimizerSpec(weight_decay=DECAY, grad_clip=CLIP))
    loss, tokenizer = clip_loss(ClipLossSpec(), 0, 1), shortened(built.model, built.tokenizer)
    images = torch.randint(0, 256, (BATCH, 3, built.preprocess.size, built.preprocess.size), dtype=torch.uint8)
    start = 0.0
    for n in range(STEPS + 1):
        if n == 1:
            start = time.perf_counter()
        features: Any = engine.features(images, tokenizer(["opacity " * words] * BATCH))
        engine.step(loss(features, features).value, LR)
    return time.perf_counter() - start


def theirs(words: int) -> float:
    """Seconds of STEPS steps of `open_clip_train.train.train_one_epoch`."""
    import open_clip
    import torch
    from open_clip_train.train import train_one_epoch

    model = open_clip.create_model(ARCH, output_dict=True)
    tokenizer = open_clip.get_tokenizer(ARCH)
    size = model.visual.image_size[0]
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": [p for p in model.parameters() if p.ndim < 2]}]
    optimizer = torch.optim.AdamW(groups, lr=LR, weight_decay=0.0)
    args = SimpleNamespace(device="cpu", precision="fp32", distill=False, accum_freq=1, skip_scheduler=True, horovod=False, grad_clip_norm=CLIP,
                           rank=0, local_rank=0, log_local=False, log_every_n_steps=10**9, batch_size=BATCH, world_size=1, wandb=False)
    images = torch.randn(BATCH, 3, size, size)

    class Batches:
        num_batches, num_samples = 0, 0

        def __init__(self, n: int) -> None:
            self.num_batches, self.num_samples = n, n * BATCH

        def __iter__(self) -> Any:
            for _ in range(self.num_batches):
                yield images, tokenizer(["opacity " * words] * BATCH)

    def epoch(n: int) -> None:
        data = {"train": SimpleNamespace(dataloader=Batches(n), set_epoch=lambda _: None)}
        train_one_epoch(model, data, open_clip.ClipLoss(), 0, optimizer, None, None, None, args)

    epoch(1)
    start = time.perf_counter()
    epoch(STEPS)
    return time.perf_counter() - start


def main() -> None:
    """Prints a table of ratios."""
    found: dict[str, list[float]] = {name: [] for name in KINDS}
    for _ in range(REPEATS):
        for name in KINDS:
            done = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, check=True)
            found[name].append(STEPS * BATCH / float(done.stdout.splitlines()[-1]))
    median = {name: statistics.median(values) for name, values in found.items()}
    table = Table(title=f"{ARCH}, batch {BATCH}, fp32: medians of {REPEATS} interleaved processes", title_justify="left")
    for column in ("", "samples/s", "of open_clip_train", "at least"):
        table.add_column(column, justify="right" if column else "left")
    names = list(KINDS)
    for peer, own, least in ((names[0], names[1], 0.98), (names[2], names[3], 1.3)):
        table.add_row(peer, f"{median[peer]:.2f}", "", "")
        table.add_row(own, f"{median[own]:.2f}", f"{median[own] / median[peer]:.2f}x", f"{least}x")
    Console(width=120).print(table)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        mine, words = KINDS[sys.argv[1]]
        print(ours(words) if mine else theirs(words))
    else:
        main()
