"""Export in open_clip's own format: a folder that stock `open_clip.create_model_and_transforms("local-dir:...")` loads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from open_clip.tokenizer import HFTokenizer
from safetensors.torch import save_file
from torch import Tensor

from radisim_cl.files import fsync
from radisim_cl.models.build import Built


def export(state: dict[str, Tensor], built: Built, folder: Path, readme: str = "") -> None:
    """Writes weights, configuration and (for Hugging Face tokenizers) the tokenizer; the folder is whole or absent.

    Args:
        state: the open_clip model's weights, without prefixes.
        built: its configuration and preprocessing.
        folder: replaced if it exists.
        readme: the model card; without one the folder has none.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    weights = {k: v.detach().cpu().contiguous().clone() for k, v in state.items()}
    weights |= {k: weights[k].reshape(()) for k in ("logit_scale", "logit_bias") if k in weights}
    save_file(weights, temporary / "open_clip_model.safetensors")
    p = built.preprocess
    preprocess = {"mean": p.mean, "std": p.std, "interpolation": p.interpolation, "resize_mode": p.resize, "size": p.size}
    (temporary / "open_clip_config.json").write_text(json.dumps({"model_cfg": built.config, "preprocess_cfg": preprocess}, indent=2))
    if readme:
        (temporary / "README.md").write_text(readme, encoding="utf-8")
    if isinstance(built.tokenizer, HFTokenizer):
        built.tokenizer.save_pretrained(str(temporary))
    for file in temporary.iterdir():
        fsync(file)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.replace(folder)
    fsync(folder.parent)

