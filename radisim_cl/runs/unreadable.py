"""Pairs whose image is none: counted over an attempt at a stage and all ranks, and a reason to stop where there are too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from scipy.stats import binom

from radisim_cl.data.loader import Lost
from radisim_cl.errors import InputError
from radisim_cl.train.engine import Engine

_CHANCE = 1e-6
"""That a corpus with just as many unreadable images as are allowed stops a run at a given step."""


def allowed(share: float, drawn: int) -> int:
    """Unreadable pairs among those drawn that chance explains, where a share of all pairs is unreadable: a quantile of the binomial distribution."""
    return int(binom.isf(_CHANCE, drawn, share))


class Unreadable:
    """Of one attempt at a stage; the same on every rank."""

    def __init__(self, engine: Engine, most: float, global_batch: int, before: dict[str, int]) -> None:
        """
        Args:
            engine: whose ranks are counted together.
            most: share of the pairs drawn that may be unreadable.
            global_batch: pairs a step.
            before: by source, those of the steps that are done.
        """
        self.engine, self.most, self.global_batch = engine, most, global_batch
        self.by_source, self.total = Counter(before), sum(before.values())
        self._new: list[Lost] = []

    def add(self, lost: Sequence[Lost], steps: int) -> None:
        """Takes in this rank's of one step.

        Args:
            lost: of this rank.
            steps: of the attempt that are done.

        Raises:
            InputError: there are more than the share explains, on all ranks.
        """
        self._new += lost
        self.total += self.engine.total(len(lost))
        drawn = steps * self.global_batch
        if self.total > allowed(self.most, drawn):
            example = next(one for part in self.engine.gather(list(lost)) for one in part)
            raise InputError(f"{self.total:,} of {drawn:,} pairs drawn cannot be read, {self.total / drawn:.2%}, and max_corrupt is {self.most:.2%}. "
                             f"Row {example.row} of {example.source!r}, for example: {example.why}. Restore the files, or take the pairs out of the "
                             "manifest")

    def committed(self) -> tuple[dict[str, int], list[str]]:
        """By source, all of the attempt; and the new ones since the last call. Called by all ranks."""
        new = [one for part in self.engine.gather(self._new) for one in part]
        self._new = []
        self.by_source.update(one.source for one in new)
        return dict(sorted(self.by_source.items())), sorted(f"{one.source}:{one.row}" for one in new)
