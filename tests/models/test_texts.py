"""Captions cut to the longest of a batch: the same embeddings and gradients from fewer positions, or no cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from conftest import MODEL
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from radisim_cl.models.texts import STEP, encode, shortened

TEXTS = ["CT", "axial CT of the head", "knee"]
TEXT = {"context_length": 40, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
BERT = BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, vocab_size=49408, max_position_embeddings=64,
                  hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
KINDS: dict[str, dict[str, Any]] = {
    "CLIP": {"text_cfg": TEXT},
    "custom": {"text_cfg": TEXT, "custom_text": True},
    "end of sequence": {"text_cfg": TEXT | {"pool_type": "eos", "eos_id": 49407}},
    "custom, end of sequence": {"text_cfg": TEXT | {"pool_type": "eos", "eos_id": 49407}, "custom_text": True},
    "Hugging Face, mean": {"text_cfg": {"hf_model_name": "bert", "context_length": 40, "hf_pooler_type": "mean_pooler", "hf_proj_type": "mlp"}},
    "Hugging Face, first": {"text_cfg": {"hf_model_name": "bert", "context_length": 40, "hf_pooler_type": "cls_last_hidden_state_pooler",
                                         "hf_proj_type": "linear"}},
    "last position": {"text_cfg": TEXT | {"pool_type": "last", "no_causal_mask": True}, "custom_text": True},
    "appended class token": {"text_cfg": TEXT | {"embed_cls": True}, "custom_text": True},
}
WHOLE = ("last position", "appended class token")
"""Towers of which nothing may be cut."""


def made(kind: str, folder: Path) -> tuple[nn.Module, Tensor]:
    """A model in double precision, and the ids of TEXTS, (3, 40)."""
    config: dict[str, Any] = MODEL | KINDS[kind]
    if "Hugging" in kind:
        BertModel(BERT).save_pretrained(folder / "bert")
        config["text_cfg"] = config["text_cfg"] | {"hf_model_name": str(folder / "bert")}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    torch.manual_seed(0)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False).double()
    return model, open_clip.SimpleTokenizer(context_length=40)(TEXTS)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_cut_off_decided_nothing(kind: str, tmp_path: Path) -> None:
    model, tokens = made(kind, tmp_path)
    short = shortened(model, lambda texts: tokens)(TEXTS)
    assert short.shape == (3, 40 if kind in WHOLE else STEP)
    parts = [p for n, p in model.named_parameters() if not n.startswith(("visual.", "logit"))]
    weights = torch.randn(model.encode_text(tokens).shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)  # type: ignore[operator]

    def embedded_and_gradients(out: Tensor) -> list[Tensor]:
        return [out, *torch.autograd.grad((out * weights).sum(), parts, allow_unused=True, materialize_grads=True)]

    whole = embedded_and_gradients(model.encode_text(tokens))  # type: ignore[operator]
    for found, expected in zip(embedded_and_gradients(encode(model, short)), whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(encode(model, tokens), whole[0])


@pytest.mark.parametrize("kind", ["CLIP", "custom", "Hugging Face, mean"])
def test_no_position_is_computed_that_was_cut_off(kind: str, tmp_path: Path) -> None:
    model, tokens = made(kind, tmp_path)
    seen: list[int] = []
    embedding = next(m for m in model.modules() if isinstance(m, nn.Embedding) and m.num_embeddings == 49408)
    embedding.register_forward_hook(lambda module, given, out: seen.append(out.shape[1]))
    encode(model, shortened(model, lambda texts: tokens)(TEXTS))
    assert seen == [STEP]


def test_lengths_rise_in_steps_to_the_context_and_prompts_fit(tmp_path: Path) -> None:
    model, _ = made("CLIP", tmp_path)
    tokenizer = open_clip.SimpleTokenizer(context_length=40)
    cut = shortened(model, tokenizer)
    lengths = [cut(["knee " * n]).shape[1] for n in range(1, 50)]
    assert sorted(set(lengths)) == [8, 16, 24, 32, 40]
    assert lengths == sorted(lengths)
    assert shortened(model, tokenizer, tokenizer(["knee " * 20]))(["knee"]).shape[1] == 24


@pytest.mark.parametrize("kind", ["CLIP", "end of sequence"])
def test_a_caption_longer_than_the_context_keeps_its_beginning_and_an_end(kind: str, tmp_path: Path) -> None:
    """The text's embedding is taken at the end token, which a caption that was only cut off would lack."""
    model, _ = made(kind, tmp_path)
    words, tokenizer = ["liver"] * 100, open_clip.SimpleTokenizer(context_length=40)
    short = shortened(model, tokenizer)([" ".join(words)])
    assert torch.equal(short, tokenizer([" ".join(words[:38])]))
    assert short[0, -1] == tokenizer.eot_token_id
    assert torch.equal(encode(model, short), encode(model, tokenizer([" ".join(words[:38])])))
