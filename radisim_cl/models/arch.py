"""What is known of a model from its configuration alone, without importing torch."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

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


def size(arch: str) -> tuple[int, float, float]:
    """(parameters, multiply-adds of one image, multiply-adds of one text); zeros where the configuration does not say.

    Transformer towers: 12 width^2 weights a layer, each used once a token, and 2 tokens^2 width for attention.
    """
    cfg = config(arch)
    if cfg is None or "timm_model_name" in cfg["vision_cfg"] or "hf_model_name" in cfg["text_cfg"] \
            or isinstance(cfg["vision_cfg"]["layers"], list):
        return 0, 0.0, 0.0
    v, t = cfg["vision_cfg"], cfg["text_cfg"]
    image, patch = v["image_size"], v["patch_size"]
    patches = (image // patch) ** 2 if isinstance(image, int) else (image[0] // patch) * (image[1] // patch)
    stem, vocabulary = 3 * patch**2 * v["width"], t["vocab_size"] * t["width"]
    weights = [12 * x["width"] ** 2 * x["layers"] for x in (v, t)]
    tokens = [patches + 1, t["context_length"]]
    macs = [w * n + 2 * n * n * x["width"] * x["layers"] for w, n, x in zip(weights, tokens, (v, t), strict=True)]
    return sum(weights) + stem + vocabulary, float(macs[0] + patches * stem), float(macs[1])
