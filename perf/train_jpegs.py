"""Training that waits for its images, beside open_clip's own trainer: a model that costs nothing, shards of large JPEGs; medians of interleaved runs.

    make perf

Both sides read the same shards, crop, resize and jitter alike, and have as many threads or workers beside the process that trains as there are
cores. Theirs is open_clip_train's `get_wds_dataset` and `train_one_epoch`.
"""

from __future__ import annotations

import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _open_clip import arguments
from data import CHANGES, IMAGES, PIXELS, SIZE, catalog, corpus
from rich.console import Console
from rich.table import Table

BATCH, REPEATS, CORES = 32, 5, os.cpu_count() or 1
"""Pairs a step; runs of each kind, in turn; threads or workers that read."""
STEPS = IMAGES // BATCH
"""Timed, after as many that warm up."""
LR, DECAY, ASKED = 1e-4, 0.2, 1.5
MODEL = {"embed_dim": 32, "vision_cfg": {"image_size": SIZE, "layers": 1, "width": 32, "head_width": 16, "patch_size": 56},
         "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1}}
WHO = {"theirs": f"open_clip_train, {CORES} workers", "ours": f"ours, {CORES} readers"}


def ours(root: Path) -> float:
    """Seconds of STEPS steps, images from the loader that stages train from."""
    from radisim_cl.corpus.corpora import Corpora
    from radisim_cl.data.cache import ImageCache
    from radisim_cl.data.loader import Loader
    from radisim_cl.data.mixture import Mixture
    from radisim_cl.losses.clip import build as clip_loss
    from radisim_cl.models.build import build
    from radisim_cl.models.texts import remembered, shortened
    from radisim_cl.specs.curriculum import MixtureEntry, ModelSpec, OptimizerSpec, ProfileSpec
    from radisim_cl.specs.losses import ClipLossSpec
    from radisim_cl.specs.plan import EntryPlan
    from radisim_cl.train.engine import Engine

    model = ModelSpec(arch=f"local-dir:{root / 'model'}")
    built = build(model, 0)
    profile = ProfileSpec.model_validate({"model": model.model_dump(), "budget": {"samples": 1}, "global_batch": BATCH})
    engine, loss = Engine(built, profile, OptimizerSpec(weight_decay=DECAY)), clip_loss(ClipLossSpec(), 0, 1)
    entry = EntryPlan(entry=MixtureEntry(source="packed"), stage="s", share=1.0, available=IMAGES, requested=0, repeats=0.0)
    mixture = Mixture([entry], Corpora(catalog(root), "v1"), None, BATCH, 0, "s", 0)
    tokenizer = shortened(built.model, remembered(built.tokenizer))
    loader = Loader(mixture, slice(None), CHANGES, built.preprocess, tokenizer, CORES, ImageCache(0))

    def epoch(n: int) -> None:
        for batch in loader.batches(n * STEPS, (n + 1) * STEPS):
            features: Any = engine.features(batch.images, batch.tokens)
            engine.step(loss(features, features).value, LR)

    epoch(0)
    start = time.perf_counter()
    epoch(1)
    return time.perf_counter() - start


def theirs(root: Path) -> float:
    """Seconds of STEPS steps of `open_clip_train.train.train_one_epoch`."""
    import open_clip
    import open_clip_train.data
    import torch
    from open_clip.transform import AugmentationCfg, image_transform
    from open_clip_train.train import train_one_epoch

    name = f"local-dir:{root / 'model'}"
    model, tokenizer = open_clip.create_model(name, output_dict=True), open_clip.get_tokenizer(name)
    jitter = (CHANGES.jitter, CHANGES.jitter, 0, 0)
    changes = AugmentationCfg(scale=(CHANGES.crop, 1.0), ratio=(0.82, 1.22), color_jitter=jitter, color_jitter_prob=1.0)
    shards = sorted(map(str, (root / "packed" / "shards").glob("*.tar")))
    args = arguments(BATCH, train_data="::".join(shards), train_num_samples=IMAGES, train_data_upsampling_factors=None, dataset_resampled=False,
                     seed=0, workers=CORES)
    # webdataset 0.2.96 and later end a tar with what open_clip's reader does not know: github.com/webdataset/webdataset/issues/384.
    open_clip_train.data.tar_file_expander = functools.partial(open_clip_train.data.tar_file_expander, eof_value=None)
    transform = image_transform(SIZE, is_train=True, aug_cfg=changes)
    data = {"train": open_clip_train.data.get_wds_dataset(args, transform, is_train=True, tokenizer=tokenizer)}
    assert data["train"].dataloader.num_batches == STEPS
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=DECAY)

    def epoch(n: int) -> None:
        train_one_epoch(model, data, open_clip.ClipLoss(), n, optimizer, None, None, None, args)

    epoch(0)
    start = time.perf_counter()
    epoch(1)
    return time.perf_counter() - start


def main() -> None:
    """Prints a table."""
    found: dict[str, list[float]] = {who: [] for who in WHO}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        corpus(root)
        (root / "model").mkdir()
        (root / "model" / "open_clip_config.json").write_text(json.dumps({"model_cfg": MODEL, "preprocess_cfg": {}}))
        for _ in range(REPEATS):
            for who, rates in found.items():
                done = subprocess.run([sys.executable, __file__, who, folder], stdout=subprocess.PIPE, text=True, check=True)
                rates.append(STEPS * BATCH / float(done.stdout.splitlines()[-1]))
    median = {who: statistics.median(rates) for who, rates in found.items()}
    what = f"{PIXELS}-pixel grey JPEGs to {SIZE} pixels, batch {BATCH}"
    table = Table(title=f"Training on {what}: medians of {REPEATS} interleaved runs of {IMAGES} pairs", title_justify="left")
    for column in ("", "samples/s", "of open_clip_train", "asked"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row(WHO["theirs"], f"{median['theirs']:.0f}", "", "")
    table.add_row(WHO["ours"], f"{median['ours']:.0f}", f"{median['ours'] / median['theirs']:.2f}x", f"{ASKED}x")
    Console(width=120).print(table)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(f"\n{(ours if sys.argv[1] == 'ours' else theirs)(Path(sys.argv[2]))}", flush=True)
    else:
        main()
