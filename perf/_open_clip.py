"""What the scripts that compare with open_clip's own trainer share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any


def arguments(batch: int, **changes: object) -> SimpleNamespace:
    """What `open_clip_train.train.train_one_epoch` asks for, of one process on a CPU in fp32 unless said otherwise; it prints nothing between."""
    usual = {"device": "cpu", "precision": "fp32", "distill": False, "accum_freq": 1, "skip_scheduler": True, "horovod": False, "grad_clip_norm": 1.0,
             "rank": 0, "local_rank": 0, "log_local": False, "log_every_n_steps": 10**9, "batch_size": batch, "world_size": 1, "wandb": False}
    return SimpleNamespace(**usual | changes)


class Batches:
    """Stands in for its loader: so many batches, each drawn when it is asked for."""

    def __init__(self, steps: int, batch: int, draw: Callable[[], Any]) -> None:
        self.num_batches, self.num_samples, self._draw = steps, steps * batch, draw

    def __iter__(self) -> Iterator[Any]:
        return (self._draw() for _ in range(self.num_batches))


def data(batches: Batches) -> dict[str, SimpleNamespace]:
    """As its trainer holds them."""
    return {"train": SimpleNamespace(dataloader=batches, set_epoch=lambda _: None)}
