"""Shards that others wrote: read in place, or refused in words. Nothing in them is unpacked or run."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import webdataset
import yaml
from PIL import Image

from radisim_cl.corpus.corpora import open_corpus
from radisim_cl.corpus.shards import samples, shards
from radisim_cl.data.images import decode, decode_mask
from radisim_cl.errors import InputError
from radisim_cl.runs.packing import index
from radisim_cl.specs.catalog import CatalogSpec, CorpusSpec


def picture(i: int, kind: str = "PNG") -> bytes:
    """A grey picture."""
    out = io.BytesIO()
    Image.fromarray(np.full((12, 10 + i), 20 * i % 250, dtype=np.uint8)).save(out, kind)
    return out.getvalue()


def write(shard: Path, members: dict[str, bytes] | list[tuple[str, bytes]]) -> None:
    """A tar of some files."""
    with tarfile.open(shard, "w") as tar:
        for name, data in members.items() if isinstance(members, dict) else members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Two shards of WebDataset's own writer: 3 pairs each, a mask, and a sample without an image."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    for s in range(2):
        with webdataset.TarWriter(str(folder / f"{s}.tar")) as sink:
            for i in range(3):
                sample: dict[str, Any] = {"__key__": f"scans/{i:03d}", "jpg" if i else "png": picture(i, "JPEG" if i else "PNG"),
                                          "txt": f"picture {i} of {s}", "json": {"patient": f"Doe-{s}{i // 2}", "modality": "CT", "age": 7}}
                if i == 1:
                    sample["mask.png"] = picture(1)
                sink.write(sample)
            sink.write({"__key__": "alone", "txt": "no image"})
    return folder


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """The site's."""
    monkeypatch.setenv("RADISIM_SALT", "a secret of the tests")


@pytest.mark.usefixtures("secret")
def test_shards_of_others_become_a_corpus_in_place(theirs: Path, tmp_path: Path) -> None:
    card = index(theirs, tmp_path / "ours", "", "CC0", lambda what, done, of: None)
    assert (card["pairs"], card["patients"], card["masks"], card["captions"], card["left_out"]) == (6, 4, 2, 6, {"no image": 2})
    spec = CorpusSpec(manifest="ours/manifest.parquet")
    corpus = open_corpus(CatalogSpec(name="c", root=str(tmp_path), corpora={"theirs": spec}), "theirs", "v")
    assert corpus.frame["caption"].tolist() == [f"picture {i} of {s}" for s in range(2) for i in range(3)]
    assert set(corpus.frame["modality"]) == {"CT"}
    assert corpus.licences == ["CC0"]
    for row in range(6):
        kind = "JPEG" if row % 3 else "PNG"
        assert corpus.image(row).read_bytes() == picture(row % 3, kind)
        mask = corpus.mask(row)
        assert (mask is None) == (row % 3 != 1)
        if mask:
            decode_mask(mask, decode(corpus.image(row)))
    told = (tmp_path / "ours/manifest.parquet").read_bytes() + (tmp_path / "ours/card.yaml").read_bytes()
    assert b"Doe" not in told
    assert "Doe" not in pd.read_parquet(tmp_path / "ours/manifest.parquet").to_csv()
    assert yaml.safe_load((tmp_path / "ours/card.yaml").read_text()) == card


@pytest.mark.usefixtures("secret")
def test_a_patient_is_found_by_a_pattern_or_the_index_is_refused(theirs: Path, tmp_path: Path) -> None:
    assert index(theirs, tmp_path / "a", r"^Doe-(\d)", "", lambda what, done, of: None)["patients"] == 2
    with pytest.raises(InputError, match="does not match"):
        index(theirs, tmp_path / "b", r"^Smith-(\d)", "", lambda what, done, of: None)


def test_without_a_secret_nothing_is_written(theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RADISIM_SALT", raising=False)
    with pytest.raises(InputError, match="RADISIM_SALT"):
        index(theirs, tmp_path / "ours", "", "", lambda what, done, of: None)
    assert not (tmp_path / "ours").exists()


def link(kind: bytes) -> Callable[[Path], None]:
    """A tar with a link out of it."""
    def make(shard: Path) -> None:
        with tarfile.open(shard, "w") as tar:
            info = tarfile.TarInfo("a.png")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)

    return make


def cut(at: int) -> Callable[[Path], None]:
    """A tar of two members of 1,024 + 512 bytes each that ends too soon."""
    def make(shard: Path) -> None:
        write(shard, {"a.png": bytes(1000), "b.png": bytes(1000)})
        os.truncate(shard, at)

    return make


class Canary:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("canary",)


@pytest.mark.parametrize(("make", "said"), [
    (lambda p: p.write_bytes(b""), r"is empty \(0 bytes\)"),
    (cut(1536 + 512 + 300), r"ends at byte 2348, inside 'b\.png', which lies from 2048 to 3048"),
    (cut(1536 + 200), "no end after byte 1536 of 1736"),
    (cut(1536), "no end after byte 1536 of 1536"),
    (lambda p: write(p, {"../a.png": b"x"}), r"'\.\./a\.png' at byte 0 is a name that leads out"),
    (lambda p: write(p, {"ok.png": b"x", "/etc/a.png": b"x"}), r"'/etc/a\.png' at byte 1024 is a name that leads out"),
    (link(tarfile.SYMTYPE), "is a link"), (link(tarfile.LNKTYPE), "is a link"), (link(tarfile.FIFOTYPE), "is a link or device"),
    (lambda p: write(p, {"a.pkl": pickle.dumps(Canary())}), r"'a\.pkl' at byte 0 is a pickle"),
    (lambda p: write(p, {"a.x.PYD": b"x"}), "is a pickle"),
    (lambda p: write(p, [("a.png", b"x"), ("a.png", b"y")]), r"'a\.png' stands in it twice"),
    (lambda p: write(p, [("a.jpg", b"x"), ("b.jpg", b"x"), ("a.JPG", b"y")]), r"'a\.JPG' stands in it twice"),
    (lambda p: p.write_bytes(b"not a tar " * 200), "cannot be read as an uncompressed tar, from byte 0 on"),
], ids=["zero bytes", "cut in a member", "cut in a header", "cut between", "out of the folder", "absolute", "symbolic link", "link", "device",
        "pickle", "pyd", "twice", "twice in another case", "no tar"])
def test_a_tar_that_cannot_be_trusted_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None],
                                                          said: str) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "bad.tar")
    with pytest.raises(InputError, match=rf"bad\.tar: .*{said}") as refused:
        list(samples(tmp_path / "bad.tar"))
    assert refused.value.exit_code == 2
    assert not (tmp_path / "canary").exists()


def test_a_folder_without_shards_a_compressed_one_and_a_command_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file that ends in \.tar$"):
        shards(tmp_path)
    (tmp_path / "a.tar.gz").write_bytes(b"x")
    with pytest.raises(InputError, match=r"uncompress a\.tar\.gz"):
        shards(tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        shards(tmp_path / "absent")
    with pytest.raises(InputError, match="is a command"):
        shards(Path("pipe:touch canary"))


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize(("name", "data", "said"), [
    ("a.json", b"{", r"shard\.tar:\d+:1: is no JSON"), ("a.json", b"[" * 100_000, r"shard\.tar:\d+:100000: is no JSON"),
    ("a.txt", b"\xff", r"shard\.tar:\d+:1: not UTF-8"),
])
def test_facts_that_cannot_be_read_are_named(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in/shard.tar", {"a.png": picture(1), name: data})
    with pytest.raises(InputError, match=said):
        index(tmp_path / "in", tmp_path / "out", "", "", lambda what, done, of: None)


@pytest.mark.usefixtures("secret")
def test_json_that_is_no_table_of_facts_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in/shard.tar", {"a.png": picture(1), "a.json": json.dumps([1]).encode(), ".hidden": b"", "README": b"read me"})
    assert index(tmp_path / "in", tmp_path / "out", "", "", lambda what, done, of: None)["pairs"] == 1
