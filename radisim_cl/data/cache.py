"""Decoded images, kept in memory while there is room: a pair is seen several times, and decoding it costs more than keeping it."""

from __future__ import annotations

import threading

from torch import Tensor

from radisim_cl.corpus.blobs import Blob
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
        self._kept: dict[Blob, Tensor] = {}
        self._lock = threading.Lock()

    def image(self, file: Blob) -> Tensor:
        """`decode`d; not to be written to.

        Raises:
            InputError: as `decode`.
        """
        found = self._kept.get(file)
        return self._keep(file, decode(file)) if found is None else found

    def mask(self, file: Blob, image: Tensor) -> Tensor:
        """`decode_mask`ed, of an image; not to be written to.

        Raises:
            InputError: as `decode_mask`.
        """
        found = self._kept.get(file)
        return self._keep(file, decode_mask(file, image)) if found is None else found

    def _keep(self, file: Blob, pixels: Tensor) -> Tensor:
        with self._lock:
            if file not in self._kept and self.held + pixels.nbytes <= self.limit:
                self._kept[file] = pixels.clone()  # without what a view would keep beside it
                self.held += pixels.nbytes
        return pixels
