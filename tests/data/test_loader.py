"""Batches do not depend on who reads them or from where; changes of an image follow its key and respect its sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from radisim_cl.corpus.corpora import Corpora
from radisim_cl.corpus.pack import pack
from radisim_cl.data.cache import ImageCache
from radisim_cl.data.loader import CLAIMABLE, Batch, Loader
from radisim_cl.data.mixture import Mixture
from radisim_cl.data.regions import Regions
from radisim_cl.errors import InputError
from radisim_cl.specs.catalog import CatalogSpec, CorpusSpec, TemplateSet
from radisim_cl.specs.curriculum import AugmentSpec, MixtureEntry
from radisim_cl.specs.plan import EntryPlan
from radisim_cl.specs.preprocess import PreprocessSpec

PREPROCESS = PreprocessSpec(size=24, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), resize="squash")
STILL, BATCH = AugmentSpec(crop=1, jitter=0, flip=0), 8
TEMPLATES = TemplateSet.model_validate({"name": "words", "levels": {
    "modality": {"variants": ["{modality}"]}, "anatomy": {"variants": ["{modality} of the {anatomy}"]}, "finding": {"variants": ["{label}"]}}})


def tokens(texts: list[str]) -> torch.Tensor:
    """Ten letters of each text."""
    return torch.tensor([[ord(c) for c in t.ljust(10)[:10]] for t in texts])


def corpora(root: Path, rows: Sequence[dict[str, str]], structures: dict[int, str] | None = None) -> Corpora:
    """A corpus of noise images, one a row, all for training."""
    rng = np.random.default_rng(0)
    for i in range(len(rows)):
        Image.fromarray(rng.integers(0, 256, (30, 28), dtype=np.uint8)).save(root / f"{i}.png")
    pd.DataFrame([{"id": str(i), "image": f"{i}.png", **row} for i, row in enumerate(rows)]).fillna("").to_csv(root / "noise.csv", index=False)
    spec = CorpusSpec(manifest="noise.csv", splits={"*": {"train": 1.0}}, structures=structures or {})
    return Corpora(CatalogSpec(name="noise", root=str(root), corpora={"noise": spec}), "v1")


def loader(found: Corpora, levels: Sequence[str] = ("own",), augment: AugmentSpec = STILL, readers: int = 0, slots: slice = slice(None),
           seed: int = 1, regions: Regions | None = None, cache: int = 0) -> Loader:
    """Batches with captions of the levels in equal shares."""
    entries = [EntryPlan(entry=MixtureEntry(source="noise", captions=level), stage="s", share=1 / len(levels), available=0, requested=0, repeats=0)
               for level in levels]
    mixture = Mixture(entries, found, TEMPLATES, BATCH, seed, "s", 0)
    return Loader(mixture, slots, augment, PREPROCESS, tokens, readers, ImageCache(cache), regions)


MANY = [{"caption": f"picture {i}", "modality": ("CT", "MR", "")[i % 3], "anatomy": ("head", "")[i % 2],
         "labels": ("mass", "cyst@upper", "mass|cyst", "")[i % 4]} for i in range(24)]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Corpora:
    """24 pairs with most combinations of labels, some of them empty."""
    return corpora(tmp_path_factory.mktemp("many"), MANY)


def assert_equal(a: Sequence[Batch], b: Sequence[Batch]) -> None:
    """The same batches, pixel by pixel."""
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        for field in ("images", "tokens", "facts", "claims", "captions", "regions"):
            assert torch.equal(getattr(x, field), getattr(y, field)), field
        assert [(p.row, p.key) for p in x.pairs] == [(p.row, p.key) for p in y.pairs]


MOVING = AugmentSpec(crop=0.5, jitter=0.3, flip=0.5)


@pytest.mark.parametrize("readers", [1, 4])
def test_batches_do_not_depend_on_readers(many: Corpora, readers: int) -> None:
    expected = list(loader(many, augment=MOVING).batches(0, 9))
    assert len(expected) == 9
    assert_equal(list(loader(many, augment=MOVING, readers=readers).batches(0, 9)), expected)


def test_readers_are_not_fewer_for_fewer_shards(many: Corpora, tmp_path: Path) -> None:
    """Readers take pairs, not shards: four of them share one."""
    pack(many.catalog, "noise", tmp_path / "packed", 2**30)
    assert len(list((tmp_path / "packed" / "shards").iterdir())) == 1
    spec = many.catalog.corpora["noise"].model_copy(update={"manifest": "packed/manifest.parquet"})
    packed = Corpora(CatalogSpec(name="noise", root=str(tmp_path), corpora={"noise": spec}), "v1")
    found = list(loader(packed, augment=MOVING, readers=4).batches(0, 9))
    assert_equal(found, list(loader(many, augment=MOVING).batches(0, 9)))


@pytest.mark.parametrize("cache", [0, 840 * 5, 2**30])
@pytest.mark.parametrize("readers", [0, 3])
def test_batches_do_not_depend_on_what_is_kept(many: Corpora, readers: int, cache: int) -> None:
    expected = list(loader(many, augment=MOVING).batches(0, 9))
    assert_equal(list(loader(many, augment=MOVING, readers=readers, cache=cache).batches(0, 9)), expected)


@pytest.mark.parametrize("readers", [0, 2])
@pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 1), (0, 2), (1, 4), (5, 9), (8, 9)])
def test_batches_do_not_depend_on_where_reading_began(many: Corpora, readers: int, start: int, stop: int) -> None:
    expected = list(loader(many, augment=MOVING).batches(0, 9))
    assert_equal(list(loader(many, augment=MOVING, readers=readers).batches(start, stop)), expected[start:stop])


def test_ranks_read_the_parts_of_the_whole(many: Corpora) -> None:
    whole = next(loader(many, augment=MOVING).batches(3, 4))
    parts = [next(loader(many, augment=MOVING, slots=slice(r * 4, r * 4 + 4)).batches(3, 4)) for r in range(2)]
    assert torch.equal(torch.cat([p.images for p in parts]), whole.images)
    assert torch.equal(torch.cat([p.facts for p in parts]), whole.facts)


def test_each_showing_of_an_image_is_changed_in_its_own_way(many: Corpora) -> None:
    seen: dict[int, list[torch.Tensor]] = {}
    for batch in loader(many, augment=MOVING).batches(0, 9):
        for pair, image in zip(batch.pairs, batch.images, strict=True):
            seen.setdefault(pair.row, []).append(image)
    assert all(not torch.equal(a[0], a[1]) for a in seen.values())
    still = next(loader(many).batches(0, 1))
    assert torch.equal(still.images[0], next(loader(many).batches(0, 1)).images[0])


def test_jitter_and_crop_stay_within_what_was_asked(tmp_path: Path) -> None:
    """Grey 100 everywhere: jitter by 0.2 moves it to 80..120, and a crop leaves it alone."""
    found = corpora(tmp_path, [{"caption": "grey"}] * 8)
    for i in range(8):
        Image.new("L", (30, 28), 100).save(tmp_path / f"{i}.png")
    values = torch.cat([b.images.flatten(1) for b in loader(found, augment=AugmentSpec(crop=0.5, jitter=0.2)).batches(0, 20)]).float()
    assert (values.max(dim=1).values - values.min(dim=1).values).max() <= 1
    means = values.mean(dim=1)
    assert 79 <= means.min() < 85
    assert 115 < means.max() <= 121
    assert all(bool((b.images == 100).all()) for b in loader(found, augment=AugmentSpec(crop=0.5, jitter=0)).batches(0, 3))


def mirrored(found: Corpora, level: str, flip: float) -> list[bool]:
    """For each sample, whether it was shown in the mirror."""
    out, changed = [], loader(found, [level], AugmentSpec(crop=1, jitter=0, flip=flip))
    for plain, shown in zip(loader(found, [level]).batches(0, 4), changed.batches(0, 4), strict=True):
        for a, b in zip(plain.images, shown.images, strict=True):
            out.append(torch.equal(a.flip(-1), b))
            assert out[-1] or torch.equal(a, b)
    return out


@pytest.mark.parametrize("row", [
    {"caption": "mass in the left lung"}, {"caption": "Right-sided effusion"}, {"caption": "fracture, LT. hip"}, {"caption": "R knee"},
    {"caption": "RIGHT"}, {"caption": "a mass", "labels": "mass@left-upper"}, {"caption": "a mass", "labels": "cyst|left mass"},
    {"caption": "a mass", "labels": "mass@left_lung"}, {"caption": "a mass", "labels": "right_pleural_effusion"},
    {"caption": "a knee", "anatomy": "left knee"},
], ids=lambda r: " / ".join(r.values()))
def test_an_image_whose_caption_or_label_names_a_side_is_never_mirrored(tmp_path: Path, row: dict[str, str]) -> None:
    assert not any(mirrored(corpora(tmp_path, [row] * 4), "own", flip=1.0))


def test_a_side_in_a_label_counts_when_the_caption_is_worded_from_another(tmp_path: Path) -> None:
    found = corpora(tmp_path, [{"caption": "", "modality": "CT", "labels": "mass@right"}] * 4)
    assert not any(mirrored(found, "modality", flip=1.0))


@pytest.mark.parametrize("row", [
    {"caption": "bilateral effusion"}, {"caption": "normal", "labels": "normal"}, {"caption": "cleft, bright, L4 level", "labels": "mass@upper"},
], ids=lambda r: " / ".join(r.values()))
@pytest.mark.parametrize("flip", [0.0, 0.5, 1.0])
def test_other_images_are_mirrored_as_often_as_asked(tmp_path: Path, row: dict[str, str], flip: float) -> None:
    shares = mirrored(corpora(tmp_path, [row] * 4), "own", flip)
    assert abs(sum(shares) / len(shares) - flip) < (0.35 if flip == 0.5 else 1e-9)


def codes(many: Corpora, levels: Sequence[str]) -> list[tuple[dict[str, str], str, list[int], list[bool], int]]:
    """(record, text, facts, claims, caption) of some batches."""
    return [(p.record, p.caption.text, f.tolist(), c.tolist(), int(t)) for b in loader(many, levels).batches(0, 6)
            for p, f, c, t in zip(b.pairs, b.facts, b.claims, b.captions, strict=True)]


def test_facts_are_equal_exactly_where_the_manifest_is(many: Corpora) -> None:
    for column in CLAIMABLE:
        value_of: dict[int, str] = {}
        for record, _, facts, _, _ in codes(many, ["own"]):
            assert value_of.setdefault(facts[CLAIMABLE.index(column)], record[column]) == record[column]
        assert len(set(value_of.values())) == len(value_of)
        assert value_of.get(0, "") == ""
        assert all(code == 0 for code, value in value_of.items() if not value)


@pytest.mark.parametrize(("level", "columns"), [
    ("own", set()), ("modality", {"modality"}), ("anatomy", {"modality", "anatomy"}), ("finding", {"label"}),
])
def test_claims_are_what_the_caption_states(many: Corpora, level: str, columns: set[str]) -> None:
    for record, text, facts, claims, _ in codes(many, [level]):
        assert {c for c, stated in zip(CLAIMABLE, claims, strict=True) if stated} == columns
        assert all(record[c] in text for c in columns)
        assert all(f != 0 for f, stated in zip(facts, claims, strict=True) if stated)


def test_equal_captions_have_equal_codes(many: Corpora) -> None:
    seen = codes(many, ["own", "modality", "finding"])
    assert len({(text, code) for _, text, _, _, code in seen}) == len({text for _, text, *_ in seen}) == len({code for *_, code in seen})
    assert all(code > 0 for *_, code in seen)


def test_tokens_are_those_of_the_captions(many: Corpora) -> None:
    for batch in loader(many, ["own", "modality"]).batches(0, 3):
        assert torch.equal(batch.tokens, tokens([p.caption.text for p in batch.pairs]))


def test_drawn_counts_by_source_and_modality(many: Corpora) -> None:
    batch = next(loader(many).batches(0, 1))
    expected: dict[str, int] = {}
    for p in batch.pairs:
        name = f"noise/{p.record['modality'] or 'unknown'}"
        expected[name] = expected.get(name, 0) + 1
    assert batch.drawn() == expected


def test_moving_a_batch_keeps_it(many: Corpora) -> None:
    batch = next(loader(many).batches(0, 1))
    assert_equal([batch.to(torch.device("cpu"))], [batch])


@pytest.mark.parametrize("readers", [0, 4])
def test_a_missing_image_stops_reading_by_name(tmp_path: Path, readers: int) -> None:
    found = corpora(tmp_path, MANY)
    (tmp_path / "7.png").unlink()
    with pytest.raises(InputError, match=r"7\.png: cannot be read: No such file"):
        list(loader(found, readers=readers).batches(0, 3))


def broken(root: Path, rows: Sequence[int]) -> Corpora:
    """MANY, of which some are no images."""
    found = corpora(root, MANY)
    for k, row in enumerate(rows):
        path = root / f"{row}.png"
        path.write_bytes((b"", path.read_bytes()[:200], b"not an image")[k % 3])
    return found


BROKEN = [3, 7, 8, 20]


@pytest.mark.parametrize("readers", [0, 4])
def test_another_pair_stands_in_for_one_that_is_no_image(tmp_path: Path, readers: int) -> None:
    """All other slots are as they were; the stand-in is a pair of its own with the slot's key, and what it stands in for is named."""
    whole = list(loader(corpora(tmp_path, MANY), augment=MOVING).batches(0, 9))
    reading, seen = loader(broken(tmp_path, BROKEN), augment=MOVING, readers=readers, cache=2000), list[int]()
    found = list(reading.batches(0, 9))
    for before, after in zip(whole, found, strict=True):
        lost = iter(after.lost)
        for a, b, image, shown in zip(before.pairs, after.pairs, before.images, after.images, strict=True):
            assert a.key == b.key
            assert b.row not in BROKEN
            assert b.caption.text == MANY[b.row]["caption"]
            if a.row not in BROKEN:
                assert (b.row, torch.equal(image, shown)) == (a.row, True)
                continue
            pair, tries = a, 0
            while pair.row in BROKEN:
                tried, tries = next(lost), tries + 1
                assert (tried.source, tried.row) == ("noise", pair.row)
                assert f"{pair.row}.png: cannot be decoded" in tried.why
                pair = reading.mixture.substitute(a, tries)
            assert (b.row, b.caption) == (pair.row, pair.caption)
            seen.append(b.row)
        assert next(lost, None) is None
    assert len(set(seen)) > 5, "stand-ins differ from slot to slot"


def test_who_stands_in_does_not_depend_on_ranks_readers_or_where_reading_began(tmp_path: Path) -> None:
    found = broken(tmp_path, BROKEN)
    whole = list(loader(found, augment=MOVING).batches(0, 9))
    assert sum(len(b.lost) for b in whole) >= 4 * 3
    for readers in (0, 4):
        assert_equal(list(loader(found, augment=MOVING, readers=readers).batches(4, 9)), whole[4:])
        parts = [list(loader(found, augment=MOVING, readers=readers, slots=slice(r * 4, r * 4 + 4)).batches(0, 9)) for r in range(2)]
        for n, batch in enumerate(whole):
            assert torch.equal(torch.cat([part[n].images for part in parts]), batch.images)
            assert [one for part in parts for one in part[n].lost] == list(batch.lost)


def test_where_nothing_can_be_read_reading_stops(tmp_path: Path) -> None:
    found = broken(tmp_path, range(24))
    with pytest.raises(InputError, match=r"16 pairs of 'noise' in a row cannot be read; the last one: .*\.png"):
        list(loader(found).batches(0, 1))


STRUCTURES = {40: "body", 80: "liver", 200: "spleen"}
"""Grey values that are their own mask: what an image shows and what its mask says can be compared pixel by pixel."""
WORDS = ("background", "body", "liver", "spleen")
EVERY_PIXEL = Regions(WORDS, (24, 24))


def masked(root: Path, structures: dict[int, str] | None = None, every: int = 1, size: tuple[int, int] = (30, 28)) -> Corpora:
    """Blocks of grey whose mask has the same values; every n-th has one."""
    rows = [{"caption": "blocks", **({"mask": f"{i}-mask.png"} if i % every == 0 else {})} for i in range(8)]
    found = corpora(root, rows, structures or STRUCTURES)
    rng = np.random.default_rng(1)
    for i in range(8):
        blocks = np.kron(rng.choice([0, *STRUCTURES], (4, 5)), np.ones((8, 8)))[: size[0], : size[1]].astype(np.uint8)
        Image.fromarray(blocks).save(root / f"{i}.png")
        Image.fromarray(blocks).save(root / f"{i}-mask.png")
    return found


def shown(areas: torch.Tensor) -> torch.Tensor:
    """(b, 24, 24) the grey value of the word that covers each pixel."""
    values = torch.tensor([0, *STRUCTURES])
    assert ((areas == 0) | (areas == 1)).all()
    return values[areas.argmax(-1)].view(-1, 24, 24)


@pytest.mark.parametrize("flip", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("crop", [1.0, 0.3])
def test_a_mask_goes_where_its_image_goes(tmp_path: Path, crop: float, flip: float) -> None:
    """Nearly all pixels agree; the others lie on edges between blocks, which resizing blends in the image alone."""
    changed = loader(masked(tmp_path), augment=AugmentSpec(crop=crop, jitter=0, flip=flip), regions=EVERY_PIXEL)
    for batch in changed.batches(0, 6):
        near = (shown(batch.regions) - batch.images[:, 0].int()).abs() < 25
        assert near.float().mean((1, 2)).min() > 0.8
        assert near.float().mean() > 0.85
        elsewhere = (shown(batch.regions).flip(-1) - batch.images[:, 0].int()).abs() < 25
        assert elsewhere.float().mean() < 0.6


def test_reading_masks_changes_no_image(tmp_path: Path) -> None:
    found = masked(tmp_path, every=2)
    without, with_them = (next(loader(found, augment=MOVING, regions=r).batches(2, 3)) for r in (None, EVERY_PIXEL))
    assert torch.equal(without.images, with_them.images)
    assert without.regions.shape == (8, 0, 0)
    assert with_them.regions.shape == (8, 576, 4)
    assert (list(without.vocabulary), tuple(with_them.vocabulary)) == ([], WORDS)


def test_images_without_a_mask_have_no_areas(tmp_path: Path) -> None:
    batch = next(loader(masked(tmp_path, every=2), regions=EVERY_PIXEL).batches(0, 1))
    for pair, areas in zip(batch.pairs, batch.regions, strict=True):
        assert bool(areas.any()) == (pair.row % 2 == 0)


def test_masks_do_not_depend_on_readers(tmp_path: Path) -> None:
    found = masked(tmp_path)
    expected = list(loader(found, augment=MOVING, regions=EVERY_PIXEL).batches(0, 4))
    assert_equal(list(loader(found, augment=MOVING, regions=EVERY_PIXEL, readers=3).batches(0, 4)), expected)


def test_a_mask_whose_corpus_names_a_side_is_never_mirrored(tmp_path: Path) -> None:
    """Not even where the side is not in this image: its structures are the answers that a loss tells apart."""
    found = masked(tmp_path, STRUCTURES | {3: "left_kidney"}, every=2)
    regions = Regions((*WORDS, "left_kidney"), (24, 24))
    always = AugmentSpec(crop=1, jitter=0, flip=1.0)
    still, moving = loader(found, regions=regions), loader(found, augment=always, regions=regions)
    for plain, flipped in zip(still.batches(0, 3), moving.batches(0, 3), strict=True):
        for pair, a, b in zip(plain.pairs, plain.images, flipped.images, strict=True):
            assert torch.equal(b, a if pair.row % 2 == 0 else a.flip(-1))


@pytest.mark.parametrize("readers", [0, 2])
@pytest.mark.parametrize(("break_it", "said"), [
    (lambda p: p.unlink(), "cannot be read"), (lambda p: p.write_bytes(p.read_bytes()[:20]), "not a PNG"),
    (lambda p: Image.new("L", (9, 9)).save(p), "9 x 9 pixels"), (lambda p: Image.new("L", (28, 30), 5).save(p), "value 5, which is no structure"),
], ids=["missing", "cut", "size", "value"])
def test_a_broken_mask_stops_reading_by_name(tmp_path: Path, readers: int, break_it: Callable[[Path], object], said: str) -> None:
    found = masked(tmp_path)
    break_it(tmp_path / "3-mask.png")
    with pytest.raises(InputError, match=rf"3-mask\.png: .*{said}"):
        list(loader(found, readers=readers, regions=EVERY_PIXEL).batches(0, 3))
    assert len(list(loader(found, readers=readers).batches(0, 3))) == 3, "masks are not read where no loss asks for them"


@pytest.mark.parametrize("readers", [0, 2])
def test_another_pair_stands_in_for_one_whose_mask_is_none_where_masks_are_read(tmp_path: Path, readers: int) -> None:
    found = masked(tmp_path)
    path = tmp_path / "3-mask.png"
    path.write_bytes(path.read_bytes()[:60])
    read = list(loader(found, readers=readers, regions=EVERY_PIXEL).batches(0, 3))
    assert {one.row for b in read for one in b.lost} == {3}
    assert not [p for b in read for p in b.pairs if p.row == 3]
    assert not [one for b in loader(found, readers=readers).batches(0, 3) for one in b.lost]


def test_labels_are_the_manifests(many: Corpora) -> None:
    batch = next(loader(many).batches(0, 1))
    assert batch.labels == [p.record["label"] for p in batch.pairs]
    assert "mass and cyst" in {label for b in loader(many).batches(0, 3) for label in b.labels}
