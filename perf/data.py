"""Training pairs a second from shards, beside webdataset with open_clip's transform, and beside decoding the same images and nothing else.

    make perf

Both sides crop, resize and jitter the same grey JPEGs from the same shards, which `corpus pack` wrote and the page cache holds. Captions are not
tokenized: that is open_clip's on either side. Ratios are of the time of cores, of threads and workers too, which other processes do not lengthen
as they do the clock's.
"""

from __future__ import annotations

import itertools
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import webdataset
from open_clip.transform import AugmentationCfg, image_transform
from PIL import Image
from rich.console import Console
from rich.table import Table
from torchvision.io import ImageReadMode, decode_image

from radisim_cl.corpus.corpora import Corpora
from radisim_cl.corpus.pack import pack
from radisim_cl.data.cache import ImageCache
from radisim_cl.data.loader import Loader
from radisim_cl.data.mixture import Mixture
from radisim_cl.specs.catalog import CatalogSpec, CorpusSpec
from radisim_cl.specs.curriculum import AugmentSpec, MixtureEntry
from radisim_cl.specs.plan import EntryPlan
from radisim_cl.specs.preprocess import PreprocessSpec

PIXELS, IMAGES, SIZE, BATCH, BATCHES, REPEATS, READERS = 512, 512, 224, 64, 8, 5, 2
"""Pixels a side of the files; how many; of the model's input; pairs a batch; batches a run; runs of each kind, in turn; threads or workers."""
CHANGES = AugmentSpec(crop=0.8, jitter=0.2)
PREPROCESS = PreprocessSpec(size=SIZE, mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28), resize="shortest")
Run = Callable[[], int]


def corpus(root: Path) -> Corpora:
    """Grey noise on blobs, with captions, packed."""
    rng, rows = np.random.default_rng(0), []
    y, x = np.mgrid[-1 : 1 : PIXELS * 1j, -1 : 1 : PIXELS * 1j]
    for i in range(IMAGES):
        a, b, c = rng.uniform(1, 6, 3)
        picture = 90 + 60 * np.sin(a * x) * np.cos(b * y) + 50 * (x**2 + y**2 < 0.1 * c) + rng.normal(0, 4, x.shape)
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(root / f"{i}.jpg", quality=90)
        rows.append({"id": str(i), "image": f"{i}.jpg", "caption": f"Axial CT of the chest, number {i}, with a small nodule."})
    pd.DataFrame(rows).to_csv(root / "files.csv", index=False)
    pack(catalog(root), "files", root / "packed", 2**23)
    return Corpora(catalog(root), "v1")


def catalog(root: Path) -> CatalogSpec:
    """The corpus, as files and packed."""
    splits, manifests = {"*": {"train": 1.0}}, {"files": "files.csv", "packed": "packed/manifest.parquet"}
    specs = {name: CorpusSpec.model_validate({"manifest": m, "splits": splits}) for name, m in manifests.items()}
    return CatalogSpec(name="perf", root=str(root), corpora=specs)


def ours(corpora: Corpora, readers: int) -> Run:
    """Batches of the loader that stages train from; nothing is kept in memory."""
    entry = EntryPlan(entry=MixtureEntry(source="packed"), stage="s", share=1.0, available=IMAGES, requested=0, repeats=0.0)
    mixture = Mixture([entry], corpora, None, BATCH, 0, "s", 0)
    loader = Loader(mixture, slice(None), CHANGES, PREPROCESS, lambda texts: torch.zeros(len(texts), 1), readers, ImageCache(0))
    return lambda: sum(len(b.images) for b in loader.batches(0, BATCHES))


def theirs(corpora: Corpora, workers: int) -> Run:
    """The steps of open_clip_train's `get_wds_dataset`."""
    jitter = (CHANGES.jitter, CHANGES.jitter, 0, 0)
    changes = AugmentationCfg(scale=(CHANGES.crop, 1.0), ratio=(0.82, 1.22), color_jitter=jitter, color_jitter_prob=1.0)
    transform = image_transform(SIZE, is_train=True, aug_cfg=changes)
    shards = sorted(map(str, (corpora["packed"].folder / "shards").glob("*.tar")))

    def run() -> int:
        data = webdataset.DataPipeline(
            webdataset.SimpleShardList(shards), webdataset.split_by_worker, webdataset.tarfile_to_samples(), webdataset.shuffle(256, initial=128),
            webdataset.decode("pilrgb"), webdataset.rename(image="jpg", text="txt"),
            webdataset.map_dict(image=transform), webdataset.to_tuple("image", "text"), webdataset.batched(BATCH))
        return sum(len(images) for images, _ in webdataset.WebLoader(data, batch_size=None, shuffle=False, num_workers=workers))

    return run


def raw(corpora: Corpora, readers: int) -> Run:
    """Reads and decodes the same images, in as many threads, and throws them away."""
    packed = corpora["packed"]

    def one(row: int) -> int:
        decode_image(torch.frombuffer(bytearray(packed.image(row).read_bytes()), dtype=torch.uint8), ImageReadMode.UNCHANGED)
        return 1

    def run() -> int:
        rows: Iterator[int] = itertools.islice(itertools.cycle(range(IMAGES)), BATCH * BATCHES)
        if not readers:
            return sum(map(one, rows))
        with ThreadPoolExecutor(readers) as pool:
            return sum(pool.map(one, rows))

    return run


def cores() -> float:
    """Seconds of cores that this process and its ended workers have taken."""
    taken = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(t.ru_utime + t.ru_stime for t in taken)


def main() -> None:
    """Prints a table of ratios."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as root:
        corpora = corpus(Path(root))
        kinds: dict[str, Run] = {}
        for n in (0, READERS):
            kinds |= {f"webdataset + PIL + open_clip, {n} workers": theirs(corpora, n), f"decoding alone, {n} threads": raw(corpora, n),
                      f"ours, {n} readers": ours(corpora, n)}
        rates: dict[str, list[float]] = {name: [] for name in kinds}
        clocks: dict[str, list[float]] = {name: [] for name in kinds}
        for kind in kinds.values():
            kind()  # warms up
        for _ in range(REPEATS):
            for name, kind in kinds.items():
                start, clock = cores(), time.perf_counter()
                done = kind()
                rates[name].append(done / (cores() - start))
                clocks[name].append(done / (time.perf_counter() - clock))
    median, clocked = ({name: statistics.median(values) for name, values in found.items()} for found in (rates, clocks))
    table = Table(title=f"{PIXELS}-pixel grey JPEGs to {SIZE} pixels: medians of {REPEATS} interleaved runs of {BATCH * BATCHES} pairs",
                  title_justify="left")
    for column in ("", "pairs/s by the clock", "of a core", "of webdataset", "of decoding alone", "asked"):
        table.add_column(column, justify="right" if column else "left")
    names = list(kinds)
    for peer, decoding, own in (names[:3], names[3:]):
        table.add_row(peer, f"{clocked[peer]:.0f}", f"{median[peer]:.0f}", "", "", "")
        table.add_row(decoding, f"{clocked[decoding]:.0f}", f"{median[decoding]:.0f}", "", "", "")
        ratios = (f"{median[own] / median[other]:.2f}x" for other in (peer, decoding))
        table.add_row(own, f"{clocked[own]:.0f}", f"{median[own]:.0f}", *ratios, "3x, 0.85x")
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
