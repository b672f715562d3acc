"""A rank that hangs would let all others wait for it without end. The watchdog names it, leaves every rank's stacks, and ends the run.

Each rank's watchdog is a thread that counts up in a file of the run directory while its process lives. When a rank has made no step for too long,
the ranks whose counts stand still are those that hang as a whole (stopped, or waiting for a disk); if all count, those with the fewest steps.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Self

from radisim_cl.errors import EXIT_FAULT

FOLDER = ".ranks"


class Watchdog:
    """Guards what runs inside its context; `step` says that it goes on."""

    def __init__(self, run: Path, rank: int, world: int, patience: float) -> None:
        """
        Args:
            run: its directory, which all ranks share.
            rank, world: of this process.
            patience: seconds without a step after which the run ends; 0: never.
        """
        self.folder, self.rank, self.world, self.patience = run / FOLDER, rank, world, patience
        self.stacks = run / f"stacks-rank{rank}.txt"
        self.tick, self.steps, self.beats = patience / 8, 0, 0
        self.progress = time.monotonic()
        self.heard: dict[int, tuple[int, int, float]] = {}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        if self.patience:
            self.folder.mkdir(exist_ok=True)
            self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        if self.patience:
            self.thread.join()

    def step(self, steps: int) -> None:
        """The run has come as far as this."""
        self.steps, self.progress = steps, time.monotonic()

    def _watch(self) -> None:
        before = time.monotonic()
        while not self.over.wait(self.tick):
            now = time.monotonic()
            if now - before > 3 * self.tick:  # this process itself was stopped, or the machine slept
                self.progress = now
            before = now
            self.beats += 1
            self._tell()
            self._listen(now)
            if now - self.progress > self.patience:
                self._end(now)

    def _tell(self) -> None:
        file = self.folder / str(self.rank)
        file.with_suffix(".new").write_text(json.dumps({"pid": os.getpid(), "beats": self.beats, "steps": self.steps}))
        file.with_suffix(".new").replace(file)

    def _listen(self, now: float) -> None:
        for rank in range(self.world):
            try:
                told = json.loads((self.folder / str(rank)).read_text())
            except (OSError, ValueError):
                continue
            if rank not in self.heard or self.heard[rank][0] != told["beats"]:
                self.heard[rank] = (told["beats"], told["steps"], now)

    def _end(self, now: float) -> None:
        silent = [r for r in range(self.world) if r not in self.heard or now - self.heard[r][2] > self.patience / 2]
        fewest = min((steps for _, steps, _ in self.heard.values()), default=0)
        behind = silent or [r for r, (_, steps, _) in self.heard.items() if steps == fewest]
        names = f"rank{'s' * (len(behind) > 1)} {', '.join(map(str, sorted(behind)))}"
        why = "shows no sign of life" if silent else "has come least far"
        with self.stacks.open("w") as file:
            faulthandler.dump_traceback(file, all_threads=True)
        print(f"rank {self.rank}: no step for {self.patience:g} s after step {self.steps}; {names} {why}. Stacks of this rank: {self.stacks}. "
              "The run is whole up to its newest checkpoint; start it again to go on.", file=sys.stderr, flush=True)
        os._exit(EXIT_FAULT)
