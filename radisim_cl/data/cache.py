"""Decoded images, kept in memory while there is room: a pair is seen several times, and decoding it costs more than keeping it."""

from __future__ import annotations

import threading
from pathlib import Path

from torch import Tensor

from radisim_cl.data.images import decode, decode_mask


class ImageCache:
    """What was decoded first stays until the end.

    Nothing is thrown out for what comes later: a pass shows every pair once, so that the one just read is the last to come again.
    """

    def __init__(self, limit: int) -> None:
        """
        Args:
            limit: bytes of pixels; 0 keeps nothing.
        """
        self.limit, self.held = limit, 0
        self._kept: dict[Path, Tensor] = {}
        self._lock = threading.Lock()

    def image(self, path: Path) -> Tensor:
        """`decode`d; not to be written to.

        Raises:
            InputError: as `decode`.
        """
        found = self._kept.get(path)
        return self._keep(path, decode(path)) if found is None else found

    def mask(self, path: Path, image: Tensor) -> Tensor:
        """`decode_mask`ed, of an image; not to be written to.

        Raises:
            InputError: as `decode_mask`.
        """
        found = self._kept.get(path)
        return self._keep(path, decode_mask(path, image)) if found is None else found

    def _keep(self, path: Path, pixels: Tensor) -> Tensor:
        with self._lock:
            if path not in self._kept and self.held + pixels.nbytes <= self.limit:
                self._kept[path] = pixels.clone()  # without what a view would keep beside it
                self.held += pixels.nbytes
        return pixels
