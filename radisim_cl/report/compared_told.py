"""What a comparison's page says in words. Nothing here draws."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import fmean

from radisim_cl.compare.formats import p_value
from radisim_cl.compare.records import Comparison, Contrast, Effect, Group
from radisim_cl.records.scorecard import Interval
from radisim_cl.report.page import interval, number, signed, words

ALPHA = 0.05
"""Below which a p-value counts as more than noise, and the error rate of every interval."""


@dataclass(frozen=True)
class Verdict:
    """What a contrast comes to over all suites.

    Attributes:
        effect: the difference over all suites.
        word, kind: in a few words, and the class of the style that they have.
        told: in sentences.
    """

    effect: Effect
    word: str
    kind: str
    told: str


def held(e: Effect) -> bool:
    """Whether a difference is more than noise over patients: by Holm's correction for a subtask, by its own p elsewhere."""
    p = e.p_holm if e.level == "subtask" else e.p
    return p is not None and p < ALPHA


def over_seeds(e: Effect) -> bool | None:
    """Whether the interval over seeds leaves 0 out; None of one seed."""
    return None if e.seeds.low is None or e.seeds.high is None else e.seeds.low > 0 or e.seeds.high < 0


def verdict(k: Contrast) -> Verdict | None:
    """Of a contrast; None where no suite can be decided."""
    e = next((e for e in k.effects if e.level == "overall"), None)
    if e is None:
        return None
    patients, seeds, up = held(e), over_seeds(e), e.difference > 0
    way, kind = ("▲ higher", "good") if up else ("▼ lower", "bad")
    match patients, seeds:
        case True, True:
            word, why = f"{way}, over patients and over seeds", "neither the choice of patients nor that of seeds explains it"
        case True, None:
            word, kind, why = f"{way} over patients; one seed", "unsure", "the choice of patients does not explain it; that of the seed may"
        case True, _:
            word, kind, why = f"{way} over patients, not over seeds", "unsure", "the choice of patients does not explain it; that of seeds may"
        case _, True:
            word, kind, why = f"{way} over seeds, not over patients", "unsure", "the choice of seeds does not explain it; that of patients may"
        case _:
            word, kind, why = "= no difference shown", "calm", "one as large as the ends of the intervals is not ruled out"
    told = f"{k.curriculum} {number(e.skill)}, {k.reference} {number(e.reference)}: {signed(e.difference)}"
    told += f" {interval(Interval(value=e.difference, low=e.low, high=e.high))} over patients" if e.low is not None and e.high is not None else ""
    told += f" (p {p_value(e.p)}), " if e.p is not None else ", "
    told += f"{seeds_told(e)} over seeds {words(k.seeds)}: {why}. {subtasks(k)}"
    return Verdict(e, word, kind, told)


def subtasks(k: Contrast) -> str:
    """Which subtasks differ, Holm's correction made."""
    tested = [e for e in k.effects if e.level == "subtask" and e.p_holm is not None]
    higher, lower = ([e.id for e in tested if held(e) and (e.difference > 0) == up] for up in (True, False))
    told = [f"{way} in {words(ids)}" for way, ids in (("higher", higher), ("lower", lower)) if ids]
    return f"Of {len(tested)} subtasks, corrected by Holm, it is {' and '.join(told) if told else 'told apart in none'}."


def seeds_told(e: Effect) -> str:
    """Interval and standard deviation over seeds."""
    if e.seeds.low is None or e.seeds.high is None or e.seeds.deviation is None:
        return "no interval (one seed)"
    return f"{interval(Interval(value=e.difference, low=e.seeds.low, high=e.seeds.high))} (sd {number(e.seeds.deviation)})"


def lead(c: Comparison) -> str:
    """The comparison in two or three sentences."""
    first, *others = c.groups
    seeds = sorted({len(k.seeds) for k in c.contrasts})
    found = [v for k in c.contrasts if (v := verdict(k))]
    both = sum(held(v.effect) and bool(over_seeds(v.effect)) for v in found)
    patients = sum(held(v.effect) for v in found) - both
    told = (f"{words(g.curriculum for g in others)} against {first.curriculum}, {' or '.join(map(str, seeds))} seed{'s' * (seeds != [1])} each, on "
            f"the same {sum(c.items.values()):,} items of {len(c.items)} subtasks. ")
    return told + (f"{both} of {len(c.contrasts)} differ{'s' * (both == 1)} from {first.curriculum} in mean skill by more than noise over patients "
                   f"and over seeds; {patients} over patients alone.")


def not_shown(c: Comparison) -> list[str]:
    """What a reader must not take from the page, each in a sentence."""
    out = ["That two curricula are equal: where no difference is shown, one as large as the ends of the intervals is possible.",
           "What other trainings and other patients together would give: the two are kept apart, and p-values are conditional on the trained models."]
    if alone := [k.curriculum for k in c.contrasts if len(k.seeds) == 1]:
        out.append(f"How other seeds would do, of {words(alone)}: there is one.")
    elif c.contrasts:
        fewest = min(len(k.seeds) for k in c.contrasts)
        out.append(f"Small effects over seeds: with {fewest} of them, only one of several standard deviations is told from 0.")
    if len(c.contrasts) > 1:
        out.append(f"A correction for comparing {len(c.contrasts)} curricula with {c.groups[0].curriculum}, or for looking at suites and at their "
                   "mean: Holm's is over the subtasks of one comparison.")
    if undecidable := list(dict.fromkeys(e.id for k in c.contrasts for e in k.effects if e.undecidable)):
        out.append(f"Differences on {words(undecidable)}: too few patients to decide anything. They are listed, and left out of their suites' means.")
    return out


def decided(g: Group) -> str:
    """What the gates of a curriculum came to, in a line."""
    looks = [d for r in g.runs for d in r.decisions]
    if not looks:
        return "no gate has decided anything"
    passed, undecided = sum(d.passed is True for d in looks), sum(d.passed is None for d in looks)
    followed = Counter(d.decision.replace("_", " ") for d in looks)
    return (f"{passed} of {len(looks)} looks passed" + f", {undecided} undecided" * bool(undecided)
            + f"; mode {words(dict.fromkeys(d.mode for d in looks))}; what followed: {words(f'{word} {n}' for word, n in followed.items())}")


def forest(k: Contrast) -> str:
    """The figure of differences."""
    v = verdict(k)
    return v.told if v else "No suite can be decided."


def efficiency(c: Comparison) -> str:
    """The figure of skill over samples."""
    out = []
    for g in c.groups:
        if ends := [r.course("report")[-1] for r in g.runs if r.course("report")]:
            skill = fmean(s.value for _, s in ends)
            out.append(f"{g.curriculum}: mean skill {skill:.2f} on the report split after {max(n for n, _ in ends):,} samples")
    return "; ".join(out) + "."
