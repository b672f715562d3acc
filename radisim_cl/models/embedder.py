"""Embedding images and texts with a model that is not being trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from radisim_cl.models.build import Built, Towers

_CACHED = 32
"""Images that a CPU embeds at a time: their activations then stay in its caches, and a small ResNet takes 0.55 of the time that it takes for 128."""


class Embedder:
    """What the benchmark knows of a model."""

    def __init__(self, built: Built, device: str = "cpu", autocast: torch.dtype | None = None) -> None:
        self.preprocess, self.device, self._built, self._autocast = built.preprocess, torch.device(device), built, autocast
        self._tokenizer = built.tokenizer
        self._towers = Towers(built.model, built.preprocess, autocast).eval().to(self.device)
        self._at_once = _CACHED if self.device.type == "cpu" else None

    def digest(self) -> str:
        """Hex digest of all that decides its embeddings: weights, transform, tokenizer, precision and kind of device."""
        how = {"model": self._built.config, "preprocess": self.preprocess.model_dump(), "autocast": str(self._autocast), "device": self.device.type}
        out = hashlib.sha256(json.dumps(how, sort_keys=True).encode())
        for name, weight in sorted(self._built.model.state_dict().items()):
            out.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
            out.update(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return out.hexdigest()[:32]

    @torch.inference_mode()
    def images(self, batches: Iterable[Tensor]) -> npt.NDArray[np.float32]:
        """Batches of (b, 3, S, S) uint8 to (n, D) unit vectors."""
        return np.concatenate([self._towers.image(part.to(self.device)).cpu().numpy() for b in batches for part in self._parts(b)])

    @torch.inference_mode()
    def images_and_patches(self, batch: Tensor) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """(b, 3, S, S) uint8 to (b, D) unit vectors of the images and (b, gh, gw, D) of their patches, on the grid of `patches.finer`.

        Raises:
            InputError: the model gives no patch embeddings.
        """
        said = [self._towers.finer(part.to(self.device)) for part in self._parts(batch)]
        image, patches = (torch.cat([s[i] for s in said]).cpu().numpy() for i in (0, 1))
        return image, patches

    def _parts(self, batch: Tensor) -> list[Tensor]:
        n = self._at_once or len(batch)
        return [batch[i : i + n] for i in range(0, len(batch), n)]

    @torch.inference_mode()
    def texts(self, texts: Sequence[str], batch: int = 256) -> npt.NDArray[np.float32]:
        """Texts to (n, D) unit vectors."""
        parts = [self._tokenizer(list(texts[i : i + batch])).to(self.device) for i in range(0, len(texts), batch)]
        return np.concatenate([self._towers.text(p).cpu().numpy() for p in parts])
