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
from radisim_cl.specs.plan import Plan


def export(state: dict[str, Tensor], built: Built, folder: Path, readme: str = "") -> None:
    """Writes weights, configuration and (for Hugging Face tokenizers) the tokenizer; the folder is whole or absent.

    Args:
        state: the open_clip model's weights, without prefixes.
        built: its configuration and preprocessing.
        folder: replaced if it exists.
        readme: from `readme`; without one the folder has none.
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


def readme(plan: Plan, stages: int) -> str:
    """What a model hub shows: the model, what it was trained on, and the plan's notice, if it has one.

    Args:
        plan: of the run.
        stages: how many it had been through.
    """
    curriculum, catalog, through = plan.curriculum, plan.catalog, plan.stages[:stages]
    sources = sorted({source for stage in through for source in stage.sources})
    licences = {s: ", ".join(plan.corpora[s].licences) or "not stated" for s in sources}
    lines = [
        "---", "library_name: open_clip", "pipeline_tag: zero-shot-image-classification", "tags: [clip, radiology, radisim-cl]", "---", "",
        f"# {curriculum.name}, after stage {through[-1].spec.name}", "", *([f"> {plan.notice}", ""] if plan.notice else []),
        f"A {curriculum.scale.model.arch} CLIP model. It loads with stock open_clip, by the path of this folder:",
        '`open_clip.create_model_and_transforms("local-dir:PATH")`.', "", "## Training data", "",
        f"Catalog {catalog.name}, benchmark version {plan.benchmark.version}, training split, plan {plan.digest()[:16]}; stages: "
        f"{', '.join(stage.spec.name for stage in through)}.", "", "| source | pairs in the corpus | licences |", "| --- | ---: | --- |",
        *(f"| {s} | {plan.corpora[s].pairs:,} | {licences[s]} |" for s in sources), "",
        "Not a medical device, and not for use on patients.", "",
    ]
    return "\n".join(lines)
