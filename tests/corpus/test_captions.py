"""Captions: the manifest's own or worded from labels; what they claim, and whether a mirror would make them false."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest

from radisim_cl.corpus.captions import Caption, caption, captioned, names_side
from radisim_cl.errors import InputError
from radisim_cl.specs.catalog import TemplateSet, fields

TEMPLATES = TemplateSet.model_validate({
    "name": "toy", "words": {"modality": {"MR": ["MR", "MRI", "magnetic resonance"]}, "label": {"normal": ["no finding"]}},
    "levels": {"modality": {"variants": ["{modality}", "an image made by {modality}"]},
               "diagnosis": {"variants": ["{label}", "{modality} with {label}", "{label} in the {place}", "{modality} again {modality}"]}},
})
COLUMNS = ("modality", "label", "place", "caption")


def row(modality: str = "", label: str = "", place: str = "", own: str = "") -> dict[str, str]:
    """A row of a manifest."""
    return dict(zip(COLUMNS, (modality, label, place, own), strict=True))


def drawn(level: str, times: int = 60, **columns: str) -> list[Caption]:
    """Captions of one row, each from a stream of its own."""
    return [caption(row(**columns), level, TEMPLATES, np.random.default_rng(seed)) for seed in range(times)]


@pytest.mark.parametrize("text", [
    "Left lower lobe consolidation", "mass in the RIGHT kidney", "right-sided effusion", "left-upper", "upper left of the image", "opacity (right)",
    "R breast, benign", "L hip", "Lt. pleural effusion", "fracture of the rt femur", "dextrocardia", "pulmo sinistra", "leftward midline shift",
    "tracheal deviation rightwards", "RUL opacity", "LLL collapse",
])
def test_a_text_that_names_a_side_would_be_false_in_a_mirror(text: str) -> None:
    assert names_side(text)
    assert names_side("chest", text)


@pytest.mark.parametrize("text", [
    "", "normal chest radiograph", "bright spot", "upright film", "cleft palate", "bilateral effusions", "copyright notice", "L4 vertebra",
    "MR of the head", "mild renal ptosis", "upper part of the image", "alright", "T1-weighted", "KL grade 2",
])
def test_a_text_that_names_no_side_is_as_true_in_a_mirror(text: str) -> None:
    assert not names_side(text)
    assert not names_side(text, "", text)


def test_no_text_at_all_names_no_side() -> None:
    assert not names_side()


@pytest.mark.parametrize("level", ["modality", "diagnosis"])
def test_a_caption_is_a_function_of_its_own_stream(level: str) -> None:
    first, again = (drawn(level, modality="MR", label="mass", place="centre") for _ in range(2))
    assert first == again
    assert len(set(map(str, first))) > 1


def possible(level: str, columns: dict[str, str]) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    """Every caption that the template set can give a row, with its claims, made without the package's own code."""
    out = set()
    for variant in TEMPLATES.levels[level].variants:
        named = {f: columns.get(f, "") for f in fields(variant)}
        if all(named.values()):
            for words in itertools.product(*(TEMPLATES.words.get(f, {}).get(v, [v]) for f, v in named.items())):
                out.add((variant.format(**dict(zip(named, words, strict=True))), tuple(sorted(named.items()))))
    return out


@pytest.mark.parametrize(("level", "columns"), [
    ("modality", {"modality": "MR"}), ("modality", {"modality": "CT", "label": "mass"}), ("diagnosis", {"label": "normal"}),
    ("diagnosis", {"modality": "MR", "label": "mass"}), ("diagnosis", {"modality": "MR", "label": "mass", "place": "centre"}),
    ("diagnosis", {"modality": "MR"}),
])
def test_every_variant_and_word_is_drawn_and_claims_just_what_its_text_states(level: str, columns: dict[str, str]) -> None:
    found = {(c.text, tuple(sorted(c.claims.items()))) for c in drawn(level, 200, **columns)}
    assert found == possible(level, columns)


@pytest.fixture
def frame() -> pd.DataFrame:
    """Rows with more and more columns filled."""
    return pd.DataFrame([row(), row(modality="CT"), row(place="centre"), row(label="mass"), row("CT", "mass", "centre", "Mass."), row(own=" \t")])


@pytest.mark.parametrize(("level", "usable"), [
    ("own", [False, False, False, False, True, False]),
    ("modality", [False, True, False, False, True, False]),
    ("diagnosis", [False, True, False, True, True, False]),
])
def test_only_rows_with_the_columns_of_a_variant_are_captioned(frame: pd.DataFrame, level: str, usable: list[bool]) -> None:
    assert captioned(frame, level, TEMPLATES).tolist() == usable
    for record in frame[captioned(frame, level, TEMPLATES)].to_dict("records"):
        text = caption({str(k): str(v) for k, v in record.items()}, level, TEMPLATES, np.random.default_rng(0)).text
        assert text.strip()
        assert "{" not in text


def test_an_own_caption_is_kept_as_it_is_and_claims_nothing() -> None:
    assert drawn("own", 1, own="  A {strange} mass. ") == [Caption("A {strange} mass.", {})]


@pytest.mark.parametrize(("level", "templates", "message"), [
    ("diagnosi", TEMPLATES, r"'toy' has no level 'diagnosi'\. Did you mean 'diagnosis'\? Known: diagnosis, modality, own\."),
    ("modality", None, r"'modality' needs a template set"),
    ("plane", TEMPLATES.model_copy(update={"levels": TemplateSet.model_validate(
        {"name": "x", "levels": {"plane": {"variants": ["{modalty} slice"]}}}).levels}), r"'\{modalty\} slice' .*Did you mean 'modality'\?"),
])
def test_a_level_that_cannot_be_worded_is_refused(frame: pd.DataFrame, level: str, templates: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        captioned(frame, level, templates)


def test_own_captions_need_no_templates(frame: pd.DataFrame) -> None:
    assert captioned(frame, "own", None).sum() == 1
