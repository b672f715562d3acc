"""What an installed wheel carries, away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked as pip would; dependencies come from this environment."""
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    site = out / "site"
    with zipfile.ZipFile(next(out.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    return site


def cli(site: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """The wheel's command line, in a folder that holds nothing."""
    env = {k: v for k, v in os.environ.items() if k != "RADISIM_REAL"} | {"PYTHONPATH": str(site)}
    code = "import sys, radisim_cl; assert 'site' in radisim_cl.__file__, radisim_cl.__file__; from radisim_cl.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *args], cwd=site.parent, env=env, capture_output=True, text=True)


@pytest.mark.parametrize(("what", "name"), [("curricula", "open_sample"), ("stages", "open_sample/grading"), ("benchmarks", "open_sample"),
                                            ("catalogs", "open_sample"), ("templates", "open_sample"), ("models", "radisim-tiny")])
def test_the_library_is_found_from_an_installed_wheel(installed: Path, what: str, name: str) -> None:
    done = cli(installed, "ls", what)
    assert done.returncode == 0, done.stderr
    assert name in done.stdout.splitlines()


def test_without_data_the_wheel_says_what_to_do(installed: Path) -> None:
    done = cli(installed, "plan", "open_sample")
    assert done.returncode == 2
    assert "environment variable RADISIM_REAL is not set" in done.stderr
    assert "_library/catalogs/open_sample.yaml:" in done.stderr


def test_licence_entry_point_and_templates(installed: Path) -> None:
    info = next(installed.glob("*.dist-info"))
    assert "radisim-cl = radisim_cl.cli:main" in (info / "entry_points.txt").read_text()
    assert "Apache License" in (info / "licenses" / "LICENSE").read_text()
    assert {p.name for p in (installed / "radisim_cl" / "report" / "templates").iterdir()} >= {"base.html.j2", "run.html.j2", "style.css"}
    assert not list(installed.glob("tests")), "tests are not shipped"
