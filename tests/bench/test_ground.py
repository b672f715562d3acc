"""Localization: known patches give known boxes, and thresholds and chance come of the tune split alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from _small import opened, plans, with_every_protocol
from conftest import World, make_world
from torch import Tensor

from radisim_cl.bench import evaluate
from radisim_cl.bench.items import MEAN_MASK, MODEL, items, pseudonym
from radisim_cl.bench.measure import measure, scorecard
from radisim_cl.bench.protocols import ground
from radisim_cl.bench.seen import Seen
from radisim_cl.corpus.blobs import Blob
from radisim_cl.data.images import decode_mask, resize_mask
from radisim_cl.errors import InputError
from radisim_cl.models.embedder import Embedder
from radisim_cl.specs.benchmark import BenchmarkSpec, GroundSubtask
from radisim_cl.specs.metrics import BY_PROTOCOL
from radisim_cl.specs.preprocess import PreprocessSpec

F = npt.NDArray[np.float32]
SIZE, GRID = 32, 4
METRICS = BY_PROTOCOL["ground"]
SPEC: dict[str, object] = {
    "id": "g", "suite": "loc", "protocol": "ground", "metric": "box_iou", "items": [{"source": "s"}], "structures": ["liver", "spleen"],
    "vocabulary": {"air": ["air"], "spleen": ["spleen"], "liver": ["liver"]}, "min_patients": 2}


def spec(**changes: object) -> BenchmarkSpec:
    """A benchmark of that subtask."""
    return BenchmarkSpec.model_validate({"name": "small", "version": "1", "subtasks": [SPEC | changes]})


def subtask(**changes: object) -> GroundSubtask:
    """It alone; the vocabulary's order is not that of the structures."""
    found = spec(**changes).subtasks[0]
    assert isinstance(found, GroundSubtask)
    return found


def cosines(**places: Sequence[tuple[int, int]]) -> F:
    """(gh, gw, K): sure of air but for the patches named, which are surely of that structure."""
    names = list(SPEC["vocabulary"])  # type: ignore[call-overload]
    out = np.zeros((GRID, GRID, len(names)), dtype=np.float32)
    out[..., 0] = 0.5
    for name, patches in places.items():
        for row, column in patches:
            out[row, column] = np.eye(len(names))[names.index(name)]
    return out


def mask(**boxes: tuple[int, int, int, int]) -> npt.NDArray[np.uint8]:
    """(S, S) with 1 in the liver's box and 2 in the spleen's."""
    out = np.zeros((SIZE, SIZE), dtype=np.uint8)
    for name, (top, left, bottom, right) in boxes.items():
        out[top:bottom, left:right] = 1 + ["liver", "spleen"].index(name)
    return out


def seen(images: list[tuple[str, F, npt.NDArray[np.uint8]]], named: Sequence[str] = ("liver", "spleen"), scored: str = "gate") -> Seen:
    """Images by split, cosines of their patches, and mask; what their classification names is the same for all."""
    names = [f"i{n}" for n in range(len(images))]
    frame = pd.DataFrame({"source": "s", "row": range(len(images)), "item": names, "patient": ["of " + n for n in names], "truth": 0,
                          "split": [s for s, _, _ in images]})
    whole = np.array([[float(v in named) for v in SPEC["vocabulary"]]] * len(images), dtype=np.float32)  # type: ignore[attr-defined]
    each = np.eye(whole.shape[1], dtype=np.float32)
    return Seen(frame, scored, whole, each, np.stack([c for _, c, _ in images]), np.stack([m for _, _, m in images]))


CENTRE = [(r, c) for r in (1, 2) for c in (1, 2)]
SURE = ("tune", cosines(liver=CENTRE), mask(liver=(8, 8, 24, 24)))


def reached(found: pd.DataFrame) -> dict[tuple[str, int], dict[str, float]]:
    """By item and structure, the metrics."""
    return {(r["item"], r["truth"]): dict(zip(METRICS, r["scores"], strict=True)) for r in found.to_dict("records")}


def test_patches_that_are_right_give_the_box() -> None:
    """Halfway between patches of 1 and of 0 the heat is a half, so at 0.5 the box is that of the patches; corners are rounded."""
    asked, shown = subtask(), seen([SURE, ("gate", *SURE[1:])])
    assert ground.thresholds(asked, shown) == (0.5, 0.05)
    found = reached(ground.score(asked, shown)[MODEL])
    assert list(found) == [("i1", 0)]
    patches = torch.zeros(1, 1, GRID, GRID)
    patches[0, 0, 1:3, 1:3] = 1
    label = torch.nn.functional.interpolate(patches, (SIZE, SIZE), mode="bilinear", align_corners=False)[0, 0] >= 0.5
    expected = 2 * int(label[8:24, 8:24].sum()) / (int(label.sum()) + 256)
    assert found["i1", 0] == pytest.approx({"box_iou": 1, "recall_50": 1, "dice": expected, "pointing": 1, "box_iou_classified": 1,
                                            "recall_50_classified": 1, "dice_classified": expected, "pointing_classified": 1})
    assert 0.9 < expected < 1


def test_patches_that_are_wrong_by_hand() -> None:
    """The liver is found one patch to the right of where it is, and the spleen not at all."""
    shifted = cosines(liver=[(r, c + 1) for r, c in CENTRE])
    shown = seen([SURE, ("gate", shifted, mask(liver=(8, 8, 24, 24), spleen=(26, 0, 32, 6)))])
    found = reached(ground.score(subtask(), shown)[MODEL])
    assert set(found) == {("i1", 0), ("i1", 1)}
    assert found["i1", 0]["box_iou"] == pytest.approx(16 * 8 / (2 * 256 - 16 * 8))
    assert found["i1", 0]["recall_50"] == 0
    assert [found["i1", 1][m] for m in ("box_iou", "recall_50", "dice")] == [0, 0, 0]


def test_where_another_entry_is_more_probable_there_is_no_heat_but_pointing_sees_it() -> None:
    """A faint liver under air: no patch of it is the argmax, so nothing is labelled; its highest patch still points."""
    faint = cosines()
    faint[2, 2] = [0.5, 0.0, 0.498]
    found = reached(ground.score(subtask(), seen([SURE, ("gate", faint, mask(liver=(16, 16, 24, 24)))]))[MODEL])["i1", 0]
    assert (found["box_iou"], found["dice"], found["pointing"]) == (0, 0, 1)


def test_the_softmax_takes_a_hundred_times_the_cosine() -> None:
    patch = cosines()
    patch[1, 1] = [0.50, 0.49, 0.51]
    probability, heat = ground.maps(subtask(), patch, 0, GRID)
    e = np.exp([0.0, -1.0, 1.0])
    assert probability[1, 1] == heat[1, 1] == pytest.approx(e[2] / e.sum(), rel=1e-5)
    assert ground.maps(subtask(), patch, 1, GRID)[0][1, 1] == pytest.approx(e[1] / e.sum(), rel=1e-5)
    assert ground.maps(subtask(), patch, 1, GRID)[1].max() == 0


def test_what_the_classification_does_not_name_scores_nothing() -> None:
    two = ("gate", cosines(liver=CENTRE, spleen=[(3, 0)]), mask(liver=(8, 8, 24, 24), spleen=(24, 0, 32, 8)))
    found = reached(ground.score(subtask(), seen([SURE, two], named=["liver"]))[MODEL])
    for metric in ("box_iou", "recall_50", "dice", "pointing"):
        assert found["i1", 0][metric + "_classified"] == found["i1", 0][metric] > 0
        assert found["i1", 1][metric + "_classified"] == 0 < found["i1", 1][metric]


def test_a_candidate_is_more_probable_than_one_of_the_vocabulary_by_chance() -> None:
    shown = seen([SURE, ("gate", *SURE[1:])])
    for cosine, named in [(0.5, False), (0.501, True), (0.499, False)]:
        whole = np.array([[0.5, 0.5, cosine]] * 2, dtype=np.float32)
        found = reached(ground.score(subtask(), Seen(shown.frame, "gate", whole, shown.queries, shown.patches, shown.masks))[MODEL])
        assert (found["i1", 0]["box_iou_classified"] > 0) is named


def spots(split: str, liver: str) -> tuple[str, F, npt.NDArray[np.uint8]]:
    """A small spot that is surely the liver, and a large one that is so with 0.6; the mask says which is right."""
    patches, true = cosines(liver=[(0, 0)]), {"small": (0, 0, 8, 8), "large": (16, 8, 32, 32)}
    patches[2:, 1:] = [0.49 - np.log(0.6 / 0.4) / 100, 0.0, 0.49]
    return split, patches, mask(liver=true[liver])


def test_thresholds_are_of_the_tune_split_whatever_other_splits_hold() -> None:
    """The gate split's own best thresholds are others."""
    tune, gate = [spots("tune", "small")] * 2, [spots("gate", "large")] * 5
    best, others = ground.thresholds(subtask(), seen(tune)), ground.thresholds(subtask(), seen([("tune", *g[1:]) for g in gate]))
    assert (best, others) == ((0.5, 0.7), (0.3, 0.05))
    for extra in (gate, [("report", *g[1:]) for g in gate], [("train", *g[1:]) for g in gate]):
        assert ground.thresholds(subtask(), seen(tune + extra)) == best
    found = reached(ground.score(subtask(), seen(tune + gate))[MODEL])
    assert {v["box_iou"] for v in found.values()} == {0.0}


def test_chance_is_of_the_tune_split_whatever_other_splits_hold() -> None:
    """Mixed up, the masks of the gate split change what the mean mask scores there, and not the mean mask."""
    moved = ("gate", SURE[1], mask(liver=(0, 0, 8, 8)))
    found = reached(ground.score(subtask(), seen([SURE, ("gate", *SURE[1:]), *[moved] * 5]))[MEAN_MASK])
    assert set(found["i1", 0].values()) == {1.0}
    assert {v for i in range(2, 7) for v in found[f"i{i}", 0].values()} == {0.0}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The small world with masks."""
    return with_every_protocol(make_world(tmp_path_factory.mktemp("ground") / "world"))


class Told(Embedder):
    """Knows the world's shapes by the grey of a patch of 8 pixels, as well as a mean of pixels tells."""

    def __init__(self, names: list[str], grid: int = 8) -> None:
        self.preprocess = PreprocessSpec(size=32, mean=(0, 0, 0), std=(1, 1, 1), resize="squash")
        self.names, self.grid = names, grid

    def texts(self, texts: Sequence[str], batch: int = 256) -> F:
        """One direction a shape, and one for everything else."""
        return np.stack([np.eye(4, dtype=np.float32)[next((i for i, n in enumerate(("head", "chest", "knee")) if n in t), 3)] for t in texts])

    def images(self, batches: Iterable[Tensor]) -> F:
        """Nothing that helps."""
        return np.concatenate([np.full((len(b), 4), 0.5, dtype=np.float32) for b in batches])

    def images_and_patches(self, batch: Tensor) -> tuple[F, F]:
        """Bright patches are of the shape that the brightest pixels make, here told by how wide they are; dark ones are of nothing."""
        bright = batch[:, 0].float() > 60
        wide, tall = (bright.float().mean(dim=d).gt(0.2).sum(dim=1) for d in (1, 2))
        shape = torch.where(wide < 12, 2, torch.where(tall < 20, 1, 0))
        share = torch.nn.functional.avg_pool2d(bright[:, None].float(), 32 // self.grid)[:, 0]
        patches = torch.where((share > 0.4)[..., None], torch.eye(4)[shape][:, None, None], torch.eye(4)[3]).numpy()
        return self.images([batch]), patches


def test_a_model_that_knows_the_shapes_is_better_than_their_mean(world: World) -> None:
    """End to end: files, masks at the model's size, thresholds, answers, chance, skill."""
    spec, corpora = opened(world)
    only = spec.model_copy(update={"subtasks": [s for s in spec.subtasks if s.protocol == "ground"]})
    frame = evaluate.answers(Told([]), only, plans(only), corpora, "gate")
    assert set(frame["by"]) == {MODEL, MEAN_MASK}
    asked = items(only.subtasks[0], corpora, "gate")
    structure = {pseudonym(only, i["item"]): ["head", "chest", "knee"].index(str(corpora["drawn"].frame.at[i["row"], "anatomy"]))
                 for i in asked.to_dict("records")}
    for by in (MODEL, MEAN_MASK):
        rows = frame[frame["by"] == by]
        assert dict(zip(rows["item"], rows["truth"], strict=True)) == structure
    card = scorecard(measure(frame, only, "gate"), only, plans(only), "toy", None, 0, 0)
    found = card.subtasks[0]
    assert found.scores["box_iou"].value > 0.6
    assert found.scores["pointing"].value > 0.9
    assert found.chance == pytest.approx(measured(frame, MEAN_MASK, "box_iou"))
    assert found.items == len(asked)
    assert found.patients_in_all == asked["patient"].nunique()
    assert list(found.patients) == ["head", "chest", "knee"]
    assert sum(found.patients.values()) == found.patients_in_all


def measured(frame: pd.DataFrame, by: str, metric: str) -> float:
    """The mean over items of the mean over their structures."""
    rows = frame[frame["by"] == by]
    return float(pd.Series([s[METRICS.index(metric)] for s in rows["scores"]], index=rows["item"]).groupby(level=0).mean().mean())


def test_a_wrong_mask_elsewhere_changes_no_answer(world: World) -> None:
    """What the report split holds is not read when gate is scored; what tune holds is, for the thresholds."""
    spec, corpora = opened(world)
    only = spec.model_copy(update={"subtasks": [s for s in spec.subtasks if s.protocol == "ground"]})
    read: list[set[str]] = []

    def watched(file: Blob, image: Tensor | None = None) -> Tensor:
        read[-1].add(str(file))
        return decode_mask(file, image)

    frame = items(only.subtasks[0], corpora)
    for scored in ("gate", "report", "tune"):
        read.append(set())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(evaluate, "decode_mask", watched)
            evaluate.answers(Told([]), only, plans(only), corpora, scored)
        rows = frame.loc[frame["split"].isin([scored, "tune"]), "row"]
        assert read[-1] == {str(corpora["drawn"].mask(r)) for r in rows}


def stored(shown: Seen, asked: BenchmarkSpec) -> pd.DataFrame:
    """Answers as they are written down."""
    parts = [f.assign(by=by, subtask="g") for by, f in ground.score(asked.subtasks[0], shown).items() if len(f)]  # type: ignore[arg-type]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize(("tune", "lacking"), [([], "liver"), ([SURE], "spleen")], ids=["no tune split", "no spleen in it"])
def test_without_a_structure_in_the_tune_split_nothing_is_decided(tune: list[tuple[str, F, npt.NDArray[np.uint8]]], lacking: str) -> None:
    two = ("gate", SURE[1], mask(liver=(8, 8, 24, 24), spleen=(24, 0, 32, 8)))
    m = measure(stored(seen([*tune, two, two, two]), spec()), spec(), "gate")
    assert m.undecidable["g"] == f"no image of the tune split shows '{lacking}', and thresholds and chance are made there"
    assert ("g", "skill") not in m.estimates
    assert (("g", "box_iou") in m.estimates) is bool(tune)
    found = scorecard(m, spec(), plans(spec()), "toy", None, 0, 0)
    json.loads(found.model_dump_json(), parse_constant=lambda constant: pytest.fail(constant))
    assert (found.subtasks[0].items, found.subtasks[0].patients, found.subtasks[0].chance) == (3, {"liver": 3, "spleen": 3}, None)


def test_an_item_is_an_image_and_a_decision_needs_patients_with_a_mask() -> None:
    """Structures of an image are averaged first; an image that shows none of them is no item."""
    half = ("gate", SURE[1], mask(liver=(8, 8, 24, 24), spleen=(24, 0, 32, 8)))
    tune = ("tune", cosines(liver=CENTRE, spleen=[(0, 3)]), mask(liver=(8, 8, 24, 24), spleen=(0, 24, 8, 32)))
    frame = stored(seen([tune, half, ("gate", *SURE[1:]), ("gate", SURE[1], mask())]), spec())
    m = measure(frame, spec(), "gate")
    assert len(m.answers["g"].patients) == 2
    assert m.estimates["g", "box_iou"].value == pytest.approx((0.5 + 1) / 2)
    assert not m.undecidable
    few = measure(frame, spec(min_patients=3), "gate")
    assert few.undecidable["g"] == "2 patients with a mask, and 3 are needed; no difference could have been seen"


def test_where_not_looking_is_perfect_nothing_is_decided() -> None:
    m = measure(stored(seen([SURE, *[("gate", *SURE[1:])] * 3]), spec()), spec(), "gate")
    assert "chance is 1" in m.undecidable["g"]


def test_items_are_images_with_a_mask(world: World) -> None:
    spec, corpora = opened(world)
    asked = next(s for s in spec.subtasks if isinstance(s, GroundSubtask))
    before = items(asked, corpora)
    corpora["drawn"].frame.loc[:4, "mask"] = ""
    assert items(asked, corpora)["row"].tolist() == before["row"].tolist()[5:]
    with pytest.raises(InputError, match=r"structure 'kne' is in no mask of its sources\. Did you mean 'knee'"):
        items(asked.model_copy(update={"structures": ["kne"]}), corpora)


def test_masks_reach_the_protocol_at_the_models_size_and_by_structure(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, corpora = opened(world)
    only = spec.model_copy(update={"subtasks": [
        s.model_copy(update={"structures": ["knee", "head"]}) for s in spec.subtasks if isinstance(s, GroundSubtask)]})
    caught: list[Seen] = []

    def catching(spec: GroundSubtask, shown: Seen) -> dict[str, pd.DataFrame]:
        caught.append(shown)
        return {}

    monkeypatch.setattr(ground, "score", catching)
    evaluate.answers(Told([]), only, plans(only), corpora, "gate")
    for row, found in zip(caught[0].frame["row"], caught[0].masks, strict=True):
        file = corpora["drawn"].mask(row)
        assert file is not None
        raw = resize_mask(decode_mask(file), Told([]).preprocess).numpy()
        expected = np.select([raw == 3, raw == 1], [1, 2], 0)
        np.testing.assert_array_equal(found, expected)
