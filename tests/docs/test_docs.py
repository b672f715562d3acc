"""Every command in the README and the docs is executed, in the order of the page."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from _benchmarks import BENCHMARKS
from _endpoint import Stub
from _made import png
from _originals import ORIGINALS
from _sources import SOURCES
from conftest import REAL

from radisim_cl.cli import main

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
SMOKE = ["--profile", "smoke"]
SMALL = ["--catalog", "phantom_small"]
FROM_A_CATALOG = ("corpus check", "corpus pack", "corpus caption")
ENVIRONMENT = os.environ | {"RADISIM_SALT": "a secret of the tests", "RADISIM_VOLUMES": "volumes", "RADISIM_OPEN": "open"}
"""With the cache that outlives the tests: the phantom is drawn there once."""


def commands(page: Path) -> list[str]:
    """Lines of the bash blocks of a page, without comments."""
    blocks = re.findall(r"^```bash\n(.*?)^```", page.read_text(), re.S | re.M)
    return [line for b in blocks for raw in b.splitlines() if (line := raw.partition("  #")[0].strip()) and not line.startswith("#")]


LONG = ("run open_sample", "bench open_sample", "forgetful", "--seeds 3", "runs/ablation-")
"""Minutes of scoring or several runs, and what needs it."""


def of_kind(start: str) -> list[object]:
    """All commands that begin with a word, as test cases: each once, on the first page that has it."""
    first = {c: p for p in reversed(PAGES) for c in commands(p) if c.startswith(start)}
    return [pytest.param(c, id=f"{p.relative_to(ROOT)}: {c}", marks=[pytest.mark.slow] * any(long in c for long in LONG))
            for p in PAGES for c in dict.fromkeys(commands(p)) if first.get(c) == p]


@pytest.fixture(autouse=True, scope="module")
def endpoint() -> Iterator[None]:
    """What `$RADISIM_ENDPOINT` of the pages stands for."""
    with Stub() as stub, pytest.MonkeyPatch.context() as patched:
        patched.setenv("RADISIM_ENDPOINT", stub.url)
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the pages are followed from top to bottom."""
    return tmp_path_factory.mktemp("reader")


def distributed(name: str, folder: Path) -> None:
    """Small files in the layout that a command of the pages reads."""
    if folder.exists():
        return  # an earlier command has read it
    if maker := {**SOURCES, **BENCHMARKS, **ORIGINALS}.get(name):
        folder.mkdir(parents=True)
        maker(folder, 3)
        return
    picture = png(folder / "train" / "normal" / "a.png", 0)
    if name == "webdataset":
        with tarfile.open(folder / "0.tar", "w") as tar:
            tar.add(picture, "a.png")
    (folder.parent / f"{name}.jsonl").write_text('{"file": "train/normal/a.png", "report": "CT of the chest", "who": "Doe"}\n')


@pytest.mark.parametrize("command", of_kind("make"))
def test_make_targets_exist(command: str) -> None:
    done = subprocess.run(["make", "--dry-run", *shlex.split(command)[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def executed(words: list[str], place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    """Exit code, stdout and stderr; what trains has a process of its own, and others save the seconds in which one begins."""
    if words[0] in ("run", "resume", "ablate") and "--slurm" not in words:
        done = subprocess.run([sys.executable, "-m", "radisim_cl", *words], cwd=place, capture_output=True, text=True, timeout=600, env=ENVIRONMENT)
        return done.returncode, done.stdout, done.stderr
    monkeypatch.chdir(place)
    for name in [name for name in os.environ if name.startswith("RADISIM_") and name not in ENVIRONMENT]:
        monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["radisim-cl", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, *capfd.readouterr()


@pytest.mark.parametrize("command", of_kind("radisim-cl"))
def test_commands_do_what_they_say(command: str, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    if any(word in command for word in ("open_sample", "open_volumes", "$RADISIM_REAL")) and not REAL:
        pytest.skip("RADISIM_REAL does not name the open sample's folder")
    if data := re.search(r" (data/(\w+)) ", command):
        distributed(data[2], place / data[1])
    line, _, target = command.partition(" > ")
    words = shlex.split(os.path.expandvars(line))[1:]
    if words[0] in ("run", "plan", "validate", "ablate") and "--profile" not in words:
        words += SMOKE  # the same command at the scale of a test
    words += ["--seeds", "1"] * (words[0] == "ablate")
    if words[0] in ("run", "plan", "validate", "ablate", "ls", "bench") or " ".join(words[:2]) in ("phantom make", *FROM_A_CATALOG):
        words += SMALL * ("--catalog" not in words and "open_sample" not in command and "layouts" not in words)
    code, out, err = executed(words, place, monkeypatch, capfd)
    assert code == 0, err[-2000:]
    assert "Traceback" not in err
    if target:
        (place / target).write_text(out)


def test_only_commands_that_are_tested() -> None:
    known = ("make ", "radisim-cl ", "export RADISIM_", "python -m pip install ")
    assert [c for p in PAGES for c in commands(p) if not c.startswith(known)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (page.parent / target).exists(), target
    for path in re.findall(r"`((?:tests|radisim_cl|docs|curricula|stages|benchmarks|catalogs|templates)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path


def test_the_stage_in_the_readme_is_valid() -> None:
    from radisim_cl.specs.curriculum import StageSpec

    block = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "README.md").read_text(), re.S | re.M)[0]
    assert StageSpec.model_validate(yaml.safe_load(block.replace("5e-4", "0.0005"))).name == "localization"


@pytest.mark.parametrize("kind", ["curriculum", "stage", "benchmark", "catalog", "templates"])
def test_the_schemas_that_editors_read_are_current(kind: str) -> None:
    import json

    from radisim_cl.specs.schema import schema_of

    assert json.loads((ROOT / "docs" / "schema" / f"{kind}.json").read_text()) == schema_of(kind), "run `make schema`"


SHIPPED = sorted(p for d in ("curricula", "stages", "benchmarks", "catalogs", "templates") for p in (ROOT / d).rglob("*.yaml"))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda p: str(p.relative_to(ROOT)))
def test_shipped_files_name_their_schema(file: Path) -> None:
    first = file.read_text().splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (file.parent / first.partition("=")[2]).is_file()
