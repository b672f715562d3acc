"""SIGTERM, SIGINT and SIGUSR1 (a batch system's warning) ask the run to save and stop; the loop asks back after every step."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def once(heard: Callable[[str], object]) -> None:
    """Calls `heard` with the name of the first signal. The system ignores those that follow, to the last moment of this process: also while
    the interpreter ends, which takes handlers written in Python away."""

    def note(number: int, frame: FrameType | None) -> None:
        for s in _SIGNALS:
            signal.signal(s, signal.SIG_IGN)
        heard(signal.Signals(number).name)

    for s in _SIGNALS:
        signal.signal(s, note)


class StopRequest:
    """Whether a signal has arrived. A second one changes nothing: the save in progress stays whole."""

    def __init__(self) -> None:
        self.received: str = ""
        once(self._note)

    def _note(self, name: str) -> None:
        self.received = name
