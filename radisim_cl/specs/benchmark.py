"""A benchmark: subtasks, each with data, prompts and a primary metric."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from radisim_cl.errors import Problem, SpecError
from radisim_cl.files import library_file
from radisim_cl.registry import hint
from radisim_cl.specs.base import Document, Name, Spec, Where
from radisim_cl.specs.metrics import BY_PROTOCOL
from radisim_cl.specs.tree import expand_environment, read


class ItemsSpec(Spec):
    """Where a subtask's images come from."""

    source: str
    """A corpus of the catalog."""
    where: Where = {}
    """Keep only rows whose column has this value, or one of these."""


class ClassSpec(Spec):
    """One answer."""

    values: list[str] = Field(min_length=1)
    """Values of the subtask's `column` that mean this class."""
    names: list[str] = Field(min_length=1)
    """What prompts call it; the class embedding is the mean over templates and names."""


class SubtaskSpec(Spec):
    """One question that a model answers without having been trained on its labels as such."""

    id: Name
    """Unique in the benchmark: `dx.pneumonia`."""
    suite: str
    """The stage of the curriculum that teaches it."""
    modality: str = "all"
    """CT, MR, DR or all."""
    protocol: Literal["classify"] = "classify"
    """How images are scored: `radisim_cl/bench/protocols/`."""
    items: list[ItemsSpec] = Field(min_length=1)
    """Images."""
    column: str
    """Manifest column that holds the answer."""
    classes: dict[str, ClassSpec] = Field(min_length=2)
    """Answers; for two classes the second is the positive one of `auc`."""
    templates: list[str] = Field(["This is a {} image."], min_length=1)
    """Prompt templates; `{}` is a class name."""
    metric: str
    """Primary metric; skill is made from it."""
    min_patients: int = Field(5, ge=1)
    """Fewer patients than this in any class of the scored split: the subtask is undecidable."""
    provenance: Literal["source", "reconstructed"] = "reconstructed"
    """Whether the definition is published or ours."""
    note: str = ""
    """What a reader should know."""

    @field_validator("templates")
    @classmethod
    def _placeholders(cls, templates: list[str]) -> list[str]:
        for t in templates:
            if t.count("{}") != 1:
                raise ValueError(f"template {t!r} needs exactly one {{}} for the class name")
        return templates

    @model_validator(mode="after")
    def _consistent(self) -> SubtaskSpec:
        known = BY_PROTOCOL[self.protocol]
        if self.metric not in known:
            raise ValueError(f"protocol {self.protocol!r} has no metric {self.metric!r}. {hint(self.metric, known)}")
        for what, lists in (("value", [c.values for c in self.classes.values()]), ("prompt name", [c.names for c in self.classes.values()])):
            flat = [v for values in lists for v in values]
            twice = {v for v in flat if flat.count(v) > 1}
            if twice:
                raise ValueError(f"{what} {sorted(twice)[0]!r} stands in two classes; a class must be told from another")
        return self

    def prompts(self) -> dict[str, list[str]]:
        """Prompts by class: every template with every name."""
        return {c: [t.format(n) for t in self.templates for n in spec.names] for c, spec in self.classes.items()}

    def prompts_digest(self) -> str:
        """Hex digest of the prompts; two scores with different digests are different measurements."""
        return hashlib.sha256(json.dumps(self.prompts(), sort_keys=True).encode()).hexdigest()[:16]


class BenchmarkSpec(Document):
    """Versioned subtasks. A change of data, prompts or splits is a new version."""

    name: Name
    """As in `benchmark:` of a curriculum."""
    version: Annotated[str, Field(min_length=1)]
    """Enters the hash that cuts patients into splits, so a new version has new splits."""
    description: str = ""
    """One paragraph for readers."""
    subtasks: list[SubtaskSpec] = Field(min_length=1)
    """In the order of the report."""

    def cross_checks(self) -> list[Problem]:
        """No two subtasks have one id."""
        out, first = [], dict[str, int]()
        for i, s in enumerate(self.subtasks):
            if s.id in first:
                out.append(self.problem(("subtasks", i, "id"), f"duplicate subtask id {s.id!r}, first used by subtasks[{first[s.id]}]; rename one"))
            first.setdefault(s.id, i)
        return out

    @property
    def suites(self) -> dict[str, list[SubtaskSpec]]:
        """Subtasks by suite, in order."""
        out: dict[str, list[SubtaskSpec]] = {}
        for s in self.subtasks:
            out.setdefault(s.suite, []).append(s)
        return out


def load_benchmark(name: str, near: Path | None = None) -> BenchmarkSpec:
    """Reads `benchmarks/<name>.yaml`.

    Raises:
        InputError: no such file; SpecError: every problem in it.
    """
    node = read(library_file("benchmarks", name, near))
    if problems := expand_environment(node):
        raise SpecError(problems)
    return BenchmarkSpec.from_node(node)
