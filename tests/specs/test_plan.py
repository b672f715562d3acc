"""A plan: its shares and counts add up, its limits hold for every pair that is really drawn, and its digest stands for what is trained."""

from __future__ import annotations

import io
import json
import math
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import World
from rich.console import Console

from radisim_cl.corpus.corpora import Corpora
from radisim_cl.data.mixture import Mixture
from radisim_cl.errors import Problem, SpecError
from radisim_cl.runs import planning
from radisim_cl.runs.planned import estimates
from radisim_cl.runs.tables import plan_table
from radisim_cl.specs.catalog import load_catalog
from radisim_cl.specs.curriculum import load
from radisim_cl.specs.losses import MultiPositiveLossSpec
from radisim_cl.specs.plan import OverlapPlan, Plan, StagePlan

CT: dict[str, Any] = {"source": "drawn", "captions": "anatomy", "where": {"modality": "CT"}}
OTHERS = CT | {"where": {"modality": ["MR", "DR"]}}
THRESHOLD: dict[str, Any] = {"kind": "threshold", "at_least": 0.1}


@pytest.fixture(autouse=True)
def there(shared_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory is the shared world; how fast this machine is does not matter here."""
    monkeypatch.chdir(shared_world.root)
    monkeypatch.setattr(estimates, "_macs_per_second", lambda: 1e9)


@pytest.fixture
def here(world: World, there: None, monkeypatch: pytest.MonkeyPatch) -> World:
    """The working directory is a world of the test's own."""
    monkeypatch.chdir(world.root)
    return world


@pytest.fixture(scope="module")
def base(shared_world: World) -> Plan:
    """The plan of the shared world as it is."""
    return planning.plan(load(shared_world.curriculum), shared_world.curriculum.parent)


def make(*sets: str) -> Plan:
    """The plan of the working directory's curriculum."""
    return planning.plan(load("curricula/toy.yaml", sets), Path("curricula"))


def refused(*sets: str) -> list[Problem]:
    """What is wrong with it."""
    with pytest.raises(SpecError) as caught:
        make(*sets)
    return list(caught.value.problems)


def set_data(world: World, stage: str, **changes: object) -> None:
    """Changes fields of a stage file's `data`."""
    file = f"stages/{stage}.yaml"
    world.edit(file, data=yaml.safe_load((world.root / file).read_text())["data"] | changes)


def set_subtasks(world: World, **sources: str) -> None:
    """Gives subtasks another source; the names are ids with `_` for the dot."""
    tasks = yaml.safe_load((world.root / "benchmarks/toy.yaml").read_text())["subtasks"]
    world.edit("benchmarks/toy.yaml", subtasks=[t | ({"items": [{"source": sources[k]}]} if (k := t["id"].replace(".", "_")) in sources else {})
                                                for t in tasks])


def add_corpus(world: World, name: str, rename: str = "", shares: dict[str, float] | None = None, **columns: str | list[str]) -> int:
    """A second corpus with other columns, and other patients with files of their own unless they keep their names; how many rows."""
    data = world.root / "data"
    frame = pd.read_csv(data / "manifest.csv", dtype=str, keep_default_na=False)
    if rename:
        (data / name).mkdir(exist_ok=True)
        for image in frame["image"]:
            (data / name / Path(image).name).write_bytes((data / image).read_bytes() + name.encode())
        frame["image"] = f"{name}/" + frame["image"].str.removeprefix("images/")
    for column, value in columns.items():
        frame[column] = value
    frame.assign(patient=rename + frame["patient"]).to_csv(world.root / "data" / f"{name}.csv", index=False)
    corpora = yaml.safe_load((world.root / "catalogs/toy.yaml").read_text())["corpora"]
    new = corpora["drawn"] | {"manifest": f"{name}.csv"} | ({"splits": {"*": shares}} if shares else {})
    world.edit("catalogs/toy.yaml", corpora=corpora | {name: new})
    return len(frame)


def longest(plan: Plan, stage: StagePlan) -> int:
    """Steps of a stage with all its extensions."""
    return stage.batches + min(plan.reserve, (stage.spec.gate.looks - 1) * stage.extension)


def most_seen(plan: Plan, stage: StagePlan, attempts: int = 6) -> int:
    """How often the most often drawn pair is seen, in the worst of some attempts."""
    corpora, worst = Corpora(plan.catalog, plan.benchmark.version), 0
    for attempt in range(attempts):
        stream = Mixture(stage.entries, corpora, plan.templates, plan.curriculum.scale.global_batch, plan.curriculum.seed, stage.spec.name, attempt)
        seen = Counter((pair.corpus.name, pair.row) for n in range(longest(plan, stage)) for pair in stream.batch(n))
        worst = max(worst, *seen.values())
    return worst


# Shares and counts.

@pytest.mark.parametrize("sets", [(), ("stages.anatomy.data.replay=0",), ("stages.anatomy.train.share=0.13",),
                                  ("stages.anatomy.data.mixture.0.weight=0",), ("profiles.laptop.budget={samples: 5000, reserve: 0}",)])
def test_shares_sum_to_one_and_counts_to_the_samples(sets: tuple[str, ...]) -> None:
    plan = make(*sets)
    batch = plan.curriculum.scale.global_batch
    for stage in plan.stages:
        assert stage.samples == stage.batches * batch
        assert sum(e.share for e in stage.entries) == pytest.approx(1)
        assert all(e.requested == pytest.approx(e.share * stage.samples, abs=0.51) for e in stage.entries)
    used = (sum(s.batches for s in plan.stages) + plan.reserve) * batch
    assert 0 <= plan.curriculum.scale.budget.samples - used < (len(plan.stages) + 2) * batch


def test_steps_follow_the_shares_whatever_they_sum_to() -> None:
    for scale in (1, 0.1, 0.37):
        plan = make("profiles.laptop.budget={samples: 4800, reserve: 0}", f"stages.modality.train.share={scale * 2 / 3}",
                    f"stages.anatomy.train.share={scale / 3}")
        assert [s.batches for s in plan.stages] == [200, 100]


def test_equal_shares_get_equal_steps_and_all_of_them(here: World) -> None:
    here.edit("curricula/toy.yaml", stages=[{"use": "modality", "name": f"m{i}", "train": {"share": 0.1}} for i in range(3)])
    assert [s.batches for s in make("profiles.laptop.budget={samples: 480, reserve: 0}").stages] == [10, 10, 10]


@pytest.mark.parametrize(("reserve", "steps"), [(0.0, 0), (0.2, 20), (0.29, 29), (0.5, 50)])
def test_the_reserve_is_its_part_of_the_budget(reserve: float, steps: int) -> None:
    plan = make(f"profiles.laptop.budget={{samples: 1600, reserve: {reserve}}}")
    assert plan.reserve == steps
    assert sum(s.batches for s in plan.stages) in range(100 - steps - 1, 100 - steps + 1)


@pytest.mark.parametrize("replay", [0.0, 0.25, 0.6])
def test_replay_is_shared_equally_by_the_stages_already_passed(here: World, replay: float) -> None:
    here.edit("curricula/toy.yaml", stages=[{"use": "modality", "data": {"replay": replay}}, {"use": "anatomy", "data": {"replay": replay}},
                                            {"use": "anatomy", "name": "last", "data": {"replay": replay}}])
    for i, stage in enumerate(make().stages):
        shares: defaultdict[str, float] = defaultdict(float)
        for e in stage.entries:
            shares[e.stage] += e.share
        names = ["modality", "anatomy", "last"][: i + 1]
        kept = replay if i else 0.0
        assert dict(shares) == pytest.approx({n: v for n, v in zip(names, [kept / i] * i if i else [], strict=False) if v} | {names[i]: 1 - kept})
        own = [e.share for e in stage.entries if e.stage == stage.spec.name]
        assert own[0] == pytest.approx(3 * own[1])


def test_available_pairs_are_those_of_the_train_split_that_the_filter_keeps(here: World) -> None:
    set_data(here, "anatomy", mixture=[CT, OTHERS], replay=0.0)
    plan = make()
    frame = Corpora(plan.catalog, plan.benchmark.version)["drawn"].frame
    train = frame[frame["split"] == "train"]
    assert [e.available for e in plan.stages[1].entries] == [(train["modality"] == "CT").sum(), (train["modality"] != "CT").sum()]


# max_repeats.

def test_a_plan_that_would_repeat_too_often_is_refused_with_the_numbers(here: World) -> None:
    set_data(here, "anatomy", max_repeats=2)
    (found,) = refused()
    line = 1 + next(n for n, text in enumerate(Path("stages/anatomy.yaml").read_text().splitlines()) if "max_repeats" in text)
    assert (found.where, found.field) == (f"stages/anatomy.yaml:{line}", "stages[1].data.max_repeats")
    for word in ("'drawn'", "2 are allowed", "on_shortage: redistribute", "lower"):
        assert word in found.message


@pytest.mark.parametrize(("mixture", "replay"), [
    pytest.param([CT, OTHERS], 0.0, id="two sources"),
    pytest.param([{"source": "drawn", "captions": "anatomy"}, {"source": "drawn"}], 0.0, id="one source twice"),
    pytest.param([{"source": "drawn", "captions": "anatomy", "weight": 3}, {"source": "drawn"}], 0.25, id="one source and its replay"),
])
def test_the_first_limit_that_is_accepted_is_kept_for_every_pair(here: World, mixture: list[object], replay: float) -> None:
    set_data(here, "anatomy", mixture=mixture, replay=replay)
    for cap in range(1, 20):
        try:
            plan = make(f"stages.anatomy.data.max_repeats={cap}")
        except SpecError as e:
            assert {p.field for p in e.problems} == {"stages[1].data.max_repeats"}  # noqa: PT017
            continue
        assert most_seen(plan, plan.stages[1]) <= cap
        return
    pytest.fail("240 draws of 62 pairs need no limit of 20")


@pytest.mark.parametrize(("replay", "cap"), [(0.0, 5), (0.0, 5.5), (0.25, 6), (0.25, 6.5), (0.25, 7)])
def test_redistribution_keeps_max_repeats_for_every_pair(here: World, cap: float, replay: float) -> None:
    set_data(here, "anatomy", mixture=[CT | {"weight": 8}, OTHERS], replay=replay, max_repeats=cap, on_shortage="redistribute")
    plan = make()
    assert most_seen(plan, plan.stages[1]) <= math.ceil(cap)


@pytest.mark.parametrize("replay", [0.0, 0.25])
def test_redistribution_moves_shares_and_the_counts_follow(here: World, replay: float) -> None:
    set_data(here, "anatomy", mixture=[CT | {"weight": 8}, OTHERS], replay=replay, max_repeats=7, on_shortage="redistribute")
    stage = make().stages[1]
    scarce, plenty = stage.entries[:2]
    assert scarce.share < (1 - replay) * 8 / 9
    assert plenty.share > (1 - replay) / 9
    assert sum(e.share for e in stage.entries) == pytest.approx(1)
    assert all(e.requested == pytest.approx(e.share * stage.samples, abs=0.51) for e in stage.entries)


def test_redistribution_changes_nothing_where_nothing_is_short(here: World) -> None:
    set_data(here, "anatomy", mixture=[CT, OTHERS])
    before = make()
    set_data(here, "anatomy", on_shortage="redistribute")
    assert [e.share for e in make().stages[1].entries] == [e.share for e in before.stages[1].entries]


def test_redistribution_ends_where_a_share_rounds_to_the_pass_that_it_was_to_lose(here: World) -> None:
    """Entries of very few pairs and many draws: at several budgets, one of which did not end."""
    for samples in range(20_000, 20_640, 64):
        set_data(here, "anatomy", mixture=[CT | {"weight": 8}, OTHERS], replay=0.4, max_repeats=300, on_shortage="redistribute")
        plan = make(f"profiles.laptop.budget.samples={samples}")
        assert max(e.repeats for e in plan.stages[1].entries) <= 300


def test_redistribution_with_nothing_left_to_give_is_refused(here: World) -> None:
    set_data(here, "anatomy", mixture=[CT, OTHERS], max_repeats=1, on_shortage="redistribute")
    (found,) = refused()
    assert found.field == "stages[1].data.max_repeats"
    assert "no entry has pairs left" in found.message


def test_a_last_stage_that_is_given_the_reserve_is_not_also_extended_by_it() -> None:
    """The reserve is one: a stage that begins with all of it sees no more pairs than one that is extended by all of it."""
    long = ("stages.anatomy.gate.looks=20", "stages.anatomy.gate.extend_by=2.0")
    given, extended = make(*long, "profiles.laptop.budget.unspent=last_stage"), make(*long)
    assert [e.repeats for e in given.stages[1].entries] == [e.repeats for e in extended.stages[1].entries]


# What a plan stands for.

@pytest.mark.parametrize("text", [
    "seed=4", "stages.anatomy.train.lr=0.002", "stages.anatomy.train.final_lr=0.2", "stages.modality.data.mixture.0.weight=4",
    "stages.anatomy.data.augment.flip=0.5", "stages.modality.losses.0.kind=clip", "stages.anatomy.gate.looks=1", "optimizer.weight_decay=0.1",
    "profiles.laptop.global_batch=8", "profiles.laptop.budget.samples=480", "profiles.laptop.zero=1", "profiles.laptop.gates=observe",
])
def test_the_digest_changes_with_what_is_trained_and_the_difference_is_named(base: Plan, text: str) -> None:
    other = make(text)
    assert base.digest() != other.digest()
    field, _, value = text.partition("=")
    told = [d for d in other.differences(base) if d.partition(": ")[0].endswith(f".{field.rpartition('.')[2]}")]
    assert told, other.differences(base)
    assert re.search(rf": '?{value}(\.0)?'?, not ", told[0])


@pytest.mark.parametrize("text", ["profiles.laptop.readers=0", "profiles.laptop.image_cache=0", "profiles.laptop.save_every=7",
                                  "profiles.laptop.readers=8",
                                  "profiles.other={model: {arch: radisim-tiny}, budget: {samples: 10}}"])
def test_the_digest_does_not_change_with_what_is_not_trained(base: Plan, text: str) -> None:
    other = make(text)
    assert base.digest() == other.digest()
    assert base.differences(other) == []


def test_what_is_not_trained_and_differs_can_be_told(base: Plan) -> None:
    other = make("profiles.laptop.readers=8", "profiles.laptop.patience=9.5", "profiles.laptop.save_every=7")
    assert other.asides(base) == ["scale.patience: 9.5, not 1800.0", "scale.readers: 8, not 2", "scale.save_every: 7, not 4"]
    assert base.asides(base) == []


def test_the_digest_does_not_change_where_the_data_or_the_layout_of_a_file_does(here: World) -> None:
    one = make()
    (here.root / "data").rename(here.root / "moved")
    here.edit("catalogs/toy.yaml", root=str(here.root / "moved"))
    text = Path("stages/anatomy.yaml").read_text()
    Path("stages/anatomy.yaml").write_text("# a comment\n" + text.replace("lr: 0.001", "lr: 1.0e-3"))
    assert make().digest() == one.digest()


@pytest.mark.parametrize("change", [lambda f: f.replace("CC0", "CC1", 1), lambda f: f.rpartition("patient089-1")[0]])
def test_the_digest_changes_with_the_data(here: World, change: Any) -> None:
    one, manifest = make(), here.root / "data" / "manifest.csv"
    manifest.write_text(change(manifest.read_text()))
    other = make()
    assert one.digest() != other.digest()
    assert any(d.startswith("corpora.drawn.digest: ") for d in one.differences(other))


def test_differences_name_every_field_with_ours_and_theirs(base: Plan) -> None:
    found = make("seed=4", "stages.anatomy.train.lr=0.002").differences(base)
    assert found == ["curriculum.seed: 4, not 3", "stages[1].spec.train.lr: 0.002, not 0.001"]


def test_a_field_of_one_plan_only_is_absent_from_the_other(base: Plan) -> None:
    text = "stages.anatomy.data.mixture.0.where={modality: CT}"
    assert "stages[1].entries[0].entry.where.modality: 'CT', not 'absent'" in make(text).differences(base)


def test_a_plan_comes_back_from_yaml_unchanged() -> None:
    plan = make("stages.anatomy.train.lr=5e-5", "description=no", "stages.anatomy.gate.requires.0.at_least={default: 0.5, toy: -1}")
    back = Plan.model_validate(yaml.safe_load(yaml.safe_dump(plan.model_dump(mode="json"))))
    assert back.digest() == plan.digest()
    assert back.differences(plan) == []
    assert back.model_dump() == plan.model_dump()


# The benchmark's data.

def test_a_patient_who_is_trained_on_and_measured_on_is_refused(here: World) -> None:
    corpora = Corpora(make().catalog, "toy-1")
    held = corpora["drawn"].frame.query("split != 'train'")["patient"].nunique()
    add_corpus(here, "again", shares={"train": 1.0})
    set_data(here, "anatomy", mixture=[{"source": "again"}])
    (found,) = refused()
    assert found.field == "corpora.drawn.splits"
    assert found.where.startswith("catalogs/toy.yaml:")
    assert f"{held} patients are in the train split of 'again'" in found.message


def copied(world: World) -> pd.DataFrame:
    """A source that trains on the very files that the benchmark asks about, under other ids; these rows."""
    frame = pd.read_csv(world.root / "data" / "manifest.csv", dtype=str, keep_default_na=False)
    add_corpus(world, "copied", rename="other-", shares={"train": 1.0}, image=list(frame["image"]))
    set_data(world, "anatomy", mixture=[{"source": "copied"}])
    frame = Corpora(load_catalog("toy", Path("catalogs")), "toy-1")["drawn"].frame
    return frame[frame["split"] != "train"]


def test_an_image_file_that_is_trained_on_and_measured_on_is_refused(here: World) -> None:
    held = copied(here)
    (found,) = refused()
    assert found.field == "corpora.copied.manifest"
    assert found.where.startswith("catalogs/toy.yaml:")
    image = here.root / "data" / held["image"].iloc[0]
    splits = ", ".join(f"{split} {(held['split'] == split).sum()}" for split in ("tune", "gate", "report"))
    for words in (f"{len(held)} of the train split's image files are asked about in 'drawn' ({splits})", f"{image} is {image}",
                  "radisim-cl corpus check copied --against toy", "overlaps_allowed: [copied]"):
        assert words in found.message
    done = here.cli("run", "toy", "--out", "out")
    assert (done.returncode, found.message in done.stderr, (here.root / "out").exists()) == (2, True, False)


def test_an_image_of_a_source_that_no_stage_trains_on_may_be_in_two_splits(here: World) -> None:
    """A floor learns from it; floors are compared with, and no model is better for it."""
    add_corpus(here, "doubled", rename="other-", image="images/patient000-0.png")
    set_subtasks(here, anat_mass="doubled")
    assert make().overlaps == []


@pytest.mark.parametrize("kind", ["patient", "file"])
def test_a_curriculum_may_allow_an_overlap_by_name_and_the_plan_says_so(here: World, kind: str) -> None:
    held = copied(here)
    if kind == "patient":
        add_corpus(here, "copied", shares={"train": 1.0})
    other = make("stages.anatomy.data.mixture=[{source: drawn}]")
    plan = make("overlaps_allowed=[copied]")
    counts = {split: int((held["split"] == split).sum()) for split in ("tune", "gate", "report")}
    by = {str(o.kind): o for o in plan.overlaps}
    assert set(by) == {"patient", "file"} if kind == "patient" else {"file"}
    patients = int(held["patient"].nunique())
    assert by[kind] == OverlapPlan(source="copied", held="drawn", kind=by[kind].kind, pairs=len(held), items=counts, patients=patients)
    assert f"{len(held)} pairs of copied" in plan.notice
    assert " ".join(plan.notice.split()) in " ".join(printed(plan).split())
    assert (other.overlaps, other.notice) == ([], "")
    assert plan.digest() != other.digest()
    assert Plan.model_validate(yaml.safe_load(yaml.safe_dump(plan.model_dump(mode="json")))).overlaps == plan.overlaps


def test_a_subtask_of_an_allowed_overlap_is_not_zero_shot(here: World) -> None:
    copied(here)
    set_data(here, "modality", mixture=[{"source": "copied"}])
    add_corpus(here, "apart", rename="apart-")
    set_subtasks(here, anat_mass="apart")
    plan = make("overlaps_allowed=[copied]")
    assert {t.id: t.trained_on for t in plan.subtasks} == {"mod.three": ["drawn"], "anat.three": ["drawn"], "anat.mass": []}


def test_equal_ids_of_two_numberings_are_two_patients(here: World) -> None:
    add_corpus(here, "again", rename="other-", shares={"train": 1.0})
    text = (here.root / "data" / "again.csv").read_text()
    (here.root / "data" / "again.csv").write_text(text.replace("other-", ""))
    set_data(here, "anatomy", mixture=[{"source": "again"}])
    assert "give one of them 'patient_ids'" in refused()[0].message
    before = Corpora(load_catalog("toy", Path("catalogs")), "toy-1")["again"].frame
    corpora = yaml.safe_load((here.root / "catalogs/toy.yaml").read_text())["corpora"]
    here.edit("catalogs/toy.yaml", corpora=corpora | {"again": corpora["again"] | {"patient_ids": "hospital"}})
    plan = make()
    assert plan.overlaps == []
    frame = Corpora(plan.catalog, plan.benchmark.version)["again"].frame
    assert list(frame["patient"]) == list("hospital/" + before["patient"])
    assert list(frame["split"]) == list(before["split"])
    here.edit("catalogs/toy.yaml", corpora={name: c | {"patient_ids": "hospital"} for name, c in corpora.items()})
    assert [p.field for p in refused()] == ["corpora.drawn.splits"]


def test_a_second_plan_reads_no_image(here: World) -> None:
    make()
    for image in (here.root / "data" / "images").iterdir():
        image.write_bytes(b"")
    make()
    manifest = here.root / "data" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("CC0", "CC1", 1))
    make()  # another manifest: hashed again, and empty files are nobody's copies


def test_the_same_patients_may_stand_in_two_corpora_that_are_cut_alike_or_have_other_names(here: World) -> None:
    add_corpus(here, "alike")
    add_corpus(here, "apart", rename="other-", shares={"train": 1.0})
    set_data(here, "anatomy", mixture=[{"source": "alike"}, {"source": "apart"}])
    assert {"alike", "apart", "drawn"} == set(make().corpora)


def test_a_subtask_without_data_is_named_and_the_others_are_planned(here: World) -> None:
    set_subtasks(here, anat_mass="elsewhere")
    plan = make()
    assert {t.id: t.missing for t in plan.subtasks} == {"mod.three": "", "anat.three": "", "anat.mass": "catalog 'toy' has no source 'elsewhere'"}
    assert "missing: catalog 'toy' has no source 'elsewhere'" in printed(plan)


def test_a_subtask_without_an_item_to_report_on_is_named(here: World) -> None:
    add_corpus(here, "unreported", rename="other-", shares={"train": 0.5, "gate": 0.5})
    set_subtasks(here, anat_mass="unreported")
    assert "report" in next(t.missing for t in make().subtasks if t.id == "anat.mass")


@pytest.mark.parametrize("target", [{"suite": "modality"}, {"subtask": "mod.three"}])
def test_a_gate_on_what_has_no_data_is_refused(here: World, target: dict[str, str]) -> None:
    set_subtasks(here, mod_three="elsewhere")
    here.edit("stages/modality.yaml", gate={"requires": [THRESHOLD | target]})
    (found,) = refused()
    assert found.field.startswith("stages[0].gate.requires")
    assert found.where.startswith("stages/modality.yaml:")
    assert repr(*target.values()) in found.message
    assert "'toy'" in found.message


def test_a_subtask_whose_source_is_trained_on_is_not_zero_shot(here: World) -> None:
    add_corpus(here, "held", rename="other-")
    set_subtasks(here, anat_mass="held")
    assert {t.id: t.trained_on for t in make().subtasks} == {"mod.three": ["drawn"], "anat.three": ["drawn"], "anat.mass": []}


# What losses need.

def printed(plan: Plan) -> str:
    """The plan's table as text."""
    console = Console(width=250)
    with console.capture() as captured:
        console.print(plan_table(plan))
    return captured.get()


@pytest.fixture
def needy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss that needs masks."""
    monkeypatch.setattr(MultiPositiveLossSpec, "needs", frozenset({"mask"}))


@pytest.mark.usefixtures("needy")
def test_a_loss_that_no_source_serves_is_refused() -> None:
    first, second = refused()
    assert (first.where, first.field) == ("stages/modality.yaml:12", "stages[0].losses[0].kind")
    assert second.field == "stages[1].losses[0].kind"
    for word in ("'multi_positive' needs mask", "(drawn)", "required: false"):
        assert word in first.message


@pytest.mark.usefixtures("needy")
def test_an_optional_loss_that_no_source_serves_contributes_nothing_and_says_so(here: World) -> None:
    for stage in ("modality", "anatomy"):
        here.edit(f"stages/{stage}.yaml", losses=[{"kind": "clip"}, {"kind": "multi_positive", "required": False}])
    plan = make()
    assert [[(x.kind, x.contributes) for x in s.losses] for s in plan.stages] == [[("clip", True), ("multi_positive", False)]] * 2
    assert printed(plan).count("contributes nothing: no source offers mask") == 2


@pytest.mark.usefixtures("needy")
def test_a_loss_is_served_by_one_source_of_the_stage_or_of_its_replay(here: World) -> None:
    add_corpus(here, "masked", rename="other-", mask="m.png")
    set_data(here, "modality", mixture=[{"source": "drawn"}, {"source": "masked"}])
    assert all(x.contributes for s in make().stages for x in s.losses)


@pytest.mark.usefixtures("needy")
def test_a_source_that_is_never_drawn_serves_no_loss(here: World) -> None:
    add_corpus(here, "masked", rename="other-", mask="m.png")
    set_data(here, "modality", mixture=[{"source": "drawn"}, {"source": "masked", "weight": 0}])
    assert "stages[0].losses[0].kind" in {p.field for p in refused()}


def test_a_loss_that_needs_two_columns_needs_both_of_one_pair(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MultiPositiveLossSpec, "needs", frozenset({"mask", "plane"}))
    add_corpus(here, "masked", rename="m-", mask="m.png")
    add_corpus(here, "planar", rename="p-", plane="axial")
    set_data(here, "modality", mixture=[{"source": "masked"}, {"source": "planar"}])
    assert "stages[0].losses[0].kind" in {p.field for p in refused()}
    add_corpus(here, "both", rename="b-", plane="axial", mask="m.png")
    set_data(here, "modality", mixture=[{"source": "masked"}, {"source": "both"}])
    assert make().stages[0].losses[0].contributes


def test_the_plan_counts_the_pairs_that_a_loss_can_use(here: World) -> None:
    """A pair that two entries hold counts once, one that none draws not at all."""
    frame = pd.read_csv(here.root / "data" / "manifest.csv", dtype=str, keep_default_na=False)
    frame["mask"] = frame["image"].where(frame["modality"] == "CT", "")
    frame.to_csv(here.root / "data" / "manifest.csv", index=False)
    corpora = yaml.safe_load((here.root / "catalogs/toy.yaml").read_text())["corpora"]
    here.edit("catalogs/toy.yaml", corpora={"drawn": corpora["drawn"] | {"structures": {"1": "mass"}}})
    grades = [{"values": ["mass"], "names": ["mass"]}, {"values": ["masses"], "names": ["masses"]}]
    here.edit("stages/modality.yaml", losses=[{"kind": "clip"}, {"kind": "region"}, {"kind": "ordinal", "grades": grades}])
    set_data(here, "modality", mixture=[{"source": "drawn", "where": {"modality": ["CT", "MR"]}}, {"source": "drawn", "where": {"modality": "CT"}},
                                        {"source": "drawn", "where": {"modality": "DR"}, "weight": 0}])
    plan = make()
    frame = Corpora(plan.catalog, plan.benchmark.version)["drawn"].frame
    drawn = frame[(frame["split"] == "train") & frame["modality"].isin(["CT", "MR"])]
    counts = [int((drawn["modality"] == "CT").sum()), int((drawn["label"] == "mass").sum())]
    assert [x.note for x in plan.stages[0].losses] == ["", *(f"{n} of {len(drawn)} pairs" for n in counts)]
    assert f"region x1 {counts[0]} of {len(drawn)} pairs" in printed(plan)
    assert plan.stages[0].sources == ["drawn"]
    assert [loss.kind for loss in plan.stages[0].contributing] == ["clip", "region", "ordinal"]


def test_grades_that_no_pair_has_are_refused_by_name(here: World) -> None:
    grades = [{"values": ["mild"], "names": ["mild"]}, {"values": ["grave"], "names": ["grave"]}]
    here.edit("stages/modality.yaml", losses=[{"kind": "clip"}, {"kind": "ordinal", "grades": grades}])
    (problem,) = refused()
    assert problem.field == "stages[0].losses[1].kind"
    assert "needs label 'mild' or 'grave', and no source" in problem.message


def test_siglip_needs_a_model_with_a_bias_and_the_plan_says_how_to_give_it_one(here: World) -> None:
    here.edit("stages/modality.yaml", losses=[{"kind": "siglip"}])
    (problem,) = refused()
    assert problem.field == "stages[0].losses[0].kind"
    assert "needs a logit_bias" in problem.message
    assert "set profiles.laptop.model.logit_bias" in problem.message
    assert make("profiles.laptop.model.logit_bias=-10").stages[0].losses[0].contributes
    config = json.loads((here.root / "model" / "open_clip_config.json").read_text())
    (here.root / "model" / "open_clip_config.json").write_text(json.dumps(config | {"model_cfg": config["model_cfg"] | {"init_logit_bias": -10}}))
    assert make().stages[0].losses[0].contributes


def test_siglip_that_is_not_required_contributes_nothing_without_a_bias(here: World) -> None:
    here.edit("stages/modality.yaml", losses=[{"kind": "clip"}, {"kind": "siglip", "required": False}])
    plan = make()
    assert [x.contributes for x in plan.stages[0].losses] == [True, False]
    assert "contributes nothing: needs a logit_bias" in printed(plan)


def test_retain_has_nothing_to_retain_of_random_weights(here: World) -> None:
    for stage in ("modality", "anatomy"):
        here.edit(f"stages/{stage}.yaml", losses=[{"kind": "clip"}, {"kind": "retain"}])
    (problem,) = refused()
    assert problem.field == "stages[0].losses[1].kind"
    for word in ("enters the first one with random weights", "profiles.laptop.model.pretrained", "required: false"):
        assert word in problem.message
    here.edit("stages/modality.yaml", losses=[{"kind": "clip"}, {"kind": "retain", "required": False}])
    plan = make()
    assert [[x.contributes for x in s.losses] for s in plan.stages] == [[True, False], [True, True]]
    assert "retain x1 contributes nothing: compares with the model that enters the stage" in printed(plan)
    (here.root / "weights.pt").touch()
    here.edit("stages/modality.yaml", losses=[{"kind": "clip"}, {"kind": "retain"}])
    assert all(x.contributes for s in make("profiles.laptop.model.pretrained=weights.pt").stages for x in s.losses)


def test_the_memory_of_a_plan_counts_the_copy_that_retain_compares_with(here: World) -> None:
    before = make("profiles.laptop.model.arch=ViT-L-14").estimates
    here.edit("stages/anatomy.yaml", losses=[{"kind": "clip"}, {"kind": "retain"}])
    after = make("profiles.laptop.model.arch=ViT-L-14").estimates
    assert after.memory_gib - before.memory_gib == pytest.approx(before.parameters * 4 / 2**30, abs=0.02)


def test_the_plan_shows_over_what_share_a_weight_rises(here: World) -> None:
    here.edit("stages/modality.yaml", losses=[{"kind": "clip"}, {"kind": "multi_positive", "weight": 0.5, "warmup": 0.2}])
    shown = printed(make())
    assert "multi_positive x0.5 rising over 20%" in shown
    assert shown.count("rising") == 1


def test_masks_without_structures_are_refused_where_a_loss_uses_them(here: World) -> None:
    add_corpus(here, "masked", rename="m-", mask="m.png")
    set_data(here, "modality", mixture=[{"source": "masked"}])
    here.edit("stages/anatomy.yaml", losses=[{"kind": "clip"}])
    here.edit("stages/modality.yaml", losses=[{"kind": "clip"}])
    make()
    here.edit("stages/modality.yaml", losses=[{"kind": "clip"}, {"kind": "region"}])
    (problem,) = refused()
    assert problem.field == "corpora.masked.structures"
    assert "has masks" in problem.message


def test_a_stage_none_of_whose_losses_has_what_it_needs_is_refused(here: World) -> None:
    here.edit("stages/modality.yaml", losses=[{"kind": "region", "required": False}])
    (problem,) = refused()
    assert problem.field == "stages[0].losses"
    assert "no source offers mask" in problem.message


def test_an_optional_source_that_the_catalog_lacks_is_left_out_and_the_others_take_its_share(here: World) -> None:
    set_data(here, "modality", mixture=[CT | {"weight": 1}, OTHERS | {"weight": 1}])
    without = make().stages[0]
    set_data(here, "modality", mixture=[CT | {"weight": 1}, {"source": "elsewhere", "weight": 5, "optional": True}, OTHERS | {"weight": 1}])
    stage = make().stages[0]
    assert stage.left_out == ["elsewhere"]
    assert [e.share for e in stage.entries] == [e.share for e in without.entries]
    console = Console(record=True, width=200, file=io.StringIO())
    console.print(plan_table(make()))
    assert "elsewhere" in console.export_text()
    set_data(here, "modality", mixture=[{"source": "elsewhere", "optional": True}])
    (problem,) = refused()
    assert "none of its sources" in str(problem)


def test_a_profile_for_real_data_refuses_the_phantom_before_it_is_drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RADISIM_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SpecError, match="refuses synthetic images, and catalog 'phantom' has no others"):
        planning.plan(load("radiologist", profile="paper"))
    assert not (tmp_path / "cache").exists()


def test_a_profile_scales_every_stages_learning_rate_and_the_plan_shows_it() -> None:
    text, plan = io.StringIO(), make("profiles.laptop.lr_scale=0.25")
    Console(file=text, width=250).print(plan_table(plan))
    for stage in plan.stages:
        assert plan.curriculum.train(stage.spec).lr == pytest.approx(stage.spec.train.lr / 4)
        assert f"{stage.spec.train.lr / 4:g}" in text.getvalue()
    assert plan.digest() != make().digest()


@pytest.mark.parametrize(("arch", "told"), [("radisim-tiny", "minutes here, to a factor of two"), ("RN50", "how long is not known"),
                                            ("radisim-tiny-resnet", "minutes here, to a factor of two")])
def test_a_plan_says_how_long_or_that_it_does_not_know(arch: str, told: str) -> None:
    text = io.StringIO()
    Console(file=text, width=250).print(plan_table(make(f"profiles.laptop.model.arch={arch}")))
    assert told in text.getvalue()
