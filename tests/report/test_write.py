"""The page of a whole run, with every protocol in its benchmark, as its reader's browser gets it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from _html import X, asked_for, faults, parsed, text
from _small import with_every_protocol
from conftest import World, make_world

from radisim_cl.cli import app
from radisim_cl.errors import InputError
from radisim_cl.records import events as ev
from radisim_cl.records.ledger import Ledger, read
from radisim_cl.records.state import fold
from radisim_cl.report.story import Story
from radisim_cl.report.write import FILE, SECTIONS, html, write
from radisim_cl.runs.directory import rewind
from radisim_cl.runs.scores import result

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    """A finished run, which no test may change."""
    world = with_every_protocol(make_world(tmp_path_factory.mktemp("done") / "world"))
    told = world.cli("run", "toy", "--report", "--set", "profiles.laptop.gates=observe")
    assert told.returncode == 0, told.stderr
    assert f"report: runs/toy/{FILE}" in told.stdout
    return world, world.root / "runs" / "toy"


@pytest.fixture(scope="module")
def page(done: tuple[World, Path]) -> str:
    """What the run wrote at its end."""
    return (done[1] / FILE).read_text()


@pytest.fixture
def copied(done: tuple[World, Path], tmp_path: Path) -> Path:
    """A copy of the run that the test may change."""
    return Path(shutil.copytree(done[1], tmp_path / "toy", ignore=shutil.ignore_patterns("checkpoints")))


def test_it_is_valid_accessible_and_alone(page: str) -> None:
    tree = parsed(page)
    assert asked_for(tree) == []
    assert faults(tree) == []
    assert len(page) < 5 * 2**20


def test_the_checks_of_this_file_can_fail() -> None:
    head = "<!DOCTYPE html><title>x</title><h1>x</h1>"
    asks = parsed(head + '<img alt="x" src="https://x.org/y.png"><style>a { background: url(z.png) }</style>')
    assert asked_for(asks) == ["https://x.org/y.png", "z.png"]
    assert len(faults(parsed(head + '<h3 id="a">x</h3><p id="a">x</p><img src="data:,"><table><tr><th>x</th></tr></table><a href="#no">x</a>'))) == 6
    with pytest.raises(Exception, match=r".+"):
        parsed(head + "<p><div></p>")


def test_it_tells_everything_in_order(page: str) -> None:
    tree = parsed(page)
    assert [e.get("id") for e in tree.iter(f"{X}h2")] == [anchor for anchor, _ in SECTIONS]
    told = text(tree)
    for words in ("✓ finished", "never rewound", "never interrupted", "they decided and recorded, and every stage went on",
                  "lower bound of modality skill >= -1", "How another seed would do", "Not zero-shot", "Loss, learning rate and logit scale",
                  "Where the model looks", "What texts find"):
        assert words in told, words


def test_its_numbers_are_the_scorecards(done: tuple[World, Path], page: str) -> None:
    told, card = text(parsed(page)), result(done[1], fold(read(done[1])[0]))
    for s in card.subtasks:
        score = s.scores[s.metric]
        row = f"{s.id} * {s.metric.replace('_', ' ')} {score.value:.3f} [{score.low:.3f}, {score.high:.3f}]".replace("-", "−")
        assert row in told.replace("-", "−"), s.id
    for suite in card.suites:
        if suite.skill:
            assert f"{suite.suite}: mean skill {suite.skill.value:.3f} [{suite.skill.low:.3f}, {suite.skill.high:.3f}]" in told.replace("−", "-")
    decided = next(e for e in read(done[1])[0] if isinstance(e, ev.GateDecided))
    assert decided.reasons[0].replace(">=", "≥") in told.replace("−", "-")


def test_no_patient_is_on_it(done: tuple[World, Path], page: str) -> None:
    assert not re.search(r"patient\d{3}", page)
    assert re.search(r"patient\d{3}", (done[0].root / "data" / "manifest.csv").read_text()), "there is nothing to find"
    answers = {p for f in (done[1] / "scores").glob("*.parquet") for p in pd.read_parquet(f)["patient"]}
    assert answers
    assert not [p for p in answers if p in page], "a pseudonym of a patient"


def test_images_are_shown_with_their_licences_or_not_at_all(done: tuple[World, Path], page: str, tmp_path: Path) -> None:
    images = list(parsed(page).iter(f"{X}img"))
    assert len(images) >= 6 + 4 * 5
    assert all(str(i.get("src")).startswith("data:image/jpeg;base64,") for i in images)
    assert "Licences: drawn: CC0" in text(parsed(page))
    caption = r"“(CT|MR|DR) of the \w+, (mass|normal)”"
    assert re.search(caption, text(parsed(page)))
    app(["report", str(done[1]), "--no-images", "--out", str(tmp_path / "plain.html")], standalone_mode=False)
    plain = parsed((tmp_path / "plain.html").read_text())
    assert not list(plain.iter(f"{X}img"))
    assert not re.search(caption, text(plain))
    assert "and holds none" in text(plain)
    assert faults(plain) == []


def test_the_page_of_the_same_run_is_the_same(done: tuple[World, Path], page: str) -> None:
    assert html(Story.of(done[1])) == page


def test_where_images_are_gone_the_page_says_so(copied: Path, done: tuple[World, Path], tmp_path: Path) -> None:
    plan = copied / "plan.yaml"
    elsewhere = shutil.copytree(done[0].root / "data", tmp_path / "data")
    plan.write_text(plan.read_text().replace(str(done[0].root / "data"), str(elsewhere)))
    shutil.rmtree(elsewhere / "images")
    told = text(parsed(write(copied).read_text()))
    assert "an image or a mask cannot be read here" in told
    shutil.rmtree(elsewhere)
    told = text(parsed(write(copied).read_text()))
    assert "No images are shown: the model or the data cannot be read here" in told
    assert "mod.three" in told
    shutil.rmtree(copied / "tensorboard")
    shutil.rmtree(copied / "export")
    assert "The run has no tensorboard/ folder here." in text(parsed(write(copied).read_text()))


def test_a_rewound_run_says_so_and_is_sealed_again(copied: Path) -> None:
    rewind(copied, "anatomy")
    ledger = Ledger(copied)
    ledger.append(ev.RunResumed(world_size=1, versions={}))
    ledger.append(ev.RunFailed(exit_code=1, error="InputError: images/patient007-1.png: cannot be decoded"))
    page = write(copied, images=False).read_text()
    told = text(parsed(page))
    for words in ("rewound by hand once", "resumed once", "✗ interrupted", "left aside by a rewind",
                  "The report split is sealed until the run has finished", "Mean skill by suite on the gate split",
                  "somebody went back by hand", "1 of 2 stages"):
        assert words in told, words
    assert "patient007" not in page
    assert faults(parsed(page)) == []


def test_a_run_that_has_only_begun_has_a_page(copied: Path) -> None:
    lines = (copied / "ledger.jsonl").read_text().splitlines(keepends=True)
    for n in (1, 3, 4):
        (copied / "ledger.jsonl").write_text("".join(lines[:n]))
        told = text(parsed(write(copied).read_text()))
        assert ("Nothing has been scored yet" in told) == (n == 1)
        assert "no stage is accepted yet" in told


@pytest.mark.parametrize(("args", "words"), [(["nothing"], "no run 'nothing'"), (["toy", "--out", "no/where.html"], "make it first")])
def test_what_is_no_run_or_no_place_is_refused(done: tuple[World, Path], monkeypatch: pytest.MonkeyPatch, args: list[str], words: str) -> None:
    monkeypatch.chdir(done[0].root)
    with pytest.raises(InputError, match=words):
        app(["report", *args], standalone_mode=False)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
@pytest.mark.parametrize("look", ["light", "dark", "narrow", "print"])
def test_a_browser_draws_it(done: tuple[World, Path], tmp_path: Path, look: str) -> None:
    """Not empty, in the right colours, and without asking anybody for anything."""
    from PIL import Image

    out, log = tmp_path / ("page.pdf" if look == "print" else "page.png"), tmp_path / "net.json"
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
               f"--log-net-log={log}", f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={390 if look == 'narrow' else 1200},3000"]
    options += [f"--print-to-pdf={out}"] if look == "print" else [f"--screenshot={out}"]
    options += ["--blink-settings=preferredColorScheme=0"] if look == "dark" else []
    subprocess.run([str(CHROMIUM), *options, (done[1] / FILE).as_uri()], check=True, capture_output=True, timeout=120)
    own = r"https?://[\w.-]*\b(google\w*|gvt1|gstatic)\.com/"  # the browser's: updates and dictionaries
    assert not [a for a in re.findall(r'"url":"(https?://[^"]+)', log.read_text()) if not re.match(own, a)]
    if look == "print":
        assert out.read_bytes().startswith(b"%PDF")
        return
    pixels = np.asarray(Image.open(out).convert("L"), dtype=float)
    assert pixels.std() > 20
    assert (np.median(pixels) < 60) == (look == "dark")
