"""What is known of data sets and was published on them: shown to readers, and never part of a score."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from radisim_cl.specs.base import Spec


class DatasetSpec(Spec):
    """Facts about a data set."""

    title: str = Field(min_length=1)
    """What it is called."""
    url: str = ""
    """Where it is had."""
    citation: str = ""
    """Who describes it."""
    licence: str
    """On what terms; `not verified` where nobody has looked."""
    access: str = Field(min_length=1)
    """How it is had: open, after registration, under a data-use agreement, or internal to those who made it."""
    official_split: str = ""
    """Its own split; empty where it has none."""
    substitute: str = ""
    """A public set that can stand in, where this one is not to be had."""
    note: str = ""
    """What a reader should know, and what of the above is not verified."""

    @model_validator(mode="after")
    def _findable(self) -> Self:
        if not (self.url or self.citation or self.substitute):
            raise ValueError("needs a url or a citation; or a substitute, where the set is not to be had")
        return self

    @property
    def where(self) -> str:
        """Where to get it, in a line."""
        stand_in = f"; or instead {self.substitute}" if self.substitute else ""
        return f"{self.title}, access: {self.access}, {self.url or self.citation or 'not public'}{stand_in}"


class PublishedSpec(Spec):
    """A figure that others have published on a subtask's data."""

    model: str = Field(min_length=1)
    """Of which model."""
    value: float
    """The figure."""
    metric: str = Field("unstated", min_length=1)
    """In which metric; `unstated` where the source does not say."""
    source: str = Field(min_length=1)
    """Where it stands."""
    n: int | None = Field(None, ge=1)
    """On how many items; none where the source does not say."""
    note: str = ""
    """What a reader should know."""
