"""The frame of pages, and how they write numbers."""

from __future__ import annotations

import re
from importlib.resources import files

import jinja2
import pytest
from _html import contrast

from radisim_cl.records.scorecard import Interval
from radisim_cl.report import page


@pytest.mark.parametrize(("seconds", "told"), [(0, "0 s"), (59.6, "1 min"), (200, "3 min 20 s"), (7500, "2 h 5 min"),
                                               (86400 * 3 + 4 * 3600 + 61, "3 days 4 h"), (86400, "1 day")])
def test_durations(seconds: float, told: str) -> None:
    assert page.took(seconds) == told


def test_numbers() -> None:
    assert page.number(-0.12345) == "−0.123"
    assert page.number(None) == "–"
    assert page.signed(0.5, 2) == "+0.50"
    assert page.interval(Interval(value=0, low=-0.25, high=0.5), 2) == "[−0.25, 0.50]"
    assert page.interval(None) == ""
    assert page.minus("one-sided: -0.1 >= 0, 3-4, loc-1") == "one-sided: −0.1 ≥ 0, 3-4, loc-1"
    assert (page.words(["a"]), page.words(["a", "b", "c"]), page.words([])) == ("a", "a, b and c", "none")
    assert page.where({"level": ["a", "b"], "modality": "CT"}) == "level = a or b; modality = CT"


def test_what_a_template_is_not_told_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        page.render("base.html.j2", version="1")


def test_what_is_told_is_escaped() -> None:
    made = page.render("base.html.j2", version="1", title="<script>alert(1)</script>", notice='"><img src=x onerror=y>', sections=[("a", "<b>")])
    assert "<script" not in made
    assert "<img" not in made
    assert "&lt;b&gt;" in made


@pytest.mark.parametrize("mode", [0, 1, 2], ids=["light", "dark", "print"])
def test_text_is_readable(mode: int) -> None:
    """WCAG 2.2 AA asks 4.5 of text, and 3 of what is drawn."""
    css = (files("radisim_cl.report") / "templates" / "style.css").read_text()
    root = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]+)", re.findall(r":root \{(.*?)\}", css, re.S)[mode]))
    for name in ("--ink", "--muted", "--accent", "--second", "--good", "--bad"):
        assert contrast(root[name], root["--paper"]) >= 4.5, name
    assert contrast(root["--muted"], root["--raised"]) >= 4.5
    assert contrast(root["--ink"], root["--warn-paper"]) >= 4.5
    assert contrast("#777", "#fff") == pytest.approx(4.48, abs=0.01), "the oracle: WCAG's well-known pair"
