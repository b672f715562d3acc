"""Figures as they stand in a page."""

from __future__ import annotations

import re

import pytest
from _html import SVG, faults, parsed
from matplotlib.figure import Figure

from radisim_cl.report.figures import VARIABLES, style, svg


def drawn(name: str = "plot") -> str:
    with style():
        figure = Figure(figsize=(4, 3))
        axes = figure.subplots()
        axes.plot([0, 1, 2], [1, 0, 2], "o-", color="#0b5cad", label="<b>&")
        axes.fill_between([0, 1, 2], [1, 0, 2], color="#000000", alpha=0.2, hatch="//")
        axes.set_title("x < y")
        axes.legend()
        return str(svg(figure, name, "A <title>", 'It "shows" & tells'))


def test_colours_are_the_pages() -> None:
    plot = drawn()
    assert not re.findall(r"#[0-9a-f]{6}\b", plot), "a colour that dark pages cannot change"
    assert "var(--accent)" in plot
    assert "var(--ink)" in plot


def test_two_figures_share_no_id_and_use_their_own() -> None:
    page = "<!DOCTYPE html><title>x</title><h1>x</h1>" + drawn("one") + drawn("two")
    tree = parsed(page)
    assert faults(tree) == []
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', page)
    assert used
    assert set(used) <= {e.get("id") for e in tree.iter()}


def test_text_is_text_and_is_escaped() -> None:
    tree = parsed("<!DOCTYPE html><title>x</title>" + drawn())
    (plot,) = tree.iter(f"{SVG}svg")
    assert plot.find(f"{SVG}title").text == "A <title>"  # type: ignore[union-attr]
    assert plot.find(f"{SVG}desc").text == 'It "shows" & tells'  # type: ignore[union-attr]
    words = {"".join(t.itertext()).strip() for t in plot.iter(f"{SVG}text")}
    assert {"x < y", "<b>&"} <= words


def test_the_same_figure_is_the_same_bytes() -> None:
    assert drawn() == drawn()


def test_a_name_that_is_no_id_is_refused() -> None:
    with pytest.raises(ValueError, match="letters, digits and hyphens"):
        drawn("dx.ich")


def test_every_colour_has_a_value_for_light_dark_and_print() -> None:
    from importlib.resources import files

    css = (files("radisim_cl.report") / "templates" / "style.css").read_text()
    roots = re.findall(r":root \{(.*?)\}", css, re.S)
    assert len(roots) == 3
    for variable in set(VARIABLES.values()):
        assert all(f"{variable}:" in root for root in roots), variable
