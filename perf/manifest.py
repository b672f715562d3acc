"""A manifest of 12 million pairs: what it takes to open it, to enter its stream anywhere, and to draw a batch of one or a thousand entries.

    make perf
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from radisim_cl.corpus.corpora import Corpora
from radisim_cl.data.mixture import Mixture
from radisim_cl.specs.catalog import CatalogSpec, CorpusSpec
from radisim_cl.specs.curriculum import MixtureEntry
from radisim_cl.specs.plan import EntryPlan

PAIRS, FEW, ENTRIES, BATCH, FAR, REPEATS = 12_000_000, 50_000, 1000, 64, 10**7, 31
"""Pairs of the large manifest, and of the one that many entries draw from; entries; pairs a batch; the sample that is sought; repeats."""
WARM = 64
"""Batches before those of one and of a thousand entries that are compared: the seed of an entry's pass is made when it begins."""
PART = 1_000_000
WORDS = {"modality": ["CT", "MR", "DR"], "anatomy": ["chest", "head", "knee", "abdomen"], "labels": ["nodule@upper", "normal", "effusion|nodule"],
         "licence": ["CC0"]}


def write(path: Path, pairs: int) -> int:
    """A manifest of shards with captions of 100 letters; bytes of its text."""
    writer, text = None, 0
    for start in range(0, pairs, PART):
        i = np.arange(start, min(start + PART, pairs))
        number = pc.utf8_lpad(pa.array(i).cast(pa.string()), 9, "0")
        shard = pc.utf8_lpad(pa.array(i // 5000).cast(pa.string()), 6, "0")
        columns = {
            "id": number, "patient": pc.binary_join_element_wise("p", pa.array(i // 3).cast(pa.string()), ""),
            "study": pc.binary_join_element_wise("g", pa.array(i % ENTRIES).cast(pa.string()), ""),
            "image": pc.binary_join_element_wise("shards/", shard, ".tar:", pa.array(i % 5000 * 50_000).cast(pa.string()), ":49000", ""),
            "caption": pc.binary_join_element_wise("Axial CT of the chest, number ", number, ", with a nodule in the upper lobe, and effusion.", "")}
        columns |= {name: pa.array(values).take(pa.array(i % len(values))) for name, values in WORDS.items()}
        table = pa.table(columns)
        text += sum(pc.sum(pc.binary_length(column)).as_py() for column in table.columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    return text


def resident() -> float:
    """GiB that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**30


def opened(root: str) -> Corpora:
    """A catalog of the manifests."""
    specs = {n: CorpusSpec(manifest=f"{n}.parquet", splits={"*": {"train": 1.0}}) for n in ("many", "few")}
    return Corpora(CatalogSpec(name="perf", root=root, corpora=specs), "v1")


def stream(corpora: Corpora, source: str, entries: int = 1, block: int | None = None) -> Mixture:
    """Drawn from so many entries of one size."""
    where: list[dict[str, str]] = [{"study": f"g{e}"} for e in range(entries)] if entries > 1 else [{}]
    plans = [EntryPlan.model_validate({"entry": MixtureEntry.model_validate({"source": source, "where": w}), "stage": "s", "share": 1 / entries,
                                       "available": 0, "requested": 0, "repeats": 0.0}) for w in where]
    return Mixture(plans, corpora, None, BATCH, 0, "s", 0, block)


def seconds(task: Callable[[], object]) -> float:
    """Of one call."""
    start = time.process_time()  # which other processes do not lengthen as they do the clock's
    task()
    return time.process_time() - start


def reading(root: str) -> tuple[float, float]:
    """Seconds and GiB of reading the large manifest by pandas alone: the peer."""
    before = resident()
    took = seconds(lambda: frames.append(pd.read_parquet(f"{root}/many.parquet")))
    return took, resident() - before


frames: list[pd.DataFrame] = []


def opening(root: str) -> tuple[float, float]:
    """The same of opening the corpus."""
    before, corpora = resident(), opened(root)
    return seconds(lambda: corpora["many"].record(0)), resident() - before


def apart(kind: str, root: str) -> list[float]:
    """`reading` or `opening`, in a process of its own."""
    done = subprocess.run([sys.executable, __file__, kind, root], capture_output=True, text=True, check=True)
    return [float(x) for x in done.stdout.split()]


def main() -> None:
    """Prints a table of ratios."""
    with tempfile.TemporaryDirectory() as root:
        text = write(Path(root) / "many.parquet", PAIRS) / 2**30
        write(Path(root) / "few.parquet", FEW)
        (pandas, bare), (ours, held) = apart("reading", root), apart("opening", root)
        corpora = opened(root)
        corpora["many"].record(0)
        started = time.process_time()
        large = stream(corpora, "many")
        begun = time.process_time() - started
        near = stream(corpora, "many", block=256)
        one, thousand, thousand_far = stream(corpora, "few"), stream(corpora, "few", ENTRIES), stream(corpora, "few", ENTRIES)
        found: dict[str, list[float]] = {}
        for n in range(REPEATS):
            for name, mixture, at in (("first", large, n), ("far", large, FAR // BATCH + n), ("blocks", near, FAR // BATCH + n),
                                      ("one", one, WARM + n), ("thousand", thousand, WARM + n), ("thousand far", thousand_far, FAR // BATCH + n)):
                if name not in ("one", "thousand"):
                    mixture._at = -1  # as if it had just been made
                elif not n:
                    for before in range(WARM):
                        mixture.batch(before)
                found.setdefault(name, []).append(seconds(lambda mixture=mixture, at=at: mixture.batch(at)))  # type: ignore[misc]
    ms = {name: 1000 * statistics.median(values) for name, values in found.items()}
    table = Table(title=f"{PAIRS:,} pairs, {text:.2f} GiB of text; batches of {BATCH}: medians of {REPEATS} interleaved runs, time of one core",
                  title_justify="left")
    for column in ("", "measured", "ratio", "at most", "of"):
        table.add_column(column, justify="left" if column in ("", "of") else "right")
    table.add_row("open", f"{ours:.0f} s", f"{ours / pandas:.1f}x", "", f"pandas.read_parquet, {pandas:.1f} s")
    table.add_row("memory", f"{held:.2f} GiB", f"{held / text:.2f}x", "2x", f"its text; pandas.read_parquet {bare:.2f} GiB")
    table.add_row("begin a stage's stream", f"{begun:.1f} s", "", "", "")
    table.add_row(f"seek sample {FAR:,}, and the batch", f"{ms['far']:.1f} ms", f"{ms['far'] / 50:.2f}x", "1x", "50 ms")
    table.add_row("", "", f"{ms['far'] / ms['first']:.2f}x", "1.1x", f"the same at the beginning, {ms['first']:.1f} ms")
    table.add_row("the same in blocks", f"{ms['blocks']:.1f} ms", f"{ms['blocks'] / 50:.2f}x", "1x", "50 ms")
    table.add_row(f"the same with {ENTRIES:,} entries", f"{ms['thousand far']:.1f} ms", f"{ms['thousand far'] / 50:.2f}x", "1x", "50 ms")
    table.add_row(f"a batch of {ENTRIES:,} entries", f"{ms['thousand']:.2f} ms", f"{ms['thousand'] / ms['one']:.2f}x", "1.05x",
                  f"one of one entry, {ms['one']:.2f} ms")
    Console(width=130).print(table)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(*{"reading": reading, "opening": opening}[sys.argv[1]](sys.argv[2]))
    else:
        main()
