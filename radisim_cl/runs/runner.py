"""The stage scheduler. What happens in a run is readable here from top to bottom.

`run` is `resume` until done: the state is a fold over the ledger, and there is no second recovery path.
"""

from __future__ import annotations

import copy
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pandas as pd
from torch.utils.tensorboard import SummaryWriter

from radisim_cl.bench import evaluate
from radisim_cl.bench.kept import Memory, floors
from radisim_cl.bench.measure import changes, evidence
from radisim_cl.corpus.corpora import Corpora
from radisim_cl.data.cache import ImageCache
from radisim_cl.data.loader import Loader
from radisim_cl.data.mixture import Mixture
from radisim_cl.data.regions import Regions, vocabulary
from radisim_cl.errors import EXIT_FAULT, GateStopped, InputError, Interrupted, RadisimError
from radisim_cl.files import sha256, write_atomic
from radisim_cl.gates._policy import decision
from radisim_cl.models.build import Towers, build
from radisim_cl.models.embedder import Embedder
from radisim_cl.models.export import export
from radisim_cl.models.frozen import frozen
from radisim_cl.models.precision import autocast
from radisim_cl.models.texts import remembered, shortened
from radisim_cl.records import events as ev
from radisim_cl.records.evidence import Verdict, all_passed, spent
from radisim_cl.records.ledger import Ledger
from radisim_cl.records.state import RunState, fold
from radisim_cl.registry import plugin
from radisim_cl.runs import checkpoints, scores
from radisim_cl.runs.card import model_card, open_cards
from radisim_cl.runs.directory import another_try, load_plan, versions
from radisim_cl.runs.lock import locked
from radisim_cl.runs.progress import Reporter
from radisim_cl.runs.signals import StopRequest
from radisim_cl.runs.unreadable import Unreadable
from radisim_cl.runs.watchdog import Watchdog
from radisim_cl.specs.gates import GateSpec
from radisim_cl.specs.plan import StagePlan
from radisim_cl.train.engine import Engine, init_distributed
from radisim_cl.train.loop import Step, build_losses, train_stage, wanted

Why = Literal["initial", "periodic", "look", "signal"]
KEPT = 3
"""Checkpoints that are kept beside those that stages began with: where the newest is damaged, the run goes on from the one before."""


def resume(run: Path) -> RunState:
    """Takes a run on to its end, from wherever its ledger says it is. Called by every rank.

    Raises:
        GateStopped: a gate ended it.
        Interrupted: a signal arrived, and the state is saved.
        RadisimError: anything else that a user can act on.
    """
    rank, world = init_distributed()
    if rank:
        return Runner(run, None).go()
    with locked(run):
        ledger = Ledger(run)
        if len(ledger.events) > 1:
            ledger.append(ev.RunResumed(world_size=world, versions=versions(), note=ledger.note))
        try:
            older = checkpoints.fallback(run, ledger.events)
            if older:
                ledger.append(older)
            return Runner(run, ledger).go()
        except GateStopped:
            raise
        except Exception as e:
            told = isinstance(e, RadisimError)
            with suppress(OSError):  # where nothing can be written any more, what was wrong is more to the point
                if not told:
                    (run / "fault.log").write_text(traceback.format_exc())
                words = str(e) if told else f"{type(e).__name__}: {e}"
                ledger.append(ev.RunFailed(exit_code=e.exit_code if isinstance(e, RadisimError) else EXIT_FAULT, error=words.splitlines()[0]))
            raise


class Runner:
    """One process's part in a run. Rank 0 has the ledger, decides and scores; the others train and follow."""

    def __init__(self, run: Path, ledger: Ledger | None) -> None:
        self.run, self.ledger, self.plan, self.stop = run, ledger, load_plan(run), StopRequest()
        spec = self.plan.curriculum
        built = build(spec.scale.model, spec.seed)
        self.copy = replace(built, model=copy.deepcopy(built.model))
        patches = any(loss.patches for stage in self.plan.stages for loss in stage.contributing)
        self.grid = Towers(built.model, built.preprocess).grid if patches else None
        self.engine = Engine(built, spec.scale, spec.optimizer, [frozen(built.model, stage.spec.train) for stage in self.plan.stages])
        self.state = self.engine.broadcast(fold(ledger.events) if ledger else RunState())
        self.corpora = Corpora(self.plan.catalog, self.plan.benchmark.version)
        self.images = ImageCache(int(spec.scale.image_cache * 2**30))
        self.report = Reporter(self.plan, quiet=ledger is None)
        self.board = SummaryWriter(str(run / "tensorboard"), purge_step=self.state.total) if ledger else None

    def go(self) -> RunState:
        """Every stage from where the ledger says, then the report."""
        self._check_data()
        if self.state.checkpoint:
            checkpoints.load(self.engine, self.run, self.state.checkpoint, verified=True)  # by `resume`
        else:
            self._commit(ev.CheckpointCommitted(tag="initial", manifest="", stage=None, attempt=0, batch=0, total=0, why="initial", drawn={},
                                                asked={}))
        if not self.state.scores:
            self._score("gate", None, 0)
        with self.report:
            while self.state.stage < len(self.plan.stages):
                self._stage(self.plan.stages[self.state.stage])
        if self.ledger:
            scores.unseal(self.run, self.plan, self.state)
            open_cards(self.run, self.plan, self.state)
        self._record(ev.RunFinished())
        self.report.finished(self.run, self.state)
        return self.state

    def _stage(self, stage: StagePlan) -> None:
        """Trains until a look is due, looks, decides; until the gate lets go."""
        state, name = self.state, stage.spec.name
        if not state.started:
            last = state.stage == len(self.plan.stages) - 1
            spare = state.reserve if last and self.plan.curriculum.scale.budget.unspent == "last_stage" else 0
            self._record(ev.StageStarted(stage=name, attempt=state.attempts.get(name, -1) + 1, planned=stage.batches + spare, from_reserve=spare))
        self.report.stage(stage, state)
        entry = self._entry(stage) if state.decided is None else None
        while state.decided is None:
            if state.scored is None:
                self._train(stage, entry)
                self._score("gate", name, state.look + 1)
            self._decide(stage)
        if state.decided.decision == "stop":
            self._record(ev.RunStopped(stage=name))
            raise GateStopped(f"the gate of {name!r} was not passed:\n  " + "\n  ".join(state.decided.reasons)
                              + f"\nThe run is whole: {self.run}. {another_try(self.run, name)}")
        if not state.reported:
            self._score("report", name, state.look)
        folder = f"export/{state.stage + 1}-{name}"
        weights = self.engine.weights()
        if self.ledger:
            export(weights, self.copy, self.run / folder, model_card(self.plan, state, name))
        self._record(ev.StageFinished(stage=name, attempt=state.attempt, passed=bool(state.decided.passed), export=folder))

    def _entry(self, stage: StagePlan) -> Towers | None:
        """The model that entered the stage, where a loss compares with it; in the middle of a stage, from the checkpoint that it began with."""
        state = self.state
        if not any(loss.entry for loss in stage.contributing):
            return None
        if state.batch:
            checkpoints.load(self.engine, self.run, state.entries[stage.spec.name].checkpoint)
        entry = self.engine.frozen(self.copy, self.engine.weights())
        if state.batch and state.checkpoint:
            checkpoints.load(self.engine, self.run, state.checkpoint)
        return entry

    def _train(self, stage: StagePlan, entry: Towers | None) -> None:
        """Trains to the next look and commits what it will look at.

        Args:
            stage: the stage in progress.
            entry: the model that entered it, if a loss compares with it.
        """
        state, curriculum, name = self.state, self.plan.curriculum, stage.spec.name
        scale, parts = curriculum.scale, self.plan.repair(state.stage, state.forgotten)
        self.engine.freeze(frozen(self.copy.model, stage.spec.train))
        if stage.spec.train.optimizer == "fresh" and not state.batch:  # the checkpoint that a stage begins with still has the moments
            self.engine.forget()
        mixture = Mixture(parts, self.corpora, self.plan.templates, scale.global_batch, curriculum.seed, name, state.attempt, stage.spec.data.block)
        losses = build_losses(stage.contributing, self.engine)
        words = vocabulary(self.corpora[source] for source in sorted({e.entry.source for e in parts if e.share}))
        beside = wanted(losses, words, self.copy.tokenizer, self.engine.device, entry)
        regions = Regions(words, self.grid) if self.grid and beside.patches else None
        tokenizer = shortened(self.copy.model, remembered(self.copy.tokenizer), beside.tokens.values())
        loader = Loader(mixture, self.engine.slots, stage.spec.data.augment, self.copy.preprocess, tokenizer, scale.readers, self.images, regions)
        spec = curriculum.train(stage.spec, stage.spec.gate.rollback_lr**state.rollbacks)
        kept = state.checkpoint if state.batch else None
        before, drawn, recent = state.total - state.batch, Counter(kept.drawn if kept else {}), list(kept.losses if kept else [])
        mine: Counter[str] = Counter()
        unreadable = Unreadable(self.engine, stage.spec.data.max_corrupt, scale.global_batch, kept.substituted if kept else {})
        steps = train_stage(self.engine, loader, losses, beside, spec, state.planned, state.batch, state.target, scale.health, recent, state.skipped)
        with Watchdog(self.run, self.engine.rank, self.engine.world, scale.patience) as watchdog:
            for step in steps:
                watchdog.step(step.batch)
                mine.update(step.drawn)
                unreadable.add(step.lost, step.batch)
                self.report.step(step, state.target)
                if self.board and step.losses:
                    used = {f"pairs_used/{name}": float(n) for name, n in step.used.items()}
                    self._plot(step.losses | used | {"lr": step.lr, "logit_scale": step.logit_scale}, before + step.batch)
                if step.ailment:
                    self._skip(stage, step)
                    if step.ailment == "loss spike":
                        break
                stopping = not self.engine.all_true(not self.stop.received)
                due = step.batch == state.target
                if due or stopping or step.batch % scale.save_every == 0:
                    for counts in self.engine.gather(dict(mine)):
                        drawn.update(counts)
                    mine.clear()
                    why: Why = "look" if due else "signal" if stopping else "periodic"
                    substituted, lost = unreadable.committed()
                    self._commit(ev.CheckpointCommitted(
                        tag=f"{name}-{state.attempt}-{step.batch:07d}", manifest="", stage=name, attempt=state.attempt, batch=step.batch,
                        total=before + step.batch, why=why, drawn=dict(drawn), asked=mixture.asked(step.batch, state.since, state.asked),
                        losses=recent, substituted=substituted, unreadable=lost))
                if stopping:
                    raise Interrupted(f"stopped by {self.stop.received or 'a signal to another rank'} at step {step.batch} of {name!r}; saved. "
                                      f"`radisim-cl resume {self.run}` goes on")
        if state.batch < state.target:  # weights were harmed, and those of the newest checkpoint are back
            self._train(stage, entry)

    def _skip(self, stage: StagePlan, step: Step) -> None:
        """Records what was wrong with a step. After a spike, loads the newest checkpoint, and the steps that led there are passed over.

        Raises:
            RadisimError: too many spikes in this attempt.
        """
        state, name, limit = self.state, stage.spec.name, self.plan.curriculum.scale.health.max_skipped
        harmed = step.ailment == "loss spike"
        first = state.batch + 1 if harmed else step.batch
        pairs = [p for part in self.engine.gather(list(step.pairs)) for p in part]
        assert step.ailment is not None
        event = ev.StepsSkipped(stage=name, attempt=state.attempt, first=first, last=step.batch, why=step.ailment, pairs=pairs)
        if harmed or step.batch - 1 not in state.noted:
            self._record(event if self.ledger else None)
        if harmed:
            if state.setbacks > limit:
                raise RadisimError(f"the loss spiked {state.setbacks} times in this attempt at {name!r}, the last time at step {step.batch}, and "
                                   f"{limit} are allowed. Lower the learning rate; `radisim-cl log {self.run}` lists them")
            assert state.checkpoint is not None
            checkpoints.load(self.engine, self.run, state.checkpoint)

    def _score(self, split: Literal["gate", "report"], stage: str | None, look: int) -> None:
        """Rank 0 scores a split and writes every answer down; the others wait."""
        weights = self.engine.weights()
        event = None
        if self.ledger:
            self.report.scoring(split)
            readers = self.plan.curriculum.scale.readers
            self.copy.model.load_state_dict(weights)
            device = self.engine.device
            embedder = Embedder(self.copy, str(device), autocast(self.plan.curriculum.scale.precision, device.type))
            asked_again = split == "report" and stage == self.state.names[-1]  # by the page
            memory = Memory.of(embedder.digest()) if asked_again else Memory(None)
            rows = evaluate.answers(embedder, self.plan.benchmark, self.plan.subtasks, self.corpora, split, readers, memory=memory)
            memory.save()
            frame = pd.concat([rows, self._floors(split, readers)], ignore_index=True)
            attempt, total = self.state.attempt if stage else 0, self.state.total
            file = f"scores/{split}-{stage or 'start'}-{attempt}-{look}.parquet"
            frame.to_parquet(self.run / file)
            digest = sha256(self.run / file)
            event = ev.Scored(split=split, stage=stage, attempt=attempt, look=look, total=total, file=file, digest=digest, suites=None)
            if split == "gate":
                found = scores.measured(self.run, self.plan, event, split)
                card = scores.card(self.plan, found, stage, look, total * self.plan.curriculum.scale.global_batch)
                write_atomic((self.run / file).with_suffix(".json"), card.model_dump_json(indent=1))
                self.report.look(card)
                suites = {s.suite: s.skill for s in card.suites if s.skill}
                self._plot({f"gate/{suite}": skill.value for suite, skill in suites.items()}, total)
                event = event.model_copy(update={"suites": suites})
        self._record(self.engine.broadcast(event))

    def _floors(self, split: Literal["gate", "report"], readers: int) -> pd.DataFrame:
        path = self.run / "scores" / f"floors-{split}.parquet"
        if not path.is_file():
            path.parent.mkdir(exist_ok=True)
            kept = floors()
            evaluate.floor_answers(self.plan.benchmark, self.plan.subtasks, self.corpora, split, readers, kept).to_parquet(path)
            kept.save()
        return pd.read_parquet(path)

    def _decide(self, stage: StagePlan) -> None:
        """Rank 0 decides on the gate split's stored answers."""
        state, gate, mode = self.state, stage.spec.gate, self.plan.curriculum.gate_mode(stage.spec)
        event = None
        if self.ledger:
            assert state.scored is not None
            verdicts = [] if mode == "off" else self._verdicts(gate)
            passed = all_passed(verdicts) if verdicts else None
            what, batches = decision(gate, mode, passed, state.look + 1, state.tries, state.reserve, stage.extension, state.planned)
            forgotten = list(dict.fromkeys(f for v in verdicts for f in v.forgotten))
            event = ev.GateDecided(
                stage=stage.spec.name, attempt=state.attempt, look=state.look + 1, mode=mode, passed=passed,
                reasons=[v.reason for v in verdicts] or ["the gate is off"], alpha=sum(v.alpha for v in verdicts), evidence=state.scored.file,
                decision=what, batches=batches, forgotten=self.plan.taught(state.stage, forgotten) if what == "replay_up" else [])
            self.report.decided(event)
        self._record(self.engine.broadcast(event))
        if state.decisions[-1].decision == "rollback":
            assert state.checkpoint is not None
            checkpoints.load(self.engine, self.run, state.checkpoint)

    def _verdicts(self, gate: GateSpec) -> list[Verdict]:
        state = self.state
        now, *before = (scores.measured(self.run, self.plan, s, "gate") for s in [state.looks[-1], *(state.looks[:-1] if gate.compares else [])])
        seen = evidence(now, self.plan.catalog.name, spent(gate.looks, state.attempt), [changes(now, m, self.plan.benchmark) for m in before],
                        self.plan.learned(state.stage))
        return [plugin("radisim_cl.gates", r.kind).decide(r, seen) for r in gate.requires]

    def _commit(self, event: ev.CheckpointCommitted) -> None:
        """Saves a checkpoint; the event says all of it but its manifest."""
        manifest = checkpoints.save(self.engine, self.run, event.tag)
        self._record(event.model_copy(update={"manifest": manifest, "world": self.engine.world}))
        if self.board and event.why == "look":
            for what, pairs in (("asked", event.asked), ("realised", event.drawn)):
                self._plot({f"mixture_{what}/{event.stage}/{part}": pairs.get(part, 0) for part in event.asked}, event.total)
        if self.ledger:
            entries = [e.checkpoint.tag for e in self.state.entries.values()]
            recent = [e.tag for e in self.ledger.events if isinstance(e, ev.CheckpointCommitted)][-KEPT:]
            checkpoints.rotate(self.run, [*entries, *recent])

    def _record(self, event: ev.AnyEvent | None) -> None:
        """Rank 0 writes an event; every rank takes it into account."""
        written = self.engine.broadcast(self.ledger.append(event) if self.ledger and event else None)
        assert written is not None
        self.state.apply(written)

    def _check_data(self) -> None:
        for name, corpus in self.plan.corpora.items():
            if self.corpora[name].digest != corpus.digest:
                raise InputError(f"the manifest of {name!r} has changed since the plan was made; restore it, or start another run")

    def _plot(self, scalars: dict[str, float], at: int) -> None:
        assert self.board is not None
        for name, value in scalars.items():
            self.board.add_scalar(name if "/" in name else f"train/{name}", value, at)
