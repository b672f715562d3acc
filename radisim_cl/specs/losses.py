"""What a stage can ask of a loss. `radisim_cl/losses/<kind>.py` builds it; this file never imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, field_validator

from radisim_cl.specs.base import Spec, Where

BACKGROUND, BODY = "background", "body"
"""Words of every region vocabulary: outside the body; inside it, where no other structure is."""


def _one_place(template: str) -> str:
    if template.count("{}") != 1:
        raise ValueError(f"template {template!r} needs exactly one {{}} for the name")
    return template


Template = Annotated[str, AfterValidator(_one_place)]


class _Loss(Spec):
    needs: ClassVar[frozenset[str]] = frozenset()
    """Manifest columns that a pair must have for this loss to use it."""
    patches: ClassVar[bool] = False
    """Whether it compares patches and so needs their embeddings and areas."""
    bias: ClassVar[bool] = False
    """Whether it needs a model with a `logit_bias`."""
    entry: ClassVar[bool] = False
    """Whether it compares with the model that entered the stage, and so needs a copy of it."""

    weight: float = Field(1.0, gt=0)
    """Factor of this loss in the stage's sum."""
    warmup: float = Field(0.0, ge=0, le=1)
    """Share of the stage's planned steps over which the factor rises from 0 to `weight`, linearly; 0: it is `weight` from the first step."""
    required: bool = True
    """Refuse the plan when no source offers what the loss needs; false: it contributes nothing, and the plan says so."""

    @property
    def where(self) -> Where:
        """Values that a pair's columns must have for this loss to use it."""
        return {}

    def prompts(self, vocabulary: Sequence[str]) -> list[list[str]]:
        """Texts that are embedded beside the captions, by class.

        Args:
            vocabulary: words of the regions of the stage's sources.
        """
        return []


class ClipLossSpec(_Loss):
    """InfoNCE in both directions over the global batch (Radford et al. 2021, figure 3)."""

    kind: Literal["clip"] = "clip"
    """Which loss: the name of a file in `losses/`."""
    tile: int = Field(2048, ge=1)
    """Pairs: a larger global batch is compared in tiles of so many images by so many texts, made again backward; it saves memory, nothing else."""


class MultiPositiveLossSpec(_Loss):
    """Soft-target contrastive loss: every caption that is true of an image is a positive (UniCL, Yang et al. 2022, eq. 2-4)."""

    kind: Literal["multi_positive"] = "multi_positive"
    """Which loss: the name of a file in `losses/`."""
    positives: Literal["claims", "captions"] = "claims"
    """`claims`: an image is a positive of every caption whose label columns it shares; `captions`: of equal captions only."""


class SiglipLossSpec(_Loss):
    """A yes or no for every image and text of the global batch, with a learned bias (SigLIP, Zhai et al. 2023, eq. 1)."""

    bias: ClassVar[bool] = True

    kind: Literal["siglip"] = "siglip"
    """Which loss: the name of a file in `losses/`."""
    positives: Literal["claims", "captions"] = "claims"
    """`claims`: yes for an image and every caption whose label columns it shares; `captions`: for its own caption and equal ones only."""


class RegionLossSpec(_Loss):
    """What is where: regions of a mask and patches, each against the names of all structures of the stage."""

    needs: ClassVar[frozenset[str]] = frozenset({"mask"})
    patches: ClassVar[bool] = True

    kind: Literal["region"] = "region"
    """Which loss: the name of a file in `losses/`."""
    patch_weight: float = Field(0.5, ge=0, le=1)
    """Share of the patch term; the rest is the region term's."""
    templates: list[Template] = Field(["{}", "This is a {} image."], min_length=1)
    """Sentences for the name of a structure; their embeddings are averaged."""

    def prompts(self, vocabulary: Sequence[str]) -> list[list[str]]:
        """Every template with each word of the vocabulary; underscores are spaces."""
        return [[t.format(word.replace("_", " ")) for t in self.templates] for word in vocabulary]


class GradeSpec(Spec):
    """One step of a scale."""

    values: list[str] = Field(min_length=1)
    """Values of the manifest's `label` that mean this grade."""
    names: list[str] = Field(min_length=1)
    """What prompts call it."""


class OrdinalLossSpec(_Loss):
    """Grades in order: a near miss costs less than a far one (SORD, Diaz & Marathe 2019, eq. 1-2)."""

    needs: ClassVar[frozenset[str]] = frozenset({"label"})

    kind: Literal["ordinal"] = "ordinal"
    """Which loss: the name of a file in `losses/`."""
    grades: list[GradeSpec] = Field(min_length=2)
    """From the least to the most."""
    templates: list[Template] = Field(["{}", "This is a {} image."], min_length=1)
    """Sentences for the name of a grade; the embeddings of all its prompts are averaged."""
    temperature: float = Field(1.0, gt=0)
    """Steps of the scale over which a target falls by a factor of e; towards 0 the target is the grade alone."""

    @field_validator("grades")
    @classmethod
    def _distinct(cls, grades: list[GradeSpec]) -> list[GradeSpec]:
        for what, flat in (("value", [v for g in grades for v in g.values]), ("prompt name", [n for g in grades for n in g.names])):
            if twice := sorted({v for v in flat if flat.count(v) > 1}):
                raise ValueError(f"{what} {twice[0]!r} stands twice; a grade must be told from another")
        return grades

    @property
    def where(self) -> Where:
        """A label that is one of the grades."""
        return {"label": [v for g in self.grades for v in g.values]}

    def prompts(self, vocabulary: Sequence[str]) -> list[list[str]]:
        """Every template with every name, by grade."""
        return [[t.format(name) for t in self.templates for name in g.names] for g in self.grades]


class RetainLossSpec(_Loss):
    """What the model that entered the stage made of the batch is to stay: its similarities as soft targets (Mod-X, Ni et al. 2023)."""

    entry: ClassVar[bool] = True

    kind: Literal["retain"] = "retain"
    """Which loss: the name of a file in `losses/`."""


LossSpec = Annotated[ClipLossSpec | MultiPositiveLossSpec | SiglipLossSpec | RegionLossSpec | OrdinalLossSpec | RetainLossSpec,
                     Field(discriminator="kind")]
