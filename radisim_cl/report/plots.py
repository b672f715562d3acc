"""The plots of a run's page. Each returns a figure drawn within `figures.style`, or None where there is nothing to draw."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.typing import LineStyleType

from radisim_cl.records.scorecard import Interval, Scorecard
from radisim_cl.report.figures import ACCENT, BAD, FAINT, GOOD, INK, MUTED, PAPER, SECOND, bands
from radisim_cl.report.story import Story, threshold
from radisim_cl.specs.datasets import PublishedSpec

F = npt.NDArray[np.float64]
Curves = Mapping[str, tuple[F, F]]
"""By name, steps and values."""
LINES: Sequence[tuple[LineStyleType, str]] = (("-", ACCENT), ("--", SECOND), (":", GOOD), ("-.", BAD), ((0, (5, 1, 1, 1, 1, 1)), MUTED))
BINS = 240
"""Points of a curve; more steps than that are drawn by the median of a bin, with the range from its 10th to its 90th percentile."""


def _count(x: float, _: object = None) -> str:
    """1,500 -> 1.5k."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(x) >= limit:
            return f"{x / (1e3 if letter == 'k' else limit):g}{letter}"
    return f"{x:,.0f}"


SAMPLES = FuncFormatter(_count)


def timeline(story: Story) -> Figure | None:
    """Stages as bars, by samples and by time of work, with looks, reports, interruptions and what a rewind left aside."""
    attempts = story.attempts
    if not attempts:
        return None
    unit, per = (("minutes", 60.0) if attempts[-1].left < 7200 else ("hours", 3600.0))
    figure = Figure(figsize=(9.6, 0.95 + 0.4 * len(attempts)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for row, a in enumerate(attempts):
        for axes, start, end in ((left, a.start, a.end), (right, a.began / per, a.left / per)):
            axes.barh(row, max(end - start, 1e-9), left=start, height=0.56, facecolor=ACCENT if a.kept else "none", alpha=0.3 if a.kept else 1,
                      edgecolor=ACCENT if a.kept else MUTED, hatch="" if a.kept else "////", linewidth=0.8)
        for axes, places in ((left, [(d, s) for d, s, _ in a.looks]), (right, [(d, t / per) for d, _, t in a.looks])):
            for decided, at in places:
                face = INK if decided.passed else PAPER
                axes.plot(at, row, "D", markersize=7.5, markeredgecolor=INK, markerfacecolor=face, zorder=5, clip_on=False)
                if decided.passed is None:
                    axes.plot(at, row, "_", markersize=5, color=INK, zorder=6, clip_on=False)
        for _, at_s in a.reported:
            right.plot(at_s / per, row, "^", markersize=6, markeredgecolor=INK, markerfacecolor=SECOND, zorder=4, clip_on=False)
    for pause in story.pauses:
        right.axvline(pause.at / per, color=BAD, linestyle=(0, (2, 2)), linewidth=1.1, zorder=1)
    left.set_yticks(range(len(attempts)), [a.stage + (f", attempt {a.attempt + 1}" if a.attempt else "") + (" (left aside)" if not a.kept else "")
                                           for a in attempts])
    left.set_ylim(len(attempts) - 0.45, -0.55)
    left.set_xlabel("samples seen")
    right.set_xlabel(f"{unit} of work")
    left.xaxis.set_major_formatter(SAMPLES)
    for axes in (left, right):
        axes.set_xlim(left=0)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(6))
    def mark(shape: str, face: str, word: str) -> Line2D:
        return Line2D([], [], marker=shape, linestyle="", markeredgecolor=INK, markerfacecolor=face, label=word)

    keys: list[Line2D | Patch] = [mark("D", INK, "look: passed"), mark("D", PAPER, "look: not passed (with a bar: undecided)"),
                                  mark("^", SECOND, "report split scored")]
    if story.pauses:
        keys.append(Line2D([], [], color=BAD, linestyle=(0, (2, 2)), label="interrupted and resumed"))
    if not all(a.kept for a in attempts):
        keys.append(Patch(facecolor="none", edgecolor=MUTED, hatch="////", label="left aside by a rewind"))
    figure.legend(handles=keys, loc="outside lower center", ncols=3)
    return figure


def spans(story: Story) -> list[tuple[str, float, float]]:
    """Stage, from and to in samples, along the run's path."""
    return [(a.stage, float(a.start), float(a.end)) for a in story.attempts if a.kept]


def skills(story: Story) -> Figure | None:
    """Mean skill by suite over samples: looks at the gate split, and the report split after each accepted stage."""
    suites = list(story.plan.benchmark.suites)
    kept = {(a.stage, a.attempt) for a in story.attempts if a.kept}
    columns = min(3, len(suites))
    rows = -(-len(suites) // columns)
    figure = Figure(figsize=(9.6, 0.4 + 2.35 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    widest = max((a.end for a in story.attempts), default=0) or 1
    for axes, suite in zip(grid.flat, suites, strict=False):
        bands(axes, [s if s[0] != suite else (suite, s[1], s[1]) for s in spans(story)], named=False)
        for _, start, end in (s for s in spans(story) if s[0] == suite):
            axes.axvspan(start, end, facecolor=ACCENT, alpha=0.16, edgecolor="none", zorder=0)
        axes.axhline(0, color=INK, linewidth=0.8)
        if (need := threshold(story.plan, suite)) is not None:
            axes.axhline(need, color=GOOD, linestyle=":", linewidth=1.4)
        gate = [(e.total * story.batch, i, e.stage is None or (e.stage, e.attempt) in kept) for e, c in story.gates if (i := _skill(c, suite))]
        _series(axes, [(x, i) for x, i, on in gate if on], "o", "-", INK, -0.006 * widest, PAPER)
        for x, i in ((x, i) for x, i, on in gate if not on):
            axes.plot(x, i.value, "x", color=MUTED, markersize=5)
        _series(axes, [(c.samples, i) for c in story.reports.values() if (i := _skill(c, suite))], "s", "--", ACCENT, 0.006 * widest, ACCENT)
        axes.set_title(suite, pad=5)
        axes.xaxis.set_major_formatter(SAMPLES)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        if not gate and not story.reports:
            axes.text(0.5, 0.5, "undecidable: too few patients", transform=axes.transAxes, ha="center", color=MUTED, fontsize=9)
    for axes in list(grid.flat)[len(suites) :]:
        axes.set_visible(False)
    worst = min((i.value for c in (*(c for _, c in story.gates), *story.reports.values()) for s in c.suites if (i := s.skill)), default=0.0)
    grid[0, 0].set_ylim(min(max(-1.05, grid[0, 0].get_ylim()[0]), worst - 0.05), 1.05)
    for axes in grid[:, 0]:
        axes.set_ylabel("mean skill")
    for axes in list(grid.flat)[max(0, len(suites) - columns) : len(suites)]:
        axes.set_xlabel("samples seen")
        axes.tick_params(labelbottom=True)
    keys: list[Line2D | Patch] = [
        Line2D([], [], marker="o", color=INK, markerfacecolor=PAPER, linestyle="-", label="gate split, at looks"),
        Line2D([], [], marker="s", color=ACCENT, linestyle="--", label="report split, after each stage" if story.reports else "report split: sealed"),
        Line2D([], [], color=GOOD, linestyle=":", label="what the gate asks of the lower bound"),
        Patch(facecolor=ACCENT, alpha=0.16, label="the stage that teaches it"),
    ]
    if any(not a.kept for a in story.attempts):
        keys.append(Line2D([], [], marker="x", linestyle="", color=MUTED, label="left aside by a rewind"))
    figure.legend(handles=keys, loc="outside lower center", ncols=3)
    return figure


def _skill(card: Scorecard, suite: str) -> Interval | None:
    return next((s.skill for s in card.suites if s.suite == suite), None)


def _series(axes: Axes, points: Sequence[tuple[float, Interval]], shape: str, line: str, colour: str, shift: float, face: str) -> None:
    if not points:
        return
    x, value = [p for p, _ in points], [i.value for _, i in points]
    spread = [[i.value - i.low for _, i in points], [i.high - i.value for _, i in points]]
    axes.errorbar(np.array(x) + shift, value, yerr=spread, fmt=shape, linestyle=line, color=colour, markersize=5, markerfacecolor=face,
                  markeredgecolor=colour, linewidth=1.2, elinewidth=1, capsize=2)


def forest(card: Scorecard, published: Mapping[str, Sequence[PublishedSpec]]) -> Figure:
    """Subtasks by suite: the primary metric with its interval, chance, no-learning floors, and figures of others where they may stand there."""
    lines: list[tuple[str, str]] = []
    for suite in card.suites:
        lines.append(("suite", suite.suite))
        lines += [("subtask", s.id) for s in card.subtasks if s.suite == suite.suite]
    of = {s.id: s for s in card.subtasks}
    figure = Figure(figsize=(9.6, 0.9 + 0.27 * len(lines)), layout="constrained")
    axes = figure.subplots()
    labels, lowest, floored, others = [], 0.0, False, False
    for y, (what, name) in enumerate(lines):
        if what == "suite":
            labels.append(name)
            axes.axhspan(y - 0.5, y + 0.5, facecolor=FAINT, alpha=0.5, edgecolor="none", zorder=0)
            continue
        s = of[name]
        labels.append(name + " *" * bool(s.trained_on))
        told = s.scores.get(s.metric)
        if s.chance is not None:
            axes.plot(s.chance, y, "|", color=INK, markersize=11, markeredgewidth=1.6, zorder=3)
        for shape, floor in zip("<>", s.floors.values(), strict=False):
            axes.plot(floor.value, y, shape, markersize=6, markerfacecolor="none", markeredgecolor=SECOND, zorder=4)
            floored = True
        for figure_of in published.get(name, ()):
            axes.plot(figure_of.value, y, "*", markersize=9, markerfacecolor=PAPER, markeredgecolor=GOOD, zorder=4)
            others = True
        if told:
            lowest = min(lowest, told.low)
            colour, face, width, line = (MUTED, PAPER, 1.0, ":") if s.undecidable else (ACCENT, ACCENT, 2.2, "-")
            axes.plot([told.low, told.high], [y, y], color=colour, linewidth=width, linestyle=line, solid_capstyle="butt", zorder=2)
            axes.plot(told.value, y, "o", markersize=7, markeredgecolor=colour, markerfacecolor=face, zorder=5)
        axes.annotate(f"{told.value:.2f} [{told.low:.2f}, {told.high:.2f}]" if told else "undefined", (1, y), xycoords=("axes fraction", "data"),
                      xytext=(8, 0), textcoords="offset points", va="center", fontsize=9, color=INK if told and not s.undecidable else MUTED)
        axes.annotate(s.metric.replace("_", " "), (1, y), xycoords=("axes fraction", "data"), xytext=(112, 0), textcoords="offset points",
                      va="center", fontsize=9, color=MUTED)
    axes.set_yticks(range(len(lines)), labels)
    for tick, (what, _) in zip(axes.get_yticklabels(), lines, strict=True):
        tick.set_fontweight("bold" if what == "suite" else "normal")
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlim(lowest - 0.03, 1.03)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("score in the subtask's own metric")
    keys = [Line2D([], [], marker="o", color=ACCENT, linewidth=2.2, label="score, 95 % interval over patients"),
            Line2D([], [], marker="|", linestyle="", color=INK, markersize=11, markeredgewidth=1.6, label="chance")]
    if floored:
        keys += [Line2D([], [], marker=shape, linestyle="", markerfacecolor="none", markeredgecolor=SECOND, label=word)
                 for shape, word in (("<", "floor: grey-value statistics"), (">", "floor: 8x8 thumbnail"))]
    if others:
        keys.append(Line2D([], [], marker="*", linestyle="", markersize=9, markerfacecolor=PAPER, markeredgecolor=GOOD, label="published"))
    if any(s.undecidable for s in card.subtasks):
        keys.append(Line2D([], [], marker="o", color=MUTED, linestyle=":", linewidth=1, markerfacecolor=PAPER, label="undecidable: too few patients"))
    figure.legend(handles=keys, loc="outside lower center", ncols=3)
    return figure


def mixture(story: Story) -> Figure | None:
    """By stage, the share of each source: what was drawn as a bar, what was asked for as a mark."""
    mixed = {s: pair for s, pair in story.mixed().items() if sum(pair[1].values())}
    if not mixed:
        return None
    sources = sorted({source for asked, drawn in mixed.values() for source in (*asked, *drawn)})
    figure = Figure(figsize=(9.6, 1.1 + 0.3 * len(sources)), layout="constrained")
    grid = figure.subplots(1, len(mixed), sharey=True, sharex=True, squeeze=False)[0]
    for axes, (stage, (asked, drawn)) in zip(grid, mixed.items(), strict=True):
        of_asked, of_drawn = sum(asked.values()) or 1, sum(drawn.values())
        axes.barh(range(len(sources)), [drawn.get(s, 0) / of_drawn for s in sources], height=0.6, facecolor=ACCENT, alpha=0.35, edgecolor=ACCENT)
        axes.plot([asked.get(s, 0) / of_asked for s in sources], range(len(sources)), "|", color=INK, markersize=13, markeredgewidth=1.6)
        axes.set_title(stage)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0%}"))
        axes.xaxis.set_major_locator(MaxNLocator(3))
    grid[0].set_yticks(range(len(sources)), sources)
    grid[0].set_ylim(len(sources) - 0.4, -0.6)
    grid[0].set_xlim(left=0)
    figure.legend(handles=[Patch(facecolor=ACCENT, alpha=0.35, edgecolor=ACCENT, label="drawn"),
                           Line2D([], [], marker="|", linestyle="", color=INK, markersize=13, markeredgewidth=1.6, label="asked for")],
                  loc="outside lower center", ncols=2)
    return figure


def scalars(folder: Path) -> Curves:
    """By name, steps and values of the training scalars in a folder of tensorboard's event files; what a rewind or a kill left aside is not in it."""
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it warns of what a rewind leaves aside
    board = EventAccumulator(str(folder), size_guidance={SCALARS: 0})
    board.Reload()
    out = {}
    for tag in board.Tags()["scalars"]:
        if tag.startswith("train/"):
            found = board.Scalars(tag)
            out[tag.removeprefix("train/")] = (np.array([s.step for s in found], dtype=float), np.array([s.value for s in found]))
    return out


def training(story: Story, found: Curves) -> Figure | None:
    """Loss and its terms, learning rate and logit scale over samples."""
    terms = [n for n in found if n not in ("total", "lr", "logit_scale")]
    if "total" not in found:
        return None
    figure = Figure(figsize=(9.6, 6.2), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True, height_ratios=[3, 1.4, 1.4])
    drawn = (("loss", ["total", *(terms if len(terms) > 1 else [])]), ("learning rate", ["lr"]), ("logit scale", ["logit_scale"]))
    for axes, (label, names) in zip(panels, drawn, strict=True):
        bands(axes, spans(story), named=axes is panels[0])
        for i, name in enumerate(n for n in names if n in found):
            x, middle, low, high = binned(*found[name])
            line, colour = LINES[i % len(LINES)]
            axes.plot(x * story.batch, middle, linestyle=line, color=colour, linewidth=1.5 if i == 0 else 1.2, label=name.replace("_", " "))
            if np.nanmax(high - low) > 0:
                axes.fill_between(x * story.batch, low, high, facecolor=colour, alpha=0.15, edgecolor="none")
        axes.set_ylabel(label)
    if len(drawn[0][1]) > 1:
        figure.legend(*panels[0].get_legend_handles_labels(), ncols=6, loc="outside lower center", title="lines of the first panel", title_fontsize=9)
    panels[0].set_ylim(bottom=0)
    panels[1].set_ylim(bottom=0)
    panels[2].set_xlabel("samples seen")
    panels[2].xaxis.set_major_formatter(SAMPLES)
    return figure


def binned(x: F, y: F, bins: int = BINS) -> tuple[F, F, F, F]:
    """(b,) means of x and medians, 10th and 90th percentiles of y, of at most `bins` bins of the same number of points."""
    parts = [p for p in np.array_split(np.arange(len(x)), min(bins, len(x))) if len(p)]
    table = np.array([[x[p].mean(), *np.percentile(y[p], (50, 10, 90))] for p in parts])
    if len(table) > 2:  # a line has a gap where a stage has not this term
        steps = np.diff(table[:, 0])
        table = np.insert(table, np.flatnonzero(steps > 3 * np.median(steps)) + 1, np.nan, axis=0)
    return table[:, 0], table[:, 1], table[:, 2], table[:, 3]


