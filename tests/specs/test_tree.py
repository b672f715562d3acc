"""YAML as it is read: scalars of YAML 1.2, files that use others, overrides and environment variables."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from conftest import World

from radisim_cl.specs.curriculum import CurriculumSpec, load
from radisim_cl.specs.tree import read


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(**files: str) -> None:
    """Stage files by name; `__` is a folder's slash."""
    for name, text in files.items():
        path = Path("stages", f"{name.replace('__', '/')}.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def stages(world: World, *used: str, sets: tuple[str, ...] = ()) -> CurriculumSpec:
    """The world's curriculum with these lines as its stages."""
    text = world.curriculum.read_text()
    path = Path("curricula/mine.yaml")
    path.parent.mkdir(exist_ok=True)
    path.write_text(text[: text.index("stages:")] + "stages:\n" + "\n".join(used))
    return load(path, sets)


@pytest.mark.parametrize(("text", "value"), [
    ("5e-5", 5e-5), ("1E3", 1000.0), ("1.5", 1.5), (".5", 0.5), ("-.inf", -math.inf), ("+3", 3), ("-7", -7), ("1_000", 1000), ("012", 12),
    ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
    ("no", "no"), ("yes", "yes"), ("on", "on"), ("Off", "Off"), ("y", "y"), ("NO", "NO"),
    ("2026-01-31", "2026-01-31"), ("12:30:00", "12:30:00"), ("1.2.3", "1.2.3"), ("e5", "e5"), ("'5e-5'", "5e-5"), ('"true"', "true"),
    ("MR", "MR"), ("[no, 5e-5]", ["no", 5e-5]), ("{on: off}", {"on": "off"}),
])
def test_scalars_are_those_of_yaml_1_2(root: Path, text: str, value: Any) -> None:
    (root / "x.yaml").write_text(f"field: {text}\n")
    found = read(root / "x.yaml").plain()["field"]
    assert found == value
    assert type(found) is type(value)


def test_nan_is_a_number(root: Path) -> None:
    (root / "x.yaml").write_text("field: .nan\n")
    assert math.isnan(read(root / "x.yaml").plain()["field"])


def test_aliases_are_copies_of_their_anchor(root: Path) -> None:
    (root / "x.yaml").write_text("a: &few {train: 0.5}\nb: *few\n")
    assert read(root / "x.yaml").plain() == {"a": {"train": 0.5}, "b": {"train": 0.5}}


@pytest.fixture
def used(shared_world: World) -> World:
    """The world's stages, to be used from the working directory."""
    write(**{name: (shared_world.root / "stages" / f"{name}.yaml").read_text() for name in ("modality", "anatomy")})
    return shared_world


def test_fields_on_top_of_a_used_file_merge_deeply_and_lists_are_replaced(used: World) -> None:
    plain = stages(used, "- use: anatomy").stages[0]
    changed = stages(used, "- use: anatomy", "  name: other", "  train: {lr: 5e-5}", "  losses: [{kind: clip}]").stages[0]
    assert changed == plain.model_copy(update={
        "name": "other", "train": plain.train.model_copy(update={"lr": 5e-5}), "losses": changed.losses})
    assert [x.kind for x in changed.losses] == ["clip"]
    assert plain.train.lr == 1e-3


def test_a_file_may_use_one_that_uses_another(used: World) -> None:
    write(slow="use: anatomy\ntrain: {lr: 1e-4}\n", slower="use: slow\ntrain: {lr: 1e-5, warmup: 0.5}\nname: slower\n")
    slow, slower = stages(used, "- use: slow", "- use: slower").stages
    assert (slow.name, slow.train.lr, slow.train.warmup) == ("anatomy", 1e-4, 0.1)
    assert (slower.name, slower.train.lr, slower.train.warmup, slower.train.share) == ("slower", 1e-5, 0.5, 0.5)


def test_two_stages_may_use_one_file_and_change_apart(used: World) -> None:
    first, second = stages(used, "- use: anatomy", "- {use: anatomy, name: again}", sets=("stages.again.data.replay=0.5",)).stages
    assert (first.data.replay, second.data.replay) == (0.25, 0.5)


def test_a_file_in_a_folder_may_use_one_of_the_same_folder(used: World) -> None:
    write(group__base=(Path("stages") / "anatomy.yaml").read_text(), group__child="use: group/base\nname: child\n")
    assert [s.name for s in stages(used, "- use: group/base", "- use: group/child").stages] == ["anatomy", "child"]


def test_a_used_file_may_be_named_by_its_path(used: World) -> None:
    write(mine="use: anatomy\nname: mine\n")
    assert stages(used, f"- use: {Path('stages/mine.yaml').resolve()}").stages[0].name == "mine"


@pytest.mark.parametrize("path", ["stages.anatomy.train.lr", "stages.1.train.lr", "stages[1].train.lr"])
def test_an_override_takes_a_stage_by_name_or_index(used: World, path: str) -> None:
    first, second = stages(used, "- use: modality", "- use: anatomy", sets=(f"{path}=5e-5",)).stages
    assert (first.train.lr, second.train.lr) == (1e-3, 5e-5)


@pytest.mark.parametrize(("text", "read_back"), [
    ("seed=11", lambda s: s.seed == 11),
    ("description=no", lambda s: s.description == "no"),
    ("profiles.laptop.model.pretrained=", lambda s: s.scale.model.pretrained is None),
    ("description=a=b", lambda s: s.description == "a=b"),
    ("optimizer.kind=sgd", lambda s: s.optimizer.kind == "sgd"),
    ("profiles.laptop.budget.reserve=.5", lambda s: s.scale.budget.reserve == 0.5 and s.scale.budget.samples == 400),
    ("stages.modality.data.mixture.1.where={modality: [CT, MR]}", lambda s: s.stages[0].data.mixture[1].where == {"modality": ["CT", "MR"]}),
    ("stages.modality.losses.multi_positive.positives=captions", lambda s: s.stages[0].losses[0].positives == "captions"),
    ("stages.modality.gate.requires.0.at_least={default: 0.5, toy: 0.1}", lambda s: s.stages[0].gate.requires[0].value_for("toy") == 0.1),
])
def test_an_override_sets_what_it_names(used: World, text: str, read_back: Any) -> None:
    assert read_back(stages(used, "- use: modality", "- use: anatomy", sets=(text,)))


def test_the_last_override_of_a_field_holds(used: World) -> None:
    assert stages(used, "- use: modality", sets=("seed=1", "seed=2")).seed == 2


def test_environment_variables_are_filled_in_wherever_a_string_stands(used: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE", "Bern")
    stage = stages(used, "- {use: modality, question: 'in ${SITE}, ${SITE}?'}", sets=("stages.modality.data.mixture.0.captions=${SITE}",)).stages[0]
    assert (stage.question, stage.data.mixture[0].captions) == ("in Bern, Bern?", "Bern")
