"""What the benchmark asks about of the train splits: by patient and by file, before a run; by picture, when `corpus check` is asked."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from radisim_cl.corpus.blobs import Blob
from radisim_cl.corpus.corpora import Corpora
from radisim_cl.corpus.hashes import Hashes, Looks, Progress, Rows, quiet, save, writing
from radisim_cl.corpus.leakage import CONFIRMED, SMALL, SUSPECTED, SUSPECTED_SMALL, code, compared, near
from radisim_cl.errors import Problem
from radisim_cl.files import cache_folder, sha256_text
from radisim_cl.registry import hint
from radisim_cl.specs.benchmark import BenchmarkSpec
from radisim_cl.specs.catalog import SPLITS
from radisim_cl.specs.curriculum import CurriculumSpec
from radisim_cl.specs.plan import OverlapPlan

Kind = Literal["patient", "file", "picture", "suspected"]
COLUMNS = ["source", "row", "patient", "split"]


@dataclass(frozen=True)
class Overlap:
    """Between the train split of one source and what the benchmark asks about in one.

    Attributes:
        source: that has the training pairs.
        kind: what is shared.
        rows: of that source's manifest, each once.
        asked: rows of `Overlaps.asked`, each once.
        pairs: `row`, `item` (index into `asked`) and `likeness`, most alike first; of patients, one pair for each.
    """

    source: str
    kind: Kind
    rows: Rows
    asked: pd.DataFrame
    pairs: pd.DataFrame

    def counted(self) -> OverlapPlan:
        """Its numbers."""
        by_split = self.asked["split"].value_counts()
        return OverlapPlan(source=self.source, held=str(self.asked["source"].iloc[0]), kind=self.kind, pairs=len(self.rows),
                           items={s: int(by_split[s]) for s in SPLITS if s in by_split}, patients=int(self.asked["patient"].nunique()))


class Overlaps:
    """Looks for training pairs among the images that a benchmark asks about in its tune, gate and report splits.

    Attributes:
        asked: one row an image, each once: `source, row, patient, split`.
    """

    def __init__(self, corpora: Corpora, items: Iterable[pd.DataFrame], progress: Progress = quiet) -> None:
        """
        Args:
            corpora: of the catalog.
            items: of each subtask, as `bench.items` makes them.
            progress: of the files that are read.
        """
        frames = [frame[COLUMNS] for frame in items] or [pd.DataFrame(columns=COLUMNS)]
        every = pd.concat(frames).drop_duplicates(["source", "row"])
        self.asked = every[every["split"] != "train"].sort_values("source", kind="stable").reset_index(drop=True)
        self.corpora, self.progress = corpora, progress
        self.hashes = functools.cache(lambda source: Hashes(corpora[source], progress))

    def train(self, source: str) -> Rows:
        """Rows of a source's train split."""
        return np.flatnonzero(self.corpora[source].frame["split"] == "train")

    def by_patient(self, sources: Iterable[str]) -> Iterator[Overlap]:
        """Patients who stand in the train split of one source and in a benchmark split of another that shares its ids."""
        held = {name: set(patients) for name, patients in self.asked.groupby("source")["patient"]}
        for source in sources:
            rows = self.train(source)
            ours = pd.DataFrame({"row": rows, "patient": self.corpora[source].frame["patient"].to_numpy()[rows]})
            patients = set(ours["patient"])
            for name, theirs in held.items():
                if shared := patients & theirs:
                    asked = self.asked[(self.asked["source"] == name) & self.asked["patient"].isin(shared)]
                    pairs = ours.drop_duplicates("patient").merge(asked.reset_index(names="item").drop_duplicates("patient")[["item", "patient"]])
                    yield Overlap(source, "patient", rows[ours["patient"].isin(shared)], asked, pairs.assign(likeness=1.0))

    def by_file(self, sources: Iterable[str]) -> Iterator[Overlap]:
        """Image files of the same bytes. A file is read only where one on the other side has its size."""
        if self.asked.empty:
            return
        train = {source: self.train(source) for source in sources}
        ours = {source: self.hashes(source).sizes(rows) for source, rows in train.items()}
        theirs = self._held(Hashes.sizes, self.asked)
        wanted = (theirs > 0) & np.isin(theirs, np.concatenate([theirs[:0], *ours.values()]))
        if not wanted.any():
            return
        items, held = np.flatnonzero(wanted), self._held(Hashes.digests, self.asked[wanted])
        for source, rows in train.items():
            some = rows[np.isin(ours[source], theirs[wanted])]
            digests = self.hashes(source).digests(some)
            if np.isin(digests.view("S32"), held.view("S32")).any():
                found = pd.DataFrame({"row": some, "digest": _words(digests)}).merge(pd.DataFrame({"item": items, "digest": _words(held)}))
                yield from self._of(source, "file", found[found["digest"] != bytes(32)].assign(likeness=1.0))

    def by_picture(self, sources: Iterable[str], but: Collection[tuple[str, int, int]]) -> Iterator[Overlap]:
        """Pictures that are the same, though not to the byte, and those that may be.

        Args:
            sources: whose train splits are looked at.
            but: source, row and item of pairs that are known.
        """
        held = self._held(Hashes.looks, self.asked)
        there = [self.corpora[name].image(row) for name, row in zip(self.asked["source"], self.asked["row"], strict=True)]
        for source in sources:
            found = self._alike(source, held, there)
            new = np.array([(source, row, item) not in but for row, item in zip(found["row"], found["item"], strict=True)], dtype=bool)
            small = found["pixels"] < SMALL
            sure = new & (found["likeness"] >= CONFIRMED) & ~small
            may_be = new & ~sure & (found["likeness"] >= np.where(small, SUSPECTED_SMALL, SUSPECTED))
            yield from self._of(source, "picture", found[sure])
            yield from self._of(source, "suspected", found[may_be])

    def _alike(self, source: str, held: Looks, there: list[Blob]) -> pd.DataFrame:
        """Candidates: `row`, `item`, `likeness`, and `pixels` a side of the smaller picture. Kept, as hashes are, for this code and these images."""
        rows, corpus = self.train(source), self.corpora[source]
        asked = [(self.hashes(name).key, of["row"].tolist()) for name, of in self.asked.groupby("source")]
        key = sha256_text(repr((code(), self.hashes(source).key, rows.tolist(), asked)))
        path = cache_folder() / "hashes" / f"{source}-alike-{key[:24]}.npy"
        with writing(path):
            if not path.is_file():
                found = near(self.hashes(source).looks(rows), held, lambda done: self.progress(f"candidates in {source}", done, len(rows)))
                alike, pixels = compared(found, [corpus.image(row) for row in rows.tolist()], there, self.progress)
                save(path, np.stack([rows[found.train], found.held, alike, pixels]))
            row, item, alike, pixels = np.load(path)
        return pd.DataFrame({"row": row.astype(int), "item": item.astype(int), "likeness": alike, "pixels": pixels})

    def images(self, found: Overlap, most: int = 1) -> list[tuple[Blob, Blob]]:
        """The images of the first pairs: the training source's, and the benchmark's."""
        asked = self.asked.loc[found.pairs["item"].iloc[:most]]
        theirs = [self.corpora[name].image(row) for name, row in zip(asked["source"], asked["row"].tolist(), strict=True)]
        return list(zip((self.corpora[found.source].image(row) for row in found.pairs["row"].iloc[:most].tolist()), theirs, strict=True))

    def unseen(self, sources: Iterable[str]) -> int:
        """Pictures of both sides that `by_picture` cannot compare: they cannot be read, or there is nothing to see in them."""
        looks = [self._held(Hashes.looks, self.asked), *(self.hashes(source).looks(self.train(source)) for source in sources)]
        return sum(int((~some.any(axis=(1, 2))).sum()) for some in looks)

    def _held(self, what: Callable[[Hashes, Rows], npt.NDArray[Any]], asked: pd.DataFrame) -> npt.NDArray[Any]:
        """Of images that are asked about, in their order."""
        return np.concatenate([what(self.hashes(name), of["row"].to_numpy(dtype=np.int64)) for name, of in asked.groupby("source")])

    def _of(self, source: str, kind: Kind, found: pd.DataFrame) -> Iterator[Overlap]:
        """By the source that is asked about."""
        found = found.sort_values("likeness", ascending=False, kind="stable")
        for _, pairs in found.groupby(self.asked["source"].to_numpy()[found["item"]], sort=True):
            yield Overlap(source, kind, np.unique(pairs["row"]), self.asked.loc[np.unique(pairs["item"])], pairs)


def settled(spec: CurriculumSpec, benchmark: BenchmarkSpec, overlaps: Overlaps, learned: Iterable[str], trained: Collection[str],
            problems: list[Problem]) -> list[OverlapPlan]:
    """What the curriculum allows of the overlaps by patient and by file; the others are problems.

    Args:
        spec: names the sources whose overlaps it allows.
        benchmark: what is asked.
        overlaps: between the corpora and the benchmark.
        learned: sources from whose train split the model or a floor learns: none of their patients is asked about.
        trained: those of them that the model is trained on: none of their image files is asked about.
        problems: where a problem is added.
    """
    known = {*(e.source for s in spec.stages for e in s.data.mixture), *(i.source for t in benchmark.subtasks for i in t.items)}
    for i, name in enumerate(spec.overlaps_allowed):
        if name not in known:
            problems.append(spec.problem(("overlaps_allowed", i), f"{name!r} is a source of no stage and no subtask. {hint(name, known)}"))
    allowed, refused = [], set()
    for found in (*overlaps.by_patient(learned), *overlaps.by_file(trained)):
        made = found.counted()
        if made.source in spec.overlaps_allowed:
            allowed.append(made)
        elif (made.source, made.held) not in refused:  # who shares patients may well share their files
            refused.add((made.source, made.held))
            problems.append(_refusal(made, overlaps, found, benchmark.name))
    return allowed


def _refusal(made: OverlapPlan, overlaps: Overlaps, found: Overlap, benchmark: str) -> Problem:
    catalog, splits = overlaps.corpora.catalog, ", ".join(f"{split} {n:,}" for split, n in made.items.items())
    knowing = f"or write `overlaps_allowed: [{made.source}]` in the curriculum, and every page with a score will say so"
    if made.kind == "patient":
        return catalog.problem(("corpora", made.held, "splits"), f"{made.patients:,} patients are in the train split of {made.source!r} and in a "
                               f"benchmark split of {made.held!r} (images: {splits}); give both the same 'splits'; or, where equal ids are "
                               f"different people, give one of them 'patient_ids' of its own; {knowing}")
    ours, theirs = overlaps.images(found)[0]
    return catalog.problem(("corpora", made.source, "manifest"), f"{made.pairs:,} of the train split's image files are asked about in "
                           f"{made.held!r} ({splits}): {ours} is {theirs}; `radisim-cl corpus check {made.source} --against {benchmark}` lists them; "
                           f"take them out of a manifest; {knowing}")


def _words(digests: npt.NDArray[np.uint8]) -> list[bytes]:
    return [digest.tobytes() for digest in digests]
