"""`radisim-cl report`: a run's page, from what the run has written and the images that its catalog has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radisim_cl import __version__
from radisim_cl.bench import pictures
from radisim_cl.bench.measure import Measurement
from radisim_cl.bench.published import shown_published
from radisim_cl.files import sha256_text, write_atomic
from radisim_cl.records import events as ev
from radisim_cl.records.evidence import Split
from radisim_cl.report import page, plots
from radisim_cl.report.examples import examples
from radisim_cl.report.figures import style, svg
from radisim_cl.report.forgetting import Cell, forgetting
from radisim_cl.report.story import Story, ended, needs, not_shown
from radisim_cl.runs.scores import measured
from radisim_cl.runs.tables import event_told
from radisim_cl.specs.benchmark import RetrieveSubtask
from radisim_cl.specs.plan import Plan
from radisim_cl.stats import Answers

FILE = "report.html"
SECTIONS = [("verdict", "Verdict"), ("timeline", "What happened"), ("skill", "Skill over the course"), ("subtasks", "The subtasks"),
            ("forgetting", "Forgetting"), ("training", "Mixture and training"), ("examples", "Examples"), ("answers", "Answers and confidence"),
            ("plan", "Plan, data, versions")]
"""Anchors and headings, in order."""


@dataclass(frozen=True)
class _Data:
    """A corpus, as its row of the table says."""

    name: str
    use: str
    pairs: int
    licences: str
    digest: str
    title: str
    url: str


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
    plan, card = story.plan, story.shown
    after = {s: _measured(story, s) for s in story.reports}
    matrix = forgetting(after, list(plan.benchmark.suites))
    published = {s.id: found for s in plan.benchmark.subtasks if (found := shown_published(s, plan.catalog, card.split if card else "gate"))}
    curves = plots.scalars(story.run / "tensorboard") if (story.run / "tensorboard").is_dir() else {}
    low = -1.0 if card and any(s.skill and s.skill.low < -0.5 for s in card.suites) else -0.5
    return page.render(
        "run.html.j2", version=__version__, title=f"{plan.curriculum.name}: report of a training run", notice=plan.notice, sections=SECTIONS, story=story,
        card=card, lead=_lead(story), course=_course(story), bar_low=low, place=lambda x: round(100 * (min(1.0, max(low, x)) - low) / (1 - low), 2),
        needs={s.spec.name: needs(plan, s.spec.name) for s in plan.stages}, not_shown=not_shown(story), ledger=list(_ledger(story)), pauses=_pauses(story),
        plots=_plots(story, published, curves), published=published, why_unpublished=_why_unpublished(plan, card.split if card else "gate"),
        starred=bool(card and any(s.trained_on for s in card.subtasks)), matrix=matrix if story.reports else None, suites=list(plan.benchmark.suites),
        forgot=_forgot(story, matrix), binned=_binned(story, curves),
        why_no_curves="The run has no tensorboard/ folder here." if not (story.run / "tensorboard").is_dir() else "No step has been recorded.",
        examples=examples(story) if images else None, captions=any(isinstance(s, RetrieveSubtask) for s in plan.benchmark.subtasks),
        confusions=_confusions(story, after), facts=_facts(story), corpora=_corpora(plan), data_told=_data_told(plan),
    )


def _measured(story: Story, stage: str) -> Measurement[Literal["report"]]:
    attempt = story.state.accepted[stage].attempt
    scored = [s for s in story.state.scores if s.split == "report" and s.stage == stage and s.attempt == attempt][-1]
    return measured(story.run, story.plan, scored, "report")


def _lead(story: Story) -> str:
    plan, state, scale = story.plan, story.state, story.plan.curriculum.scale
    size = f" ({plan.estimates.parameters / 1e6:.1f} million parameters)" if plan.estimates.parameters else ""
    seen, n = state.total * story.batch, len(state.names)
    passed = sum(e.passed for e in state.accepted.values())
    modes = sorted({plan.curriculum.gate_mode(s.spec) for s in plan.stages})
    told = (f"A {scale.model.arch} CLIP model{size}, trained through {len(state.accepted)} of {n} stage{'s' * (n != 1)} on catalog {plan.catalog.name}: "
            f"{seen:,} image-text pairs seen in {page.took(story.worked[-1])}. ")
    told += f"{passed} of {len(state.accepted)} accepted stages passed their gates." if state.accepted else "No stage is accepted yet."
    if modes != ["enforce"]:
        told += f" Gates ran in mode {page.words(modes)}" + (": they decided and recorded, and every stage went on." if modes == ["observe"] else ".")
    return told


def _course(story: Story) -> list[tuple[str, str]]:
    """How the run went, in a few words each, and how they are coloured."""
    state = story.state
    out = [({"finished": "✓ finished", "stopped": "✗ stopped by a gate", "failed": "✗ interrupted"}.get(state.status, f"… {state.status}"),
            "good" if state.status == "finished" else "bad" if state.status in ("stopped", "failed") else "unsure")]
    flagged = story.flagged
    out.append((f"✗ {len(flagged)} accepted without having passed: {page.words(flagged)}", "bad") if flagged else
               ("✓ no stage accepted without having passed", "good" if state.accepted else "calm"))
    out.append((f"⚠ rewound by hand {_times(state.rewinds)}", "bad") if state.rewinds else ("never rewound", "calm"))
    out.append((f"resumed {_times(story.resumes)}", "unsure") if story.resumes else ("never interrupted", "calm"))
    if story.note:
        out.append((f"⚠ {story.note}", "unsure"))
    return out


def _times(n: int) -> str:
    return {1: "once", 2: "twice"}.get(n, f"{n} times")


def _ledger(story: Story) -> Iterable[tuple[str, str]]:
    for e in story.events:
        if told := ended(e) if isinstance(e, ev.RunFailed) else event_told(e):
            yield e.time[:19].replace("T", " "), told.strip()


def _pauses(story: Story) -> str:
    """The interruptions in a sentence; those that a rewind ended are said by the rewind."""
    told = [f"{page.took(p.seconds)} ({p.why})" for p in story.pauses if not p.rewound]
    return (f" Interrupted for {page.words(told)}." if told else "") + (
        f" Somebody went back {_times(story.state.rewinds)}; what that left aside is hatched." if story.state.rewinds else "")


def _plots(story: Story, published: dict[str, list[object]] | object, curves: object) -> dict[str, object]:
    card = story.shown
    with style():
        drawn = {
            "timeline": (plots.timeline(story), "Stages, looks and interruptions",
                         "Bars from left to right, one a training of a stage: " + "; ".join(
                             f"{a.stage}{f', attempt {a.attempt + 1}' if a.attempt else ''}, {a.start:,} to {a.end:,} samples"
                             + ("" if a.kept else ", left aside by a rewind") for a in story.attempts) + "."),
            "skills": (plots.skills(story) if card else None, "Mean skill by suite over samples", _skills_told(story)),
            "forest": (plots.forest(card, published) if card else None, "Scores by subtask",  # type: ignore[arg-type]
                       "A row a subtask with its score, interval, chance and floors; the table below has the same figures."),
            "mixture": (plots.mixture(story), "Sources by stage", _mixture_told(story)),
            "training": (plots.training(story, curves), "Loss, learning rate and logit scale", _curves_told(curves)),  # type: ignore[arg-type]
        }
        return {name: svg(figure, name, title, told) if figure else None for name, (figure, title, told) in drawn.items()}


def _skills_told(story: Story) -> str:
    out = []
    for suite in story.plan.benchmark.suites:
        last = next((s.skill for s in (story.shown.suites if story.shown else []) if s.suite == suite), None)
        first = next((s.skill for s in (story.gates[0][1].suites if story.gates else []) if s.suite == suite), None)
        out.append(f"{suite}: " + (f"from {first.value:.2f} on the gate split before training" if first else "undecidable before training")
                   + (f" to {last.value:.2f} in the newest scoring" if last else ", undecidable now"))
    return "; ".join(out) + "."


def _mixture_told(story: Story) -> str:
    told = []
    for stage, (_, drawn) in story.mixed().items():
        of = sum(drawn.values()) or 1
        told.append(f"{stage}: " + ", ".join(f"{source} {n / of:.0%}" for source, n in sorted(drawn.items(), key=lambda x: -x[1])))
    return "; ".join(told) + "."


def _curves_told(curves: dict[str, tuple[plots.F, plots.F]]) -> str:
    if "total" not in curves:
        return "Nothing recorded."
    steps, loss = curves["total"]
    return f"The loss goes from {loss[0]:.2f} at step {steps[0]:.0f} to {loss[-1]:.2f} at step {steps[-1]:.0f}."


def _binned(story: Story, curves: dict[str, tuple[plots.F, plots.F]]) -> str:
    n = len(curves["total"][0]) if "total" in curves else 0
    return (f" {n:,} steps are drawn as {plots.BINS} medians; the shade goes from the 10th to the 90th percentile." if n > plots.BINS else "")


def _why_unpublished(plan: Plan, split: Split) -> str:
    if plan.catalog.phantom:
        return "the data are synthetic"
    if split != "report":
        return "this is not the report split"
    if not any(s.published for s in plan.benchmark.subtasks):
        return "the benchmark knows of none"
    return "none of the corpora is cut by its own official split"


def _forgot(story: Story, matrix: dict[str, dict[str, Cell]]) -> str:
    if not story.reports:
        return "The report split is sealed until the run has finished."
    last = story.state.names[-1]
    lost = [suite for suite, c in matrix[last].items() if c.lost]
    kept = [suite for suite, c in matrix[last].items() if c.change and not c.lost]
    told = [f"At the end, forgetting is shown for {page.words(lost)}."] if lost else []
    if kept:
        told.append(f"For {page.words(kept)} the interval of the change reaches 0 or above: no loss is shown, and one as large as the interval's lower end is "
                    "not ruled out.")
    return " ".join(told) or "No suite has a stage of its name before the last, so there is nothing to forget."


def _confusions(story: Story, after: dict[str, Measurement[Literal["report"]]]) -> list[tuple[str, object]]:
    if story.final:
        m: Measurement[Split] = after[story.state.names[-1]]
    elif story.gates:
        m = measured(story.run, story.plan, story.gates[-1][0], "gate")
    else:
        return []
    out = []
    with style():
        for spec in story.plan.benchmark.subtasks:
            found = m.answers.get(spec.id)
            if isinstance(found, Answers):
                right = float((found.answer == found.truth).mean())
                out.append((spec.id, svg(pictures.classes(spec, found), f"answers-{spec.id.replace('.', '-')}", f"{spec.id}: confusion and reliability",
                                         f"{len(found.truth)} items, of which {right:.0%} are answered right; classes: {', '.join(spec.labels)}.")))
    return out


def _facts(story: Story) -> list[tuple[str, str]]:
    plan, scale, c = story.plan, story.plan.curriculum.scale, story.plan.curriculum
    started = next(e for e in story.events if isinstance(e, ev.RunStarted))
    ranks = sorted({started.world_size} | {e.world_size for e in story.events if isinstance(e, ev.RunResumed)})
    changed = {f"{name} {v}" for e in story.events if isinstance(e, ev.RunResumed) for name, v in e.versions.items() if started.versions.get(name) != v}
    prompts = sha256_text("".join(s.prompts_digest() for s in plan.benchmark.subtasks))
    return [
        ("model", f"{scale.model.arch}{f', from {scale.model.pretrained}' if scale.model.pretrained else ', from random weights' }"),
        ("budget", f"{scale.budget.samples:,} samples, {plan.reserve * story.batch:,} of them in reserve for extensions; unspent reserve to "
                   f"{scale.budget.unspent.replace('_', ' ')}; global batch {scale.global_batch}"),
        ("optimizer", f"{c.optimizer.kind}, weight decay {c.optimizer.weight_decay:g}, gradient clipping {c.optimizer.grad_clip:g}, {scale.precision}, "
                      f"ZeRO {scale.zero}, ranks {page.words(ranks)}"),
        ("profile, seed", f"{c.profile}, {c.seed}"),
        ("plan", plan.digest()),
        ("benchmark", f"{plan.benchmark.name}, version {plan.benchmark.version}, prompts {prompts[:16]}"),
        ("catalog", plan.catalog.name),
        ("git", started.git or "not run from a checkout"),
        ("versions", ", ".join(f"{name} {v}" for name, v in started.versions.items()) + (f"; later also {', '.join(sorted(changed))}" if changed else "")),
    ]


def _corpora(plan: Plan) -> list[_Data]:
    trained = {source for s in plan.stages for source in s.sources}
    asked = {part.source for s in plan.benchmark.subtasks for part in s.items}
    out = []
    for name, c in plan.corpora.items():
        use = " and ".join(word for word, where in (("training", trained), ("benchmark", asked)) if name in where)
        about = plan.benchmark.datasets.get(name)
        out.append(_Data(name, use or "not drawn from", c.pairs, ", ".join(c.licences) or "not stated", c.digest, about.title if about else "",
                         about.url if about and not plan.catalog.phantom else ""))
    return out


def _data_told(plan: Plan) -> str:
    told = "Pairs, licences and digests are of the manifests that the plan was made with."
    return told + " Every corpus is drawn, and of no patient: names say which data set it stands in for." * bool(plan.catalog.phantom)
