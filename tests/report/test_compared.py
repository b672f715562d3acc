"""The page of a comparison, of records written by hand: it is made of nothing else."""

from __future__ import annotations

import re

import numpy as np
import pytest
from _html import SVG, X, asked_for, faults, parsed, text

from radisim_cl.compare.formats import p_value
from radisim_cl.compare.records import Comparison, Contrast, Decided, Effect, Group, Point, RunRecord, SeedEffect
from radisim_cl.records.scorecard import Interval
from radisim_cl.report.compared import SECTIONS, html
from radisim_cl.report.compared_told import lead, not_shown, subtasks, verdict

SUITES = ("modality", "anatomy", "localization", "diagnosis", "grading")
SUBTASKS = [(f"{suite[:3]}.{i}", suite) for suite in SUITES for i in range(5)][:24]
NOTICE = "Synthetic images of the phantom: a score says nothing about patients."


def effect(name: str, level: str = "subtask", difference: float = 0.1, half: float = 0.05, each: tuple[float, ...] = (0.09, 0.1, 0.11),
           spread: float | None = 0.03, **more: object) -> Effect:
    """A difference whose intervals reach `half` over patients and `spread` over seeds to either side."""
    seeds = SeedEffect(differences=list(each), deviation=None if spread is None else 0.01, low=None if spread is None else difference - spread,
                       high=None if spread is None else difference + spread)
    p = 0.001 if abs(difference) > half else 0.4
    usual: dict[str, object] = {"level": level, "id": name, "suite": name.split(".")[0], "reference": 0.3, "skill": 0.3 + difference,
                                "difference": difference, "low": difference - half, "high": difference + half, "p": p,
                                "p_holm": min(1.0, 24 * p) if level == "subtask" else None, "seeds": seeds}
    return Effect.model_validate(usual | more)


def contrast(name: str, **overall: object) -> Contrast:
    """A contrast of every suite."""
    parts = [effect(name, suite=suite) for name, suite in SUBTASKS[:-1]]
    few = effect(SUBTASKS[-1][0], suite=SUBTASKS[-1][1], low=None, high=None, p=None, p_holm=None, undecidable="two patients of grade 4; of 30")
    whole = effect("all suites", "overall", suite="", **overall)  # type: ignore[arg-type]
    return Contrast(curriculum=name, reference="radiologist", seeds=[1, 2, 3], effects=[*parts, few, *(effect(s, "suite") for s in SUITES), whole])


def run(name: str, seed: int) -> RunRecord:
    """A run of five stages."""
    rng = np.random.default_rng(seed)

    def point(split: str, stage: str | None, samples: int, suite: str) -> Point:
        x = float(rng.uniform(0, 0.8))
        return Point.model_validate({"split": split, "stage": stage, "look": int(stage is not None), "samples": samples, "suite": suite,
                                     "skill": Interval(value=x, low=x - 0.1, high=x + 0.1)})

    points = [point(split, stage, 1000 * i, suite) for split, stages in (("gate", (None, *SUITES)), ("report", SUITES))
              for i, stage in enumerate(stages, split == "report") for suite in SUITES]
    decisions = [Decided(stage=s, attempt=0, look=1, mode="observe", passed=passed, decision="advance", reasons=[f"{s}: lower bound -0.1 >= 0.2"])
                 for s, passed in zip(SUITES, (True, True, False, None, True), strict=True)]
    decisions.append(Decided(stage="grading", attempt=1, look=1, mode="enforce", passed=True, decision="replay_up", reasons=["more"]))
    return RunRecord(folder=f"{name}-seed{seed}", seed=seed, plan=f"{seed:064d}", samples=5000, steps=100, looks=6, rewinds=0,
                     exposures={"eurorad": 1200, "pmc_oa": 3800}, hours=1.5, decisions=decisions, points=points)


def group(name: str, control: str | None = None) -> Group:
    """Three seeds; those of `shuffled` have different orders."""
    after = {} if name == "shuffled" else {stage: dict.fromkeys(SUITES, 0.1 * i) for i, stage in enumerate(SUITES)}
    return Group(curriculum=name, control=control, runs=[run(name, s) for s in (1, 2, 3)], after=after,
                 forgotten=dict.fromkeys(SUITES, 0.0) | {"modality": 0.12})


def comparison(**changes: object) -> Comparison:
    """Four curricula against the radiologist."""
    usual: dict[str, object] = {
        "benchmark": "radiologist-24", "version": "1", "catalog": "phantom", "items": {name: 30 for name, _ in SUBTASKS},
        "groups": [group("radiologist"), *(group(n, n) for n in ("joint", "joint_restarts", "reversed", "shuffled"))],
        "contrasts": [contrast("joint"), contrast("joint_restarts", spread=0.2), contrast("reversed", difference=-0.1, each=(-0.1, -0.1, -0.1)),
                      contrast("shuffled", difference=0.01, half=0.1, spread=0.2)],
        "differences": ["joint: 6 looks at the gate split, not <5>"], "notice": NOTICE}
    return Comparison.model_validate(usual | changes)


@pytest.fixture(scope="module")
def page() -> str:
    return html(comparison())


def test_it_is_valid_accessible_and_alone(page: str) -> None:
    tree = parsed(page)
    assert asked_for(tree) == []
    assert faults(tree) == []
    assert len(page) < 5 * 2**20
    assert not list(tree.iter(f"{X}img")), "there is nothing on it that may not go anywhere"


def test_everything_is_told_in_order(page: str) -> None:
    tree = parsed(page)
    assert [e.get("id") for e in tree.iter(f"{X}h2")] == [anchor for anchor, _ in SECTIONS]
    told = text(tree)
    for words in ("radiologist, joint, joint_restarts, reversed and shuffled", "2 of 4 differ from radiologist",
                  "joint: ▲ higher, over patients and over seeds",
                  "joint_restarts: ▲ higher over patients, not over seeds", "reversed: ▼ lower, over patients and over seeds",
                  "shuffled: = no difference shown", "joint: 6 looks at the gate split, not <5>", "1 h 30 min", "3,800",
                  "the seeds have different orders", "▼ 0.120", "12 of 18 looks passed, 3 undecided; mode observe and enforce", "replay up 3",
                  "lower bound −0.1 ≥ 0.2", "undecidable: two patients of grade 4", "conditional on the trained models"):
        assert words in told, words
    assert told.count(NOTICE) == 2, "in the banner and at the foot"


def test_every_picture_has_its_words(page: str) -> None:
    plots = {str(e.get("aria-labelledby")).partition("-title")[0]: e for e in parsed(page).iter(f"{SVG}svg")}
    assert list(plots) == ["forest-0", "forest-1", "forest-2", "forest-3", "efficiency"]
    assert "joint 0.400, radiologist 0.300: +0.100 [0.050, 0.150] over patients (p 0.0010)" in str(plots["forest-0"].findtext(f"{SVG}desc"))
    drawn = "".join(plots["forest-0"].itertext())
    assert all(name in drawn for name in (*SUITES, *(n for n, _ in SUBTASKS), "all suites"))
    assert not re.findall(r"#[0-9a-f]{6}\b", re.sub(r"<style>.*?</style>", "", page, flags=re.S)), "a colour that dark pages cannot change"


@pytest.mark.parametrize(("overall", "word"), [
    ({}, "▲ higher, over patients and over seeds"), ({"difference": -0.1}, "▼ lower, over patients and over seeds"),
    ({"spread": 0.2}, "▲ higher over patients, not over seeds"), ({"half": 0.2}, "▲ higher over seeds, not over patients"),
    ({"half": 0.2, "spread": 0.2}, "= no difference shown"), ({"spread": None}, "▲ higher over patients; one seed"),
    ({"spread": None, "half": 0.2}, "= no difference shown"), ({"p": 0.2}, "▲ higher over seeds, not over patients")])
def test_what_is_more_than_noise(overall: dict[str, object], word: str) -> None:
    found = verdict(contrast("joint", **overall))
    assert found
    assert found.word == word


def test_subtasks_differ_by_the_corrected_p_alone() -> None:
    parts = [effect("a.1", p=0.001, p_holm=0.024), effect("a.2", p=0.01, p_holm=0.23), effect("b.1", difference=-0.1, p=0.0, p_holm=0.0)]
    k = Contrast(curriculum="joint", reference="radiologist", seeds=[1], effects=parts)
    assert subtasks(k) == "Of 3 subtasks, corrected by Holm, it is higher in a.1 and lower in b.1."
    assert verdict(k) is None
    made = comparison(groups=[group("radiologist"), group("joint")], contrasts=[k], differences=[], notice="")
    assert "0 of 1 differ from radiologist" in lead(made)
    assert any("How other seeds would do, of joint" in line for line in not_shown(made))
    assert not any("A correction for comparing" in line for line in not_shown(made))
    told = text(parsed(html(made)))
    assert "joint: ? undecidable" in told
    assert "the runs differ in nothing that is checked" in told


def test_p_values_are_never_zero() -> None:
    assert (p_value(0.0), p_value(0.00012), p_value(None)) == ("< 0.0001", "0.0001", "–")
