"""A comparison as a table of the terminal, CSV, LaTeX or JSON: all of the one record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pandas as pd
from rich.console import Group as Pages
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from radisim_cl.compare.records import Comparison, Contrast, Effect, Group

HOW = ("95 % intervals and p over patients, who are resampled in both at once, conditional on the trained models; Holm's correction over a "
       "comparison's subtasks. Over seeds: mean, standard deviation and 95 % t interval of the differences of runs of one seed, the patients as "
       "they are.")
"""What every page says of its figures."""


def written(c: Comparison, format_: Literal["json", "csv", "latex"]) -> str:
    """The comparison as a text: all of it as JSON, the differences as CSV or LaTeX (booktabs)."""
    if format_ == "json":
        return c.model_dump_json(indent=1) + "\n"
    frame = pd.DataFrame([_row(k, e) for k in c.contrasts for e in k.effects])
    if format_ == "csv":
        return frame.assign(notice=c.notice).to_csv(index=False)
    shown = pd.DataFrame({
        "comparison": frame["curriculum"] + " - " + frame["reference_curriculum"], "of": frame["id"],
        "skill": [f"{a:.3f} / {b:.3f}" for a, b in zip(frame["skill"], frame["reference"], strict=True)],
        "difference": [_interval(e) for k in c.contrasts for e in k.effects], "p (Holm)": [p_value(e.p_holm) for k in c.contrasts for e in k.effects],
        "over seeds": [_seeds(e) for k in c.contrasts for e in k.effects],
    })
    caption = f"{c.benchmark} {c.version}, report split, catalog {c.catalog}. {HOW} {c.notice}".replace("%", r"\%").replace("_", r"\_")
    return str(shown.style.hide(axis="index").format(escape="latex").to_latex(hrules=True, caption=caption))


def _row(k: Contrast, e: Effect) -> dict[str, Any]:
    """A line of the CSV."""
    flat = e.model_dump(exclude={"seeds"})
    return {"curriculum": k.curriculum, "reference_curriculum": k.reference, **flat, "seeds": len(k.seeds), "seeds_deviation": e.seeds.deviation,
            "seeds_low": e.seeds.low, "seeds_high": e.seeds.high}


def tables(c: Comparison) -> RenderableType:
    """Differences, forgetting, sample efficiency, gates, cost: as they are read in a terminal."""
    head = Text(f"{c.benchmark} {c.version}, report split, catalog {c.catalog}. {HOW}" + f"\n{c.notice}" * bool(c.notice))
    told = [Text("The runs also differ in:\n" + "\n".join(f"  {d}" for d in c.differences))] if c.differences else []
    return Pages(head, *map(_contrast, c.contrasts), _after(c.groups), _efficiency(c.groups), _gates(c.groups), _cost(c.groups), *told)


def _contrast(k: Contrast) -> Table:
    table = _table(f"{k.curriculum} less {k.reference}: skill, mean of seeds {', '.join(map(str, k.seeds))}",
                   ("", k.reference, k.curriculum, "difference", "p", "p (Holm)", "over seeds", ""), left=(0, 7))
    for level in ("subtask", "suite", "overall"):
        for e in (e for e in k.effects if e.level == level):
            table.add_row(e.id, f"{e.reference:.3f}", f"{e.skill:.3f}", _interval(e), p_value(e.p), p_value(e.p_holm), _seeds(e),
                          f"undecidable: {e.undecidable}" if e.undecidable else "")
        table.add_section()
    return table


def _after(groups: Sequence[Group]) -> Table:
    """What was there after each stage, and what of it was forgotten."""
    suites = list(dict.fromkeys(s for g in groups for s in g.forgotten))
    table = _table("Report split after each accepted stage: mean skill by suite", ("curriculum", "after", *suites), left=(0, 1))
    for g in groups:
        for stage, row in g.after.items():
            table.add_row(g.curriculum, stage, *(f"{row[s]:.3f}" if s in row else "-" for s in suites))
        if not g.after:
            table.add_row(g.curriculum, "(another order each seed)", *("" for _ in suites))
        table.add_row(g.curriculum, "[dim]forgotten at the end", *(f"[dim]{g.forgotten[s]:.3f}" if s in g.forgotten else "-" for s in suites))
        table.add_section()
    return table


def _efficiency(groups: Sequence[Group]) -> Table:
    """Skill against samples seen, mean over suites."""
    table = _table("Mean skill over suites against samples seen", ("curriculum", "seed", "split", "samples: skill"), left=(0, 2, 3))
    for g in groups:
        for r in g.runs:
            for split in ("gate", "report"):
                table.add_row(g.curriculum, str(r.seed), split, "  ".join(f"{samples:,}: {i.value:.3f}" for samples, i in r.course(split)))
        table.add_section()
    return table


def _gates(groups: Sequence[Group]) -> Table:
    table = _table("What the gates decided", ("curriculum", "seed", "stage", "look", "mode", "passed", "decision", "why"), left=(0, 2, 4, 5, 6, 7))
    for g in groups:
        for r in g.runs:
            for d in r.decisions:
                passed = {True: "passed", False: "not passed", None: "undecided"}[d.passed]
                table.add_row(g.curriculum, str(r.seed), d.stage, str(d.look), d.mode, passed, d.decision, "\n".join(d.reasons))
        table.add_section()
    return table


def _cost(groups: Sequence[Group]) -> Table:
    sources = sorted({s for g in groups for r in g.runs for s in r.exposures})
    table = _table("Cost, and pairs seen by source", ("curriculum", "seed", "samples", "steps", "looks", "hours", *sources), left=(0,))
    for g in groups:
        for r in g.runs:
            table.add_row(g.curriculum, str(r.seed), f"{r.samples:,}", f"{r.steps:,}", str(r.looks), f"{r.hours:.2f}",
                          *(f"{r.exposures.get(s, 0):,}" for s in sources))
        table.add_section()
    return table


def _table(title: str, columns: Sequence[str], left: Sequence[int]) -> Table:
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i in left else "right")
    return table


def _interval(e: Effect) -> str:
    return f"{e.difference:+.3f}" + (f" [{e.low:+.3f}, {e.high:+.3f}]" if e.low is not None else "")


def p_value(p: float | None) -> str:
    """0.0123; < 0.0001; a dash for nothing."""
    return "–" if p is None else f"{p:.4f}" if p >= 0.0001 else "< 0.0001"


def _seeds(e: Effect) -> str:
    s = e.seeds
    if s.low is None:
        return "one seed"
    return f"{e.difference:+.3f} (sd {s.deviation:.3f}) [{s.low:+.3f}, {s.high:+.3f}]"
