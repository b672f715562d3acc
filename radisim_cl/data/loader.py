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
from radisim_cl.data.images import augment, decode
from radisim_cl.data.mixture import Mixture, Pair, group
from radisim_cl.data.permutation import key
from radisim_cl.specs.curriculum import AugmentSpec
from radisim_cl.specs.preprocess import PreprocessSpec

CLAIMABLE = ("modality", "anatomy", "plane", "level", "labels", "label", "place")
"""Columns that a caption may state."""
_AHEAD = 3
"""Batches read ahead of the one in training."""


@dataclass(frozen=True)
class Batch:
    """One rank's part of a global batch of pairs.

    Attributes:
        images: (b, 3, S, S) uint8.
        tokens: (b, context) token ids.
        facts: (b, len(CLAIMABLE)) int64, a code for each label column's value; 0 where the manifest has none.
        claims: (b, len(CLAIMABLE)) bool, the columns that the caption states.
        captions: (b,) int64, a code for the text; equal texts have equal codes.
        pairs: where they come from.
    """

    images: Tensor
    tokens: Tensor
    facts: Tensor
    claims: Tensor
    captions: Tensor
    pairs: Sequence[Pair]

    def to(self, device: torch.device) -> Batch:
        """The same with its tensors on a device."""
        moved = {f: getattr(self, f).to(device, non_blocking=True) for f in ("images", "tokens", "facts", "claims", "captions")}
        return replace(self, **moved)

    def drawn(self) -> dict[str, int]:
        """Pairs by `source/modality`."""
        return dict(Counter(group(p.corpus.name, p.record["modality"]) for p in self.pairs))


class Loader:
    """Turns slots of the mixture into batches. The batches do not depend on `readers`."""

    def __init__(self, mixture: Mixture, slots: slice, augmentation: AugmentSpec, preprocess: PreprocessSpec,
                 tokenizer: Callable[[list[str]], Tensor], readers: int) -> None:
        """
        Args:
            mixture: the global stream.
            slots: this rank's part of every batch.
            augmentation: what may be changed.
            preprocess: the model's input.
            tokenizer: texts to (n, context) ids.
            readers: threads; 0 reads in the calling thread.
        """
        self.mixture, self.slots, self.augmentation = mixture, slots, augmentation
        self.preprocess, self.tokenizer, self.readers = preprocess, tokenizer, readers

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """Batches start..stop-1."""
        if not self.readers:
            for n in range(start, stop):
                pairs = self.mixture.batch(n, self.slots)
                yield self._collate(pairs, [self._read(p) for p in pairs])
            return
        with ThreadPoolExecutor(self.readers, "reader") as pool:
            ahead: deque[tuple[list[Pair], list[Future[Tensor]]]] = deque()
            for n in range(start, stop):
                pairs = self.mixture.batch(n, self.slots)
                ahead.append((pairs, [pool.submit(self._read, p) for p in pairs]))
                if len(ahead) > _AHEAD:
                    yield self._collated(ahead.popleft())
            while ahead:
                yield self._collated(ahead.popleft())

    def _collated(self, read: tuple[list[Pair], list[Future[Tensor]]]) -> Batch:
        pairs, images = read
        return self._collate(pairs, [i.result() for i in images])

    def _read(self, pair: Pair) -> Tensor:
        image = decode(pair.corpus.image(pair.row))
        rng = np.random.Generator(np.random.Philox(key(pair.key, "augment")))
        record = pair.record
        sided = names_side(pair.caption.text, *(record[c] for c in CLAIMABLE))
        return augment(image, self.augmentation, self.preprocess, rng, may_flip=not sided)

    def _collate(self, pairs: list[Pair], images: list[Tensor]) -> Batch:
        records = [p.record for p in pairs]
        return Batch(
            images=torch.stack(images),
            tokens=self.tokenizer([p.caption.text for p in pairs]),
            facts=torch.tensor([[_code(r[c]) for c in CLAIMABLE] for r in records]),
            claims=torch.tensor([[c in p.caption.claims for c in CLAIMABLE] for p in pairs]),
            captions=torch.tensor([_code(p.caption.text) for p in pairs]),
            pairs=pairs,
        )


def _code(text: str) -> int:
    """A 63-bit code of a text; 0 for the empty one."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1 if text else 0
