"""Retrieval: ranks by hand and against a slow reference, and chance against closed forms and a simulation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import comb

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from _small import model, opened, plans
from conftest import World
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from radisim_cl.bench import evaluate
from radisim_cl.bench.items import MODEL, counted, fewest, items
from radisim_cl.bench.measure import Measurement, measure, scorecard
from radisim_cl.bench.protocols import retrieve
from radisim_cl.bench.seen import Seen
from radisim_cl.models.embedder import Embedder
from radisim_cl.records.evidence import Gate
from radisim_cl.specs.benchmark import BenchmarkSpec, RetrieveSubtask
from radisim_cl.specs.metrics import BY_PROTOCOL
from radisim_cl.stats import Resamples, Values

F = npt.NDArray[np.float64]
METRICS = BY_PROTOCOL["retrieve"]
I2T, T2I = METRICS[:5], METRICS[5:]
SPEC: dict[str, object] = {"id": "r", "suite": "ret", "protocol": "retrieve", "items": [{"source": "s"}], "metric": "i2t_recall_1",
                           "min_patients": 2}


def spec(**changes: object) -> BenchmarkSpec:
    """A benchmark of one such subtask."""
    return BenchmarkSpec.model_validate({"name": "small", "version": "1", "subtasks": [SPEC | changes]})


def subtask(**changes: object) -> RetrieveSubtask:
    """It alone."""
    found = spec(**changes).subtasks[0]
    assert isinstance(found, RetrieveSubtask)
    return found


def seen(captions: Sequence[str], cosines: Sequence[Sequence[float]] | F, patients: Sequence[str] | None = None) -> Seen:
    """Images with their captions, and the cosine of each with each caption in the order of first mention."""
    table = np.asarray(cosines, dtype=np.float32)
    frame = pd.DataFrame({"source": "s", "row": range(len(captions)), "item": [f"i{n}" for n in range(len(captions))],
                          "patient": patients or [f"p{n}" for n in range(len(captions))], "truth": 0, "split": "gate", "caption": captions})
    nothing = np.empty(0, dtype=np.float32)
    return Seen(frame, "gate", table, np.eye(table.shape[1], dtype=np.float32), nothing, np.empty(0, dtype=np.uint8))


def scored(shown: Seen) -> pd.DataFrame:
    """By image, the metrics."""
    rows = retrieve.score(subtask(), shown)[MODEL]
    return pd.DataFrame(rows["scores"].to_list(), columns=METRICS)


def measured(shown: Seen, asked: BenchmarkSpec | None = None) -> Measurement[Gate]:
    """The measurement of stored answers."""
    rows = retrieve.score(subtask(), shown)[MODEL].drop(columns="caption")
    return measure(rows.assign(by=MODEL, subtask="r"), asked or spec(), "gate")


def test_both_directions_by_hand() -> None:
    """Images 0 and 2 have caption `a`. Image 1 takes `a` for its own `b`; `c` finds image 1 before its own."""
    found = scored(seen(["a", "b", "a", "c"], [[0.9, 0.1, 0.2], [0.6, 0.5, 0.4], [0.1, 0.2, 0.3], [0.0, 0.1, 0.3]]))
    assert found["i2t_average_rank"].tolist() == [1, 2, 3, 1]
    assert found["i2t_recall_1"].tolist() == found["i2t_top_1_percent"].tolist() == [1, 0, 0, 1]
    assert found["t2i_average_rank"].tolist() == [1, 1, 1, 2.5], "image 0 is the first of `a`; for `c`, image 1 wins and image 2 is level"
    assert found["t2i_recall_1"].tolist() == [1, 1, 1, 0]
    assert found["i2t_recall_5"].tolist() == found["t2i_recall_5"].tolist() == [1, 1, 1, 1]


def test_every_caption_counts_once_in_either_direction() -> None:
    """Of `a`, one image of two is right; of `b` none; of `c` the one there is."""
    m = measured(seen(["a", "b", "a", "c"], [[0.9, 0.1, 0.2], [0.6, 0.5, 0.4], [0.1, 0.2, 0.3], [0.0, 0.1, 0.3]]))
    assert m.estimates["r", "i2t_recall_1"].value == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert m.estimates["r", "i2t_average_rank"].value == pytest.approx((2 + 2 + 1) / 3)
    assert m.estimates["r", "t2i_recall_1"].value == pytest.approx(2 / 3)
    assert m.estimates["r", "t2i_average_rank"].value == pytest.approx((1 + 1 + 2.5) / 3)


def test_candidates_that_are_level_share_their_ranks() -> None:
    """Image 0 is as near to all three captions, image 1 to its own and one other; its caption has two images, level with a third."""
    found = scored(seen(["a", "b", "b", "c"], [[0.5, 0.5, 0.5], [0.2, 0.7, 0.7], [0.1, 0.7, 0.1], [0.1, 0.7, 0.9]]))
    assert found["i2t_average_rank"].tolist() == [2, 1.5, 1, 1]
    np.testing.assert_allclose(found["i2t_recall_1"], [1 / 3, 1 / 2, 1, 1])
    np.testing.assert_allclose(found["t2i_average_rank"][1:3], (3 + 1) / (2 + 1))
    np.testing.assert_allclose(found["t2i_recall_1"][1:3], 2 / 3)


@pytest.mark.parametrize(("candidates", "best"), [(1, 1), (100, 1), (101, 2), (700, 7), (701, 8)])
def test_the_best_hundredth_is_rounded_up(candidates: int, best: int) -> None:
    above = np.arange(20.0)
    found = retrieve.reached(above, np.ones(20), np.ones(20), candidates)
    assert found[:, 0].tolist() == [float(rank <= best) for rank in range(1, 21)]


def slow(captions: Sequence[str], cosines: F) -> tuple[F, F]:
    """Ranks and hits of each image and of each caption, (n, 5) and (K, 5): sorted in every order of the candidates, and averaged."""
    texts = list(dict.fromkeys(captions))

    def query(scores: Sequence[float], right: Sequence[bool]) -> list[float]:
        ranks = []
        for order in itertools.permutations(range(len(scores))):
            ranked = sorted(order, key=lambda c: -scores[c])
            ranks.append(1 + next(place for place, c in enumerate(ranked) if right[c]))
        hundredth = -(-len(scores) // 100)
        hits = [float(np.mean([r <= k for r in ranks])) for k in (hundredth, 1, 5, 10)]
        return [hits[0], float(np.mean(ranks)), *hits[1:]]

    to_text = [query(cosines[i].tolist(), [t == captions[i] for t in texts]) for i in range(len(captions))]
    to_image = [query(cosines[:, j].tolist(), [c == t for c in captions]) for j, t in enumerate(texts)]
    return np.array(to_text), np.array(to_image)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[str], F]:
    """Few captions, so that some occur twice, and few values, so that some are level."""
    captions = draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=6))
    rows = st.lists(st.sampled_from([0.0, 0.25, 0.5]), min_size=len(set(captions)), max_size=len(set(captions)))
    return captions, np.array(draw(st.lists(rows, min_size=len(captions), max_size=len(captions))))


@settings(max_examples=60)
@given(cases(), st.sampled_from([1, 5, 2**24]))
def test_scores_and_means_are_the_slow_references(case: tuple[list[str], F], cells: int) -> None:
    """However many rows are ranked at a time."""
    captions, cosines = case
    to_text, to_image = slow(captions, cosines)
    of, texts = np.array(pd.factorize(np.array(captions))[0]), len(set(captions))
    shown = seen(captions, cosines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieve, "CELLS", cells)
        rows = retrieve.score(subtask(), shown)[MODEL]
    np.testing.assert_allclose(np.stack(rows["scores"].to_list()), np.hstack([to_text, to_image[of]]), atol=1e-9)
    assert rows["truth"].tolist() == of.tolist()
    values = retrieve.read(subtask(), rows.assign(by=MODEL))[MODEL]
    resamples = Resamples.draw(list(values.patients), replicates=5)
    by_caption = np.array([to_text[of == c].mean(axis=0) for c in range(texts)])
    for metric, each in zip(METRICS, np.hstack([by_caption, to_image]).T, strict=True):
        assert values.estimate(metric, resamples).value == pytest.approx(each.mean())


CAPTIONS = list("aaaaaabbbccdefghijklmnopq") + [f"caption {n}" for n in range(120)]
"""145 images of 137 captions, some of which occur up to six times."""


def chance(captions: Sequence[str]) -> dict[str, float]:
    """Closed forms: the expected values of random order (the hypergeometric's, from exact integers)."""
    counts = pd.Series(captions).value_counts().tolist()
    n, k = len(captions), len(counts)
    out = {"i2t_average_rank": (k + 1) / 2, "t2i_average_rank": float(np.mean([(n + 1) / (m + 1) for m in counts]))}
    for name, at in {"recall_1": (1, 1), "recall_5": (5, 5), "recall_10": (10, 10), "top_1_percent": (-(-k // 100), -(-n // 100))}.items():
        out[f"i2t_{name}"] = min(1.0, at[0] / k)
        out[f"t2i_{name}"] = float(np.mean([1 - comb(n - m, at[1]) / comb(n, at[1]) for m in counts]))
    return out


@pytest.mark.parametrize("captions", [CAPTIONS, list("abcdefghijklmno"), ["a"] * 9 + ["b"] * 2, [f"caption {n % 4000}" for n in range(5000)]],
                         ids=["some twice", "none twice", "two", "thousands"])
def test_chance_is_the_closed_form(captions: list[str]) -> None:
    each = pd.factorize(np.array(captions))[0]
    rows = pd.DataFrame({"by": MODEL, "patient": captions, "truth": each, "scores": [[0.0] * 10] * len(captions)})
    found = retrieve.read(subtask(), rows)[MODEL]
    expected = chance(captions)
    assert {m: found.chance(m) for m in METRICS} == pytest.approx({m: expected[m] for m in METRICS}, rel=1e-9)


def test_chance_is_what_random_cosines_reach() -> None:
    """300 simulations, each of 145 images and 137 captions; within 4 standard errors."""
    rng, simulated = np.random.default_rng(0), []
    texts = len(set(CAPTIONS))
    for _ in range(300):
        rows = retrieve.score(subtask(), seen(CAPTIONS, rng.random((len(CAPTIONS), texts))))[MODEL]
        values = retrieve.read(subtask(), rows.assign(by=MODEL))[MODEL]
        simulated.append([np.average(values.values[m], weights=values.weights) for m in METRICS])
    error = np.std(simulated, axis=0) / np.sqrt(len(simulated))
    expected = chance(CAPTIONS)
    assert (np.abs(np.mean(simulated, axis=0) - [expected[m] for m in METRICS]) < 4 * error).all()


def test_a_model_that_says_the_same_of_everything_has_chance() -> None:
    """In every metric; and one with a favourite caption, the commonest, gains nothing by it."""
    texts = len(set(CAPTIONS))
    m = measured(seen(CAPTIONS, np.full((len(CAPTIONS), texts), 0.5)))
    for metric, expected in chance(CAPTIONS).items():
        assert m.estimates["r", metric].value == pytest.approx(expected, rel=1e-9)
    assert m.estimates["r", "skill"].value == pytest.approx(0, abs=1e-9)
    favourites = np.tile(np.linspace(1, 0, texts), (len(CAPTIONS), 1))
    m = measured(seen(CAPTIONS, favourites))
    for metric in I2T:
        assert m.estimates["r", metric].value == pytest.approx(chance(CAPTIONS)[metric], rel=1e-9)


def test_a_perfect_model_is_perfect_and_not_certain() -> None:
    of = pd.factorize(np.array(CAPTIONS))[0]
    m = measured(seen(CAPTIONS, np.eye(of.max() + 1)[of]))
    for metric in METRICS:
        low, high = m.estimates["r", metric].bounds(0.025)
        if metric.endswith("average_rank"):
            assert 1 == m.estimates["r", metric].value == low < high < 10
        else:
            assert low < high == m.estimates["r", metric].value == 1
    assert m.estimates["r", "skill"].value == 1
    assert m.chance["r"] == pytest.approx(1 / (of.max() + 1))


def test_what_is_not_a_number_decides_nothing() -> None:
    table = np.random.default_rng(0).random((6, 6))
    table[2, 3] = np.nan
    m = measured(seen(list("abcdef"), table))
    assert "not defined" in m.undecidable["r"]
    assert ("r", "skill") not in m.estimates


def test_a_decision_needs_patients_and_more_than_one_caption() -> None:
    few = measured(seen(list("abcd"), np.eye(4), ["p", "p", "q", "q"]), spec(min_patients=3))
    assert few.undecidable["r"] == "2 patients with a caption, and 3 are needed; no difference could have been seen"
    one = measured(seen(["a"] * 4, np.ones((4, 1))))
    assert one.undecidable["r"] == "chance is 1, which leaves nothing to find out by looking"


def values(table: F, patients: Sequence[str], captions: Sequence[int], ranks: F) -> Values:
    """Answers with the average rank of one direction set by hand, among 100 candidates."""
    rows = pd.DataFrame({"by": MODEL, "patient": patients, "truth": captions, "scores": table.tolist()})
    found = retrieve.read(subtask(), rows)[MODEL]
    return Values(found.patients, {**found.values, "i2t_average_rank": ranks}, found.blind, [], weights=found.weights,
                  ranges={"i2t_average_rank": (1.0, 100.0)})


def test_replicates_are_weighted_means_over_patients() -> None:
    rng = np.random.default_rng(0)
    patients, captions, ranks = [f"p{i // 2}" for i in range(12)], [0, 0, 0, 1, 2, 3, 3, 4, 5, 6, 7, 8], rng.integers(1, 100, 12).astype(float)
    found = values(np.zeros((12, 10)), patients, captions, ranks)
    resamples = Resamples.draw(patients, replicates=50)
    estimate = found.estimate("i2t_average_rank", resamples)
    parts = [1 / captions.count(c) for c in captions]
    expected = [np.average(ranks, weights=w * parts) for w in resamples.weights(np.array(patients))]
    np.testing.assert_allclose(estimate.replicates, expected)
    assert estimate.value == pytest.approx(pd.Series(ranks).groupby(captions).mean().mean())


@pytest.mark.parametrize(("patients", "captions", "independent"), [
    (list("abcdef"), [0, 1, 2, 3, 4, 5], 6), (list("aabbcc"), [0, 1, 2, 3, 4, 5], 3), (list("abcdef"), [0, 0, 0, 0, 0, 1], 2),
    (list("aaaaab"), [0, 1, 2, 3, 4, 5], 36 / 26),
], ids=["one each", "two each", "two captions", "one patient has most"])
def test_a_guard_counts_no_more_patients_than_there_are_questions(patients: list[str], captions: list[int], independent: float) -> None:
    """A share of a half among n: Clopper and Pearson's interval at n."""
    found = values(np.zeros((6, 10)), patients, captions, np.full(6, 50.5))
    low, high = found.estimate("i2t_average_rank", Resamples.draw(patients, replicates=1)).guard(0.025)
    least = float(beta.ppf(0.025, independent / 2, independent / 2 + 1))
    assert (low, high) == pytest.approx((1 + 99 * least, 100 - 99 * least), abs=1e-3)


@pytest.mark.parametrize("n", [15, 60])
def test_the_interval_of_an_average_rank_covers_it(n: int) -> None:
    """Ranks among 100 that are mostly 1 and sometimes anything: at least 95 % of intervals hold the mean that they come from."""
    rng, held = np.random.default_rng(0), 0
    patients = [f"p{i}" for i in range(n)]
    resamples = Resamples.draw(patients, replicates=400)
    for _ in range(300):
        ranks = np.where(rng.random(n) < 0.8, 1.0, rng.integers(1, 101, n))
        low, high = values(np.zeros((n, 10)), patients, list(range(n)), ranks).estimate("i2t_average_rank", resamples).bounds(0.025)
        assert 1 <= low < high <= 100
        held += low <= 0.8 + 0.2 * 50.5 <= high
    assert held >= 0.95 * 300


@pytest.fixture
def captioned(world: World) -> World:
    """The world with a subtask of retrieval alone, a caption with white space around it, and two rows without one."""
    path = world.root / "data" / "manifest.csv"
    frame = pd.read_csv(path)
    first, second, *rest = frame["caption"].tolist()
    frame.assign(caption=[f"  {first} ", second, "", "   ", "a long story " * 200, *rest[3:]]).to_csv(path, index=False)
    world.edit("benchmarks/toy.yaml", subtasks=[SPEC | {"items": [{"source": "drawn"}], "suite": "modality"}])
    return world


def test_items_are_the_images_with_a_caption(captioned: World) -> None:
    asked, corpora = opened(captioned)
    found = items(asked.subtasks[0], corpora)
    assert sorted({*range(180)} - {*found["row"]}) == [2, 3]
    assert (found["caption"] == found["caption"].str.strip()).all()
    assert counted(found) == 178
    assert fewest(asked.subtasks[0], found) == found["patient"].nunique() == 89
    assert counted(items(asked.subtasks[0], corpora, "gate")) < 178


def test_candidates_are_the_captions_of_the_scored_split_each_text_once(captioned: World) -> None:
    asked, corpora = opened(captioned)
    told: list[list[str]] = []

    class Listening(Embedder):
        def texts(self, texts: Sequence[str], batch: int = 256) -> npt.NDArray[np.float32]:
            told.append(list(texts))
            return super().texts(texts, batch)

    rows = evaluate.answers(Listening(model(captioned)), asked, plans(asked), corpora, "report")
    split = items(asked.subtasks[0], corpora, "report")
    assert told == [list(dict.fromkeys(split["caption"]))]
    assert len(told[0]) < len(split)
    assert rows["truth"].tolist() == [told[0].index(c) for c in split["caption"]]
    assert not [c for c in told[0] if c in rows.to_csv()]
    card = scorecard(measure(rows, asked, "report"), asked, plans(asked), "toy", None, 0, 0)
    assert (card.subtasks[0].items, card.subtasks[0].patients, card.subtasks[0].floors) == (len(split), {}, {})
    assert set(card.subtasks[0].scores) == {*I2T, *T2I}


def test_scores_are_those_of_the_models_own_cosines(captioned: World) -> None:
    """Long captions included, which the tokenizer cuts."""
    asked, corpora = opened(captioned)
    split = corpora["drawn"].record(4)["split"]
    caught: list[Seen] = []

    def catching(spec: RetrieveSubtask, shown: Seen) -> dict[str, pd.DataFrame]:
        caught.append(shown)
        return {}

    embedder = Embedder(model(captioned))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieve, "score", catching)
        evaluate.answers(embedder, asked, plans(asked), corpora, split)  # type: ignore[arg-type]
    texts = list(dict.fromkeys(caught[0].frame["caption"]))
    assert any(len(t) > 2000 for t in texts)
    np.testing.assert_allclose(caught[0].queries, embedder.texts(texts), atol=1e-6)
    assert caught[0].images.shape == (len(caught[0].frame), 16)


def test_a_split_without_an_item_has_no_answers(captioned: World) -> None:
    asked, corpora = opened(captioned)
    corpora["drawn"].frame["caption"] = ""
    assert evaluate.answers(Embedder(model(captioned)), asked, plans(asked), corpora, "gate").empty
