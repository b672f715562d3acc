"""What a run came to be, by its ledger: what led to it, how long its stages were and what they saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from radisim_cl.records import events as ev
from radisim_cl.records.state import fold


def path(events: Sequence[ev.AnyEvent]) -> list[ev.AnyEvent]:
    """The events that led to where a run is: without what a rewind, a rollback or a damaged checkpoint left aside."""
    out: list[ev.AnyEvent] = []
    for e in events:
        rolled = isinstance(e, ev.GateDecided) and e.decision == "rollback"
        if isinstance(e, ev.Rewound) or rolled:
            begun = max(i for i, x in enumerate(out) if isinstance(x, ev.StageStarted) and x.stage == getattr(e, "stage", None))
            out = out[: begun + rolled]
        elif isinstance(e, ev.FellBack):
            out = [x for x in out if x.number <= e.to]
        out.append(e)
    return out


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
