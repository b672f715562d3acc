"""`radisim-cl corpus check`: which training pairs a benchmark asks about too, by patient, by file and by picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from radisim_cl.bench.items import items, pseudonym
from radisim_cl.corpus.corpora import Corpora
from radisim_cl.errors import InputError
from radisim_cl.runs.bars import Bars
from radisim_cl.runs.embedded import ready
from radisim_cl.runs.overlaps import Overlap, Overlaps
from radisim_cl.specs.benchmark import BenchmarkSpec, load_benchmark
from radisim_cl.specs.catalog import load_catalog

KINDS = {"patient": "same patient", "file": "same file", "picture": "same picture", "suspected": "suspected: looks the same"}


@dataclass(frozen=True)
class Check:
    """What was found.

    Attributes:
        benchmark: that was asked.
        overlaps: that were looked through.
        found: in the order of the training sources.
        sources: training sources, each with how many pairs its train split has.
        left_out: sources of the benchmark that the catalog does not have.
        unseen: pictures that could not be compared.
    """

    benchmark: BenchmarkSpec
    overlaps: Overlaps
    found: list[Overlap]
    sources: dict[str, int]
    left_out: list[str]
    unseen: int

    @property
    def confirmed(self) -> bool:
        """Whether anything is more than a suspicion."""
        return any(o.kind != "suspected" for o in self.found)

    def table(self, examples: int) -> RenderableType:
        """What was found, a line a training source, benchmark source and kind; then some pairs of each."""
        table = Table(title=f"Train splits against {self.benchmark.name} {self.benchmark.version}", title_justify="left")
        for column in ("trained on", "asked about", "what", "training pairs", "tune", "gate", "report", "patients"):
            table.add_column(column, justify="left" if column in ("trained on", "asked about", "what") else "right")
        for o in self.found:
            n = o.counted()
            splits = [f"{n.items.get(split, 0):,}" for split in ("tune", "gate", "report")]
            table.add_row(n.source, n.held, KINDS[n.kind], f"{n.pairs:,}", *splits, f"{n.patients:,}")
        told = [f"{sum(self.sources.values()):,} training pairs of {', '.join(self.sources)} against {len(self.overlaps.asked):,} images."]
        told += [f"Nothing in common, by patient, file or picture{' that is more than suspected' * bool(self.found)}."] * (not self.confirmed)
        told += [f"{self.unseen:,} pictures could not be compared: they cannot be read, or show nothing."] * bool(self.unseen)
        told += [f"Not in the catalog, so not compared: {', '.join(self.left_out)}."] * bool(self.left_out)
        lines = [line for o in self.found for line in self._lines(o, examples)]
        return Group(*([table] * bool(self.found)), *(Text(line, overflow="fold") for line in (*lines, *told)))

    def record(self, examples: int) -> dict[str, Any]:
        """The same for programs."""
        found = [o.counted().model_dump() | {"examples": self._examples(o, examples)} for o in self.found]
        return {"benchmark": self.benchmark.name, "version": self.benchmark.version, "catalog": self.overlaps.corpora.catalog.name,
                "sources": self.sources, "images": len(self.overlaps.asked), "confirmed": self.confirmed, "unseen": self.unseen,
                "left_out": self.left_out, "overlaps": found}

    def _lines(self, o: Overlap, examples: int) -> list[str]:
        lines = []
        for e in self._examples(o, examples):
            who = f"patient {e['patient']}: " if o.kind == "patient" else ""
            lines.append(f"  {KINDS[o.kind]}: {who}{e['trained_on']} ~ {e['asked_about']} ({e['split']})"
                         + f", likeness {e['likeness']:.3f}" * (o.kind in ("picture", "suspected")))
        return lines

    def _examples(self, o: Overlap, most: int) -> list[dict[str, Any]]:
        """The most alike pairs: image paths, and a pseudonym of the benchmark's patient."""
        asked = self.overlaps.asked.loc[o.pairs["item"].iloc[:most]]
        return [{"trained_on": str(ours), "asked_about": str(theirs), "split": split, "patient": pseudonym(self.benchmark, patient),
                 "likeness": round(likeness, 4)}
                for (ours, theirs), split, patient, likeness in zip(self.overlaps.images(o, most), asked["split"], asked["patient"],
                                                                    o.pairs["likeness"].iloc[:most].tolist(), strict=True)]


def check(sources: Sequence[str], benchmark: str, catalog: str) -> Check:
    """Looks for the train splits of some sources in a benchmark.

    Args:
        sources: names in the catalog.
        benchmark: a file of `benchmarks/`.
        catalog: a file of `catalogs/`.

    Raises:
        InputError: unknown names, a source without a train split, a subtask that does not fit its source.
    """
    spec = load_benchmark(benchmark, Path())
    corpora = Corpora(ready(load_catalog(catalog, Path())), spec.version)
    names = list(dict.fromkeys(sources))
    for name in names:
        if not (corpora[name].frame["split"] == "train").any():
            raise InputError(f"source {name!r} has no train split in catalog {corpora.catalog.name!r}, so nothing is trained on it; leave it out")
    there = [s for s in spec.subtasks if all(i.source in corpora.catalog.corpora for i in s.items)]
    left_out = sorted({i.source for s in spec.subtasks for i in s.items} - set(corpora.catalog.corpora))
    if not there:
        raise InputError(f"catalog {corpora.catalog.name!r} has the sources of no subtask of benchmark {spec.name!r}: {', '.join(left_out)}")
    with Bars() as progress:
        overlaps = Overlaps(corpora, [items(s, corpora) for s in there], progress)
        if overlaps.asked.empty:
            raise InputError(f"benchmark {spec.name!r} asks about no image of catalog {corpora.catalog.name!r}: none is in its tune, gate or report "
                             "split; correct 'splits' in the catalog")
        known = [*overlaps.by_patient(names), *overlaps.by_file(names)]
        files = {(o.source, row, item) for o in known if o.kind == "file" for row, item in zip(o.pairs["row"], o.pairs["item"], strict=True)}
        found = sorted([*known, *overlaps.by_picture(names, files)], key=lambda o: (names.index(o.source), list(KINDS).index(o.kind)))
        return Check(spec, overlaps, found, {n: len(overlaps.train(n)) for n in names}, left_out, overlaps.unseen(names))
