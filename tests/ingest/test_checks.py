"""What a card counts of pictures that are the same: pixel by pixel, saved anew, in other corpora; and of text in pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from _made import CANARY, dicom
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from test_ingest import made, read

from radisim_cl.errors import InputError
from radisim_cl.ingest import _text
from radisim_cl.ingest import dicom as dicom_layout
from radisim_cl.ingest._checks import BITS, alike
from radisim_cl.ingest._protocol import Settings

LARGE = {"settings": Settings(size=128)}


def scene(seed: int) -> Image.Image:
    """128 pixels of blobs and grain, another one for each seed."""
    rng = np.random.default_rng(seed)
    blobs = np.sum([gaussian_filter(rng.normal(size=(128, 128)), s) * s for s in (1, 3, 9, 20)], axis=0)
    return Image.fromarray(np.clip(128 + 60 * blobs / blobs.std(), 0, 255).astype(np.uint8))


def folder(where: Path, **pictures: Image.Image) -> Path:
    (where / "train" / "normal").mkdir(parents=True)
    for name, picture in pictures.items():
        picture.save(where / "train" / "normal" / f"{CANARY}{name}.png")
    return where


def anew(picture: Image.Image, quality: int = 60) -> Image.Image:
    """After a JPEG of three quarters of its size."""
    small = picture.resize((96, 96))
    small.save("/dev/null", "JPEG", quality=quality)
    return Image.fromarray(np.asarray(small.resize((128, 128))) // 2 + 40)


def test_pictures_that_were_saved_anew_are_found_within_a_corpus_and_between(tmp_path: Path) -> None:
    """Twelve pictures; one of them again, two of them smaller, darker and saved anew. Of the other corpus one is the same, three are saved anew."""
    scenes = {f"a{k}": scene(k) for k in range(12)}
    frame, card = made("folders", folder(tmp_path / "in", **scenes, b=scene(0), c=anew(scene(1)), d=anew(scene(2))), tmp_path / "out", **LARGE)
    assert card["duplicates"] == {
        "pictures that an earlier one is the same as": 1, "of them between patients": 1, "pictures that look like one of another patient": 2,
        "pairs of such that were compared": 2, "of them the same picture, saved anew": 2}
    others = {f"{CANARY}{k}": scene(k) for k in range(20, 25)} | {f"x{k}": anew(scene(k)) for k in (4, 5, 6)}
    theirs = folder(tmp_path / "theirs", **others, a3=scene(3))
    _, card = made("folders", theirs, tmp_path / "more", **LARGE, known=[tmp_path / "out"])
    assert card["shared_with"] == {"out": {
        "patients": 1, "pictures that are the same": 1, "pictures that look like one of its": 3, "pairs of such that were compared": 3,
        "of them the same picture, saved anew": 3}}
    checks = pd.read_parquet(tmp_path / "out" / "checks.parquet")
    assert list(checks["id"]) == list(frame["id"])
    assert list(checks["patient"]) == list(frame["patient"])
    with pytest.raises(InputError, match=r"in: no checks\.parquet"):
        made("folders", theirs, tmp_path / "third", known=[tmp_path / "in"])
    with pytest.raises(InputError, match="two folders of the same name"):
        made("folders", theirs, tmp_path / "third", known=[tmp_path / "out", tmp_path / "elsewhere" / "out"])


def test_candidates_are_all_that_differ_in_few_bits() -> None:
    """Against all pairs: 2,000 hashes, half of them another one with up to six bits turned."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (2000, 100), dtype=np.uint8)
    for k in range(1000):
        bits[1000 + k] = bits[k]
        bits[1000 + k, rng.choice(100, k % 7, replace=False)] ^= 1
    hashes = np.pad(np.packbits(bits, axis=1), ((0, 0), (0, 3))).view(np.uint64)
    hashes[[5, 9]] = 0
    far = (bits[:, None] != bits[None]).sum(axis=2)
    i, j = np.nonzero((far <= BITS) & np.triu(np.ones_like(far, dtype=bool), 1))
    expected = {(a, b) for a, b in zip(i.tolist(), j.tolist(), strict=True) if not {a, b} & {5, 9}}
    assert {(a, b) for a, b in alike(hashes).tolist()} == expected
    assert len(expected) > 700
    assert not len(alike(np.zeros((3, 2), dtype=np.uint64)))
    assert not len(alike(np.empty((0, 2), dtype=np.uint64)))


@pytest.mark.parametrize("side", [128, 256, 512])
def test_a_line_of_letters_is_seen_and_anatomy_is_not(side: int) -> None:
    picture = scene(7).resize((side, side))
    assert _text.letters(np.asarray(picture)) < _text.LETTERS
    darker: npt.NDArray[np.uint8] = np.asarray(picture) // 3
    written = Image.fromarray(darker)
    ImageDraw.Draw(written).text((side // 20, side // 20), "DOE JANE", fill=255, font_size=side // 16)
    assert _text.letters(np.asarray(written)) >= _text.LETTERS
    assert _text.letters(np.full((side, side), 255, dtype=np.uint8)) == 0


def test_text_in_pixels_is_declared_or_possible_on_the_card(tmp_path: Path) -> None:
    (picture,) = read(dicom_layout, dicom(tmp_path / "d.dcm", np.eye(8), BurnedInAnnotation="YES"))
    assert picture.text
    written = Image.fromarray(np.asarray(scene(1)) // 3)
    ImageDraw.Draw(written).text((5, 5), "DOE JANE", fill=255, font_size=8)
    _, card = made("folders", folder(tmp_path / "in", a=scene(0), b=written), tmp_path / "out", **LARGE)
    assert card["text_in_pixels"] == {"possible": 1}
    checks = pd.read_parquet(tmp_path / "out" / "checks.parquet").set_index("id")
    assert sorted(checks["text"]) == ["", "possible"]
