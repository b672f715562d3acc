"""Models that users start from, by hub names without a network: a timm image tower and a Hugging Face text tower, as BiomedCLIP's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertModel, BertTokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "knee", "mri", "ct", "of", "the", "head"]
CONTEXT = 32


def snapshot(home: Path, name: str) -> Path:
    """The folder in which the hub's library looks for a model's files."""
    folder = home / "hub" / f"models--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    return folder / "snapshots" / ("0" * 40)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub with a text model and a CLIP that names it, of random weights."""
    home = tmp_path_factory.mktemp("hub")
    bert = snapshot(home, "org/bert")
    (bert / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizer(str(bert / "vocab.txt")).save_pretrained(bert)
    BertModel(BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, vocab_size=len(WORDS),
                         max_position_embeddings=64)).save_pretrained(bert)
    config = {
        "embed_dim": 16,
        "vision_cfg": {"timm_model_name": "test_vit", "timm_model_pretrained": False, "timm_pool": "", "timm_proj": "linear", "image_size": 160},
        "text_cfg": {"hf_model_name": str(bert), "hf_tokenizer_name": str(bert), "hf_proj_type": "mlp",
                     "hf_pooler_type": "cls_last_hidden_state_pooler", "context_length": CONTEXT},
    }
    clip = snapshot(home, "org/clip")
    (clip / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    torch.manual_seed(3)
    model = open_clip.create_model(f"local-dir:{clip}", load_weights=False)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, clip / "open_clip_model.safetensors")
    config["text_cfg"] |= {"hf_model_name": "org/bert", "hf_tokenizer_name": "org/bert"}  # type: ignore[operator]
    (clip / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    return home


def test_a_hub_model_starts_from_its_weights_and_its_export_says_the_same(home: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("_hub.py")), "hf-hub:org/clip", str(tmp_path / "out")]
    environment = os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    hub, exported = json.loads(done.stdout.splitlines()[-1])
    for key in ("image", "text", "cut"):
        torch.testing.assert_close(torch.tensor(exported[key]), torch.tensor(hub[key]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(torch.tensor(hub["cut"]), torch.tensor(hub["text"]), rtol=1e-5, atol=1e-6)
    assert hub["short"] == [2, 8]
    assert hub["patches"] == [1, 100, 16]
    assert abs(torch.tensor(hub["text"][0]) - torch.tensor(hub["text"][1])).max() > 1e-3
