"""An export is a folder that stock open_clip loads, with the same embeddings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from conftest import World
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from radisim_cl.corpus.blobs import Blob
from radisim_cl.data.images import decode, resize
from radisim_cl.models import export as export_module
from radisim_cl.models.arch import CONFIGS
from radisim_cl.models.build import Built, Towers, build
from radisim_cl.models.export import export
from radisim_cl.specs.curriculum import ModelSpec

TEXTS = ["CT of the head, mass", "knee", "", "MRI Ödem"]


@pytest.fixture(scope="module")
def built(shared_world: World) -> Built:
    """A micro model that no test may change, with a scale that is not the one it started with."""
    made = build(ModelSpec(arch=f"local-dir:{shared_world.root / 'model'}"), seed=4)
    with torch.no_grad():
        made.model.logit_scale.fill_(3.25)  # type: ignore[operator]
    made.model.eval()
    return made


@pytest.fixture(scope="module")
def folder(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export."""
    out = tmp_path_factory.mktemp("exports") / "one"
    export(built.model.state_dict(), built, out)
    return out


@pytest.fixture(scope="module")
def stock(folder: Path) -> tuple[nn.Module, Callable[[Image.Image], Tensor]]:
    """What someone without this package makes of it."""
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    return model.eval(), preprocess


def call(model: nn.Module, method: str, *args: Any) -> Tensor:
    """A method of an open_clip model."""
    with torch.no_grad():
        out = getattr(model, method)(*args)
    assert isinstance(out, Tensor)
    return out


def test_stock_open_clip_gives_the_same_embeddings(built: Built, stock: tuple[nn.Module, object]) -> None:
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    tokens = built.tokenizer(TEXTS)
    for method, given in (("encode_image", images), ("encode_text", tokens)):
        torch.testing.assert_close(call(stock[0], method, given), call(built.model, method, given), rtol=1e-6, atol=1e-6)
    assert stock[0].state_dict()["logit_scale"].item() == 3.25


def test_stock_open_clip_makes_the_same_tokens(built: Built, folder: Path) -> None:
    assert torch.equal(open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS), built.tokenizer(TEXTS))


def test_stock_open_clip_prepares_images_the_same_way(built: Built, stock: tuple[nn.Module, Callable[[Image.Image], Tensor]],
                                                      shared_world: World) -> None:
    """From the file to the embedding, to within a grey level's worth."""
    model, preprocess = stock
    paths = sorted((shared_world.root / "data" / "images").iterdir())[:6]
    theirs = nn.functional.normalize(call(model, "encode_image", torch.stack([preprocess(Image.open(p)) for p in paths])), dim=-1)
    ours = Towers(built.model, built.preprocess).image(torch.stack([resize(decode(Blob(p)), built.preprocess) for p in paths]))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-3)


def test_the_folder_holds_what_was_built(built: Built, folder: Path) -> None:
    written = json.loads((folder / "open_clip_config.json").read_text())
    assert written["model_cfg"] == built.config
    again = build(ModelSpec(arch=f"local-dir:{folder}"), seed=0)
    assert again.preprocess == built.preprocess
    assert again.config == built.config
    assert sorted(p.name for p in folder.iterdir()) == ["open_clip_config.json", "open_clip_model.safetensors"]


def test_the_scale_has_no_dimension_in_an_export_and_one_in_training(built: Built, folder: Path) -> None:
    """DeepSpeed needs one; the ecosystem expects none; each loads the other's."""
    assert built.model.logit_scale.shape == (1,)
    assert load_file(folder / "open_clip_model.safetensors")["logit_scale"].shape == ()
    back = build(ModelSpec(arch=f"local-dir:{folder}"), seed=0)
    assert back.model.logit_scale.shape == (1,)
    assert back.model.state_dict()["logit_scale"].item() == 3.25


def test_stock_open_clip_loads_a_bias_that_was_made_for_training(shared_world: World, tmp_path: Path) -> None:
    made = build(ModelSpec(arch=f"local-dir:{shared_world.root / 'model'}", logit_bias=-9.5), seed=4)
    assert made.model.logit_bias.shape == (1,)
    export(made.model.state_dict(), made, tmp_path / "biased")
    assert load_file(tmp_path / "biased" / "open_clip_model.safetensors")["logit_bias"].shape == ()
    stock = open_clip.create_model(f"local-dir:{tmp_path / 'biased'}")
    assert (stock.logit_bias.shape, stock.logit_bias.item()) == ((), -9.5)
    images, tokens = torch.randn(2, 3, 32, 32), made.tokenizer(TEXTS)
    torch.testing.assert_close(call(stock.eval(), "encode_image", images), call(made.model.eval(), "encode_image", images))
    torch.testing.assert_close(call(stock, "encode_text", tokens), call(made.model, "encode_text", tokens))


def test_the_state_of_a_stock_model_is_exported_alike(shared_world: World, tmp_path: Path, built: Built) -> None:
    stock = open_clip.create_model(f"local-dir:{shared_world.root / 'model'}")
    assert stock.logit_scale.ndim == 0
    export(stock.state_dict(), built, tmp_path / "again")
    found = load_file(tmp_path / "again" / "open_clip_model.safetensors")
    assert all(torch.equal(found[k], v) for k, v in stock.state_dict().items())


@pytest.mark.parametrize("named", ["by folder", "by name"])
def test_a_file_of_stock_weights_is_what_training_starts_from(shared_world: World, tmp_path: Path, named: str) -> None:
    """`pretrained:` is a file, its scale has no dimension; whichever way the architecture is named, nothing starts from random weights."""
    open_clip.add_model_config(CONFIGS)
    name = "radisim-tiny" if named == "by name" else f"local-dir:{shared_world.root / 'model'}"
    stock = open_clip.create_model(name)
    torch.save(stock.state_dict(), tmp_path / "stock.pt")
    begun = build(ModelSpec(arch=name, pretrained=str(tmp_path / "stock.pt")), seed=0)
    assert begun.model.logit_scale.shape == (1,)
    for k, v in stock.state_dict().items():
        torch.testing.assert_close(begun.model.state_dict()[k].reshape(v.shape), v)


def test_an_export_replaces_the_one_before_whole(built: Built, tmp_path: Path) -> None:
    other = {k: v + 1 if v.is_floating_point() else v for k, v in built.model.state_dict().items()}
    for state in (built.model.state_dict(), other):
        export(state, built, tmp_path / "one")
    found = load_file(tmp_path / "one" / "open_clip_model.safetensors")
    assert all(torch.equal(found[k], v.reshape(found[k].shape)) for k, v in other.items())
    assert [p.name for p in tmp_path.iterdir()] == ["one"]


@pytest.mark.parametrize("fails", ["save_file", "fsync"])
def test_an_export_that_fails_leaves_the_one_before(built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    export(built.model.state_dict(), built, tmp_path / "one")
    before = {p.name: p.read_bytes() for p in (tmp_path / "one").iterdir()}

    def full(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(export_module, fails, full)
        with pytest.raises(OSError, match="disk full"):
            export(built.model.state_dict(), built, tmp_path / "one")
        with pytest.raises(OSError, match="disk full"):
            export(built.model.state_dict(), built, tmp_path / "new")
    assert {p.name: p.read_bytes() for p in (tmp_path / "one").iterdir()} == before
    assert not (tmp_path / "new").exists()
    export(built.model.state_dict(), built, tmp_path / "new")
    assert (tmp_path / "new" / "open_clip_model.safetensors").is_file()
