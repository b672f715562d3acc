"""Figures of a page: matplotlib's, as inline SVG that takes its colours and its typeface from the page.

A figure is drawn in the colours below. Each stands for a property of the page's style, which has a value for light and one for dark, so that one
drawing serves both; what is told by colour is told by a marker, a line style or a word too.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, FAINT, PAPER = "#010203", "#5f6368", "#d5d8dc", "#fefdfc"
ACCENT, SECOND, GOOD, BAD = "#0b5cad", "#a6490c", "#1a7a3a", "#b3261e"
VARIABLES = {INK: "--ink", "#000000": "--ink", MUTED: "--muted", FAINT: "--faint", PAPER: "--paper", ACCENT: "--accent", SECOND: "--second",
             GOOD: "--good", BAD: "--bad"}
"""By colour of a drawing, the property of the page's style that replaces it."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "radisim-cl", "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": MUTED, "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelcolor": INK,
    "ytick.labelcolor": INK, "axes.titlecolor": INK, "grid.color": FAINT, "axes.grid": True, "axes.axisbelow": True, "grid.linewidth": 0.6,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    "font.size": 10, "axes.titlesize": 10.5, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.labelsize": 10,
    "xtick.labelsize": 9, "ytick.labelsize": 9, "legend.fontsize": 9, "legend.frameon": False, "axes.unicode_minus": True,
}


@contextmanager
def style() -> Iterator[None]:
    """Within it, figures are drawn for a page."""
    with mpl.rc_context(STYLE):
        yield


def svg(figure: Figure, name: str, title: str, told: str) -> Markup:
    """A figure as an inline `<svg>` with an accessible name; the same bytes for the same figure.

    Args:
        figure: drawn within `style`.
        name: unique on the page, of letters, digits and hyphens; it begins the ids inside.
        title: what it is.
        told: what it shows, in sentences, for those who cannot see it.
    """
    if not re.fullmatch(r"[a-z][\w-]*", name):
        raise ValueError(f"a figure's name begins an id and is of letters, digits and hyphens, not {name!r}")
    buffer = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg"):]
    drawn = re.sub(r"<metadata>.*?</metadata>\s*", "", drawn, flags=re.S)
    drawn = re.sub(r"<style type=\"text/css\">.*?</style>", "", drawn, count=1, flags=re.S)
    drawn = re.sub(r'\bid="', f'id="{name}-', drawn)
    drawn = re.sub(r'href="#', f'href="#{name}-', drawn)
    drawn = re.sub(r"url\(#", f"url(#{name}-", drawn)
    drawn = re.sub(r"font: (?:(\w+) )?([\d.]+)px [^;\"]*", lambda m: f"font-size: {m[2]}px" + (f"; font-weight: {m[1]}" if m[1] else ""), drawn)
    for colour, variable in VARIABLES.items():
        drawn = drawn.replace(colour, f"var({variable})")
    box = re.search(r'viewBox="([^"]+)"', drawn)
    assert box is not None, "matplotlib wrote an SVG without a viewBox"
    wide = float(box[1].split()[2])
    head = (f'<svg class="plot" role="img" viewBox="{box[1]}" style="--wide: {wide / 72:.2f}in" '
            f'aria-labelledby="{name}-title {name}-desc">\n<title id="{name}-title">{escape(title)}</title>\n'
            f'<desc id="{name}-desc">{escape(told)}</desc>\n')
    return Markup(head + drawn[drawn.index(">") + 1 :].strip())  # every part of it is drawn by matplotlib, or escaped


def bands(axes: Axes, spans: list[tuple[str, float, float]], named: bool = True) -> None:
    """Shades every other span of x, and writes their names above.

    Args:
        axes: whose x is what spans are in.
        spans: name, from, to.
        named: whether to write the names.
    """
    for i, (name, left, right) in enumerate(spans):
        if i % 2 == 0:
            axes.axvspan(left, right, facecolor=FAINT, alpha=0.35, edgecolor="none", zorder=0)
        if named:
            axes.annotate(name, ((left + right) / 2, 1), xycoords=("data", "axes fraction"), xytext=(0, 3), textcoords="offset points",
                          ha="center", va="bottom", fontsize=8.5, color=MUTED)
