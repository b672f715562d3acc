"""`radisim-cl compare --format html`: a comparison's page, of the one record that its other formats are made of."""

from __future__ import annotations

from radisim_cl import __version__
from radisim_cl.compare.formats import HOW, p_value
from radisim_cl.compare.records import Comparison
from radisim_cl.report import compared_plots as plots
from radisim_cl.report import compared_told as told
from radisim_cl.report import page
from radisim_cl.report.figures import style, svg

FILE = "comparison.html"
"""In an ablation's folder."""
SECTIONS = [("verdict", "Verdict"), ("budget", "Budget and cost"), ("differences", "Differences"), ("efficiency", "Skill against samples seen"),
            ("forgetting", "Forgetting"), ("gates", "What the gates decided"), ("compared", "What was compared")]
"""Anchors and headings, in order."""


def html(c: Comparison) -> str:
    """A comparison's page: one file that asks the network for nothing. It holds no image, and names no patient."""
    sources = sorted({s for g in c.groups for r in g.runs for s in r.exposures})
    verdicts = [(k, told.verdict(k)) for k in c.contrasts]
    shown = [v.effect for _, v in verdicts if v]
    reach = max([0.05, *(abs(x) for e in shown for x in (e.low, e.high, e.difference) if x is not None)])
    with style():
        forests = [(k, svg(plots.forest(k), f"forest-{i}", f"Differences of skill: {k.curriculum} less {k.reference}", told.forest(k)))
                   for i, k in enumerate(c.contrasts)]
        efficiency = svg(plots.efficiency(c), "efficiency", "Mean skill against samples seen", told.efficiency(c))
    return page.render(
        "comparison.html.j2", version=__version__, title=f"{c.groups[0].curriculum} and others: comparison of training runs", notice=c.notice,
        sections=SECTIONS, c=c, how=HOW, lead=told.lead(c), verdicts=verdicts, not_shown=told.not_shown(c), reach=reach,
        place=lambda x: round(50 * (1 + min(reach, max(-reach, x)) / reach), 2), held=told.held, p_value=p_value, seeds_told=told.seeds_told,
        decided=told.decided, sources=sources, source_heads=[f">{s}" for s in sources], forests=forests, efficiency=efficiency,
    )
