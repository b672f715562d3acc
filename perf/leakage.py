"""What `corpus check` costs with 100,000 training pictures against 10,000 of a benchmark, beside what hashing them costs in the same run.

    make perf
"""

from __future__ import annotations

import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from radisim_cl.corpus.blobs import Blob
from radisim_cl.corpus.hashes import FRAMES, Looks, digest, look
from radisim_cl.corpus.leakage import Candidates, compared, near
from radisim_cl.phantom import make
from radisim_cl.phantom.sources import SOURCES
from radisim_cl.specs.catalog import PhantomSpec

TRAIN, HELD, PATIENTS, REPEATS, PIXELS = 100_000, 10_000, 60, 3, 512
"""Pictures of both sides; patients that are drawn to be hashed; repeats of what is short; pixels a side to which their pictures are enlarged, as
corpora have them."""
CANDIDATES = 7.6e-5
"""Candidates among pairs of real pictures (docs/design/leakage.md)."""
MEMORY_MIB = 128
"""That the search may take beside the hashes."""


def pictures(folder: Path) -> list[Blob]:
    """JPEGs of 512 pixels."""
    out = []
    for sub in ("images", "masks"):
        (folder / sub).mkdir()
    for i in range(PATIENTS):
        for row in make.one(PhantomSpec(), SOURCES["radimagenet"], i, folder):
            out.append(Blob(folder / row["image"].replace(".png", ".jpg")))
            Image.open(folder / row["image"]).resize((PIXELS, PIXELS), Image.Resampling.BICUBIC).save(out[-1].path, quality=90)
    return out


def seconds(task: Callable[[], object], repeats: int = REPEATS) -> float:
    """Of one call, of one core; a median."""
    found = []
    for _ in range(repeats):
        start = time.process_time()  # which other processes do not lengthen as they do the clock's
        task()
        found.append(time.process_time() - start)
    return statistics.median(found)


def random_looks(n: int, rng: np.random.Generator) -> Looks:
    """100 bits a part, of which none are near."""
    return rng.integers(0, 2**50, (n, len(FRAMES), 2)).astype(np.uint64)


def main() -> None:
    """Prints a table of ratios."""
    rng = np.random.default_rng(0)
    train, held = random_looks(TRAIN, rng), random_looks(HELD, rng)
    with tempfile.TemporaryDirectory() as temporary:
        files = pictures(Path(temporary))
        per_hash = seconds(lambda: [look(f) for f in files]) / len(files)
        per_digest = seconds(lambda: [digest(f) for f in files]) / len(files)
        looks = np.stack([look(f) for f in files])
        found = near(looks, looks)
        pairs = Candidates(*(x[found.train < found.held] for x in (found.train, found.held, found.frame)))
        per_pair = seconds(lambda: compared(pairs, files, files)) / len(pairs.train)
    tracemalloc.start()
    near(train[:2000], held)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    search, hashing, comparing = seconds(lambda: near(train, held), 1), per_hash * (TRAIN + HELD), per_pair * CANDIDATES * TRAIN * HELD
    table = Table(title=f"{TRAIN:,} training pictures against {HELD:,}: time of one core", title_justify="left")
    for column in ("", "measured", "of the limit", "limit"):
        table.add_column(column, justify="left" if column in ("", "limit") else "right")
    table.add_row("perceptual hashes, made once", f"{hashing:.0f} s", "", f"{1000 * per_hash:.1f} ms a picture of {PIXELS} px")
    table.add_row("search of all pairs", f"{search:.0f} s", f"{search / hashing:.2f}x", "what the hashes cost")
    table.add_row("comparison of candidates", f"{comparing:.0f} s", f"{comparing / hashing / 2:.2f}x",
                  f"twice that; {CANDIDATES:g} of the pairs, {1000 * per_pair:.1f} ms each, with one picture decoded")
    table.add_row("memory of the search", f"{peak:.0f} MiB", f"{peak / MEMORY_MIB:.2f}x", f"{MEMORY_MIB} MiB beside the hashes")
    table.add_row("SHA-256 of all files, made once", f"{per_digest * (TRAIN + HELD):.0f} s", f"{per_digest / per_hash:.2f}x", "what the hashes cost")
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
