"""The floors: two small feature vectors and a logistic regression."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from radisim_cl.bench.floors import features, predict

F = npt.NDArray[np.float64]
LENGTHS = {"pixel_statistics": 20, "thumbnail": 64}


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 8, 8), (1, 37, 90), (3, 300, 200)], ids=str)
def test_lengths(shape: tuple[int, int, int]) -> None:
    image = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = features(image)
    assert {k: len(v) for k, v in found.items()} == LENGTHS
    assert all(v.ndim == 1 and np.isfinite(v).all() for v in found.values())


@pytest.mark.parametrize("grey", [0, 5, 77, 128, 255])
def test_features_of_an_empty_image_are_finite(grey: int) -> None:
    """One blank slice must not stop the scoring of a benchmark."""
    found = features(torch.full((1, 37, 41), grey, dtype=torch.uint8))
    assert all(np.isfinite(v).all() for v in found.values())
    np.testing.assert_allclose(found["thumbnail"], grey / 255, atol=1e-6)


def test_grey_in_three_channels_is_grey() -> None:
    image = torch.randint(0, 256, (1, 30, 20), dtype=torch.uint8)
    for floor, vector in features(image).items():
        np.testing.assert_allclose(features(image.expand(3, -1, -1))[floor], vector, atol=1e-6)


def table(n: int, apart: float) -> tuple[pd.DataFrame, dict[tuple[str, int], dict[str, F]]]:
    """Items of two classes, so many standard deviations apart in one feature."""
    rng = np.random.default_rng(0)
    truth = rng.permutation(np.arange(n) % 2)
    vectors = {("s", i): {f: rng.normal(0, 1, size) + apart * truth[i] * (np.arange(size) == 3) for f, size in LENGTHS.items()} for i in range(n)}
    return pd.DataFrame({"source": "s", "row": range(n), "item": range(n), "truth": truth}), vectors


@pytest.mark.parametrize(("apart", "low", "high"), [(6.0, 0.99, 1.0), (0.0, 0.2, 0.8)])
def test_what_is_separable_is_separated_and_noise_is_not(apart: float, low: float, high: float) -> None:
    frame, vectors = table(200, apart)
    fit, score = frame[:120], frame[120:].reset_index(drop=True)
    found = predict(fit, score.drop(columns="truth"), vectors, 2)
    assert set(found) == set(LENGTHS)
    for chances in found.values():
        assert chances.shape == (80, 2)
        assert low <= roc_auc_score(score["truth"], chances[:, 1]) <= high


@pytest.mark.parametrize(("fit", "score", "classes"), [
    (slice(0, 0), slice(10, 20), 2), (slice(0, 10), slice(0, 0), 2), (slice(0, 10), slice(10, 20), 3),
], ids=["nothing to fit on", "nothing to answer", "a class without an item"])
def test_no_floor_where_none_can_be_fitted(fit: slice, score: slice, classes: int) -> None:
    frame, vectors = table(20, apart=6.0)
    assert predict(frame[fit], frame[score], vectors, classes) == {}


def test_a_rare_class_is_not_ignored() -> None:
    """One item in ten is of the rare class; unbalanced, the fit would answer it a third of the time where it is right."""
    frame, vectors = table(800, apart=2.0)
    fit = (frame["truth"] == 0) | (frame.index < 80)
    answer = predict(frame[fit], frame[~fit], vectors, 2)["pixel_statistics"].argmax(axis=1)
    assert answer.mean() > 0.6


def test_a_volume_has_the_mean_features_of_its_slices() -> None:
    """Two slices whose differences cancel are as one in between, in fitting and in answering."""
    frame, vectors = table(120, apart=3.0)
    rng = np.random.default_rng(1)
    apart = {("s", row + 1000 * half): {k: v + (1 - 2 * half) * rng_k for k, v in by.items() for rng_k in [rng.normal(0, 5)]}
             for (_, row), by in vectors.items() for half in (0, 1)}
    shifts = {row: {k: (apart["s", row][k] + apart["s", row + 1000][k]) / 2 for k in by} for (_, row), by in vectors.items()}
    slices = pd.concat([frame, frame.assign(row=frame["row"] + 1000)]).sort_values("row", kind="stable", ignore_index=True)
    fit, score = frame["row"] < 80, slices["row"] % 1000 < 80
    one = predict(frame[fit], frame[~fit], {("s", row): by for row, by in shifts.items()}, 2)
    two = predict(slices[score], slices[~score], apart, 2)
    for floor, chances in one.items():
        np.testing.assert_allclose(two[floor], chances, atol=1e-9)
