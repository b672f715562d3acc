"""The curricula, catalogs and benchmarks that pages show can be written like that."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from radisim_cl.specs.benchmark import load_benchmark
from radisim_cl.specs.catalog import load_catalog
from radisim_cl.specs.curriculum import load

DOCS = Path(__file__).parents[2] / "docs"
KINDS: dict[str, tuple[str, Callable[[str], object]]] = {
    r"(stages|control)": ("curricula", load), "corpora": ("catalogs", load_catalog), "subtasks": ("benchmarks", load_benchmark)}
"""By a field that only such a file has: the folder it belongs to, and how it is read."""


@pytest.mark.parametrize(("page", "files"), [("tutorial", 3), ("write_a_curriculum", 2), ("add_a_subtask", 1)])
def test_whole_files_on_a_page_are_valid(page: str, files: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written: list[tuple[str, Callable[[str], object]]] = []
    for block in re.findall(r"^```yaml\n(.*?)^```", (DOCS / f"{page}.md").read_text(), re.S | re.M):
        name = re.search(r"^name: (\w+)$", block, re.M)
        for field, (folder, read) in KINDS.items():
            if name and re.search(rf"^{field}:", block, re.M):
                path = tmp_path / folder / f"{name[1]}.yaml"
                path.parent.mkdir(exist_ok=True)
                path.write_text(block)
                written.append((str(path), read))
    assert len(written) == files
    for file, read in written:
        read(file)
