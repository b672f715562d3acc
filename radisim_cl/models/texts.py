"""Captions cut to the longest of a batch, where what stands behind them changes nothing.

In a causal tower a token sees none that follow, and the text's embedding is taken at its end; a Hugging Face tower masks padding away. There, padding
costs time and nothing else: ViT-B/32's text tower spends 77 tokens on a caption of 20. Other towers (SigLIP's, CoCa's) get all of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

import torch
from open_clip.hf_model import HFTextEncoder
from torch import Tensor, nn
from torch.func import functional_call

STEP = 8
"""Lengths are multiples of it, so that kernels are chosen for few."""
Tokenizer = Callable[[list[str]], Tensor]


def remembered(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer, which looks each of some recent texts up: a caption is seen several times, and templates word many alike."""
    one = functools.lru_cache(2**16)(lambda text: tokenizer([text])[0])
    return lambda texts: torch.stack([one(text) for text in texts])


def shortened(clip: nn.Module, tokenizer: Tokenizer, beside: Iterable[Tensor] = ()) -> Tokenizer:
    """A tokenizer whose (n, length) ids end where the longest of the texts does, so that `encode` gives what it gives for all of the context.

    Args:
        clip: an open_clip model.
        tokenizer: texts to (n, context) ids.
        beside: (context,) ids of other texts that must fit.
    """
    least = max((_needed(clip, t[None]) for t in beside), default=0)

    def short(texts: list[str]) -> Tensor:
        tokens = tokenizer(texts)
        length = max(least, _needed(clip, tokens))
        return tokens[:, : -(-length // STEP) * STEP]

    return short


def encode(clip: nn.Module, tokens: Tensor) -> Tensor:
    """(n, D) embeddings, not normalized, of (n, length) ids, length being that of the context or what `shortened` made of it."""
    tower, length = _tower(clip), tokens.shape[1]
    if isinstance(tower, HFTextEncoder) or length == tower.context_length:
        out: Tensor = clip.encode_text(tokens, normalize=False)  # type: ignore[operator]
        return out
    prefix = "clip." if tower is clip else "clip.text."
    cut = {f"{prefix}positional_embedding": tower.positional_embedding[:length], f"{prefix}attn_mask": tower.attn_mask[:length, :length]}  # type: ignore[index]
    short: Tensor = functional_call(_Texts(clip), cut, (tokens,))
    return short


class _Texts(nn.Module):
    """`encode_text` as a forward, whose parameters can be exchanged for a pass."""

    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.clip.encode_text(tokens, normalize=False)  # type: ignore[operator]
        return out


def _tower(clip: nn.Module) -> nn.Module:
    """Where the text's parameters are: open_clip's CLIP has them itself, its CustomTextCLIP in a tower."""
    return getattr(clip, "text", clip)


def _needed(clip: nn.Module, tokens: Tensor) -> int:
    """How many of the (n, context) positions decide about the embeddings."""
    tower = _tower(clip)
    if isinstance(tower, HFTextEncoder):
        return 1 + int((tokens != tower.config.pad_token_id).any(0).nonzero().max())
    pool = getattr(tower, "text_pool_type", None) or getattr(tower, "pool_type", None)
    if getattr(tower, "attn_mask", None) is None or getattr(tower, "cls_emb", None) is not None:
        return tokens.shape[1]
    if pool == "argmax":
        return 1 + int(tokens.argmax(-1).max())
    if pool == "eos":
        end = int(getattr(tower, "text_eos_id", 0) or getattr(tower, "eos_id", 0))
        return 1 + int(torch.eq(tokens, end).int().argmax(-1).max())
    return tokens.shape[1]
