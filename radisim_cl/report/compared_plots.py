"""The plots of a comparison's page. Each returns a figure drawn within `figures.style`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from radisim_cl.compare.records import Comparison, Contrast, Effect
from radisim_cl.records.scorecard import Interval
from radisim_cl.report.compared_told import held
from radisim_cl.report.figures import ACCENT, FAINT, INK, MUTED, PAPER, SECOND
from radisim_cl.report.page import signed
from radisim_cl.report.plots import LINES, SAMPLES

MARKS = "osD^vPX"
"""One a curriculum; there are more than line styles, so that two of them seldom share both."""


def forest(k: Contrast) -> Figure:
    """Differences over all suites, by suite and by subtask: over patients as a bar, over seeds as points and a dotted line."""
    whole, suites = [e for e in k.effects if e.level == "overall"], [e for e in k.effects if e.level == "suite"]
    names = list(dict.fromkeys(e.suite for e in k.effects if e.suite))
    lines: list[tuple[str, Effect | None]] = [(e.id, e) for e in whole]
    for name in names:
        lines.append((name, next((e for e in suites if e.id == name), None)))
        lines += [(e.id, e) for e in k.effects if e.level == "subtask" and e.suite == name]
    figure = Figure(figsize=(9.6, 1.1 + 0.29 * len(lines)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=INK, linewidth=0.9, zorder=1)
    for y, (_, e) in enumerate(lines):
        if e is None or e.level != "subtask":
            axes.axhspan(y - 0.5, y + 0.5, facecolor=FAINT, alpha=0.5, edgecolor="none", zorder=0)
        if e is None:
            axes.annotate("undecidable", (1, y), xycoords=("axes fraction", "data"), xytext=(8, 0), textcoords="offset points", va="center",
                          fontsize=9, color=MUTED)
            continue
        colour, line = (MUTED, ":") if e.undecidable else (ACCENT, "-")
        if e.low is not None and e.high is not None:
            axes.plot([e.low, e.high], [y - 0.1, y - 0.1], color=colour, linewidth=2.2, linestyle=line, solid_capstyle="butt", zorder=2)
        axes.plot(e.difference, y - 0.1, "o", markersize=7, markeredgecolor=colour, markerfacecolor=colour if held(e) else PAPER, zorder=5)
        if e.seeds.low is not None and e.seeds.high is not None:
            axes.plot([e.seeds.low, e.seeds.high], [y + 0.27, y + 0.27], color=SECOND, linewidth=1, linestyle=(0, (1, 1.5)), zorder=2)
        axes.plot(e.seeds.differences, [y + 0.27] * len(e.seeds.differences), "|", color=SECOND, markersize=6, markeredgewidth=1.4, zorder=3)
        told = signed(e.difference, 2) + (f" [{signed(e.low, 2)}, {signed(e.high, 2)}]" if e.low is not None and e.high is not None else "")
        axes.annotate(told, (1, y), xycoords=("axes fraction", "data"), xytext=(8, 0), textcoords="offset points", va="center", fontsize=9,
                      color=MUTED if e.undecidable else INK)
    axes.set_yticks(range(len(lines)), [name for name, _ in lines])
    for tick, (_, e) in zip(axes.get_yticklabels(), lines, strict=True):
        tick.set_fontweight("normal" if e and e.level == "subtask" else "bold")
    axes.set_ylim(len(lines) - 0.4, -0.6)
    ends = [x for e in k.effects for x in (e.low, e.high, *e.seeds.differences) if x is not None]
    reach = 1.06 * max(0.02, *np.abs(ends))
    axes.set_xlim(-reach, reach)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.set_xlabel(f"difference of skill: {k.curriculum} less {k.reference}")
    keys = [Line2D([], [], marker="o", color=ACCENT, linewidth=2.2, markerfacecolor=ACCENT, label="more than noise over patients"),
            Line2D([], [], marker="o", color=ACCENT, linewidth=2.2, markerfacecolor=PAPER, label="not shown; 95 % interval over patients"),
            Line2D([], [], marker="|", color=SECOND, linewidth=1, linestyle=(0, (1, 1.5)), label="each seed; 95 % interval over seeds")]
    if any(e.undecidable for e in k.effects):
        keys.append(Line2D([], [], marker="o", color=MUTED, linestyle=":", markerfacecolor=PAPER, label="undecidable: too few patients"))
    figure.legend(handles=keys, loc="outside lower center", ncols=2)
    return figure


def efficiency(c: Comparison) -> Figure:
    """Mean skill against samples seen, a line a run: all suites first, then each; the gate split left, the report split right."""
    suites = [None, *c.suites]
    figure = Figure(figsize=(9.6, 0.7 + 1.75 * len(suites)), layout="constrained")
    grid = figure.subplots(len(suites), 2, sharex=True, sharey=True, squeeze=False)
    runs = [(i, r) for i, g in enumerate(c.groups) for r in g.runs]
    widest = max((r.samples for _, r in runs), default=1)
    splits: list[Literal["gate", "report"]] = ["gate", "report"]
    for suite, pair in zip(suites, grid, strict=True):
        for axes, split in zip(pair, splits, strict=True):
            axes.axhline(0, color=INK, linewidth=0.8)
            if not any(run.course(split, suite) for _, run in runs):
                axes.text(0.5, 0.6, "undecidable: too few patients", transform=axes.transAxes, ha="center", color=MUTED, fontsize=9)
            for n, (i, run) in enumerate(runs):
                _line(axes, run.course(split, suite), i, (n - (len(runs) - 1) / 2) * 0.004 * widest)
            axes.set_title(suite or "all suites", pad=5)
            axes.xaxis.set_major_formatter(SAMPLES)
            axes.xaxis.set_major_locator(MaxNLocator(6))
        pair[0].set_ylabel("mean skill")
    low = min((p.skill.value for _, r in runs for p in r.points), default=0.0)
    grid[0, 0].set_ylim(min(max(-1.05, grid[0, 0].get_ylim()[0]), low - 0.05), 1.05)
    for axes, word in zip(grid[-1], ("samples seen, gate split", "samples seen, report split"), strict=True):
        axes.set_xlabel(word)
    looks = [LINES[i % len(LINES)] for i in range(len(c.groups))]
    keys = [Line2D([], [], color=colour, linestyle=line, marker=MARKS[i % len(MARKS)], markersize=5, label=g.curriculum)
            for i, (g, (line, colour)) in enumerate(zip(c.groups, looks, strict=True))]
    figure.legend(handles=keys, loc="outside upper center", ncols=5)
    return figure


def _line(axes: Axes, points: Sequence[tuple[int, Interval]], i: int, shift: float) -> None:
    if not points:
        return
    line, colour = LINES[i % len(LINES)]
    spread = [[s.value - s.low for _, s in points], [s.high - s.value for _, s in points]]
    axes.errorbar([samples + shift for samples, _ in points], [s.value for _, s in points], yerr=spread, color=colour, linewidth=1.2,
                  linestyle=line, marker=MARKS[i % len(MARKS)], markersize=4, markeredgecolor=colour, markerfacecolor=PAPER, elinewidth=0.7)


