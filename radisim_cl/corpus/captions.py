"""Captions: the manifest's own, or worded from labels by a template set."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radisim_cl.errors import InputError
from radisim_cl.registry import hint
from radisim_cl.specs.catalog import TemplateSet, fields

_SIDE = re.compile(r"\b((left|right)(wards?)?|[lr]t?|[lr][uml]l|sinistr\w*|dextr\w*)\b", re.I)


@dataclass(frozen=True)
class Caption:
    """A sentence and what it claims.

    Attributes:
        text: the caption.
        claims: by label column, the value that the text states; empty for a caption of the manifest's own.
    """

    text: str
    claims: dict[str, str]


def names_side(*texts: str) -> bool:
    """Whether a caption or label names a side, so that a mirrored image would make it false."""
    return any(_SIDE.search(t.replace("_", " ")) for t in texts)


def sides(text: str) -> list[tuple[int, str]]:
    """`left` and `right` where a text names one, with where it does."""
    return [(m.start(), "left" if m[0][0].lower() in "ls" else "right") for m in _SIDE.finditer(text)]


def captioned(frame: pd.DataFrame, level: str, templates: TemplateSet | None) -> pd.Series[bool]:
    """Rows that can have the caption asked for: their own, or at least one variant whose columns are all filled.

    Raises:
        InputError: a level that the template set does not have, or no template set.
    """
    if level == "own":
        return frame["caption"].str.strip() != ""
    usable = pd.Series(False, index=frame.index)
    for variant in _variants(level, templates):
        if absent := [f for f in fields(variant) if f not in frame]:
            raise InputError(f"template {variant!r} names no column of the manifest. {hint(absent[0], frame.columns)}")
        usable |= (frame[list(fields(variant))] != "").all(axis=1)
    return usable


def caption(row: dict[str, str], level: str, templates: TemplateSet | None, rng: np.random.Generator) -> Caption:
    """The caption of a row; variants and words are drawn from `rng`, the sample's own.

    Raises:
        InputError: as in `captioned`.
    """
    if level == "own":
        return Caption(row["caption"].strip(), {})
    assert templates is not None
    usable = [v for v in _variants(level, templates) if all(row[f] for f in fields(v))]
    variant = usable[int(rng.integers(len(usable)))]
    claims = {f: row[f] for f in fields(variant)}
    words = {f: _word(templates, f, value, rng) for f, value in claims.items()}
    return Caption(variant.format(**words), claims)


def _variants(level: str, templates: TemplateSet | None) -> list[str]:
    if templates is None:
        raise InputError(f"captions: {level!r} needs a template set, and the catalog names none under 'templates'")
    if level not in templates.levels:
        raise InputError(f"template set {templates.name!r} has no level {level!r}. {hint(level, ['own', *templates.levels])}")
    return templates.levels[level].variants


def _word(templates: TemplateSet, column: str, value: str, rng: np.random.Generator) -> str:
    words = templates.words.get(column, {}).get(value)
    return words[int(rng.integers(len(words)))] if words else value
