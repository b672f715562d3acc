"""What is known of a model from its configuration alone, without importing torch."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any, NamedTuple

from radisim_cl.models import resnets
from radisim_cl.specs.curriculum import ModelSpec

CONFIGS = Path(__file__).parent / "configs"
"""Our own models, in open_clip's format."""


def _configs() -> dict[str, Path]:
    spec = importlib.util.find_spec("open_clip")
    assert spec is not None, "open_clip_torch is a dependency"
    assert spec.origin is not None
    files = [*(Path(spec.origin).parent / "model_configs").glob("*.json"), *CONFIGS.glob("*.json")]
    return {p.stem: p for p in files}


def known() -> list[str]:
    """Names that `arch:` takes besides `hf-hub:` and `local-dir:`."""
    return sorted(_configs())


def config(arch: str) -> dict[str, Any] | None:
    """The model's configuration; None for a hub name, or for a folder without one."""
    if arch.startswith("local-dir:"):
        path = Path(arch.removeprefix("local-dir:")) / "open_clip_config.json"
        found = json.loads(path.read_text())["model_cfg"] if path.is_file() else None
    else:
        file = _configs().get(arch)
        found = json.loads(file.read_text()) if file else None
    assert found is None or isinstance(found, dict)
    return found


def starts_random(model: ModelSpec) -> bool:
    """Whether training starts from random weights: no tag or file, no hub name, and no folder that holds weights."""
    folder = Path(model.arch.removeprefix("local-dir:")) if model.arch.startswith("local-dir:") else None
    held = folder is not None and any(p.suffix in (".safetensors", ".bin", ".pth") for p in folder.glob("*"))
    return not (model.pretrained or model.arch.startswith("hf-hub:") or held)


class Size(NamedTuple):
    """What a model takes; zeros where its configuration does not say."""

    parameters: int = 0
    image: float = 0.0
    """Multiply-adds of one image."""
    text: float = 0.0
    """Of one text."""
    activations: float = 0.0
    """Bytes that a pair holds between the passes, in fp32."""


def size(arch: str) -> Size:
    """Of transformers by open_clip and of the ResNets by timm that are known here, with a transformer for text.

    Transformer towers: 12 width^2 weights a layer, each used once a token, 2 tokens^2 width for attention, and 40 bytes a token, layer and channel.
    Convolutions hold what they give before and after the batch norm.
    """
    cfg = config(arch)
    if cfg is None or "hf_model_name" in cfg["text_cfg"]:
        return Size()
    v, t = cfg["vision_cfg"], cfg["text_cfg"]
    text, vocabulary = _transformer(t["context_length"], t), t["vocab_size"] * t["width"]
    if "timm_model_name" in v:
        layout = resnets.LAYOUTS.get(v["timm_model_name"].split(".")[0])
        if layout is None or "attn" in v.get("timm_pool", ""):
            return Size()
        parameters, macs, given, channels = resnets.size(layout, v["image_size"])
        head = channels * cfg["embed_dim"]
        image = Size(parameters + head, macs + head, 0.0, 8 * given)
    elif isinstance(v["layers"], list):
        return Size()
    else:
        side, patch = v["image_size"], v["patch_size"]
        patches = (side // patch) ** 2 if isinstance(side, int) else (side[0] // patch) * (side[1] // patch)
        stem, blocks = 3 * patch**2 * v["width"], _transformer(patches + 1, v)
        image = Size(blocks.parameters + stem, blocks.image + patches * stem, 0.0, blocks.activations)
    return Size(image.parameters + text.parameters + vocabulary, image.image, text.image, image.activations + text.activations)


def _transformer(tokens: int, tower: dict[str, Any]) -> Size:
    """The blocks of one, for an input of so many tokens."""
    width, layers = tower["width"], tower["layers"]
    weights = 12 * width**2 * layers
    return Size(weights, float(weights * tokens + 2 * tokens**2 * width * layers), 0.0, 40.0 * tokens * layers * width)
