"""Decoding refuses what it would get wrong; resizing gives the pixels of open_clip's own preprocessing."""

from __future__ import annotations

import io
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from _made import declaring
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from radisim_cl.corpus.blobs import Blob
from radisim_cl.data.images import UnreadableError, decode, decode_mask, resize, resize_mask
from radisim_cl.errors import InputError
from radisim_cl.specs.preprocess import PreprocessSpec


def picture(height: int, width: int, mode: str = "RGB") -> Image.Image:
    """Smooth blobs with edges and a little noise, as radiographs have."""
    rng = np.random.default_rng(height * 1000 + width)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    pixels = np.stack([90 + 60 * np.sin(3 * x + c) * np.cos(2 * y) + 50 * (x**2 + y**2 < 0.4) + rng.normal(0, 4, x.shape) for c in range(3)], axis=-1)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).convert(mode)


def spec(resize_mode: str, size: int = 64, interpolation: str = "bicubic") -> PreprocessSpec:
    """A model's input."""
    return PreprocessSpec.model_validate({"size": size, "mean": (0, 0, 0), "std": (1, 1, 1), "resize": resize_mode, "interpolation": interpolation})


@pytest.mark.parametrize(("mode", "expected"), [("L", "L"), ("1", "L"), ("LA", "L"), ("RGB", "RGB"), ("RGBA", "RGB"), ("P", "RGB")])
def test_decoded_png_has_the_pixels_that_were_saved(tmp_path: Path, mode: str, expected: str) -> None:
    """Grey stays grey, transparency is dropped, and a palette is looked up rather than taken for grey values."""
    saved = picture(30, 20).convert(mode)
    if mode.endswith("A"):
        saved.putalpha(Image.fromarray(np.tile(np.arange(20, dtype=np.uint8), (30, 1))))
    saved.save(tmp_path / "image.png")
    found, pixels = decode(Blob(tmp_path / "image.png")), np.atleast_3d(np.asarray(saved.convert(expected)))
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found.expand(pixels.shape[2], -1, -1).permute(1, 2, 0).numpy(), pixels)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_decoded_jpeg_is_near(tmp_path: Path, mode: str) -> None:
    saved = picture(64, 48, mode)
    saved.save(tmp_path / "image.jpg", quality=95)
    found = decode(Blob(tmp_path / "image.jpg")).permute(1, 2, 0).numpy().astype(float)
    assert np.abs(found - np.atleast_3d(np.asarray(saved))).mean() < 4


def cut(path: Path, share: float) -> None:
    """Writes a picture whose file ends too soon."""
    picture(64, 64).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


@pytest.mark.parametrize(("name", "write", "said"), [
    ("deep.png", lambda p: Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100).save(p), "8-bit"),
    ("cut.jpg", lambda p: cut(p, 0.6), "cannot be decoded"),
    ("cut.png", lambda p: cut(p, 0.6), "cannot be decoded"),
    ("words.png", lambda p: p.write_text("not an image"), "cannot be decoded"),
    ("empty.png", lambda p: p.write_bytes(b""), "cannot be decoded"),
    ("missing.png", lambda p: None, "cannot be read: No such file"),
    ("moving.gif", lambda p: picture(20, 20).save(p, save_all=True, append_images=[picture(20, 20, "L"), picture(20, 20)]), "gif"),
    ("ink.jpg", lambda p: picture(20, 20).convert("CMYK").save(p), "jpg"),
], ids=["16 bits", "cut JPEG", "cut PNG", "text", "empty", "missing", "animation", "CMYK"])
def test_what_cannot_be_used_is_refused_by_name(tmp_path: Path, name: str, write: Callable[[Path], None], said: str) -> None:
    """16 bits have no agreed window, frames and inks no agreed order; all say which file it is, in one line."""
    write(tmp_path / name)
    with pytest.raises(InputError, match=said) as refused:
        decode(Blob(tmp_path / name))
    assert str(tmp_path / name) in str(refused.value)
    assert "\n" not in str(refused.value)


def said(read: Callable[[Blob], torch.Tensor], file: Path) -> torch.Tensor | str:
    """What is read, or why it is not."""
    try:
        return read(Blob(file))
    except InputError as e:
        return str(e)


def test_no_bit_that_flips_ends_the_process(tmp_path: Path) -> None:
    """In torchvision's decoder, each of libpng's errors about checksums and data is a segmentation fault."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20), dtype=np.uint8)
    file, refused = tmp_path / "image.png", 0
    Image.fromarray(pixels).save(file)
    whole = file.read_bytes()
    for at in range(len(whole)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1:])
        for found in (said(decode, file), said(decode_mask, file)):
            if isinstance(found, str):
                assert found.startswith(f"{file}: ")
                refused += 1
            else:
                np.testing.assert_array_equal(found.squeeze().numpy(), pixels)
    assert refused > 1.9 * len(whole)


@pytest.mark.parametrize(("kind", "side"), [("PNG", 60_000), ("JPEG", 60_000), ("GIF", 60_000), ("WEBP", 16_000)])
def test_the_header_is_read_before_pixels_are_made_room_for(tmp_path: Path, kind: str, side: int) -> None:
    """A kilobyte that declares 3.6 billion pixels."""
    made = io.BytesIO()
    Image.new("RGB" if kind == "WEBP" else "L", (16, 16)).save(made, kind)
    (tmp_path / "bomb").write_bytes(declaring(made.getvalue(), side, side))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + 200_000  # kilobytes
    with pytest.raises(UnreadableError, match=rf"bomb: (declares {side} x {side} pixels|cannot be decoded: Image size \({side**2} pixels\))"):
        decode(Blob(tmp_path / "bomb"))
    if kind == "PNG":
        with pytest.raises(UnreadableError, match="bomb: "):
            decode_mask(Blob(tmp_path / "bomb"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < most


@given(noise=st.binary(min_size=1, max_size=100), at=st.integers(0, 400), kind=st.sampled_from(["PNG", "JPEG", "GIF", "WEBP"]))
@settings(max_examples=150)
def test_no_bytes_crash_what_decodes(tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int, kind: str) -> None:
    made = io.BytesIO()
    Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20)).save(made, kind)
    raw, file = made.getvalue(), tmp_path_factory.mktemp("noise") / "x"
    file.write_bytes(raw[:at] + noise + raw[at + len(noise):])
    for found in (said(decode, file), said(decode_mask, file)):
        assert "\n" not in found if isinstance(found, str) else found.dtype == torch.uint8


SIZES = [(80, 64), (64, 80), (97, 251), (300, 200), (513, 512), (30, 20), (41, 64)]


@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("rule", [("squash", "bicubic"), ("longest", "bicubic"), ("shortest", "bicubic"), ("squash", "bilinear")], ids=" ".join)
def test_resized_pixels_are_open_clips(tmp_path: Path, shape: tuple[int, int], mode: str, rule: tuple[str, str]) -> None:
    saved, (how, interpolation) = picture(*shape, mode), rule
    saved.save(tmp_path / "image.png")
    stock = image_transform_v2(PreprocessCfg(size=64, resize_mode=how, interpolation=interpolation, mean=(0, 0, 0), std=(1, 1, 1)), is_train=False)
    ours = resize(decode(Blob(tmp_path / "image.png")), spec(how, 64, interpolation))
    assert ours.dtype == torch.uint8
    assert ours.shape == (3, 64, 64)
    difference = (ours.float() - stock(saved) * 255).abs()
    assert difference.max() < 1.5, "one grey level, of rounding"
    assert difference.mean() < 0.05


def test_longest_pads_with_black_in_the_middle(tmp_path: Path) -> None:
    Image.new("L", (20, 40), 200).save(tmp_path / "image.png")
    out = resize(decode(Blob(tmp_path / "image.png")), spec("longest"))
    assert (out[:, :, :15] == 0).all()
    assert (out[:, :, 49:] == 0).all()
    assert (out[:, :, 17:47] == 200).all()


def test_shortest_keeps_the_middle(tmp_path: Path) -> None:
    pixels = np.repeat(np.array([0, 100, 200], dtype=np.uint8), 40)[:, None].repeat(40, axis=1)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    assert (resize(decode(Blob(tmp_path / "image.png")), spec("shortest"))[:, 4:60] == 100).all()


def labels(height: int, width: int) -> torch.Tensor:
    """A map of three structures on nothing."""
    mask = torch.zeros(height, width, dtype=torch.uint8)
    mask[height // 4 : height // 2, width // 4 :] = 3
    mask[height // 2 :, : width // 2] = 200
    mask[height // 8, width // 8] = 7
    return mask


def test_a_decoded_mask_has_the_labels_that_were_saved(tmp_path: Path) -> None:
    mask = labels(30, 20)
    Image.fromarray(mask.numpy()).save(tmp_path / "mask.png")
    found = decode_mask(Blob(tmp_path / "mask.png"), torch.zeros(1, 30, 20))
    assert found.dtype == torch.uint8
    assert torch.equal(found, mask)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_mask_of_indices_has_the_indices_whatever_their_colours(tmp_path: Path, bits: int) -> None:
    mask = (labels(31, 20).long() % 2**bits).to(torch.uint8)
    indexed = Image.fromarray(mask.numpy(), "P")
    indexed.putpalette(np.random.default_rng(0).integers(0, 256, 3 * 2**bits, dtype=np.uint8).tobytes())
    indexed.save(tmp_path / "mask.png", bits=bits)
    found = decode_mask(Blob(tmp_path / "mask.png"), torch.zeros(1, 31, 20))
    assert found.dtype == torch.uint8
    assert torch.equal(found, mask)


def test_a_truncated_mask_of_indices_is_refused(tmp_path: Path) -> None:
    Image.fromarray(labels(300, 200).numpy(), "P").save(tmp_path / "mask.png")
    whole = (tmp_path / "mask.png").read_bytes()
    for kept in (len(whole) // 2, 40):
        (tmp_path / "mask.png").write_bytes(whole[:kept])
        with pytest.raises(InputError, match="cannot be decoded"):
            decode_mask(Blob(tmp_path / "mask.png"))


@pytest.mark.parametrize(("mode", "suffix"), [("RGB", "png"), ("1", "png"), ("LA", "png"), ("I;16", "png"), ("L", "jpg")])
def test_a_mask_of_another_kind_is_refused(tmp_path: Path, mode: str, suffix: str) -> None:
    picture(30, 20, "L").convert("I" if mode == "I;16" else mode).convert(mode).save(tmp_path / f"mask.{suffix}")
    with pytest.raises(InputError, match=r"mask.*PNG of 8-bit grey values"):
        decode_mask(Blob(tmp_path / f"mask.{suffix}"))


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"not an image"])
def test_a_broken_mask_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mask.png").write_bytes(content)
    with pytest.raises(InputError, match="mask"):
        decode_mask(Blob(tmp_path / "mask.png"))
    with pytest.raises(InputError, match="cannot be read"):
        decode_mask(Blob(tmp_path / "absent.png"))


def test_a_truncated_mask_is_refused(tmp_path: Path) -> None:
    Image.fromarray(labels(300, 200).numpy()).save(tmp_path / "mask.png")
    whole = (tmp_path / "mask.png").read_bytes()
    (tmp_path / "mask.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cannot be decoded"):
        decode_mask(Blob(tmp_path / "mask.png"))


def test_a_mask_of_another_size_than_its_image_is_refused(tmp_path: Path) -> None:
    Image.fromarray(labels(30, 20).numpy()).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match=r"20 x 30 pixels, and its image has 20 x 31"):
        decode_mask(Blob(tmp_path / "mask.png"), torch.zeros(1, 31, 20))


@pytest.mark.parametrize("mode", ["squash", "shortest", "longest"])
@pytest.mark.parametrize("size", [(64, 64), (100, 60), (37, 90), (500, 300)], ids=str)
def test_a_resized_mask_lies_where_its_image_does(mode: str, size: tuple[int, int]) -> None:
    """A structure drawn into the image too: the resized image is bright where the resized mask says so, but for the edge."""
    mask = labels(*size)
    mask[mask == 7] = 0
    image, found = resize((mask == 200).to(torch.uint8)[None] * 255, spec(mode, interpolation="bilinear"))[0], resize_mask(mask, spec(mode))
    assert found.shape == (64, 64)
    assert found.dtype == torch.uint8
    assert set(found.flatten().tolist()) <= {0, 3, 200}
    assert ((image > 127) == (found == 200)).float().mean() > 0.98
