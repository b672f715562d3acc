"""In a process whose hub is a folder and which may not ask the network: a model by its hub name, exported, and read from there."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from radisim_cl.models.build import Towers, build
from radisim_cl.models.export import export
from radisim_cl.models.texts import encode, shortened
from radisim_cl.specs.curriculum import ModelSpec

TEXTS = ["knee mri", "ct of the head"]


def main(name: str, out: Path) -> None:
    """Prints what the model says of two texts and an image, from the hub and from its export, and how long texts are."""
    built = build(ModelSpec(arch=name), seed=0)
    export(built.model.state_dict(), built, out)
    said = []
    for made in (built, build(ModelSpec(arch=f"local-dir:{out}"), seed=1)):
        towers = Towers(made.model, made.preprocess).eval()
        size = made.preprocess.size
        images = torch.arange(3 * size * size).remainder(256).to(torch.uint8).view(1, 3, size, size)
        with torch.no_grad():
            image, patches = towers.image_and_patches(images)
            short = shortened(made.model, made.tokenizer)(TEXTS)
            said.append({"image": image.tolist(), "patches": list(patches.shape), "text": towers.text(made.tokenizer(TEXTS)).tolist(),
                         "short": list(short.shape), "cut": torch.nn.functional.normalize(encode(made.model, short), dim=-1).tolist()})
    print(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
