"""What a model has made of images and texts, on disk, so that nothing is decoded or embedded twice.

Everything is keyed by what it was made from: the folder by the model (`Embedder.digest`), an entry by the SHA-256 of the image or the text.
Neither texts nor ids of patients are in it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from radisim_cl.files import cache_folder, sha256_text

Array = npt.NDArray[Any]


class Kept(Mapping[str, Array]):
    """Arrays by key, in one file that is whole or absent.

    Without a path nothing outlives the object.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._had = _load(path)
        self._new: dict[str, Array] = {}

    def __getitem__(self, key: str) -> Array:
        return self._new[key] if key in self._new else self._had[key]

    def __iter__(self) -> Iterator[str]:
        yield from self._had
        yield from self._new

    def __len__(self) -> int:
        return len(self._had) + len(self._new)

    @property
    def made(self) -> int:
        """Entries that had to be made."""
        return len(self._new)

    def lacking(self, keys: Iterable[str]) -> list[str]:
        """Those of the keys that are not there, each once, in their order."""
        return [k for k in dict.fromkeys(keys) if k not in self]

    def add(self, made: Iterable[tuple[str, Array]]) -> None:
        """Takes in what was made; what was there stays."""
        for key, value in made:
            if key not in self:
                self._new[key] = np.ascontiguousarray(value)

    def save(self) -> None:
        """Writes what is new, beside what others may have written since."""
        if self.path is None or not self._new:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
            save_file(_load(self.path) | self._new, temporary)
            temporary.replace(self.path)


def _load(path: Path | None) -> dict[str, Array]:
    """Nothing where there is no file, or one that is torn: it is made anew."""
    try:
        return load_file(path) if path is not None and path.is_file() else {}
    except SafetensorError:
        return {}


class Memory:
    """All that is kept of one model.

    Attributes:
        images: (D,) vectors by the image's digest.
        places: (gh, gw, K) cosines of patches, by the digests of the image and of the queries.
        masks: (S, S) label maps at the model's input size, by the digests of the mask and of the image.
        texts: (D,) vectors by the text's digest.
    """

    def __init__(self, folder: Path | None) -> None:
        self.images, self.places, self.masks, self.texts = (
            Kept(folder / f"{name}.safetensors" if folder else None) for name in ("images", "places", "masks", "texts"))

    @classmethod
    def of(cls, model: str) -> Memory:
        """What the cache has of a model, by its digest."""
        return cls(cache_folder() / "embedded" / model)

    def embedded(self, texts: list[str], embed: Callable[[list[str]], Array]) -> Array:
        """(n, D) vectors of texts, of which those that are lacking are embedded now."""
        keys = [sha256_text(t) for t in texts]
        of = dict(zip(keys, texts, strict=True))
        if lacking := self.texts.lacking(keys):
            self.texts.add(zip(lacking, embed([of[k] for k in lacking]), strict=True))
        return np.stack([self.texts[k] for k in keys])

    def save(self) -> None:
        """Writes what is new."""
        for kept in (self.images, self.places, self.masks, self.texts):
            kept.save()


def floors() -> Kept:
    """What the no-learning floors take from images, by the image's digest and the floor; the same for every model."""
    return Kept(cache_folder() / "embedded" / "floors.safetensors")
