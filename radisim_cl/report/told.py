"""What a run's page says in words. Nothing here draws, and nothing here names a patient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from radisim_cl.errors import EXIT_SIGNAL
from radisim_cl.files import sha256_text
from radisim_cl.records import events as ev
from radisim_cl.records.evidence import Split
from radisim_cl.report.forgetting import Cell
from radisim_cl.report.page import took, words
from radisim_cl.report.plots import BINS, Curves
from radisim_cl.report.story import Story
from radisim_cl.runs.tables import event_told
from radisim_cl.specs.plan import Plan


def lead(story: Story) -> str:
    """The run in two or three sentences."""
    plan, state, n = story.plan, story.state, len(story.state.names)
    size = f" ({plan.estimates.parameters / 1e6:.1f} million parameters)" if plan.estimates.parameters else ""
    passed = sum(e.passed for e in state.accepted.values())
    modes = sorted({plan.curriculum.gate_mode(s.spec) for s in plan.stages})
    told = (f"A {_arch(plan)} CLIP model{size}, trained through {len(state.accepted)} of {n} stage{'s' * (n != 1)} on catalog {plan.catalog.name}: "
            f"{state.total * story.batch:,} image-text pairs seen in {took(story.worked[-1])}. ")
    told += f"{passed} of {len(state.accepted)} accepted stages passed their gates." if state.accepted else "No stage is accepted yet."
    if modes != ["enforce"]:
        told += f" Gates ran in mode {words(modes)}" + (": they decided and recorded, and every stage went on." if modes == ["observe"] else ".")
    return told


def _arch(plan: Plan) -> str:
    """What the model is called; of a folder, its own name alone."""
    arch = plan.curriculum.scale.model.arch
    return Path(arch).name if arch.startswith("local-dir:") else arch


def course(story: Story) -> list[tuple[str, str]]:
    """How the run went, in a few words each, and the class of the style that they have."""
    state, flagged = story.state, story.flagged
    out = [{"finished": ("✓ finished", "good"), "stopped": ("✗ stopped by a gate", "bad"), "failed": ("✗ interrupted", "bad")}.get(
        state.status, (f"… {state.status}", "unsure"))]
    if flagged:
        out.append((f"✗ {len(flagged)} accepted without having passed: {words(flagged)}", "bad"))
    else:
        out.append(("✓ no stage accepted without having passed", "good" if state.accepted else "calm"))
    out.append((f"⚠ rewound by hand {_times(state.rewinds)}", "bad") if state.rewinds else ("never rewound", "calm"))
    out.append((f"resumed {_times(story.resumes)}", "unsure") if story.resumes else ("never interrupted", "calm"))
    return out + [(f"⚠ {story.note}", "unsure")] * bool(story.note)


def _times(n: int) -> str:
    return {1: "once", 2: "twice"}.get(n, f"{n} times")


def needs(plan: Plan) -> dict[str, list[str]]:
    """By stage, what its gate requires."""
    return {s.spec.name: [r.told(plan.catalog.name) for r in s.spec.gate.requires] for s in plan.stages}


def not_shown(story: Story) -> list[str]:
    """What a reader must not take from the page, each in a sentence."""
    plan, card = story.plan, story.shown
    out = [f"How another seed would do. This is one training with seed {plan.curriculum.seed}; intervals are over patients of the benchmark, not "
           "over trainings."]
    if story.final is None:
        out.append("Anything on the report split: it stays sealed until the run has finished. What is shown is the gate split, on which decisions "
                   "were made, so its scores are optimistic where a stage was looked at more than once.")
    if story.state.rewinds:
        out.append("What a run left to itself would have come to: somebody went back by hand, after having seen scores, and that is a choice. Gates "
                   "count the further looks in their error rate; the intervals do not.")
    if story.flagged:
        out.append(f"That the gates of {words(story.flagged)} would have let the run pass: it went on without.")
    if not card:
        return out
    if undecidable := [s.id for s in card.subtasks if s.undecidable]:
        out.append(f"Skill on {words(undecidable)}: too few patients to decide anything. They are listed, and left out of their suites' means.")
    if card.missing:
        out.append(f"{words(card.missing)}: catalog {plan.catalog.name} has no data for {'it' if len(card.missing) == 1 else 'them'}.")
    if at_chance := [s.suite for s in card.suites if s.skill and s.skill.low <= 0]:
        out.append(f"That the model is better than chance at {words(at_chance)}: the interval of the mean skill reaches down to 0 or below.")
    if below := [s.id for s in card.subtasks if s.above_floor is False and not s.undecidable]:
        out.append(f"That seeing was needed for {words(below)}: a classifier on grey-value statistics or a thumbnail does as well or better.")
    if trained := [s.id for s in card.subtasks if s.trained_on]:
        out.append(f"Zero-shot skill on {words(trained)}: its data, or a part of them, were trained on.")
    out.append(f"A correction for looking at {len(card.subtasks)} subtasks at once: each interval holds with 95 % on its own, so about one in twenty "
               "misses.")
    return out


def ended(e: ev.RunFailed) -> str:
    """How a process ended. The error's own words stay in the ledger: they may hold the path of an image, and that a patient's name."""
    if e.exit_code == EXIT_SIGNAL:
        return "stopped by a signal, and saved"
    return f"ended by a fault, exit code {e.exit_code}: the ledger says which"


def ledger(story: Story) -> Iterator[tuple[str, str]]:
    """Time and words of every event that decided something."""
    for e in story.events:
        if told := ended(e) if isinstance(e, ev.RunFailed) else event_told(e):
            yield e.time[:19].replace("T", " "), told.strip()


def pauses(story: Story) -> str:
    """Interruptions, and how often somebody went back."""
    told = [f"{took(p.seconds)} ({ended(p.failure) if p.failure else 'it ended without a word'})" for p in story.pauses if not p.rewound]
    return (f" Interrupted for {words(told)}." if told else "") + (
        f" Somebody went back {_times(story.state.rewinds)}; what that left aside is hatched." if story.state.rewinds else "")


def timeline(story: Story) -> str:
    """The figure of stages and looks."""
    return "Bars from left to right, one a training of a stage: " + "; ".join(
        f"{a.stage}{f', attempt {a.attempt + 1}' if a.attempt else ''}, {a.start:,} to {a.end:,} samples"
        + ("" if a.kept else ", left aside by a rewind")
        for a in story.attempts) + "."


def skills(story: Story) -> str:
    """The figure of mean skill by suite."""
    first, last = ({s.suite: s.skill for s in c.suites} if c else {} for c in (story.gates[0][1] if story.gates else None, story.shown))
    out = []
    for suite in story.plan.benchmark.suites:
        begun, now = first.get(suite), last.get(suite)
        out.append(f"{suite}: " + (f"from {begun.value:.2f} on the gate split before training" if begun else "undecidable before training")
                   + (f" to {now.value:.2f} in the newest scoring" if now else ", undecidable now"))
    return "; ".join(out) + "."


def mixture(story: Story) -> str:
    """The figure of sources by stage."""
    told = []
    for stage, (_, drawn) in story.mixed().items():
        of = sum(drawn.values()) or 1
        told.append(f"{stage}: " + ", ".join(f"{source} {n / of:.0%}" for source, n in sorted(drawn.items(), key=lambda x: -x[1])))
    return "; ".join(told) + "."


def curves(found: Curves) -> str:
    """The figure of losses."""
    if "total" not in found:
        return "Nothing recorded."
    steps, loss = found["total"]
    return f"The loss goes from {loss[0]:.2f} at step {steps[0]:.0f} to {loss[-1]:.2f} at step {steps[-1]:.0f}."


def binned(found: Curves) -> str:
    """How many steps became how many points, where that is not the same."""
    n = len(found["total"][0]) if "total" in found else 0
    return f" {n:,} steps are drawn as {BINS} medians; the shade goes from the 10th to the 90th percentile." if n > BINS else ""


def why_unpublished(plan: Plan, split: Split) -> str:
    """Why no figure of others stands beside a score."""
    if plan.catalog.phantom:
        return "the data are synthetic"
    if split != "report":
        return "this is not the report split"
    known = any(s.published for s in plan.benchmark.subtasks)
    return "none of the corpora with such a figure is cut by its own official split" if known else "the benchmark knows of none"


def forgot(story: Story, matrix: Mapping[str, Mapping[str, Cell]]) -> str:
    """What the matrix of forgetting comes to."""
    if not story.reports:
        return "The report split is sealed until the run has finished."
    last = matrix[story.state.names[-1]]
    lost, kept = [suite for suite, c in last.items() if c.lost], [suite for suite, c in last.items() if c.change and not c.lost]
    told = [f"At the end, forgetting is shown for {words(lost)}."] if lost else []
    if kept:
        told.append(f"For {words(kept)} no loss is shown: the interval of the change reaches 0 or above. A loss as large as its lower end is not "
                    "ruled out.")
    return " ".join(told) or "No suite has a stage of its name before the last, so there is nothing to forget."


def facts(story: Story) -> list[tuple[str, str]]:
    """Model, budget, digests and versions."""
    plan, c, scale = story.plan, story.plan.curriculum, story.plan.curriculum.scale
    started, resumed = (next(e for e in story.events if isinstance(e, ev.RunStarted)), [e for e in story.events if isinstance(e, ev.RunResumed)])
    ranks = sorted({started.world_size, *(e.world_size for e in resumed)})
    changed = sorted({f"{name} {v}" for e in resumed for name, v in e.versions.items() if started.versions.get(name) != v})
    prompts = sha256_text("".join(s.prompts_digest() for s in plan.benchmark.subtasks))
    return [
        ("model", f"{_arch(plan)}, from {scale.model.pretrained or 'random weights'}"),
        ("budget", f"{scale.budget.samples:,} samples, {plan.reserve * story.batch:,} of them in reserve for extensions; unspent reserve to "
                   f"{scale.budget.unspent.replace('_', ' ')}; global batch {scale.global_batch}"),
        ("optimizer", f"{c.optimizer.kind}, weight decay {c.optimizer.weight_decay:g}, gradient clipping {c.optimizer.grad_clip:g}, "
                      f"{scale.precision}, ZeRO {scale.zero}, ranks {words(ranks)}"),
        ("profile, seed", f"{c.profile}, {c.seed}"),
        ("plan (SHA-256)", plan.digest()),
        ("benchmark", f"{plan.benchmark.name}, version {plan.benchmark.version}, prompts {prompts[:16]}"),
        ("catalog", plan.catalog.name),
        ("git", started.git or "not run from a checkout"),
        ("versions", ", ".join(f"{name} {v}" for name, v in started.versions.items()) + (f"; later also {', '.join(changed)}" if changed else "")),
    ]


@dataclass(frozen=True)
class Data:
    """A corpus, as its row of the table says."""

    name: str
    use: str
    pairs: int
    licences: str
    digest: str
    title: str
    url: str


def data(plan: Plan) -> list[Data]:
    """The corpora that a plan touches. A drawn one has no address: the real set is another."""
    trained = {source for s in plan.stages for source in s.sources}
    asked = {part.source for s in plan.benchmark.subtasks for part in s.items}
    out = []
    for name, c in plan.corpora.items():
        use = " and ".join(word for word, where in (("training", trained), ("benchmark", asked)) if name in where)
        about = plan.benchmark.datasets.get(name)
        out.append(Data(name, use or "not drawn from", c.pairs, ", ".join(c.licences) or "not stated", c.digest, about.title if about else "",
                        about.url if about and not plan.catalog.phantom else ""))
    return out


def of_data(plan: Plan) -> str:
    """The table of corpora."""
    told = "Pairs, licences and digests are of the manifests that the plan was made with."
    return told + " Every corpus is drawn, and of no patient: names say which data set it stands in for." * bool(plan.catalog.phantom)
