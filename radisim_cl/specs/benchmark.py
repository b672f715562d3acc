"""A benchmark: subtasks, each with data, prompts and a primary metric."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from radisim_cl.errors import Problem, SpecError
from radisim_cl.files import library_file
from radisim_cl.registry import hint
from radisim_cl.specs.base import Document, Name, Spec, Where
from radisim_cl.specs.datasets import DatasetSpec, PublishedSpec
from radisim_cl.specs.metrics import rising
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


class VolumeClassSpec(Spec):
    """One answer about a volume."""

    values: list[str] = Field(min_length=1)
    """Values of the subtask's `column` that mean this class."""
    prompts: list[str] = Field(min_length=1)
    """Fine prompts, whole sentences; the best of them speaks for the class."""


def _one_placeholder(template: str) -> str:
    if template.count("{}") != 1:
        raise ValueError(f"template {template!r} needs exactly one {{}} for the class name")
    return template


def _told_apart(what: str, lists: Iterable[list[str]], where: str = "two classes; a class") -> None:
    flat = [v for values in lists for v in values]
    if twice := sorted({v for v in flat if flat.count(v) > 1}):
        raise ValueError(f"{what} {twice[0]!r} stands in {where} must be told from another")


def _asked_apart(prompts: Mapping[str, Iterable[str]]) -> None:
    """A model that reads lower case and single blanks, as most do, must see another prompt for each class."""
    of: dict[str, str] = {}
    for label, texts in prompts.items():
        for text in texts:
            if (other := of.setdefault(" ".join(text.lower().split()), label)) != label:
                raise ValueError(f"prompt {text!r} is asked for {other!r} and for {label!r}; one must be told from another")


Templates = Annotated[list[Annotated[str, AfterValidator(_one_placeholder)]], Field(min_length=1)]


class _Subtask(Spec):
    id: Name
    """Unique in the benchmark: `dx.pneumonia`."""
    suite: str
    """The stage of the curriculum that teaches it."""
    modality: str = "all"
    """CT, MR, DR or all."""
    protocol: str
    """How images are scored: `radisim_cl/bench/protocols/`."""
    items: list[ItemsSpec] = Field(min_length=1)
    """Images."""
    metric: str
    """Primary metric; skill is made from it."""
    min_patients: int = Field(5, ge=1)
    """Fewer patients than this in any class of the scored split, or with a mask or caption there: the subtask is undecidable."""
    provenance: Literal["source", "reconstructed"] = "reconstructed"
    """Whether the definition is published or ours."""
    published: list[PublishedSpec] = []
    """Figures of others, printed only beside a score of the real set's own test split."""
    note: str = ""
    """What a reader should know."""

    @model_validator(mode="after")
    def _primary(self) -> Self:
        if self.metric not in (known := rising(self.protocol)):
            raise ValueError(f"protocol {self.protocol!r} has no metric {self.metric!r} that skill can be made from. {hint(self.metric, known)}")
        return self

    @property
    @abstractmethod
    def labels(self) -> list[str]:
        """What an item can be, or show: by index, what `truth` means."""

    @abstractmethod
    def prompts(self) -> dict[str, list[str]]:
        """Prompts by what they stand for."""

    def by_template(self) -> dict[str, Self]:
        """By template, the same subtask with it alone; empty unless class embeddings are means over several templates."""
        return {}

    def prompts_digest(self) -> str:
        """Hex digest of the prompts; two scores with different digests are different measurements."""
        return hashlib.sha256(json.dumps(self.prompts(), sort_keys=True).encode()).hexdigest()[:16]


class _NamedClasses(_Subtask):
    column: str
    """Manifest column that holds the answer."""
    classes: dict[str, ClassSpec] = Field(min_length=2)
    """Answers; for two classes the second is the positive one of `auc`; grades ascend."""
    templates: Templates = ["This is a {} image."]
    """Prompt templates; `{}` is a class name."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _told_apart("value", (c.values for c in self.classes.values()))
        _told_apart("prompt name", (c.names for c in self.classes.values()))
        _asked_apart(self.prompts())
        return self

    @property
    def labels(self) -> list[str]:
        """Its classes."""
        return list(self.classes)

    def prompts(self) -> dict[str, list[str]]:
        """Prompts by class: every template with every name."""
        return {c: [t.format(n) for t in self.templates for n in spec.names] for c, spec in self.classes.items()}

    def by_template(self) -> dict[str, Self]:
        """By template, the same subtask with it alone; empty where there is one."""
        return {t: self.model_copy(update={"templates": [t]}) for t in self.templates} if len(self.templates) > 1 else {}


class ClassifySubtask(_NamedClasses):
    """Which class an image is of."""

    protocol: Literal["classify"] = "classify"
    """How images are scored: `radisim_cl/bench/protocols/classify.py`."""


class OrdinalSubtask(_NamedClasses):
    """Which grade an image is of; the classes are the grades in ascending order."""

    protocol: Literal["ordinal"]
    """How images are scored: `radisim_cl/bench/protocols/ordinal.py`."""


class VolumeSubtask(_Subtask):
    """Which of two classes a volume is of; rows of one `study` are its slices, and a row without one is a volume of its own."""

    protocol: Literal["volume"]
    """How images are scored: `radisim_cl/bench/protocols/volume.py`."""
    column: str
    """Manifest column that holds the answer."""
    classes: dict[str, VolumeClassSpec] = Field(min_length=2, max_length=2)
    """The negative answer, then the positive one."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _told_apart("value", (c.values for c in self.classes.values()))
        _told_apart("prompt", (c.prompts for c in self.classes.values()))
        _asked_apart(self.prompts())
        return self

    @property
    def labels(self) -> list[str]:
        """Its classes."""
        return list(self.classes)

    def prompts(self) -> dict[str, list[str]]:
        """Fine prompts by class."""
        return {c: list(spec.prompts) for c, spec in self.classes.items()}


class GroundSubtask(_Subtask):
    """Where structures are in an image; asked of images that have a mask."""

    protocol: Literal["ground"]
    """How images are scored: `radisim_cl/bench/protocols/ground.py`."""
    structures: list[str] = Field(min_length=1)
    """What is looked for, named as in the corpora's `structures`."""
    vocabulary: dict[str, Annotated[list[str], Field(min_length=1)]] = Field(min_length=2)
    """What a patch can be, and its prompt names: the structures, and others such as background and body."""
    templates: Templates = ["This is a {} image."]
    """Prompt templates; `{}` is a prompt name."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _told_apart("structure", [self.structures], "the list twice; a structure")
        _told_apart("prompt name", self.vocabulary.values(), "two entries of the vocabulary; one")
        _asked_apart(self.prompts())
        if lacking := [s for s in self.structures if s not in self.vocabulary]:
            raise ValueError(f"structure {lacking[0]!r} is not in the vocabulary. {hint(lacking[0], self.vocabulary)}")
        return self

    @property
    def labels(self) -> list[str]:
        """Its structures."""
        return list(self.structures)

    def prompts(self) -> dict[str, list[str]]:
        """Prompts by entry of the vocabulary: every template with every name."""
        return {v: [t.format(n) for t in self.templates for n in names] for v, names in self.vocabulary.items()}


class RetrieveSubtask(_Subtask):
    """Which caption belongs to an image, and which image to a caption; asked of images that have one."""

    protocol: Literal["retrieve"]
    """How images are scored: `radisim_cl/bench/protocols/retrieve.py`."""

    @property
    def labels(self) -> list[str]:
        """None: captions are as many as they are."""
        return []

    def prompts(self) -> dict[str, list[str]]:
        """None: images are compared with the items' own captions."""
        return {}


LabelledSubtask = ClassifySubtask | OrdinalSubtask | VolumeSubtask


def protocol(subtask: Any) -> str:
    """Which of the specs is meant; `classify` where nothing is said."""
    return str(subtask.get("protocol", "classify") if isinstance(subtask, dict) else getattr(subtask, "protocol", "classify"))


SubtaskSpec = Annotated[
    Annotated[ClassifySubtask, Tag("classify")] | Annotated[OrdinalSubtask, Tag("ordinal")] | Annotated[VolumeSubtask, Tag("volume")]
    | Annotated[GroundSubtask, Tag("ground")] | Annotated[RetrieveSubtask, Tag("retrieve")],
    Discriminator(protocol),
]


class BenchmarkSpec(Document):
    """Versioned subtasks. A change of data, prompts or splits is a new version."""

    name: Name
    """As in `benchmark:` of a curriculum."""
    version: Annotated[str, Field(min_length=1)]
    """Enters the hash that cuts patients into splits, so a new version has new splits."""
    description: str = ""
    """One paragraph for readers."""
    datasets: dict[str, DatasetSpec] = {}
    """Facts about the data sets, by source; where there are any, each source that a subtask uses has an entry."""
    subtasks: list[SubtaskSpec] = Field(min_length=1)
    """In the order of the report."""

    def cross_checks(self) -> list[Problem]:
        """No two subtasks have one id, and `datasets` are the sources of the subtasks."""
        out, first, used = [], dict[str, int](), dict[str, tuple[str | int, ...]]()
        for i, s in enumerate(self.subtasks):
            if s.id in first:
                out.append(self.problem(("subtasks", i, "id"), f"duplicate subtask id {s.id!r}, first used by subtasks[{first[s.id]}]; rename one"))
            first.setdefault(s.id, i)
            for j, part in enumerate(s.items):
                used.setdefault(part.source, ("subtasks", i, "items", j, "source"))
        for source, at in used.items():
            if self.datasets and source not in self.datasets:
                out.append(self.problem(at, f"source {source!r} has no entry under 'datasets'; add one. {hint(source, self.datasets)}"))
        for source in self.datasets:
            if source not in used:
                out.append(self.problem(("datasets", source), f"no subtask uses source {source!r}; remove the entry. {hint(source, used)}"))
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
