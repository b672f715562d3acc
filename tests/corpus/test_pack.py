"""A packed corpus is the corpus: pixel by pixel to us, and to WebDataset and open_clip's own trainer; however often packing was killed."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import open_clip
import open_clip_train.data
import pandas as pd
import pytest
import torch
import yaml
from _made import png
from conftest import World
from hypothesis import given
from hypothesis import strategies as st
from open_clip.transform import PreprocessCfg, image_transform_v2
from open_clip_train.data import get_wds_dataset
from open_clip_train.params import parse_args
from PIL import Image
from torch import Tensor

from radisim_cl.corpus import blobs
from radisim_cl.corpus.blobs import Blob
from radisim_cl.corpus.corpora import Corpus, open_corpus
from radisim_cl.corpus.hashes import Hashes
from radisim_cl.corpus.pack import Layout, pack
from radisim_cl.data.images import decode, decode_mask
from radisim_cl.errors import InputError
from radisim_cl.files import fsync
from radisim_cl.specs.catalog import CatalogSpec, CorpusSpec

PAIRS, SMALL = 23, 20_000


def catalog(root: Path, **manifests: str) -> CatalogSpec:
    """Corpora of one folder."""
    return CatalogSpec(name="c", root=str(root), corpora={n: CorpusSpec(manifest=m, columns={"caption": "text"}) for n, m in manifests.items()})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """`files.csv`: PNGs and JPEGs, of which some have masks and one has no caption."""
    rng, rows = np.random.default_rng(0), []
    for i in range(PAIRS):
        name = f"{i}.{'jpg' if i % 3 else 'png'}"
        Image.fromarray(rng.integers(0, 256, (20 + i, 30), dtype=np.uint8)).save(tmp_path / name)
        if i % 4 == 0:
            Image.fromarray(rng.integers(0, 3, (20 + i, 30), dtype=np.uint8)).save(tmp_path / f"{i}-m.png")
        rows.append({"id": f"p.{i}", "image": name, "mask": f"{i}-m.png" * (i % 4 == 0), "text": f" Söme caption {i}. " * (i != 5), "note": i})
    pd.DataFrame(rows).to_csv(tmp_path / "files.csv", index=False)
    return tmp_path


def both(root: Path) -> tuple[Corpus, Corpus]:
    """The corpus of files, and packed to `packed/`."""
    pack(catalog(root, files="files.csv"), "files", root / "packed", SMALL)
    found = catalog(root, files="files.csv", packed="packed/manifest.parquet")
    return open_corpus(found, "files", "v"), open_corpus(found, "packed", "v")


def contents(folder: Path) -> dict[str, str]:
    """Digests of all files."""
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def test_a_packed_corpus_is_the_corpus(root: Path) -> None:
    files, packed = both(root)
    cells = ["image", "mask"]
    pd.testing.assert_frame_equal(files.frame.drop(columns=cells), packed.frame.drop(columns=cells), check_dtype=False)
    assert "note" in pd.read_parquet(root / "packed" / "manifest.parquet")
    for row in range(PAIRS):
        image, mask, there = packed.image(row), packed.mask(row), files.mask(row)
        assert image.read_bytes() == files.image(row).read_bytes()
        assert (image.size(), image.sha256()) == (files.image(row).size(), files.image(row).sha256())
        assert torch.equal(decode(image), decode(files.image(row)))
        assert (mask is None) == (there is None)
        if mask and there:
            assert torch.equal(decode_mask(mask, decode(image)), decode_mask(there))
    rows = np.arange(PAIRS)
    for what in (Hashes.sizes, Hashes.digests, Hashes.looks):
        np.testing.assert_array_equal(what(Hashes(files), rows), what(Hashes(packed), rows))


def test_shards_are_tars_of_at_most_the_size_asked_for(root: Path) -> None:
    both(root)
    shards = sorted((root / "packed" / "shards").glob("*.tar"))
    assert len(shards) > 2
    seen: list[str] = []
    for shard in shards:
        assert shard.stat().st_size <= SMALL
        with tarfile.open(shard, "r:") as tar:
            seen += tar.getnames()
            assert all(m.isfile() and m.mtime == m.uid == 0 for m in tar)
    expected = []
    for i in range(PAIRS):
        expected += [f"{i:09d}.{'jpg' if i % 3 else 'png'}", *[f"{i:09d}.txt"] * (i != 5), *[f"{i:09d}.mask.png"] * (i % 4 == 0)]
    assert seen == expected
    card = yaml.safe_load((root / "packed" / "card.yaml").read_text())
    assert {name: told["sha256"] for name, told in card["shards"].items()} == {
        k: v for k, v in contents(root / "packed").items() if k.startswith("shards/")}


def test_killed_at_any_write_and_called_again_it_writes_the_same_bytes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both(root)
    expected, asked, writes = contents(root / "packed"), catalog(root, files="files.csv"), 0

    def dying(at: int) -> Callable[[Path], None]:
        left = iter(range(at))

        def failing(path: Path) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            fsync(path)

        return failing

    for at in range(0, 2 * len(expected), 2):
        out = root / f"again-{at}"
        monkeypatch.setattr("radisim_cl.corpus.pack.fsync", dying(at))
        try:
            pack(asked, "files", out, SMALL)
        except KeyboardInterrupt:
            writes += 1
            monkeypatch.setattr("radisim_cl.corpus.pack.fsync", fsync)
            pack(asked, "files", out, SMALL)
        assert contents(out) == expected
    assert writes >= 3


def test_packing_again_changes_nothing_and_other_settings_are_refused(root: Path) -> None:
    both(root)
    before, asked = {p: p.stat().st_mtime_ns for p in (root / "packed").rglob("*")}, catalog(root, files="files.csv")
    pack(asked, "files", root / "packed", SMALL)
    assert before == {p: p.stat().st_mtime_ns for p in (root / "packed").rglob("*")}
    with pytest.raises(InputError, match="--shard-size"):
        pack(asked, "files", root / "packed", SMALL + 1)
    with pytest.raises(InputError, match="not empty"):
        pack(asked, "files", root, SMALL)
    (root / "3.png").unlink()
    with pytest.raises(InputError, match=r"3\.png: No such file.*row 4"):
        pack(asked, "files", root / "other", SMALL)


@given(sizes=st.lists(st.tuples(st.integers(0, 3000), st.integers(-1, 700), st.integers(-1, 700)), min_size=1, max_size=40),
       most=st.integers(1, 9000))
def test_a_layout_is_what_tarfile_would_write(sizes: list[tuple[int, int, int]], most: int) -> None:
    layout = Layout.of(np.array(sizes), most)
    assert layout.first[0] == 0
    assert layout.first[-1] == len(sizes)
    assert (np.diff(layout.first) > 0).all()
    for s, end in enumerate(layout.ends.tolist()):
        rows = range(*layout.first[s:s + 2].tolist())
        held = io.BytesIO()
        with tarfile.open(fileobj=held, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for row in rows:
                for part, size in enumerate(sizes[row]):
                    if size >= 0:
                        member = tarfile.TarInfo(f"{row}.{part}")
                        member.size = size
                        tar.addfile(member, io.BytesIO(bytes(size)))
            tar.fileobj.seek(0)
            assert end == tar.offset + 1024
        assert end <= most or len(rows) == 1
        held.seek(0)
        with tarfile.open(fileobj=held) as tar:
            for member in tar:
                row, part = map(int, member.name.split("."))
                assert layout.offsets[row, part] == member.offset_data
        if rows.stop < len(sizes):
            following = sum(512 + -(-x // 512) * 512 for x in sizes[rows.stop] if x >= 0)
            assert end + following > most, "the shard had no room for the next pair"


def test_a_shard_that_vanishes_or_is_cut_is_named(root: Path) -> None:
    _, packed = both(root)
    shard, last = root / "packed/shards/000001.tar", max(r for r in range(PAIRS) if "000001" in str(packed.image(r)))
    with shard.open("r+b") as f:
        f.truncate(packed.image(last).offset or 0)
    with pytest.raises(InputError, match=r"000001\.tar: ends at byte \d+, and the manifest names \d+ bytes"):
        packed.image(last).read_bytes()
    gone = Blob(root / "packed/shards/000077.tar", 0, 10)
    with pytest.raises(InputError, match=r"000077\.tar: cannot be read: No such file"):
        decode(gone)


def test_many_shards_are_read_with_few_files_open(tmp_path: Path) -> None:
    blobs = []
    for i in range(300):
        (tmp_path / f"{i}.tar").write_bytes(bytes([i % 256]) * 8)
        blobs.append(Blob(tmp_path / f"{i}.tar", 2, 4))
    for _ in range(2):
        assert [b.read_bytes() for b in blobs] == [bytes([i % 256]) * 4 for i in range(300)]
    assert len(list(Path("/proc/self/fd").iterdir())) < 200


def test_a_shard_stays_open_while_it_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two threads that open one at the same time, one has what the cache does not keep."""
    files, packed = both(root)
    monkeypatch.setattr(blobs, "_opened", blobs._Opened)
    for row in range(PAIRS):
        assert packed.image(row).read_bytes() == files.image(row).read_bytes()


TOKENIZER = open_clip.get_tokenizer("ViT-B-32")
PREPROCESS = image_transform_v2(PreprocessCfg(size=24, resize_mode="squash"), is_train=False)


def by_their_trainer(shards: Path, pairs: int, is_train: bool, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """(3, 24, 24) images and (77,) tokens of an epoch of open_clip's own trainer, with the arguments that its command line makes."""
    urls = f"{shards}/{{000000..{len(list(shards.glob('*.tar'))) - 1:06d}}}.tar"
    args = parse_args(["--dataset-type", "webdataset", "--workers", "1", "--batch-size", "2", "--seed", "1",
                       *(("--train-data", urls, "--train-num-samples", str(pairs)) if is_train else ("--val-data", urls))])
    args.world_size = 1  # as its `main` sets it
    # webdataset 0.2.96 and later end a tar with what open_clip's reader does not know: github.com/webdataset/webdataset/issues/384.
    monkeypatch.setattr(open_clip_train.data, "tar_file_expander", partial(open_clip_train.data.tar_file_expander, eof_value=None))
    data = get_wds_dataset(args, PREPROCESS, is_train=is_train, tokenizer=TOKENIZER)
    return [pair for images, texts in data.dataloader for pair in zip(images, texts, strict=True)]


def assert_pairs(found: list[tuple[Tensor, Tensor]], corpus: Corpus, rows: list[int]) -> None:
    """The rows' images, each with the tokens of its own caption, in some order."""
    of = {tuple(TOKENIZER(corpus.frame["caption"][row])[0].tolist()): row for row in rows}
    assert sorted(of[tuple(text.tolist())] for _, text in found) == rows
    for image, text in found:
        with Image.open(io.BytesIO(corpus.image(of[tuple(text.tolist())]).read_bytes())) as own:
            torch.testing.assert_close(image, PREPROCESS(own), rtol=0, atol=0)


@pytest.mark.parametrize("is_train", [True, False], ids=["training", "validation"])
def test_open_clips_trainer_reads_what_was_packed(root: Path, is_train: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the pair without a caption, which it skips."""
    files, _ = both(root)
    rows = [row for row in range(PAIRS) if row != 5]
    assert_pairs(by_their_trainer(root / "packed" / "shards", len(rows), is_train, monkeypatch), files, rows)


def test_open_clips_trainer_reads_what_was_ingested(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    captions = {f"{k}.png": {"caption": f"CT of the chest, slice {k}"} for k in range(12)}
    for k, name in enumerate(captions):
        png(world.root / "in" / name, k)
    pd.DataFrame(captions).T.rename_axis("path").to_csv(world.root / "t.csv")
    told = world.cli("ingest", "images", "in", "--table", "t.csv", "--out", "made", "--shard-size", "4kB", RADISIM_SALT="0123456789abcdef")
    assert told.returncode == 0, told.stderr
    found = open_corpus(CatalogSpec(name="c", root=str(world.root), corpora={"c": CorpusSpec(manifest="made/packed/manifest.parquet")}), "c", "v")
    assert len(list((world.root / "made/packed/shards").iterdir())) > 1
    assert_pairs(by_their_trainer(world.root / "made/packed/shards", 12, True, monkeypatch), found, list(range(12)))
