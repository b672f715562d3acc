"""Batches: pairs of the mixture, read and decoded by threads ahead of the training step."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from radisim_cl.corpus.captions import names_side
from radisim_cl.data.cache import ImageCache
from radisim_cl.data.images import augment
from radisim_cl.data.mixture import Mixture, Pair, group
from radisim_cl.data.permutation import key
from radisim_cl.data.regions import Regions, check_values
from radisim_cl.specs.curriculum import AugmentSpec
from radisim_cl.specs.preprocess import PreprocessSpec

CLAIMABLE = ("modality", "anatomy", "plane", "level", "labels", "label", "place")
"""Columns that a caption may state."""
_AHEAD = 3
"""Batches read ahead of the one in training."""
Read = tuple[Tensor, Tensor]
"""An image and its areas."""


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
    """

    images: Tensor
    tokens: Tensor
    facts: Tensor
    claims: Tensor
    captions: Tensor
    regions: Tensor
    vocabulary: Sequence[str]
    pairs: Sequence[Pair]

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
                yield self._collate(pairs, [self._read(p) for p in pairs])
            return
        with ThreadPoolExecutor(self.readers, "reader") as pool:
            ahead: deque[tuple[list[Pair], list[Future[Read]]]] = deque()
            for n in range(start, stop):
                pairs = self.mixture.batch(n, self.slots)
                ahead.append((pairs, [pool.submit(self._read, p) for p in pairs]))
                if len(ahead) > _AHEAD:
                    yield self._collated(ahead.popleft())
            while ahead:
                yield self._collated(ahead.popleft())

    def _collated(self, reading: tuple[list[Pair], list[Future[Read]]]) -> Batch:
        pairs, read = reading
        return self._collate(pairs, [r.result() for r in read])

    def _read(self, pair: Pair) -> Read:
        """A pair's image, and what its mask covers."""
        corpus, record = pair.corpus, pair.record
        image, mask = self.cache.image(corpus.image(pair.row)), None
        names = [pair.caption.text, *(record[c] for c in CLAIMABLE)]
        if self.regions and (path := corpus.mask(pair.row)):
            mask = self.cache.mask(path, image)
            check_values(mask, corpus, path)
            names += corpus.structures.values()
        rng = np.random.Generator(np.random.Philox(key(pair.key, "augment")))
        image, mask = augment(image, self.augmentation, self.preprocess, rng, may_flip=not names_side(*names), mask=mask)
        if self.regions is None:
            return image, torch.zeros(0, 0)
        return image, self.regions.none() if mask is None else self.regions.areas(mask, corpus.structures)

    def _collate(self, pairs: list[Pair], read: list[Read]) -> Batch:
        records = [p.record for p in pairs]
        return Batch(
            images=torch.stack([image for image, _ in read]),
            tokens=self.tokenizer([p.caption.text for p in pairs]),
            facts=torch.tensor([[_code(r[c]) for c in CLAIMABLE] for r in records]),
            claims=torch.tensor([[c in p.caption.claims for c in CLAIMABLE] for p in pairs]),
            captions=torch.tensor([_code(p.caption.text) for p in pairs]),
            regions=torch.stack([areas for _, areas in read]),
            vocabulary=self.regions.vocabulary if self.regions else (),
            pairs=pairs,
        )


def _code(text: str) -> int:
    """A 63-bit code of a text; 0 for the empty one."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1 if text else 0
