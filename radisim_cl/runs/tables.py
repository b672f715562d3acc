"""What a plan, a scorecard and a run's state look like in a terminal. Torch-free."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from radisim_cl.records import events as ev
from radisim_cl.records.scorecard import Scorecard, SubtaskScore
from radisim_cl.records.state import RunState
from radisim_cl.specs.datasets import PublishedSpec
from radisim_cl.specs.plan import Plan


def plan_table(plan: Plan) -> RenderableType:
    """Stages, mixtures, losses, subtasks, and what the run will take."""
    c, scale, e = plan.curriculum, plan.curriculum.scale, plan.estimates
    model = f"{e.parameters / 1e6:.1f}M parameters, about {e.memory_gib:.1f} GiB" if e.parameters else "size not known without its configuration"
    took = f"about {e.hours * 60:.0f} minutes here, to a factor of two" if e.hours else "how long is not known for this kind of model"
    what = f"control {c.control.kind}, " if c.control else ""
    head = Text(f"{c.name}  {what}profile {c.profile}, catalog {plan.catalog.name}, benchmark {plan.benchmark.name} {plan.benchmark.version}, "
                f"seed {c.seed}\n"
                f"{scale.model.arch}, {model}; global batch {scale.global_batch}, ZeRO {scale.zero}, {scale.precision}\n"
                f"{scale.budget.samples:,} samples, of which {plan.reserve * scale.global_batch:,} in reserve for extensions (unspent: "
                f"{scale.budget.unspent.replace('_', ' ')}); {took}\ndigest {plan.digest()[:16]}"
                + f"\n{plan.notice}" * bool(plan.notice))
    stages = Table(title="Stages", title_justify="left")
    for column in ("", "stage", "steps", "samples", "lr", "losses", "gate"):
        stages.add_column(column, justify="right" if column in ("", "steps", "samples", "lr") else "left")
    for i, s in enumerate(plan.stages, 1):
        losses = "\n".join(f"{x.kind} x{x.weight:g}" + f" rising over {y.warmup:.0%}" * bool(y.warmup)
                           + " contributes nothing:" * (not x.contributes) + f" {x.note}" * bool(x.note)
                           for x, y in zip(s.losses, s.spec.losses, strict=True))
        gate = "\n".join(r.told(plan.catalog.name) for r in s.spec.gate.requires)
        gate += f"\n{c.gate_mode(s.spec)}, {s.spec.gate.looks} looks, {s.spec.gate.on_fail}, then {s.spec.gate.then}"
        stages.add_row(str(i), s.spec.name, f"{s.batches:,}", f"{s.samples:,}", f"{c.train(s.spec).lr:g}", losses, gate)
    mixture = Table(title="Mixtures (training split)", title_justify="left")
    for column in ("stage", "source", "where", "captions", "share", "available", "requested", "seen at most"):
        mixture.add_column(column, justify="right" if column in ("share", "available", "requested", "seen at most") else "left")
    for s in plan.stages:
        for x in (x for x in s.entries if x.stage == s.spec.name):
            where = " ".join(f"{k}={'|'.join([v] if isinstance(v, str) else v)}" for k, v in x.entry.where.items())
            mixture.add_row(s.spec.name, x.entry.source, where, x.entry.captions, f"{x.share:.1%}", f"{x.available:,}", f"{x.requested:,}",
                            f"{x.repeats:.1f}x")
        for passed in dict.fromkeys(x.stage for x in s.entries if x.stage != s.spec.name):
            again = [x for x in s.entries if x.stage == passed]
            mixture.add_row(s.spec.name, f"[dim]replay of {passed}", "", "", f"{sum(x.share for x in again):.1%}", "",
                            f"{sum(x.requested for x in again):,}", f"{max(x.repeats for x in again):.1f}x")
        for source in s.left_out:
            mixture.add_row(s.spec.name, f"[dim]{source}", "", "", "", "", "", "not in the catalog")
        mixture.add_section()
    subtasks = Table(title="Subtasks: images or volumes (patients of the rarest class, or with a mask)", title_justify="left")
    for column in ("suite", "subtask", "tune", "gate", "report", ""):
        subtasks.add_column(column, justify="right" if column in ("tune", "gate", "report") else "left")
    for t in plan.subtasks:
        counts = [f"{t.items.get(s, 0)} ({t.patients.get(s, 0)})" for s in ("tune", "gate", "report")]
        seen = t.trained_on[0] if len(t.trained_on) == 1 else f"{len(t.trained_on)} of its sources"
        note = f"missing: {t.missing}" if t.missing else f"not zero-shot: trains on {seen}" if t.trained_on else ""
        subtasks.add_row(t.suite, t.id, *counts, note)
    return Group(head, stages, mixture, subtasks)


def scorecard_table(card: Scorecard, whole: Collection[str] | None = None,
                    published: Mapping[str, Sequence[PublishedSpec]] | None = None) -> RenderableType:
    """Subtasks with intervals, chance and floors; suites' mean skill.

    Args:
        card: what was scored.
        whole: suites whose subtasks are shown; all if None.
        published: by subtask, figures of others that may stand beside these.
    """
    when = f"after stage {card.stage}, look {card.look}" if card.stage else "look 0, before training"
    seen = f"{when}, {card.samples:,} samples seen" if card.stage or not card.model else ""
    spread = any(s.spread for s in card.subtasks)
    told = ", ".join(filter(None, (card.model, f"{card.benchmark} {card.version}", f"{card.split} split", seen)))
    table = Table(title=told, title_justify="left",
                  caption="95 % intervals over patients. Floors: logistic regression on pixel statistics / on an 8x8 thumbnail. "
                          "* Not zero-shot: its sources were trained on.\nDetects: the difference from chance that the lower end of the "
                          "interval would have shown with 80 % power."
                          + " Templates: worst and best alone." * spread + f"\n{card.notice}" * bool(card.notice),
                  caption_justify="left")
    others = {name: "\n".join(f"{p.model} {_published(p.value)} ({p.metric if p.metric != 'unstated' else 'metric unstated'})" for p in found)
              for name, found in (published or {}).items() if found}
    for column in ("subtask", "metric", "score", *(["templates"] * spread), "chance", "floors", "skill", "detects", "n (patients)",
                   *(["published"] * bool(others)), ""):
        table.add_column(column, justify="left" if column in ("subtask", "metric", "published", "") else "right")
    for suite in card.suites:
        for s in (s for s in card.subtasks if s.suite == suite.suite and (whole is None or s.suite in whole)):
            floors = " / ".join(f"{f.value:.2f}" for f in s.floors.values()) or "-"
            note = f"undecidable: {s.undecidable}" if s.undecidable else "not above floor" if s.above_floor is False else ""
            score, chance = str(s.scores.get(s.metric, "-")), f"{s.chance:.2f}" if s.chance is not None else "-"
            table.add_row(s.id + " *" * bool(s.trained_on), s.metric, score, *([_spread(s)] * spread), chance, floors,
                          f"{s.skill.value:.2f}" if s.skill else "-", _detects(s.detectable),
                          f"{s.items} ({sum(s.patients.values()) if s.patients_in_all is None else s.patients_in_all})",
                          *([others.get(s.id, "")] * bool(others)), note)
        counted = f"{len(suite.subtasks)} of {len(suite.subtasks) + len(suite.left_out)} subtasks"
        table.add_row(f"[bold]{suite.suite}", "mean skill", f"[bold]{suite.skill or '-'}", *([""] * spread), "", "", "",
                      _detects(suite.detectable), counted, *([""] * bool(others)), "")
        table.add_section()
    for name, why in card.missing.items():
        table.add_row(name, "", "-", *([""] * spread), "", "", "", "", "", *([""] * bool(others)), f"missing: {why}")
    return table


def _spread(s: SubtaskScore) -> str:
    return f"{min(s.spread.values()):.2f}-{max(s.spread.values()):.2f}" if s.spread else ""


def _published(value: float) -> str:
    """Three digits after the point; a rank as it stands."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:g}"


def _detects(difference: float | None) -> str:
    return f"+{difference:.2f}" if difference else "-"


def status_table(state: RunState, plan: Plan) -> RenderableType:
    """Where a run is: a line a stage, and what is left to spend.

    Args:
        state: of the run.
        plan: of the run.
    """
    batch, table = plan.curriculum.scale.global_batch, Table(title_justify="left")
    for column in ("", "stage", "samples", "looks", "gate", "said"):
        table.add_column(column, justify="right" if column in ("", "samples", "looks") else "left")
    for i, stage in enumerate(plan.stages):
        name = stage.spec.name
        said = [d for d in state.decisions if d.stage == name]
        here = i == state.stage and state.started
        word = f"in progress, attempt {state.attempt + 1}" * (here and state.status != "stopped") or "to come" * (not said)
        if said and not (here and word):
            last = said[-1]
            word = {True: "passed", False: "not passed", None: "undecided"}[last.passed] + f" ({last.mode})" * (last.mode != "enforce")
            word += "; advanced all the same" * (last.decision == "advance_flagged")
        reached = f"{state.trained(name) * batch:,}" + f" of {state.target * batch:,}" * here
        table.add_row(str(i + 1), name, reached, str(len(said)), word, "\n".join(said[-1].reasons) if said else "")
    spare = state.reserve * batch
    lines = [f"{state.status}{f'; rewound {state.rewinds} times' if state.rewinds else ''}; {(state.total + state.abandoned) * batch:,} samples seen"
             + f", {state.abandoned * batch:,} of them on paths that were left" * bool(state.abandoned) + f"; {spare:,} in reserve" * bool(spare)]
    if state.status == "failed":
        lines.append(f"ended with exit code {state.exit_code}: {state.error}")
    return Group(table, *(Text(line) for line in (*lines, state.notice, plan.notice) if line))


def log_table(events: Sequence[ev.AnyEvent], state: RunState, plan: Plan) -> RenderableType:
    """The story of a run: a line an event that decided something.

    Args:
        events: of the ledger.
        state: their fold.
        plan: of the run.
    """
    table = Table(show_header=False, box=None, padding=(0, 1))
    for e in events:
        if told := event_told(e):
            table.add_row(e.time[:19].replace("T", " "), told)
    mark = f"; rewound {state.rewinds} times" * bool(state.rewinds)
    where = f", at step {state.batch} of {state.target} of stage {state.name}" * (state.started and state.status != "finished")
    return Group(table, *(Text(line) for line in (f"{state.status}{mark}{where}", state.notice, plan.notice) if line))


def event_told(e: ev.AnyEvent) -> str:
    """An event in words, indented where it is of a stage; empty for one that decided nothing."""
    match e:
        case ev.RunStarted():
            return f"started: {e.name}, seed {e.seed}, plan {e.plan[:12]}"
        case ev.RunResumed():
            return f"resumed with {e.world_size} rank{'s' * (e.world_size > 1)}" + (f"; {e.note}" if e.note else "")
        case ev.Forked():
            return f"FORKED from {e.parent}; changed: {'; '.join(e.changed) or 'nothing'}"
        case ev.StageStarted():
            return f"stage {e.stage}" + (f", attempt {e.attempt + 1}" if e.attempt else "") + f": {e.planned} steps to the first look"
        case ev.FellBack():
            return f"FELL BACK to the checkpoint of event {e.to}: {'; '.join(e.reasons)}"
        case ev.StepsSkipped():
            steps = f"step {e.first}" if e.first == e.last else f"steps {e.first} to {e.last}"
            return f"  SKIPPED {steps} of {e.stage}: {e.why}; pairs {', '.join(e.pairs[:4])}{' ...' * (len(e.pairs) > 4)}"
        case ev.Scored(suites=None):
            return f"  report split scored after {e.stage}; sealed until the run has finished"
        case ev.Scored():
            scores = ", ".join(f"{k} {v}" for k, v in (e.suites or {}).items())
            return f"  {e.split} split scored at step {e.total}: {scores}"
        case ev.GateDecided():
            verdict = {True: "passed", False: "not passed", None: "undecided"}[e.passed]
            more = (f" by {e.batches} steps" if e.batches else "") + (f", with more of {', '.join(e.forgotten)}" if e.forgotten else "")
            return f"  gate, look {e.look} ({e.mode}): {verdict}; {'; '.join(e.reasons)} -> {e.decision}{more}"
        case ev.StageFinished():
            return f"  accepted{'' if e.passed else ' WITHOUT having passed its gate'}: {e.export}"
        case ev.Rewound():
            return f"REWOUND by hand to the beginning of {e.stage}"
        case ev.RunFinished():
            return "finished"
        case ev.RunStopped():
            return f"stopped by the gate of {e.stage}"
        case ev.RunFailed():
            return f"ended with exit code {e.exit_code}: {e.error}"
    return ""


def save_picture(page: Console, path: Path, title: str) -> None:
    """What a recording console has shown, as an SVG that asks the network for nothing."""
    page.save_svg(str(path), title=title, code_format=re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.S))
