"""Files that are whole or absent, and the library: what stands beside a curriculum comes before what ships."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from radisim_cl.errors import InputError
from radisim_cl.files import library_file, library_names, sha256, sha256_text, write_atomic


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own beside the working directory: `curricula/`, `stages/` and an `open_sample` catalog."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for name in ("curricula/mine.yaml", "stages/first.yaml", "stages/deep/second.yaml", "catalogs/open_sample.yaml", "catalogs/notes.txt"):
        path = tmp_path / "home" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("name: x\n")
    return tmp_path / "home"


@pytest.mark.parametrize(("data", "written"), [("é\n", "é\n".encode()), (b"\x00\xff", b"\x00\xff"), ("", b"")])
def test_a_file_is_written_and_replaced_whole(tmp_path: Path, data: str | bytes, written: bytes) -> None:
    path = tmp_path / "a" / "b" / "state.json"
    for _ in range(2):
        write_atomic(path, data)
        assert path.read_bytes() == written
    assert [p.name for p in path.parent.iterdir()] == ["state.json"]


@pytest.mark.parametrize("old", ["before", None])
@pytest.mark.parametrize("step", ["replace", "write_bytes"])
def test_an_interrupted_write_leaves_what_was_there_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, old: str | None
) -> None:
    path = tmp_path / "state.json"
    if old is not None:
        write_atomic(path, old)
    with monkeypatch.context() as broken:
        def fail(self: Path, *args: object) -> None:
            raise OSError("power cut")

        broken.setattr(Path, step, fail)
        with pytest.raises(OSError, match="power cut"):
            write_atomic(path, "after")
    assert (path.read_text() if path.exists() else None) == old
    write_atomic(path, "after")
    assert [p.name for p in tmp_path.iterdir()] == ["state.json"]
    assert path.read_text() == "after"


def test_digests_are_sha256_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 100_000)
    assert sha256(tmp_path / "x") == hashlib.sha256(b"abc" * 100_000).hexdigest()
    assert sha256_text("é") == hashlib.sha256("é".encode()).hexdigest()


def test_what_stands_beside_the_curriculum_comes_before_what_ships(home: Path) -> None:
    assert library_file("catalogs", "open_sample", home / "curricula") == home / "catalogs" / "open_sample.yaml"
    assert library_file("catalogs", "open_sample", home) == home / "catalogs" / "open_sample.yaml"
    shipped = library_file("catalogs", "open_sample")
    assert shipped.is_file()
    assert not shipped.is_relative_to(home)


def test_what_ships_is_found_from_everywhere(home: Path) -> None:
    assert library_file("stages", "open_sample/anatomy", home) == library_file("stages", "open_sample/anatomy")


def test_a_name_may_lead_into_a_folder(home: Path) -> None:
    assert library_file("stages", "deep/second", home) == home / "stages" / "deep" / "second.yaml"


def test_a_path_is_taken_as_it_is(home: Path) -> None:
    assert library_file("stages", str(home / "curricula" / "mine.yaml")).samefile(home / "curricula" / "mine.yaml")
    assert library_file("stages", "../stages/first.yaml", home / "curricula").samefile(home / "stages" / "first.yaml")
    assert library_file("curricula", "../home/curricula/mine.yaml").samefile(home / "curricula" / "mine.yaml")


def test_names_are_of_yaml_files_in_all_folders_sorted(home: Path) -> None:
    names = library_names("stages", home / "curricula")
    assert {"first", "deep/second", "open_sample/anatomy"} <= set(names)
    assert names == sorted(set(names))
    assert library_names("catalogs", home).count("open_sample") == 1
    assert "notes" not in library_names("catalogs", home)
    assert library_names("nothing", home) == []


@pytest.mark.parametrize(("folder", "name", "message"), [
    ("stages", "frist", r"no stage 'frist' in stages/\. Did you mean 'first'\? Known: .*deep/second, .*first, .*open_sample/anatomy"),
    ("catalogs", "zzz", r"no catalog 'zzz' in catalogs/\. Known: .*open_sample"),
    ("curricula", "mime", r"no curriculum 'mime' in curricula/\. Did you mean 'mine'\?"),
    ("templates", "tmpl", r"'tmpl' in templates/\. Known: "),
    ("stages", "gone.yaml", r"no file gone\.yaml"),
])
def test_a_name_that_stands_for_nothing_lists_what_there_is(home: Path, folder: str, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        library_file(folder, name, home)
    assert caught.value.exit_code == 2
