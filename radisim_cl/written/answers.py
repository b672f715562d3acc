"""Answers that were had, kept by the line as soon as they are, so that nothing is asked twice."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from radisim_cl.errors import InputError
from radisim_cl.files import fsync, sha256_text
from radisim_cl.written.endpoint import Answer

FILE = "answers.jsonl"


@dataclass(frozen=True)
class Kept:
    """An answer that is kept.

    Attributes:
        key: digest of the request, whichever endpoint it went to.
        date: on which it was had, as in 2026-01-31.
        facts: that it is about, as they were sent.
        answer: itself.
    """

    key: str
    date: str
    facts: str
    answer: Answer


def key_of(body: Mapping[str, Any]) -> str:
    """SHA-256 of a request: model, messages and settings, but nothing of the endpoint."""
    return sha256_text(json.dumps(body, sort_keys=True))


class Answers:
    """`answers.jsonl` of a folder, which only this process writes; by several threads."""

    def __init__(self, folder: Path) -> None:
        """Reads them; a last line that was not written to its end is dropped when the next answer comes.

        Raises:
            InputError: a line that is no answer.
        """
        self.path, self.found, self._lock, self._whole = folder / FILE, dict[str, Kept](), threading.Lock(), 0
        lines = self.path.read_bytes().split(b"\n")[:-1] if self.path.is_file() else []
        for n, line in enumerate(lines, 1):
            try:
                kept = json.loads(line)
                answer = Answer(kept["text"], kept["finish"], (kept["tokens"][0], kept["tokens"][1]))
                self.found[kept["key"]] = Kept(kept["key"], kept["date"], kept["facts"], answer)
            except (ValueError, KeyError, TypeError, IndexError):
                raise InputError(f"{self.path}:{n}: is no answer that this command has kept; take the line out, and it is asked for again") from None
            self._whole += len(line) + 1

    def add(self, body: Mapping[str, Any], facts: str, answer: Answer) -> Kept:
        """Keeps an answer; it is on the disk when this returns."""
        kept = Kept(key_of(body), datetime.now(UTC).date().isoformat(), facts, answer)
        line = json.dumps({"key": kept.key, "date": kept.date, "facts": facts, **asdict(answer)}, ensure_ascii=False).encode() + b"\n"
        with self._lock:
            new = not self.path.exists()
            with self.path.open("ab") as f:
                f.truncate(self._whole)
                f.write(line)
                f.flush()
                os.fsync(f.fileno())
            if new:
                fsync(self.path.parent)
            self._whole += len(line)
            self.found[kept.key] = kept
        return kept
