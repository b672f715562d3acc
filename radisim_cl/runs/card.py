"""The model card of an export: a README.md whose front matter model hubs read (huggingface.co/docs/hub/model-cards)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from radisim_cl.files import write_atomic
from radisim_cl.records.scorecard import Scorecard
from radisim_cl.records.state import RunState
from radisim_cl.specs.plan import Plan

FILE = "README.md"
SEALED = "The scores of the report split are sealed until the run has finished; they stand here then."


def model_card(plan: Plan, state: RunState, stage: str, scores: Scorecard | None = None) -> str:
    """What was trained and how, gates, data with licences, scores, limits, and how to load it.

    Args:
        plan: of the run.
        state: of the run, in which the gate of `stage` has decided.
        stage: the last one that the model has been through.
        scores: the report split's scorecard after it; None while that is sealed.
    """
    spec = next(s.spec for s in plan.stages if s.spec.name == stage)
    through = plan.stages[: [s.spec.name for s in plan.stages].index(stage) + 1]
    c, scale = plan.curriculum, plan.curriculum.scale
    sources = sorted({source for s in through for source in s.sources})
    size = f" with {plan.estimates.parameters / 1e6:.1f} million parameters" if plan.estimates.parameters else ""
    start = f"pretrained weights ({scale.model.pretrained})" if scale.model.pretrained else "random weights"
    verdicts = {True: "passed", False: "not passed", None: "undecided"}
    lines = [
        "---", yaml.safe_dump(_metadata(plan, sources, stage, scores), sort_keys=False, allow_unicode=True, width=1000).strip(), "---", "",
        f"# {c.name}, after stage {stage}", "", *[line for notice in (plan.notice, state.notice) if notice for line in (f"> **{notice}**", "")],
        f"A {scale.model.arch} CLIP model{size}, trained from {start} through {len(through)} of the {len(plan.stages)} stages of the curriculum "
        f"{c.name}: {', '.join(s.spec.name for s in through)}. The last one asks: {spec.question or 'nothing in particular'}", "",
        "It is not a medical device, and not for use on patients.", "",
        "## How to load it", "", "With stock open_clip, by the path of this folder:", "", "```python", "import open_clip", "",
        'model, _, preprocess = open_clip.create_model_and_transforms("local-dir:PATH")',
        'tokenizer = open_clip.get_tokenizer("local-dir:PATH")', "```", "",
        "## Gates", "", "Each stage is over when its gate has decided on a split of patients that is used for nothing else.", "",
        "| stage | look | mode | verdict | what was found |", "| --- | ---: | --- | --- | --- |",
        *[_row(d.stage + (f", attempt {d.attempt + 1}" if d.attempt else ""), d.look, d.mode, verdicts[d.passed],
               "; ".join(d.reasons)) for d in state.decisions if d.stage in {s.spec.name for s in through}], "",
        *([f"Somebody went back by hand {state.rewinds} time{'s' * (state.rewinds > 1)} in this run: all looks are listed.", ""]
          * bool(state.rewinds)),
        "## Scores", "", *_scores(scores),
        "## Training data", "", f"Catalog {plan.catalog.name}, training split; replay included.", "",
        "| source | pairs in the corpus | licences |", "| --- | ---: | --- |",
        *[_row(s, f"{plan.corpora[s].pairs:,}", ", ".join(plan.corpora[s].licences) or "not stated") for s in sources], "",
        "The weights carry no licence of their own yet: whoever publishes them chooses one that the licences above allow, and changes `license` "
        "at the top.", "",
        "## Limits", "", *[f"- {limit}" for limit in _limits(plan, scores)], "",
        "## Made by", "", f"radisim-cl; plan {plan.digest()}, seed {c.seed}, benchmark {plan.benchmark.name}, version {plan.benchmark.version}.", "",
    ]
    return "\n".join(lines)


def open_cards(run: Path, plan: Plan, state: RunState) -> None:
    """Writes the cards of all exports anew, with the scores of the report split; once these are unsealed (`scores.unseal`)."""
    for stage, finished in state.accepted.items():
        scores = Scorecard.model_validate_json((run / "scores" / f"report-{stage}.json").read_text())
        write_atomic(run / finished.export / FILE, model_card(plan, state, stage, scores))


def _metadata(plan: Plan, sources: list[str], stage: str, scores: Scorecard | None) -> dict[str, Any]:
    """The front matter. Data sets that are drawn are not called by the names of those that they stand in for."""
    drawn = plan.catalog.phantom is not None
    out: dict[str, Any] = {
        "license": "other", "license_name": "none-chosen-yet", "language": "en", "library_name": "open_clip",
        "pipeline_tag": "zero-shot-image-classification",
        "tags": ["clip", "radiology", "medical-imaging", "curriculum-learning", "radisim-cl", *(["synthetic"] if drawn else [])],
        "datasets": [f"phantom-of-{s}" if drawn else s for s in sources],
    }
    if scores is None:
        return out
    results = []
    for s in scores.subtasks:
        told = s.scores.get(s.metric)
        if told is not None and not s.undecidable:
            results.append({
                "task": {"type": "zero-shot-image-classification", "name": s.id},
                "dataset": {"type": f"{'phantom-of-' * drawn}{scores.benchmark}", "name": f"{scores.benchmark} {s.id}{' (synthetic)' * drawn}",
                            "split": "report", "revision": scores.version},
                "metrics": [{"type": s.metric, "value": round(told.value, 4),
                             "name": f"{s.metric} [95 % interval {told.low:.3f} to {told.high:.3f}]"}],
            })
    return out | {"model-index": [{"name": f"{plan.curriculum.name}, after stage {stage}", "results": results}]} if results else out


def _scores(card: Scorecard | None) -> list[str]:
    if card is None:
        return [SEALED, ""]
    rows = []
    for suite in card.suites:
        rows.append(_row(f"**{suite.suite}**", "mean skill", f"**{suite.skill or 'undecidable'}**", "", ""))
        rows += [_row(s.id + " \\*" * bool(s.trained_on), s.metric, s.scores.get(s.metric, "-"), "-" if s.chance is None else f"{s.chance:.2f}",
                      f"undecidable: {s.undecidable.partition(';')[0]}" if s.undecidable else "not above a floor" if s.above_floor is False else "")
                 for s in card.subtasks if s.suite == suite.suite]
    return ["Zero-shot, on the report split, which no decision of the run has seen; 95 % intervals over patients. Skill is 0 at chance and 1 at "
            "best. A floor is what a classifier on grey values or on a thumbnail reaches.", "",
            "| subtask | metric | score | chance | |", "| --- | --- | --- | ---: | --- |", *rows,
            *[_row(name, "", "-", "", f"missing: {why}") for name, why in card.missing.items()], ""]


def _limits(plan: Plan, scores: Scorecard | None) -> list[str]:
    out = [plan.notice] if plan.notice else []
    out.append("One training with one seed: how much another would differ is not known. Intervals are over patients of the benchmark "
               f"{plan.benchmark.name} alone; other hospitals, scanners and populations were not asked.")
    if scores and (undecidable := [s.id for s in scores.subtasks if s.undecidable]):
        out.append(f"Too few patients to say anything of {', '.join(undecidable)}.")
    if scores and any(s.trained_on for s in scores.subtasks):
        out.append("Subtasks with \\* are not zero-shot: training used their sources.")
    return out


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(c).replace("|", "\\|").replace("\n", " ") for c in cells) + " |"
