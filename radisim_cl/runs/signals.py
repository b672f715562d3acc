"""SIGTERM, SIGINT and SIGUSR1 (a batch system's warning) ask the run to save and stop; the loop asks back after every step."""

from __future__ import annotations

import signal
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class StopRequest:
    """Whether a signal has arrived. A second one changes nothing: the save in progress stays whole."""

    def __init__(self) -> None:
        self.received: str = ""
        for s in _SIGNALS:
            signal.signal(s, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or signal.Signals(number).name
