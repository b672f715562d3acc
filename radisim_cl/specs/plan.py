"""The plan: a curriculum with everything resolved. What a run executes, and what its digest stands for."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, Literal

from radisim_cl.files import sha256_text
from radisim_cl.specs.base import Spec
from radisim_cl.specs.benchmark import BenchmarkSpec
from radisim_cl.specs.catalog import CatalogSpec, TemplateSet
from radisim_cl.specs.curriculum import CurriculumSpec, MixtureEntry, StageSpec
from radisim_cl.specs.losses import LossSpec


class CorpusPlan(Spec):
    """A corpus as it was when the plan was made."""

    pairs: int
    """Rows of the manifest."""
    digest: str
    """SHA-256 of the manifest's bytes."""
    licences: list[str]
    """As stated by the manifest or the catalog."""


class EntryPlan(Spec):
    """One ingredient of a stage's stream."""

    entry: MixtureEntry
    """As written in the stage that it comes from."""
    stage: str
    """The stage whose mixture it belongs to; another one's: replay."""
    share: float
    """Part of the stage's stream, 0 to 1."""
    available: int
    """Pairs of the train split that the filter keeps and that have the caption asked for."""
    requested: int
    """Pairs drawn in the stage's planned samples."""
    repeats: float
    """Times that each of its pairs is seen by this entry, with the largest extension."""


class LossPlan(Spec):
    """A loss and whether it has what it needs."""

    kind: str
    """Which."""
    weight: float
    """Factor."""
    contributes: bool
    """False: no source offers what it needs, and it is not required."""
    note: str = ""
    """Why not; or on how many of the mixture's pairs, where it needs more than an image and a caption."""


class StagePlan(Spec):
    """A stage with its numbers."""

    spec: StageSpec
    """As written, after `use:` and `--set`."""
    batches: int
    """Optimizer steps without extensions."""
    samples: int
    """Pairs seen in them."""
    extension: int
    """Steps of one extension."""
    entries: list[EntryPlan]
    """The stream's ingredients, own ones first."""
    losses: list[LossPlan]
    """In the order of the spec."""
    left_out: list[str] = []
    """Optional sources that the catalog does not have."""

    @property
    def contributing(self) -> list[LossSpec]:
        """The losses that have what they need."""
        return [s for s, p in zip(self.spec.losses, self.losses, strict=True) if p.contributes]

    @property
    def sources(self) -> list[str]:
        """The corpora that its mixture draws from, replay included, in alphabetical order."""
        return sorted({e.entry.source for e in self.entries if e.share})


class SubtaskPlan(Spec):
    """A subtask with what the catalog has for it."""

    id: str
    """As in the benchmark."""
    suite: str
    """Its stage."""
    items: dict[str, int]
    """Images, or volumes, by split; where masks are asked for, those that have one."""
    patients: dict[str, int]
    """Patients of the rarest class by split; where masks are asked for, of all items."""
    images: dict[str, int] = {}
    """Images by split: as many as items, but for volumes."""
    missing: str = ""
    """Why it cannot be scored; empty when it can."""
    trained_on: list[str] = []
    """Sources of it that the curriculum also trains on, in whole or by an overlap that it allows: the score is not zero-shot on those."""


class OverlapPlan(Spec):
    """Training pairs that the benchmark asks about too."""

    source: str
    """Whose train split has them."""
    held: str
    """The benchmark's source that has them too; it may be the same."""
    kind: Literal["patient", "file", "picture", "suspected"]
    """What they share: the patient, the bytes of the image file, the picture; or two pictures are so alike that they may be one."""
    pairs: int
    """Training pairs."""
    items: dict[str, int]
    """The benchmark's images by split."""
    patients: int
    """Patients of those images."""

    def __str__(self) -> str:
        splits = ", ".join(f"{split} {n}" for split, n in self.items.items())
        what = {"patient": "of patients", "file": "with image files", "picture": "with pictures", "suspected": "with what may be pictures"}
        pairs = f"{self.pairs:,} pair{'s' * (self.pairs != 1)} of {self.source} {what[self.kind]}"
        return f"{pairs} that the benchmark asks about in {self.held} ({splits})"


class Estimates(Spec):
    """What a run is likely to need on the machine that made the plan; not part of the digest."""

    parameters: int
    """Of the model; 0 when its configuration is not on this machine."""
    memory_gib: float
    """Weights, gradients, optimizer and activations of one rank, and the copy of the model that a loss compares with."""
    hours: float
    """Training and scoring, from a matrix product timed on this machine; good to a factor of two."""


OF_THE_MACHINE = {"readers", "image_cache", "save_every", "patience"}
"""Fields of a profile that change no result."""


class Plan(Spec):
    """Everything that determines a run."""

    curriculum: CurriculumSpec
    """As read."""
    benchmark: BenchmarkSpec
    """As read."""
    catalog: CatalogSpec
    """As read, root absolute."""
    templates: TemplateSet | None
    """As read."""
    corpora: dict[str, CorpusPlan]
    """Those that the run touches."""
    stages: list[StagePlan]
    """In order."""
    reserve: int
    """Optimizer steps for extensions over the whole run."""
    subtasks: list[SubtaskPlan]
    """In the benchmark's order."""
    overlaps: list[OverlapPlan] = []
    """What the benchmark asks about of the train splits, by patient and by file; the curriculum allows each."""
    estimates: Estimates
    """Memory and hours."""

    def learned(self, stage: int) -> list[str]:
        """Suites and subtasks that the gates of the stages before one ask about."""
        return list(dict.fromkeys(t for s in self.stages[:stage] for t in s.spec.gate.targets))

    def taught(self, stage: int, targets: Collection[str]) -> list[str]:
        """The stages before one whose gates ask about any of some suites and subtasks; all of them if none does."""
        names = [s.spec.name for s in self.stages[:stage]]
        return [s.spec.name for s in self.stages[:stage] if set(targets) & set(s.spec.gate.targets)] or names

    def repair(self, stage: int, forgotten: Collection[str]) -> list[EntryPlan]:
        """The ingredients of a stage's stream while it repairs what was forgotten: a part of its own share goes to those stages, equally.

        Args:
            stage: index.
            forgotten: names of earlier stages; if none, the stream is the stage's own.
        """
        here, up = self.stages[stage], self.stages[stage].spec.gate.replay_up if forgotten else 0.0
        own = sum(e.share for e in here.entries if e.stage == here.spec.name)
        kept = [e.model_copy(update={"share": e.share * (1 - up)}) if e.stage == here.spec.name else e for e in here.entries]
        added = [e.model_copy(update={"share": up * own / len(forgotten) * e.share / sum(x.share for x in parts)})
                 for s in self.stages[:stage] if s.spec.name in forgotten
                 for parts in [[x for x in s.entries if x.stage == s.spec.name]] for e in parts]
        return kept + added

    @property
    def not_held_out(self) -> str:
        """The overlaps in a sentence; empty where there is none."""
        return f"Not everything is held out, as the curriculum allows: {'; '.join(map(str, self.overlaps))}." if self.overlaps else ""

    @property
    def notice(self) -> str:
        """What every page with a score of this plan says; empty where there is nothing to warn of."""
        return " ".join(filter(None, (self.catalog.notice, self.not_held_out)))

    def identity(self) -> dict[str, Any]:
        """What makes two plans the same: not where the data lies, how many threads read it, or how long it takes here."""
        out = self.model_dump(mode="json", exclude={"estimates": True, "catalog": {"root"}, "curriculum": {"stages", "profiles"}})
        return out | {"scale": self.curriculum.scale.model_dump(mode="json", exclude=OF_THE_MACHINE)}

    def digest(self) -> str:
        """Hex SHA-256 of `identity()`."""
        return sha256_text(json.dumps(self.identity(), sort_keys=True))

    def differences(self, other: Plan) -> list[str]:
        """`field: ours, not theirs` for every field that differs."""
        return _differences(self.identity(), other.identity())

    def asides(self, other: Plan) -> list[str]:
        """The same of what changes no result: where the data lies, and a profile's `OF_THE_MACHINE`."""
        ours, theirs = ({"catalog": {"root": p.catalog.root}, "scale": p.curriculum.scale.model_dump(mode="json", include=OF_THE_MACHINE)}
                        for p in (self, other))
        return _differences(ours, theirs)


def _differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    ours, theirs = _flat(one), _flat(other)
    return [f"{k}: {ours.get(k, 'absent')!r}, not {theirs.get(k, 'absent')!r}"
            for k in sorted(ours.keys() | theirs.keys()) if ours.get(k, "absent") != theirs.get(k, "absent")]


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {k2: v2 for k, v in value.items() for k2, v2 in _flat(v, f"{path}.{k}" if path else str(k)).items()}
    if isinstance(value, list) and value:
        return {k2: v2 for i, v in enumerate(value) for k2, v2 in _flat(v, f"{path}[{i}]").items()}
    return {path: value}
