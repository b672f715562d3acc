"""What holds for every protocol, and what volumes and grades are scored by."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from _small import model, opened, plans, with_every_protocol
from conftest import World, make_world
from rich.console import Console
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score, mean_absolute_error
from torch import Tensor

from radisim_cl.bench import evaluate, floors
from radisim_cl.bench.items import MEAN_MASK, MODEL, TEMPLATE, counted, fewest, items, pseudonym
from radisim_cl.bench.measure import measure, scorecard
from radisim_cl.bench.protocols import volume
from radisim_cl.bench.seen import Seen
from radisim_cl.corpus.blobs import Blob
from radisim_cl.data.images import decode, decode_mask
from radisim_cl.errors import InputError, SpecError
from radisim_cl.models.embedder import Embedder
from radisim_cl.records.scorecard import Scorecard
from radisim_cl.registry import kinds, plugin
from radisim_cl.runs.listing import listing
from radisim_cl.runs.planning import plan
from radisim_cl.runs.tables import plan_table, scorecard_table
from radisim_cl.specs.benchmark import BenchmarkSpec, ClassifySubtask, LabelledSubtask, SubtaskSpec, VolumeSubtask
from radisim_cl.specs.curriculum import load
from radisim_cl.specs.metrics import BY_PROTOCOL, RANGES, rising
from radisim_cl.stats import Resamples

PROTOCOLS = kinds("radisim_cl.bench.protocols")
OF = {"classify": "mod.three", "volume": "vol.mr", "ordinal": "grade.three", "ground": "loc.shape", "retrieve": "ret.caption"}
SPLITS = ["tune", "gate", "report"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The small world with a subtask of each protocol."""
    return with_every_protocol(make_world(tmp_path_factory.mktemp("protocols") / "world"))


@pytest.fixture(scope="module")
def spec(world: World) -> BenchmarkSpec:
    """Its benchmark."""
    return opened(world)[0]


@pytest.fixture(scope="module")
def gate(world: World) -> pd.DataFrame:
    """What the micro model and the floors answer to the gate split."""
    spec, corpora = opened(world)
    rows = evaluate.answers(Embedder(model(world)), spec, plans(spec), corpora, "gate")
    return pd.concat([rows, evaluate.floor_answers(spec, plans(spec), corpora, "gate")], ignore_index=True)


@pytest.fixture(scope="module")
def card(spec: BenchmarkSpec, gate: pd.DataFrame) -> Scorecard:
    """Its scorecard."""
    return scorecard(measure(gate, spec, "gate"), spec, plans(spec), "toy", "one", 1, 640)


def subtask(spec: BenchmarkSpec, name: str) -> SubtaskSpec:
    """One subtask."""
    return next(s for s in spec.subtasks if s.id == name)


def test_every_protocol_has_a_spec_metrics_and_a_module() -> None:
    specs = get_args(get_args(SubtaskSpec)[0])
    named = {get_args(get_args(s)[0].model_fields["protocol"].annotation)[0] for s in specs}
    assert named == {get_args(s)[1].tag for s in specs} == set(PROTOCOLS) == set(BY_PROTOCOL) == set(OF)
    for p in PROTOCOLS:
        assert set(rising(p)) <= RANGES.keys()
        assert rising(p)
        module = plugin("radisim_cl.bench.protocols", p)
        assert all(callable(getattr(module, name)) for name in ("queries", "score", "read", "lacking"))
        assert module.__doc__


def test_reading_stored_answers_needs_no_torch() -> None:
    """A report is made where torch is not installed, or on a login node."""
    told = "\n".join(f"import radisim_cl.bench.protocols.{p}" for p in PROTOCOLS) + "\nimport sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", told], check=True)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_subtask_of_each_protocol_from_the_spec_to_the_scorecard(card: Scorecard, spec: BenchmarkSpec, protocol: str) -> None:
    found, asked = next(s for s in card.subtasks if s.id == OF[protocol]), subtask(spec, OF[protocol])
    assert asked.protocol == protocol
    assert list(found.scores) == list(BY_PROTOCOL[protocol])
    for metric, score in found.scores.items():
        low, high = RANGES.get(metric, (0.0, 2.0) if metric == "mae" else (1.0, 90.0))
        assert low <= score.low <= score.value <= score.high <= high
        assert score.low < score.high
    assert found.undecidable == ""
    assert found.skill
    assert found.chance is not None
    assert found.skill.value == pytest.approx((found.scores[asked.metric].value - found.chance) / (1 - found.chance))
    assert found.prompts == asked.prompts_digest()
    labelled = protocol not in ("ground", "retrieve")
    assert set(found.floors) == ({"pixel_statistics", "thumbnail"} if labelled else set())
    assert (found.above_floor is None) is not labelled
    assert list(found.patients) == asked.labels
    assert found.patients_in_all
    assert protocol == "retrieve" or max(found.patients.values()) <= found.patients_in_all <= sum(found.patients.values())
    assert asked.id in next(s for s in card.suites if s.suite == asked.suite).subtasks


def test_the_scorecard_survives_being_written_and_shown(card: Scorecard, gate: pd.DataFrame, spec: BenchmarkSpec, tmp_path: Path) -> None:
    assert Scorecard.model_validate_json(card.model_dump_json()) == card
    assert json.loads(card.model_dump_json().replace("NaN", "broken")) == card.model_dump(mode="json")
    gate.to_parquet(tmp_path / "answers.parquet")
    stored = pd.read_parquet(tmp_path / "answers.parquet")
    assert scorecard(measure(stored, spec, "gate"), spec, plans(spec), "toy", "one", 1, 640) == card
    page = Console(width=250, record=True)
    page.print(scorecard_table(card))
    shown = page.export_text()
    assert all(name in shown for name in OF.values())


def test_stored_answers_in_another_order_are_the_same_measurement(card: Scorecard, gate: pd.DataFrame, spec: BenchmarkSpec) -> None:
    again = scorecard(measure(gate.sample(frac=1, random_state=0), spec, "gate"), spec, plans(spec), "toy", "one", 1, 640)
    for a, b in zip(card.subtasks, again.subtasks, strict=True):
        assert a.patients == b.patients
        for metric, score in a.scores.items():
            assert (score.value, score.low, score.high) == pytest.approx(tuple(b.scores[metric].model_dump().values()), abs=1e-9)


@pytest.fixture(scope="module")
def alone(world: World, spec: BenchmarkSpec) -> pd.DataFrame:
    """What the micro model answers to the gate split, with each template alone too."""
    return evaluate.answers(Embedder(model(world)), spec, plans(spec), opened(world)[1], "gate", templates=True)


def test_each_template_alone_is_the_subtask_with_that_template(world: World, spec: BenchmarkSpec, gate: pd.DataFrame, alone: pd.DataFrame) -> None:
    """Beside the answers of all templates together, which stay as they are; protocols without class embeddings have no such rows."""
    pd.testing.assert_frame_equal(alone[~alone["by"].str.startswith(TEMPLATE)].reset_index(drop=True),
                                  gate[gate["by"].isin([MODEL, MEAN_MASK])].reset_index(drop=True), check_exact=False, atol=1e-5)
    asked = subtask(spec, "mod.three")
    assert isinstance(asked, ClassifySubtask)
    assert len(asked.templates) == 2
    for template in asked.templates:
        only = asked.model_copy(update={"templates": [template]})
        expected = evaluate.answers(Embedder(model(world)), spec.model_copy(update={"subtasks": [only]}), plans(spec), opened(world)[1], "gate")
        found = alone[(alone["subtask"] == "mod.three") & (alone["by"] == TEMPLATE + only.prompts_digest())]
        pd.testing.assert_frame_equal(found.drop(columns="by").reset_index(drop=True), expected.drop(columns="by"), check_exact=False, atol=1e-5)
    with_rows = set(alone.loc[alone["by"].str.startswith(TEMPLATE), "subtask"])
    assert with_rows == {s.id for s in spec.subtasks if s.protocol != "ground" and len(getattr(s, "templates", [])) > 1}
    assert not gate["by"].str.startswith(TEMPLATE).any(), "nobody asked"


def test_the_spread_over_templates_is_on_the_card_and_in_the_table(spec: BenchmarkSpec, gate: pd.DataFrame, card: Scorecard,
                                                                  alone: pd.DataFrame, tmp_path: Path) -> None:
    frame = pd.concat([alone, gate[~gate["by"].isin([MODEL, MEAN_MASK])]], ignore_index=True)
    frame.to_parquet(tmp_path / "answers.parquet")
    found = scorecard(measure(pd.read_parquet(tmp_path / "answers.parquet"), spec, "gate"), spec, plans(spec), "toy", "one", 1, 640)
    s, asked = next(s for s in found.subtasks if s.id == "mod.three"), subtask(spec, "mod.three")
    rows = {t: frame[(frame["subtask"] == s.id) & (frame["by"] == TEMPLATE + one.prompts_digest())] for t, one in asked.by_template().items()}
    expected = {t: balanced_accuracy_score(r["truth"], [int(np.argmax(x)) for x in r["scores"]]) for t, r in rows.items()}
    assert s.metric == "balanced_accuracy"
    assert s.spread == pytest.approx(expected)
    assert list(s.spread) == ["this is a {} image", "{}"]
    assert all(set(x.floors) <= set(floors.FLOORS) for x in found.subtasks)
    assert found.model_copy(update={"subtasks": [x.model_copy(update={"spread": {}}) for x in found.subtasks]}) == card, "and nothing else moves"
    shown = Console(width=250, record=True, file=io.StringIO())
    shown.print(scorecard_table(found))
    assert f"{min(expected.values()):.2f}-{max(expected.values()):.2f}" in shown.export_text()
    shown.print(scorecard_table(card))
    assert "templates" not in shown.export_text()


def test_answers_to_prompts_of_another_wording_are_no_spread(spec: BenchmarkSpec, alone: pd.DataFrame) -> None:
    """Rows are tied to what was asked: to a digest of the template with every class name."""
    reworded = spec.model_copy(update={"subtasks": [
        s.model_copy(update={"classes": {c: v.model_copy(update={"names": [f"{v.names[0]} scan"]}) for c, v in s.classes.items()}})
        if isinstance(s, ClassifySubtask) and s.id == "mod.three" else s for s in spec.subtasks]})
    assert "mod.three" not in measure(alone, reworded, "gate").spread
    assert set(measure(alone, spec, "gate").spread) - set(measure(alone, reworded, "gate").spread) == {"mod.three"}


def test_no_name_of_anybody_or_anything_is_written_down(world: World, gate: pd.DataFrame) -> None:
    frame, written = opened(world)[1]["drawn"].frame, gate.to_csv()
    assert not [n for n in {*frame["id"], *frame["patient"], *frame["study"], *frame["mask"], *frame["caption"]} if n in written]
    assert sorted(gate.columns) == ["by", "item", "patient", "scores", "subtask", "truth"]
    assert set(gate["by"]) == {MODEL, MEAN_MASK, "pixel_statistics", "thumbnail"}


def test_images_of_all_protocols_are_decoded_and_embedded_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those with a mask together with their patches; of the tune split only what places are asked of."""
    spec, corpora = opened(world)
    read: Counter[Blob] = Counter()
    shown: Counter[str] = Counter()

    def counting(file: Blob) -> Tensor:
        read[file] += 1
        return decode(file)

    def counting_masks(file: Blob, image: Tensor | None = None) -> Tensor:
        read[file] += 1
        return decode_mask(file, image)

    class Counted(Embedder):
        def images(self, batches: object) -> npt.NDArray[np.float32]:
            given = list(batches)  # type: ignore[call-overload]
            shown["plain"] += sum(map(len, given))
            return super().images(given)

        def images_and_patches(self, batch: Tensor) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
            shown["with patches"] += len(batch)
            return super().images_and_patches(batch)

    monkeypatch.setattr(evaluate, "decode", counting)
    monkeypatch.setattr(evaluate, "decode_mask", counting_masks)
    everything = items(subtask(spec, "mod.three"), corpora)
    heads = {i["row"] for i in everything.to_dict("records") if corpora["drawn"].frame.at[i["row"], "anatomy"] == "head"}
    only_heads = spec.model_copy(update={"subtasks": [
        s.model_copy(update={"items": [s.items[0].model_copy(update={"where": {"anatomy": "head"}})]}) if s.protocol == "ground" else s
        for s in spec.subtasks]})
    evaluate.answers(Counted(model(world)), only_heads, plans(spec), corpora, "gate", batch=16)
    gate, tune = (set(everything.loc[everything["split"] == s, "row"]) for s in ("gate", "tune"))
    assert set(read.values()) == {1}
    assert shown == {"plain": len(gate - heads), "with patches": len(heads & (gate | tune))}
    masks, images = ({corpora["drawn"].mask(r) for r in heads & (gate | tune)}, {corpora["drawn"].image(r) for r in gate | (heads & tune)})
    assert set(read) == masks | images


def test_answers_with_patches_do_not_depend_on_how_images_are_batched(world: World, gate: pd.DataFrame) -> None:
    spec, corpora = opened(world)
    again = evaluate.answers(Embedder(model(world)), spec, plans(spec), corpora, "gate", readers=1, batch=3)
    for name in ("vol.mr", "grade.three"):
        ours, theirs = (np.stack(f.loc[(f["subtask"] == name) & (f["by"] == MODEL), "scores"].to_list()) for f in (gate, again))
        np.testing.assert_allclose(ours[:, :2], theirs[:, :2], atol=1e-5)


def test_the_plan_and_the_listing_count_items_and_their_patients(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.root)
    made = plan(load(str(world.curriculum)), world.root)
    by = {s.id: s for s in made.subtasks}
    assert by["vol.mr"].items == {k: v // 2 for k, v in by["vol.mr"].images.items()} == {k: v // 2 for k, v in by["mod.three"].items.items()}
    assert by["loc.shape"].items == by["loc.shape"].images == by["mod.three"].items
    spec, corpora = opened(world)
    for s in spec.subtasks:
        frame = items(s, corpora, "gate")
        assert by[s.id].items["gate"] == counted(frame)
        assert by[s.id].patients["gate"] == fewest(s, frame)
    assert fewest(subtask(spec, "loc.shape"), items(subtask(spec, "loc.shape"), corpora, "gate")) == by["vol.mr"].items["gate"]
    page = Console(width=250, record=True)
    page.print(plan_table(made))
    shown = page.export_text()
    assert all(name in shown for name in OF.values())
    lines = listing("subtasks", "toy", "toy")
    assert any("loc.shape  ground  box_iou" in x and "images on the gate split" in x and "with a mask" in x for x in lines)
    assert any(f"vol.mr  volume  auc  available: {by['vol.mr'].items['gate']} volumes on the gate split" in x for x in lines)
    assert any("ret.caption  retrieve  i2t_recall_1  available" in x and f"{by['ret.caption'].patients['gate']} patients with a caption" in x
               for x in lines)


@pytest.mark.parametrize(("name", "metric", "known"), [("grade.three", "mae", "accuracy, balanced_accuracy, quadratic_kappa, skill"),
                                                      ("loc.shape", "auc", "box_iou, box_iou_classified, dice")])
def test_a_gate_rests_on_a_metric_of_which_more_is_better(world: World, name: str, metric: str, known: str) -> None:
    made = load(str(world.curriculum), [f"stages.modality.gate.requires.0={{kind: threshold, subtask: {name}, metric: {metric}, at_least: 0.1}}"])
    with pytest.raises(SpecError) as caught:
        plan(made, world.root)
    assert any(f"'{name}' has no metric '{metric}'" in p.message and known in p.message for p in caught.value.problems)


def seen(cosines: list[list[float]], names: list[str], truth: list[int]) -> Seen:
    """Slices, each with the name of its volume."""
    frame = pd.DataFrame({"source": "s", "row": range(len(names)), "item": names, "patient": ["of " + n for n in names], "truth": truth,
                          "split": "gate"})
    whole = np.array(cosines, dtype=np.float32)
    return Seen(frame, "gate", whole, np.eye(whole.shape[1], dtype=np.float32), np.empty(0, dtype=np.float32), np.empty(0, dtype=np.uint8))


VOLUME = VolumeSubtask.model_validate({
    "id": "v", "suite": "s", "protocol": "volume", "items": [{"source": "s"}], "column": "label", "metric": "auc",
    "classes": {"no": {"values": ["n"], "prompts": ["n1", "n2", "n3"]}, "yes": {"values": ["y"], "prompts": ["y1", "y2"]}}})


def test_volumes_by_hand() -> None:
    """`a` is voted positive two to one although its mean margin is negative; `b` is a tie that the mean settles; `c` is one slice."""
    cosines = [[0.1, 0.9, 0.0, 0.2, 0.1], [0.1, 0.1, 0.2, 0.3, 0.0], [0.3, 0.0, 0.0, 0.0, 0.4],
               [0.5, 0.0, 0.0, 0.4, 0.0], [0.2, 0.0, 0.0, 0.0, 0.6], [0.0, 0.0, 0.3, 0.1, 0.1]]
    rows = volume.score(VOLUME, seen(cosines, ["a", "a", "a", "b", "b", "c"], [1, 1, 1, 0, 0, 0]))[MODEL]
    assert rows["item"].tolist() == ["a", "b", "c"]
    assert rows["truth"].tolist() == [1, 0, 0]
    expected = [[(0.9 + 0.2 + 0.3) / 3, (0.2 + 0.3 + 0.4) / 3, 1 / 3, 2 / 3], [0.35, 0.5, 0.5, 0.5], [0.3, 0.1, 1, 0]]
    np.testing.assert_allclose(np.stack(rows["scores"].to_list()), expected, atol=1e-6)
    a = volume.read(VOLUME, rows.assign(by=MODEL))[MODEL]
    assert a.answer.tolist() == [1, 1, 0]
    resamples = Resamples.draw(list(a.patients), replicates=10)
    assert a.estimate("accuracy", resamples).value == pytest.approx(2 / 3)
    assert a.estimate("auc", resamples).value == 0.5, "margins -1/6, 0.15 and -0.2: above one of the two negatives"


def test_slices_of_a_volume_need_not_stand_together() -> None:
    cosines = np.random.default_rng(0).normal(size=(6, 5)).tolist()
    order = [3, 0, 4, 1, 5, 2]
    one = volume.score(VOLUME, seen(cosines, list("aaabbb"), [0] * 6))[MODEL].set_index("item")["scores"]
    two = volume.score(VOLUME, seen([cosines[i] for i in order], ["aaabbb"[i] for i in order], [0] * 6))[MODEL].set_index("item")["scores"]
    for name in "ab":
        np.testing.assert_allclose(one[name], two[name])


def test_a_volumes_rows_are_its_study_and_a_row_without_one_stands_alone(world: World) -> None:
    spec, corpora = opened(world)
    asked, frame = subtask(spec, "vol.mr"), corpora["drawn"].frame
    frame.loc[:3, "study"] = ["", "", *frame.loc[2:3, "study"]]
    found = items(asked, corpora)
    assert counted(found) == 91
    assert found["item"].tolist()[:3] == [frame.at[0, "id"], frame.at[1, "id"], "study of patient001"]
    rows = pd.concat(evaluate.floor_answers(spec, plans(spec), corpora, s) for s in ("tune", "gate", "report"))
    known = {pseudonym(spec, i): t for i, t in zip(found["item"], found["truth"], strict=True)}
    volumes = rows[(rows["subtask"] == "vol.mr") & (rows["by"] == "thumbnail")]
    assert volumes["item"].is_unique
    assert [known[i] for i in volumes["item"]] == volumes["truth"].tolist()


@pytest.mark.parametrize(("column", "value", "said"), [("modality", "MR", "different answers in column 'modality'"),
                                                       ("patient", "another", "different patients")])
def test_a_volume_whose_rows_disagree_is_refused(world: World, column: str, value: str, said: str) -> None:
    spec, corpora = opened(world)
    corpora["drawn"].frame.loc[6, column] = value if corpora["drawn"].frame.loc[6, column] != value else "CT"
    with pytest.raises(InputError, match=f"drawn: row [78] of the manifest.*{said}"):
        items(subtask(spec, "vol.mr"), corpora)


def test_floors_of_a_volume_answer_volumes(gate: pd.DataFrame) -> None:
    columns = ["item", "patient", "truth"]
    rows = gate[gate["subtask"] == "vol.mr"]
    for floor in ("pixel_statistics", "thumbnail"):
        pd.testing.assert_frame_equal(rows.loc[rows["by"] == floor, columns].reset_index(drop=True),
                                      rows.loc[rows["by"] == MODEL, columns].reset_index(drop=True))
    assert {len(s) for s in rows.loc[rows["by"] == MODEL, "scores"]} == {4}
    assert {len(s) for s in rows.loc[rows["by"] != MODEL, "scores"]} == {2}


@pytest.mark.parametrize("split", SPLITS)
def test_floors_of_every_protocol_are_fitted_on_other_patients(world: World, monkeypatch: pytest.MonkeyPatch, split: str) -> None:
    spec, corpora = opened(world)
    real, fitted = floors.predict, []

    def watched(fit: pd.DataFrame, score: pd.DataFrame, *rest: object) -> object:
        fitted.append((set(fit["split"]), set(fit["patient"]) & set(score["patient"])))
        return real(fit, score, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(floors, "predict", watched)
    evaluate.floor_answers(spec, plans(spec), corpora, split)  # type: ignore[arg-type]
    labelled = [s for s in spec.subtasks if isinstance(s, LabelledSubtask)]
    assert labelled
    assert fitted == [({"train", "tune"} - {split}, set())] * len(labelled)


def test_grades_are_scikit_learns(card: Scorecard, gate: pd.DataFrame) -> None:
    rows = gate[(gate["subtask"] == "grade.three") & (gate["by"] == MODEL)]
    answer, found = [int(np.argmax(s)) for s in rows["scores"]], next(s for s in card.subtasks if s.id == "grade.three")
    assert found.scores["quadratic_kappa"].value == pytest.approx(cohen_kappa_score(rows["truth"], answer, weights="quadratic", labels=[0, 1, 2]))
    assert found.scores["mae"].value == pytest.approx(mean_absolute_error(rows["truth"], answer))
    assert found.chance == 0
