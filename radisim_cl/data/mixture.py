"""The mixture: one global, deterministic stream of pairs.

Slot k of the n-th batch is a function of (seed, stage, attempt, n, k) and of nothing else: not of the number of ranks, readers
or resumes. The position is one integer, the batch. Shares are kept to within a few pairs at every prefix, because the slots
walk round the circle of shares by the golden ratio instead of by chance; within an entry every pair is seen once before any is
seen twice.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from radisim_cl.corpus.captions import Caption, caption, captioned
from radisim_cl.corpus.corpora import Corpora, Corpus, matches
from radisim_cl.data.permutation import key, near, permute
from radisim_cl.specs.catalog import TemplateSet
from radisim_cl.specs.curriculum import MixtureEntry
from radisim_cl.specs.plan import EntryPlan

_TURN = 2**32
_GOLDEN = 2654435769
"""round(2**32 / golden ratio): the low-discrepancy step round a circle of 2**32 points (Knuth, TAOCP 3, 6.4)."""

_BITS = 30
"""Entries whose pairs are sorted by who holds them at a time."""


@dataclass(frozen=True)
class Pair:
    """One slot of the stream.

    Attributes:
        corpus: the corpus it comes from.
        row: row of its manifest.
        record: that row.
        entry: index of the mixture's ingredient.
        caption: the text and what it claims.
        key: seed of this sample's own random draws.
    """

    corpus: Corpus
    row: int
    record: dict[str, str]
    entry: int
    caption: Caption
    key: int


def candidates(corpora: Corpora, entry: MixtureEntry, templates: TemplateSet | None) -> npt.NDArray[np.int64]:
    """Rows of the train split that an entry draws from.

    Raises:
        InputError: unknown source, column or caption level.
    """
    frame = corpora[entry.source].frame
    keep = (frame["split"] == "train") & matches(frame, entry.where) & captioned(frame, entry.captions, templates)
    return np.flatnonzero(keep.to_numpy()).astype(np.int64)


def group(source: str, modality: str) -> str:
    """What the mixture's ledger counts by."""
    return f"{source}/{modality or 'unknown'}"


class Mixture:
    """The stream of one attempt at a stage."""

    def __init__(self, entries: Sequence[EntryPlan], corpora: Corpora, templates: TemplateSet | None, global_batch: int,
                 seed: int, stage: str, attempt: int, block: int | None = None) -> None:
        """
        Args:
            entries: ingredients with their shares, which sum to 1.
            corpora: where the sources are.
            templates: words for labels.
            global_batch: slots a batch, over all ranks.
            seed, stage, attempt: with the batch and the slot, all that the stream depends on.
            block: pairs of an entry that lie together and are drawn around the same time; None: any pair may follow any other.
        """
        self.entries, self.corpora, self.templates, self.global_batch = list(entries), corpora, templates, global_batch
        self.rows = [candidates(corpora, e.entry, templates) for e in self.entries]
        self.seed, self.block = key(seed, stage, attempt), block
        self.pairs = np.array([len(r) for r in self.rows], dtype=np.int64)
        shares = np.array([e.share for e in self.entries])
        self.edges = np.round(np.cumsum(shares) / shares.sum() * _TURN).astype(np.int64)
        self.offset = key(self.seed, "offset") % _TURN
        self._at, self._drawn = 0, np.zeros(len(self.entries), dtype=np.int64)
        self._pass = functools.cache(lambda e, epoch: key(self.seed, e, epoch))

    def batch(self, n: int, slots: slice | None = None) -> list[Pair]:
        """The n-th global batch, or some of its slots. O(global batch), wherever n is."""
        if n != self._at:
            self._at, self._drawn = n, self.drawn(n)
        first = n * self.global_batch
        chosen = self._entry_of(np.arange(first, first + self.global_batch))
        rows = self._rows(chosen)
        self._drawn += np.bincount(chosen, minlength=len(self.entries))
        self._at = n + 1
        wanted = range(self.global_batch)[slots or slice(None)]
        return [self._pair(int(chosen[k]), int(rows[k]), key(self.seed, n, k)) for k in wanted]

    def substitute(self, pair: Pair, attempt: int) -> Pair:
        """What stands in for a pair that cannot be read: one of the same ingredient, by the sample's own key and the number of the try, from 1."""
        rows = self.rows[pair.entry]
        return self._pair(pair.entry, int(rows[key(pair.key, "substitute", attempt) % len(rows)]), pair.key)

    def drawn(self, batches: int) -> npt.NDArray[np.int64]:
        """(entries,) pairs that each entry has given in the first `batches` batches, in O(log batches)."""
        m = batches * self.global_batch
        below = [0] + [self._below(int(edge), m) for edge in self.edges]
        counts: npt.NDArray[np.int64] = np.array(below[1:], dtype=np.int64) - np.array(below[:-1], dtype=np.int64)
        return counts

    def asked(self, batches: int, since: int = 0, before: Mapping[str, float] | None = None) -> dict[str, float]:
        """Pairs that the shares ask for in batches since..batches-1, by `source/modality`, added to what was asked for before."""
        out = dict(before or {})
        for e, pairs, counts in zip(self.entries, self.pairs.tolist(), self._modalities, strict=True):
            for value, count in counts.items():
                name = group(e.entry.source, value)
                out[name] = out.get(name, 0.0) + e.share * (batches - since) * self.global_batch * count / pairs
        return {k: round(v, 1) for k, v in out.items()}

    @functools.cached_property
    def _modalities(self) -> list[dict[str, int]]:
        """By entry and modality, pairs."""
        columns = (self.corpora[e.entry.source].frame["modality"] for e in self.entries)
        return [{str(k): int(v) for k, v in c.iloc[r].value_counts().items()} for c, r in zip(columns, self.rows, strict=True)]

    def _entry_of(self, slot: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        point = (slot.astype(np.uint64) * np.uint64(_GOLDEN) + np.uint64(self.offset)) % np.uint64(_TURN)
        return np.searchsorted(self.edges, point.astype(np.int64), side="right").astype(np.int64)

    def _below(self, edge: int, m: int) -> int:
        """How many of the first m slots fall below an edge of the circle."""
        return _floor_sum(m, _TURN, _GOLDEN, self.offset) - _floor_sum(m, _TURN, _GOLDEN, self.offset - edge)

    def _rows(self, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """(k,) the next rows of some entries: one permutation a pass."""
        order = np.argsort(chosen, kind="stable")
        counts = np.bincount(chosen)
        nth = np.empty_like(chosen)  # of the slots that have the same entry
        nth[order] = np.arange(len(chosen)) - np.repeat(np.cumsum(counts) - counts, counts)
        epoch, at = np.divmod(self._drawn[chosen] + nth, self.pairs[chosen])
        seeds = np.array([self._pass(*p) for p in zip(chosen.tolist(), epoch.tolist(), strict=True)], dtype=np.uint64)
        places = permute(at, self.pairs[chosen], seeds) if self.block is None else near(at, self.pairs[chosen], seeds, self.block)
        return np.array([self.rows[e][p] for e, p in zip(chosen.tolist(), places.tolist(), strict=True)], dtype=np.int64)

    def _pair(self, e: int, row: int, sample: int) -> Pair:
        entry = self.entries[e].entry
        corpus = self.corpora[entry.source]
        rng = np.random.Generator(np.random.Philox(key(sample, "caption")))
        record = corpus.record(row)
        return Pair(corpus, row, record, e, caption(record, entry.captions, self.templates, rng), sample)


def _floor_sum(n: int, m: int, a: int, b: int) -> int:
    """sum over i < n of floor((a i + b) / m), exactly (Knuth's and AtCoder's floor_sum; Euclid's algorithm)."""
    total = 0
    if b < 0:
        total -= n * ((-b + m - 1) // m)
        b += m * ((-b + m - 1) // m)
    while n:
        total += n * (n - 1) // 2 * (a // m) + n * (b // m)
        a, b = a % m, b % m
        n, b, a, m = (a * n + b) // m, (a * n + b) % m, m, a
    return total


def excess(slots: int) -> float:
    """The largest number of pairs by which an entry's count exceeds its share of the first `slots` slots.

    For the golden ratio, the discrepancy of an arc grows as 0.63 log(slots) (Dupain and Sos 1984, twice their constant for arcs at 0).
    """
    return 2 + 0.63 * math.log(max(1, slots))


def passes(share: float, slots: int, pairs: int) -> int:
    """Passes over an entry's pairs that may be begun in the first `slots` slots."""
    return math.ceil((share * slots + excess(slots)) / pairs) if share else 0


def held_together(entries: Sequence[EntryPlan], rows: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.bool_]:
    """(sets, entries): each set of entries that hold one pair in common, once. They are few, however many pairs there are."""
    sets = np.zeros((1, len(entries)), dtype=bool)
    for source in {e.entry.source for e in entries}:
        members = [i for i, e in enumerate(entries) if e.entry.source == source and len(rows[i])]
        held, found = np.zeros(1 + max((int(rows[i].max()) for i in members), default=-1), dtype=np.int64), np.zeros((1, 0), dtype=bool)
        for some in (members[at:at + _BITS] for at in range(0, len(members), _BITS)):  # `held` is, of each row, which set found so far it is in
            for i in some:
                held *= 2
                held[rows[i]] += 1
            codes, held = np.unique(held, return_inverse=True)
            found = np.column_stack([found[codes >> len(some)], (codes[:, None] >> np.arange(len(some))[::-1] & 1).astype(bool)])
        sized = np.zeros((len(found), len(entries)), dtype=bool)
        sized[:, members] = found
        sets = np.concatenate([sets, sized])
    return np.unique(sets, axis=0)


def exposures(together: npt.NDArray[np.bool_], begun: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(entries,) the most times that a pair of each entry may be seen, by all entries that hold it.

    A pass of an entry is whole before the next begins, so it shows a pair at most the number of its passes, the last one begun counted.

    Args:
        together: from `held_together`.
        begun: (entries,) `passes` of each entry.
    """
    seen: npt.NDArray[np.int64] = np.where(together, (together @ begun)[:, None], 0).max(axis=0)
    return seen
