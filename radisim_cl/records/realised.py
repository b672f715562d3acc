"""What a run came to be, by its ledger: how long its stages were and what they saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from radisim_cl.records import events as ev
from radisim_cl.records.state import fold


def accepted(events: Sequence[ev.AnyEvent]) -> dict[str, ev.CheckpointCommitted]:
    """By accepted stage, in order, the checkpoint that was accepted: its steps, extensions included, and its pairs by `source/modality`."""
    of = {(e.stage, e.attempt): e for e in events if isinstance(e, ev.CheckpointCommitted)}
    return {name: of[name, finished.attempt] for name, finished in fold(events).accepted.items()}


def exposures(events: Sequence[ev.AnyEvent]) -> dict[str, int]:
    """Pairs seen by source, over the accepted stages, in alphabetical order."""
    out: Counter[str] = Counter()
    for checkpoint in accepted(events).values():
        for part, pairs in checkpoint.drawn.items():
            out[part.rsplit("/", 1)[0]] += pairs
    return dict(sorted(out.items()))
