"""What making a corpus costs beside decoding its images, what a second core gives, and whether memory grows with the number of records.

    make perf
    python perf/ingest.py 1000000      # the memory of so many records
"""

from __future__ import annotations

import io
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from radisim_cl.ingest._corpus import ingest
from radisim_cl.ingest._protocol import Settings
from radisim_cl.ingest._site import Site
from radisim_cl.phantom import make
from radisim_cl.phantom.sources import SOURCES
from radisim_cl.specs.catalog import PhantomSpec

PICTURES, PATIENTS, PIXELS, REPEATS = 3000, 20, 512, 3
"""Files; patients of whose pictures they are made; pixels a side; repeats of each kind, in turn."""
FEW, MANY = 2_000, 20_000
"""Tiny records whose memory is compared."""
SHARD, TINY = 1000, 16
"""Records of a tar; pixels a side."""
SITE = Site("a secret of this measurement")


def pictures(folder: Path) -> list[Path]:
    """JPEGs of 512 pixels of the phantom, in one class."""
    drawn = folder / "drawn"
    for sub in ("images", "masks"):
        (drawn / sub).mkdir(parents=True)
    rows = [row for i in range(PATIENTS) for row in make.one(PhantomSpec(), SOURCES["radimagenet"], i, drawn)]
    large = [Image.open(drawn / row["image"]).convert("L").resize((PIXELS, PIXELS), Image.Resampling.BICUBIC) for row in rows]
    out = folder / "in" / "normal"
    out.mkdir(parents=True)
    for k in range(PICTURES):
        large[k % len(large)].rotate(360 * k / PICTURES).save(out / f"{k}.jpg", quality=90)
    return sorted(out.iterdir())


def tars(folder: Path, n: int) -> None:
    """Shards of tiny pictures, each another one, with captions."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for first in range(0, n, SHARD):
        with tarfile.open(folder / f"{first // SHARD:06d}.tar", "w") as tar:
            for k in range(first, min(n, first + SHARD)):
                png = io.BytesIO()
                Image.fromarray(rng.integers(0, 255, (TINY, TINY), dtype=np.uint8)).save(png, "PNG", compress_level=1)
                for ending, data in (("png", png.getvalue()), ("txt", f"Axial CT of the chest, number {k}.".encode())):
                    member = tarfile.TarInfo(f"{k:08d}.{ending}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


def made(layout: str, folder: Path, jobs: int = 1) -> None:
    """A corpus, and nothing of it afterwards."""
    with tempfile.TemporaryDirectory() as out:
        ingest(layout, folder, Path(out) / "corpus", Settings(), SITE, licence="CC0", jobs=jobs)


def memory(n: int) -> float:
    """Peak of a process that ingests n tiny records, in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        tars(Path(folder) / "in", n)
        code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import ingest; ingest.alone({folder!r})"
        return float(subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout)


def alone(folder: str) -> None:
    """Prints the peak memory of this process."""
    made("webdataset", Path(folder) / "in")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)


def main() -> None:
    """Prints a table of ratios."""
    few, many = memory(FEW), memory(MANY)  # first: a new process is not told less than its parent has had
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        files = pictures(Path(temporary))
        kinds: dict[str, Callable[[], object]] = {
            "decoding alone": lambda: [np.asarray(Image.open(file).convert("L")) for file in files],
            "one process": lambda: made("folders", files[0].parent.parent),
            "two processes": lambda: made("folders", files[0].parent.parent, jobs=2),
        }
        for _ in range(REPEATS):
            for name, kind in kinds.items():
                start = time.perf_counter()
                kind()
                found.setdefault(name, []).append(time.perf_counter() - start)
    seconds = {name: statistics.median(values) for name, values in found.items()}
    table = Table(title=f"{PICTURES:,} JPEGs of {PIXELS} px to a corpus of 256 px: medians of {REPEATS} interleaved runs", title_justify="left")
    for column in ("", "images/s", "ratio", "of what", "wanted"):
        table.add_column(column, justify="right" if column in ("images/s", "ratio") else "left")
    rate = {name: PICTURES / value for name, value in seconds.items()}
    table.add_row("decoding alone, one core", f"{rate['decoding alone']:.0f}", "", "")
    table.add_row("ingestion, one process", f"{rate['one process']:.0f}", f"{rate['one process'] / rate['decoding alone']:.2f}x", "decoding", "")
    table.add_row("ingestion, two processes", f"{rate['two processes']:.0f}", f"{rate['two processes'] / rate['one process']:.2f}x", "one", "1.7x")
    table.add_row(f"peak memory, {MANY:,} records", f"{many:.0f} MiB", f"{many / few:.2f}x", f"{FEW:,} records: {few:.0f} MiB", "1x")
    Console(width=130).print(table)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(f"{int(sys.argv[1]):,} records: peak {memory(int(sys.argv[1])):.0f} MiB")
    else:
        main()
