"""Batches: pairs of the mixture, read and decoded by threads ahead of the training step."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from radisim_cl.corpus.captions import names_side
from radisim_cl.data.cache import ImageCache
from radisim_cl.data.images import UnreadableError, augment
from radisim_cl.data.mixture import Mixture, Pair, group
from radisim_cl.data.permutation import key
from radisim_cl.data.regions import Regions, check_values
from radisim_cl.errors import InputError
from radisim_cl.specs.curriculum import AugmentSpec
from radisim_cl.specs.preprocess import PreprocessSpec

CLAIMABLE = ("modality", "anatomy", "plane", "level", "labels", "label", "place")
"""Columns that a caption may state."""
_AHEAD = 3
"""Batches read ahead of the one in training."""
_TRIES = 16
"""Pairs of an ingredient that may be unreadable in a row."""


class Lost(NamedTuple):
    """A pair that another one stands in for.

    Attributes:
        source: of the catalog.
        row: of its manifest.
        why: what is wrong with its image or mask, and where that is.
    """

    source: str
    row: int
    why: str


class Read(NamedTuple):
    """What stands in a slot.

    Attributes:
        pair: the slot's own, or the one that stands in for it.
        image: (3, S, S) uint8.
        areas: (gh gw, V) float32.
        lost: the pairs that were tried before.
    """

    pair: Pair
    image: Tensor
    areas: Tensor
    lost: Sequence[Lost]


@dataclass(frozen=True)
class Batch:
    """One rank's part of a global batch of pairs.

    Attributes:
        images: (b, 3, S, S) uint8.
        tokens: (b, length) token ids.
        facts: (b, len(CLAIMABLE)) int64, a code for each label column's value; 0 where the manifest has none.
        claims: (b, len(CLAIMABLE)) bool, the columns that the caption states.
        captions: (b,) int64, a code for the text; equal texts have equal codes.
        regions: (b, gh gw, V) float32, the share of each patch that each word of the vocabulary covers; zeros where there is no mask;
            (b, 0, 0) where masks are not read.
        vocabulary: the V words.
        pairs: where they come from.
        lost: pairs whose image or mask is none, and that others among `pairs` stand in for.
    """

    images: Tensor
    tokens: Tensor
    facts: Tensor
    claims: Tensor
    captions: Tensor
    regions: Tensor
    vocabulary: Sequence[str]
    pairs: Sequence[Pair]
    lost: Sequence[Lost] = ()

    @property
    def labels(self) -> list[str]:
        """(b,) values of the `label` column; "" where there is none."""
        return [p.record["label"] for p in self.pairs]

    def to(self, device: torch.device) -> Batch:
        """The same with its tensors on a device."""
        tensors = ("images", "tokens", "facts", "claims", "captions", "regions")
        return replace(self, **{f: getattr(self, f).to(device, non_blocking=True) for f in tensors})

    def drawn(self) -> dict[str, int]:
        """Pairs by `source/modality`."""
        return dict(Counter(group(p.corpus.name, p.record["modality"]) for p in self.pairs))


class Loader:
    """Turns slots of the mixture into batches. The batches do not depend on `readers`."""

    def __init__(self, mixture: Mixture, slots: slice, augmentation: AugmentSpec, preprocess: PreprocessSpec,
                 tokenizer: Callable[[list[str]], Tensor], readers: int, cache: ImageCache, regions: Regions | None = None) -> None:
        """
        Args:
            mixture: the global stream.
            slots: this rank's part of every batch.
            augmentation: what may be changed.
            preprocess: the model's input.
            tokenizer: texts to (n, length) ids.
            readers: threads; 0 reads in the calling thread.
            cache: keeps decoded images.
            regions: reads masks, and what their areas are counted by.
        """
        self.mixture, self.slots, self.augmentation = mixture, slots, augmentation
        self.preprocess, self.tokenizer, self.readers, self.cache, self.regions = preprocess, tokenizer, readers, cache, regions

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """Batches start..stop-1."""
        if not self.readers:
            for n in range(start, stop):
                pairs = self.mixture.batch(n, self.slots)
                yield self._collate([self._read(p) for p in pairs])
            return
        with ThreadPoolExecutor(self.readers, "reader") as pool:
            ahead: deque[list[Future[Read]]] = deque()
            for n in range(start, stop):
                ahead.append([pool.submit(self._read, p) for p in self.mixture.batch(n, self.slots)])
                if len(ahead) > _AHEAD:
                    yield self._collate([r.result() for r in ahead.popleft()])
            while ahead:
                yield self._collate([r.result() for r in ahead.popleft()])

    def _read(self, pair: Pair) -> Read:
        """A slot's pair, or the first readable one of those that the mixture has for the slot."""
        lost: list[Lost] = []
        while True:
            try:
                return Read(pair, *self._image(pair), lost)
            except UnreadableError as e:
                lost.append(Lost(pair.corpus.name, pair.row, str(e)))
                if len(lost) == _TRIES:
                    raise InputError(f"{_TRIES} pairs of {pair.corpus.name!r} in a row cannot be read; the last one: {e}") from None
                pair = self.mixture.substitute(pair, len(lost))

    def _image(self, pair: Pair) -> tuple[Tensor, Tensor]:
        """A pair's image, and what its mask covers."""
        corpus, record = pair.corpus, pair.record
        image, mask = self.cache.image(corpus.image(pair.row)), None
        names = [pair.caption.text, *(record[c] for c in CLAIMABLE)]
        if self.regions and (file := corpus.mask(pair.row)):
            mask = self.cache.mask(file, image)
            check_values(mask, corpus, file)
            names += corpus.structures.values()
        rng = np.random.Generator(np.random.Philox(key(pair.key, "augment")))
        image, mask = augment(image, self.augmentation, self.preprocess, rng, may_flip=not names_side(*names), mask=mask)
        if self.regions is None:
            return image, torch.zeros(0, 0)
        return image, self.regions.none() if mask is None else self.regions.areas(mask, corpus.structures)

    def _collate(self, read: list[Read]) -> Batch:
        pairs = [r.pair for r in read]
        records = [p.record for p in pairs]
        return Batch(
            images=torch.stack([r.image for r in read]),
            tokens=self.tokenizer([p.caption.text for p in pairs]),
            facts=torch.tensor([[_code(r[c]) for c in CLAIMABLE] for r in records]),
            claims=torch.tensor([[c in p.caption.claims for c in CLAIMABLE] for p in pairs]),
            captions=torch.tensor([_code(p.caption.text) for p in pairs]),
            regions=torch.stack([r.areas for r in read]),
            vocabulary=self.regions.vocabulary if self.regions else (),
            pairs=pairs,
            lost=[one for r in read for one in r.lost],
        )


def _code(text: str) -> int:
    """A 63-bit code of a text; 0 for the empty one."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1 if text else 0
