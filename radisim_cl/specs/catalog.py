"""A catalog: names to corpora, and the words for their labels."""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from radisim_cl.errors import SpecError
from radisim_cl.files import library_file
from radisim_cl.specs.base import Document, Name, Spec
from radisim_cl.specs.losses import BACKGROUND
from radisim_cl.specs.tree import expand_environment, read, resolve_use

Split = Literal["train", "tune", "gate", "report"]
SPLITS: tuple[Split, ...] = ("train", "tune", "gate", "report")
Shares = dict[Split, float]
PixelValue = Annotated[int, Field(ge=0, le=255, strict=False)]  # a key of YAML is text


SYNTHETIC = "Synthetic: drawn from formulas, of no patient. Scores on it say nothing about patients."
"""What stands beside every score on the phantom, and in its corpora."""


class CorpusSpec(Spec):
    """One data set on disk."""

    manifest: str
    """CSV or Parquet, one row a pair; absolute, or relative to the catalog's root. Image paths are relative to it."""
    columns: dict[str, str] = {}
    """Our column name to the file's, where they differ: `{labels: label}`."""
    values: dict[str, dict[str, str]] = {}
    """By column, the file's values to ours: `{anatomy: {brain: head}}`."""
    patient: str | None = None
    """Regular expression whose first group, in the manifest's `patient`, is the patient: where copies or slices carry ids of their own."""
    patient_ids: str = ""
    """Whose numbering the patient ids are, in a word. Corpora that say the same, or nothing, share patients where they share ids."""
    splits: dict[str, Shares] = {"*": {"train": 0.5, "tune": 0.1, "gate": 0.2, "report": 0.2}}
    """The file's own split (`*`: any other) to the shares in which its patients are cut, by a hash of the patient."""
    licence: str = ""
    """Where the manifest has no licence column."""
    official_split: bool = False
    """The report split is the set's own test split, all of it: scores there may stand beside published ones."""
    structures: dict[PixelValue, str] = {}
    """By pixel value of the mask images, the structure. 0 is what no structure covers: unknown, and counts for nothing in training, unless it is
    listed, as `background`, or a structure is the `body`."""

    @field_validator("patient")
    @classmethod
    def _one_group(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                groups = re.compile(pattern).groups
            except re.error as e:
                raise ValueError(f"not a regular expression: {e}") from None
            if groups != 1:
                raise ValueError(f"needs exactly one group in parentheses, not {groups}")
        return pattern

    @field_validator("splits")
    @classmethod
    def _whole(cls, splits: dict[str, Shares]) -> dict[str, Shares]:
        for native, shares in splits.items():
            if abs(sum(shares.values()) - 1) > 1e-9 or min(shares.values()) < 0:
                raise ValueError(f"shares of split {native!r} must be positive and sum to 1, not {sum(shares.values()):g}")
        return splits

    @model_validator(mode="after")
    def _official(self) -> Self:
        into_report = [shares.get("report", 0.0) for shares in self.splits.values()]
        if self.official_split and (1.0 not in into_report or any(0 < share < 1 for share in into_report)):
            raise ValueError("official_split needs 'splits' that give one of the set's own splits to report, whole, and no part of another; "
                             "remove it where the report split is of our making")
        return self

    @field_validator("structures")
    @classmethod
    def _distinct(cls, structures: dict[int, str]) -> dict[int, str]:
        names = list(structures.values())
        if structures.get(0, BACKGROUND) != BACKGROUND:
            raise ValueError(f"pixel value 0 is where no structure is, and can only be called {BACKGROUND!r}, not {structures[0]!r}")
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"structure {twice[0]!r} has two pixel values; a mask has one for each")
        return structures


class PhantomSpec(Spec):
    """The embedded synthetic corpora. They are rendered when first needed, and kept under `$RADISIM_CACHE`."""

    seed: int = Field(0, ge=0, lt=2**32)
    """Of patients, pictures and captions."""
    size: int = Field(96, ge=32, le=512, multiple_of=2)
    """Pixels a side."""
    scale: float = Field(1.0, gt=0, le=100)
    """Patients of every source, relative to the default of about 33,000 pictures in all."""
    wrong_captions: float = Field(0.04, ge=0, le=1)
    """Share of captions that belong to another picture, in sources of web origin; less in curated ones."""
    missing_captions: float = Field(0.02, ge=0, le=1)
    """Share of pictures without a caption, likewise."""


class CatalogSpec(Document):
    """Names to corpora."""

    name: Name
    """As in `--catalog`; gates may hold different thresholds by catalog."""
    description: str = ""
    """One paragraph for readers."""
    root: str = ""
    """Folder that manifests are relative to, itself relative to the working directory; empty: the catalog file's folder."""
    phantom: PhantomSpec | None = None
    """The corpora are the embedded synthetic ones, and scores on them say nothing about patients. `root` is then where they are kept."""
    templates: str | None = None
    """Template set that words this catalog's labels: a file of `templates/`."""
    corpora: dict[str, CorpusSpec] = Field(min_length=1)
    """By the source names that curricula and benchmarks use."""

    @property
    def notice(self) -> str:
        """What every page with a score on these corpora says; empty where there is nothing to warn of."""
        return SYNTHETIC if self.phantom else ""


class LevelSpec(Spec):
    """How captions of one level are worded."""

    variants: list[str] = Field(min_length=1)
    """Sentences with columns in braces: `{modality} of the {anatomy}`. What a variant names is what its caption claims."""

    @field_validator("variants")
    @classmethod
    def _fields(cls, variants: list[str]) -> list[str]:
        for v in variants:
            fields(v)
        return variants


class TemplateSet(Document):
    """Captions for corpora that only have labels."""

    name: Name
    """As in a catalog's `templates`."""
    words: dict[str, dict[str, list[str]]] = {}
    """By column and value, the words for it; a value that is not listed is used as it is."""
    levels: dict[str, LevelSpec] = Field(min_length=1)
    """By level: `modality`, `anatomy`, ..."""


def fields(variant: str) -> tuple[str, ...]:
    """The columns that a template variant names, in order.

    Raises:
        ValueError: braces that are not closed, or no column at all.
    """
    try:
        found = tuple(f for _, f, _, _ in string.Formatter().parse(variant) if f is not None)
    except ValueError as e:
        raise ValueError(f"template {variant!r}: {e}") from None
    if not found or not all(found):
        raise ValueError(f"template {variant!r} must name at least one column in braces")
    return found


def load_catalog(name: str, near: Path | None = None) -> CatalogSpec:
    """Reads `catalogs/<name>.yaml`, with `use:` resolved; its root becomes absolute.

    Raises:
        InputError: no such file; SpecError: every problem in it.
    """
    path = library_file("catalogs", name, near)
    node = resolve_use(read(path), "catalogs", path.parent)
    if problems := expand_environment(node):
        raise SpecError(problems)
    catalog = CatalogSpec.from_node(node)
    root = Path(catalog.root) if catalog.root else path.parent
    out = catalog.model_copy(update={"root": str(root.resolve())})
    out._node = node
    return out


def load_templates(name: str, near: Path | None = None) -> TemplateSet:
    """Reads `templates/<name>.yaml`."""
    return TemplateSet.from_node(read(library_file("templates", name, near)))
