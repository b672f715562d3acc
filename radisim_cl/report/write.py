"""`radisim-cl report`: a run's page, from what the run has written and the images that its catalog has."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from radisim_cl import __version__
from radisim_cl.bench import pictures
from radisim_cl.bench.measure import Measurement
from radisim_cl.bench.published import shown_published
from radisim_cl.files import write_atomic
from radisim_cl.records.evidence import Report, Split
from radisim_cl.report import page, plots, told
from radisim_cl.report.examples import examples
from radisim_cl.report.figures import style, svg
from radisim_cl.report.forgetting import forgetting
from radisim_cl.report.story import Story
from radisim_cl.runs.scores import measured
from radisim_cl.specs.benchmark import RetrieveSubtask
from radisim_cl.stats import Answers

FILE = "report.html"
SECTIONS = [("verdict", "Verdict"), ("timeline", "What happened"), ("skill", "Skill over the course"), ("subtasks", "The subtasks"),
            ("forgetting", "Forgetting"), ("training", "Mixture and training"), ("examples", "Examples"), ("answers", "Answers and confidence"),
            ("plan", "Plan, data, versions")]
"""Anchors and headings, in order."""
PAIR = (5.6, 2.7)
"""Inches of a confusion matrix and its reliability curve, of which two stand side by side."""


def write(run: Path, images: bool = True, out: Path | None = None) -> Path:
    """Writes a run's page, whole or not at all; the path of the file.

    Args:
        run: its directory. A run that has not finished is shown without the report split, which is sealed.
        images: whether to show images, and captions, of the benchmark's data.
        out: where to; `report.html` in the run if None.

    Raises:
        InputError: not a run; RadisimError: its ledger is broken.
    """
    path = out or run / FILE
    write_atomic(path, html(Story.of(run), images))
    return path


def html(story: Story, images: bool = True) -> str:
    """A run's page."""
    plan, card, suites = story.plan, story.shown, list(story.plan.benchmark.suites)
    notice = " ".join(filter(None, (plan.notice, story.state.notice)))
    split: Split = card.split if card else "gate"
    after = {stage: _measured(story, stage) for stage in story.reports}
    matrix = forgetting(after, suites)
    published = {s.id: found for s in plan.benchmark.subtasks if (found := shown_published(s, plan.catalog, split))}
    board = story.run / "tensorboard"
    curves = plots.scalars(board) if board.is_dir() else {}
    low = -1.0 if card and any(s.skill and s.skill.low < -0.5 for s in card.suites) else -0.5
    with style():
        drawn = {
            "timeline": (plots.timeline(story), "Stages, looks and interruptions", told.timeline(story)),
            "skills": (plots.skills(story) if card else None, "Mean skill by suite over samples", told.skills(story)),
            "forest": (plots.forest(card, published) if card else None, "Scores by subtask",
                       "A row a subtask with its score, interval, chance and floors; the table below has the same figures."),
            "mixture": (plots.mixture(story), "Sources by stage", told.mixture(story)),
            "training": (plots.training(story, curves), "Loss, learning rate and logit scale", told.curves(curves)),
        }
    return page.render(
        "run.html.j2", version=__version__, title=f"{plan.curriculum.name}: report of a training run", notice=notice, sections=SECTIONS,
        story=story, card=card, lead=told.lead(story), course=told.course(story), bar_low=low,
        place=lambda x: round(100 * (min(1.0, max(low, x)) - low) / (1 - low), 2), needs=told.needs(plan), not_shown=told.not_shown(story),
        ledger=list(told.ledger(story)), pauses=told.pauses(story),
        plots={name: svg(figure, name, title, words) if figure else None for name, (figure, title, words) in drawn.items()},
        published=published, why_unpublished=told.why_unpublished(plan, split), starred=bool(card and any(s.trained_on for s in card.subtasks)),
        matrix=matrix, suites=suites, forgot=told.forgot(story, matrix), binned=told.binned(curves),
        why_no_curves="No step has been recorded." if board.is_dir() else "The run has no tensorboard/ folder here.",
        examples=examples(story) if images else None, captions=any(isinstance(s, RetrieveSubtask) for s in plan.benchmark.subtasks),
        confusions=_confusions(story, after), facts=told.facts(story), corpora=told.data(plan), data_told=told.of_data(plan),
    )


def _measured(story: Story, stage: str) -> Measurement[Report]:
    attempt = story.state.accepted[stage].attempt
    scored = [s for s in story.state.scores if s.split == "report" and s.stage == stage and s.attempt == attempt][-1]
    return measured(story.run, story.plan, scored, "report")


def _confusions(story: Story, after: dict[str, Measurement[Report]]) -> list[tuple[str, Markup]]:
    """By subtask whose answer is a class, confusion and reliability of what is shown."""
    if not story.gates:
        return []
    m: Measurement[Split] = after[story.state.names[-1]] if story.final else measured(story.run, story.plan, story.gates[-1][0], "gate")
    out = []
    for spec in story.plan.benchmark.subtasks:
        found = m.answers.get(spec.id)
        if isinstance(found, Answers):
            with style():
                figure = pictures.classes(spec, found)
            figure.set_size_inches(*PAIR)
            right = f"{(found.answer == found.truth).mean():.0%} of {len(found.truth)} items are answered right; classes: {', '.join(spec.labels)}."
            out.append((spec.id, svg(figure, f"answers-{spec.id.replace('.', '-')}", f"{spec.id}: confusion and reliability", right)))
    return out
