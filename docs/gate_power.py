"""How often gates are wrong, and what they can see, by simulation: draws `docs/images/gate_power.svg` and writes the tables of `docs/gates.md`.

    make power
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import rcParams
from matplotlib.figure import Figure
from scipy.special import ndtr
from scipy.stats import binomtest

from radisim_cl.gates import retention, threshold
from radisim_cl.records.evidence import GateEvidence, spent
from radisim_cl.runs.planning import plan
from radisim_cl.specs.curriculum import load
from radisim_cl.specs.gates import RetentionSpec, ThresholdSpec
from radisim_cl.stats import Answers, Estimate, Resamples, difference

F = npt.NDArray[np.float64]
REPLICATES = 300
ALIKE = 0.7
"""Correlation, before it is cut into right and wrong, of what two looks at one model in training say of one patient."""
RUNS, STUDIES = 10_000, 120
PAGE, FIGURE = Path(__file__).parent / "gates.md", Path(__file__).parent / "images" / "gate_power.svg"


class Patients:
    """Patients with one item each, of two classes, half and half, who are asked about again and again."""

    def __init__(self, n: int) -> None:
        self.names = np.array([f"{i:05d}" for i in range(n)])
        self.truth = np.arange(n) % 2
        self.draws = Resamples.draw(list(self.names), replicates=REPLICATES)

    def looks(self, skills: list[float], rng: np.random.Generator) -> list[Estimate]:
        """Skill in balanced accuracy at some looks, whose true skill is given."""
        n = len(self.names)
        easy = rng.normal(size=n)
        out = []
        for skill in skills:
            right = ndtr(ALIKE**0.5 * easy + (1 - ALIKE) ** 0.5 * rng.normal(size=n)) < (1 + skill) / 2
            scores = np.eye(2)[np.where(right, self.truth, 1 - self.truth)]
            out.append(Answers(self.names, self.truth, scores).estimate("balanced_accuracy", self.draws).rescaled(0.5))
        return out


def passes(estimate: Estimate, need: float, share: float) -> bool:
    """By the threshold gate."""
    seen = GateEvidence("gate", "simulated", {("suite", "skill"): estimate}, {}, share)
    return bool(threshold.decide(ThresholdSpec(suite="suite", at_least=need), seen).passed)


def forgets(now: Estimate, entry: Estimate, max_drop: float, share: float) -> bool:
    """By the retention gate."""
    seen = GateEvidence("gate", "simulated", {}, {}, share, [{("suite", "skill"): difference(now, entry)}], ["suite"])
    return retention.decide(RetentionSpec(max_drop=max_drop), seen).passed is False


def rate(event: Callable[[np.random.Generator], bool], runs: int, seed: int) -> tuple[float, float, float]:
    """How often something happens, with its 95 % interval (Wilson)."""
    rng = np.random.default_rng(seed)
    found = binomtest(sum(event(rng) for _ in range(runs)), runs)
    low, high = found.proportion_ci(method="wilson")
    return found.statistic, low, high


def wrongly(n: int, runs: int = RUNS) -> list[str]:
    """Rows of the table of errors: no real skill beyond the threshold, or no more forgotten than is allowed."""
    people, rows = Patients(n), []
    for looks in (1, 3, 5):
        share = spent(looks, 0)

        def lucky(rng: np.random.Generator, looks: int = looks, share: float = share) -> bool:
            return any(passes(e, 0.4, share) for e in people.looks([0.4] * looks, rng))

        def blamed(rng: np.random.Generator, looks: int = looks, share: float = share, drop: float = 0.05) -> bool:
            entry, *later = people.looks([0.5, *[0.5 - drop] * looks], rng)
            return any(forgets(e, entry, 0.05, share) for e in later)

        told = [rate(lucky, runs, looks), rate(blamed, runs, looks + 10),
                rate(lambda rng, blamed=blamed: blamed(rng, drop=0.0), runs, looks + 20)]  # type: ignore[misc]
        rows.append(f"| {looks} | " + " | ".join(f"{100 * r:.2f} % [{100 * low:.2f}, {100 * high:.2f}]" for r, low, high in told) + " |")
    return rows


def shown(n: int, drop: float, max_drop: float, studies: int = STUDIES) -> float:
    """Power of retention at the first of two looks."""
    people = Patients(n)

    def seen(rng: np.random.Generator) -> bool:
        entry, later = people.looks([0.6, 0.6 - drop], rng)
        return forgets(later, entry, max_drop, spent(2, 0))

    return rate(seen, studies, n)[0]


def subtasks() -> list[str]:
    """Rows of the table of what retention can see of each of the 24, on the phantom's gate split."""
    made, power, rows = plan(load("radiologist")), dict[tuple[int, float], float](), []
    for t in made.subtasks:
        n = 2 * t.patients["gate"]
        for drop in (0.02, 0.05, 0.1):
            if (n, drop) not in power:
                power[n, drop] = shown(n, drop, 0.0)
        rows.append(f"| `{t.id}` | {n} | " + " | ".join(f"{100 * power[n, d]:.0f} %" for d in (0.02, 0.05, 0.1)) + " |")
    return rows


def picture() -> None:
    """Power of the threshold gate and of retention against the number of patients."""
    rcParams["svg.hashsalt"], rcParams["svg.fonttype"] = "radisim-cl", "none"
    sizes, figure = (20, 40, 80, 160, 320, 640), Figure((9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for skill, mark in ((0.45, "o-"), (0.5, "s--"), (0.6, "^:")):
        left.plot(sizes, [rate(lambda rng, n=n, s=skill: passes(Patients(n).looks([s], rng)[0], 0.4, spent(2, 0)), STUDIES, n)[0]  # type: ignore[misc]
                          for n in sizes], mark, label=f"true skill {skill:g}")
    for drop, mark in ((0.05, "o-"), (0.1, "s--"), (0.2, "^:")):
        right.plot(sizes, [shown(n, drop, 0.0) for n in sizes], mark, label=f"true drop {drop:g}")
    left.set(title="threshold 0.4: passes at a look", ylabel="probability", ylim=(0, 1.02))
    right.set(title="retention, max_drop 0: forgetting is shown at a look")
    for axes in (left, right):
        axes.set(xscale="log", xlabel="patients", xticks=sizes, xticklabels=sizes)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.savefig(FIGURE, metadata={"Date": None})


def between(text: str, name: str, rows: list[str]) -> str:
    """A page with the rows of a table put in after its head."""
    head = re.escape(f"<!-- {name} -->\n")
    return re.sub(rf"({head}\|[^\n]*\n\|[^\n]*\n)(?:\|[^\n]*\n)*", lambda m: m.group(1) + "\n".join(rows) + "\n", text)


def main() -> None:
    """The picture and the page."""
    page = between(PAGE.read_text(), "errors", wrongly(100))
    PAGE.write_text(between(page, "retention", subtasks()))
    picture()


if __name__ == "__main__":
    main()
