"""The ledger: append-only, numbered, durable by the line."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from radisim_cl.errors import RadisimError
from radisim_cl.files import fsync
from radisim_cl.records.events import EVENT, AnyEvent

FILE = "ledger.jsonl"


def read(run: Path) -> tuple[list[AnyEvent], str]:
    """The events of a run, and a note if a torn last line was left aside.

    Raises:
        RadisimError: no ledger beside checkpoints, a bad line before the last, or a gap in the numbers.
    """
    path = run / FILE
    lines = path.read_bytes().split(b"\n") if path.is_file() else [b""]
    torn = lines.pop()
    if not lines and (run / "checkpoints").is_dir():
        raise RadisimError(f"{run}: there are checkpoints but no {FILE}, or an empty one; restore the ledger from a copy, or start a new "
                           "run with another --out. Nothing was changed.")
    events: list[AnyEvent] = []
    for n, line in enumerate(lines):
        try:
            event = EVENT.validate_json(line)
        except ValidationError:
            event = None
        if event is None or event.number != n:
            raise RadisimError(f"{path}:{n + 1}: not event {n} of this version's ledger; restore it from a copy, or cut the "
                               "file before this line to go on from there. Nothing was changed.")
        events.append(event)
    return events, f"a torn last line of {len(torn)} bytes was dropped" if torn else ""


class Ledger:
    """The ledger of a run that this process may write (rank 0, holding the run's lock)."""

    def __init__(self, run: Path) -> None:
        self.path = run / FILE
        self.events, self.note = read(run)
        if self.note:
            whole = self.path.read_bytes()
            os.truncate(self.path, whole.rfind(b"\n") + 1)

    def append(self, event: AnyEvent) -> AnyEvent:
        """Numbers, writes and fsyncs an event."""
        stamped = event.model_copy(update={"number": len(self.events), "time": datetime.now(UTC).isoformat(timespec="seconds")})
        new = not self.path.exists()
        before = 0 if new else self.path.stat().st_size
        try:
            with self.path.open("ab") as f:
                f.write(stamped.model_dump_json().encode() + b"\n")
                f.flush()
                os.fsync(f.fileno())
        except OSError:
            with suppress(OSError):
                os.truncate(self.path, before)  # a part of a line would hide what is written after it
            raise
        if new:
            fsync(self.path.parent)
        self.events.append(stamped)
        return stamped
