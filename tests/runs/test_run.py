"""A whole run in the small world: its story, its files, its exports, and every way it can end."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import open_clip
import pandas as pd
import pytest
import torch
from conftest import World, make_world
from safetensors.torch import load_file

from radisim_cl.errors import InputError, RadisimError
from radisim_cl.models.embedder import Embedder
from radisim_cl.records import events as ev
from radisim_cl.records.ledger import read
from radisim_cl.records.scorecard import Scorecard
from radisim_cl.records.state import fold
from radisim_cl.report.examples import examples
from radisim_cl.report.story import Story
from radisim_cl.runs import doctor
from radisim_cl.runs.directory import create, load_plan
from radisim_cl.runs.lock import locked
from radisim_cl.runs.planning import plan
from radisim_cl.runs.scores import result, unseal
from radisim_cl.specs.curriculum import load


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    """A finished run, which no test may change."""
    world = make_world(tmp_path_factory.mktemp("done") / "world")
    told = world.cli("run", "toy")
    assert told.returncode == 0, told.stderr
    return world, world.root / "runs" / "toy"


def story(run: Path) -> list[str]:
    """The events of a run, by name, with what they were about."""
    told = [(e.event, *(getattr(e, about, None) for about in ("stage", "split", "decision"))) for e in read(run)[0]]
    return [" ".join(str(word) for word in words if word) for words in told]


def test_the_ledger_tells_the_story(done: tuple[World, Path]) -> None:
    def stage(name: str) -> list[str]:
        return [f"StageStarted {name}", f"CheckpointCommitted {name}", f"CheckpointCommitted {name}", f"CheckpointCommitted {name}",
                f"Scored {name} gate", f"GateDecided {name} advance", f"Scored {name} report", f"StageFinished {name}"]

    assert story(done[1]) == ["RunStarted", "CheckpointCommitted", "Scored gate", *stage("modality"), *stage("anatomy"), "RunFinished"]


def test_look_0_is_before_any_training(done: tuple[World, Path]) -> None:
    first = next(e for e in read(done[1])[0] if isinstance(e, ev.Scored))
    assert (first.stage, first.total, first.look) == (None, 0, 0)


def test_realised_samples_are_what_was_asked(done: tuple[World, Path]) -> None:
    plan = load_plan(done[1])
    for stage in plan.stages:
        last = [e for e in read(done[1])[0] if isinstance(e, ev.CheckpointCommitted) and e.stage == stage.spec.name][-1]
        assert last.batch == stage.batches
        assert sum(last.drawn.values()) == stage.samples
        assert set(last.drawn) == {"drawn/CT", "drawn/MR", "drawn/DR"}


def test_exports_load_with_stock_open_clip_and_give_the_same_embeddings(done: tuple[World, Path]) -> None:
    run = done[1]
    images, texts = torch.rand(4, 3, 32, 32), ["CT of the head", "knee"]
    checkpoint = torch.load(run / "checkpoints" / "anatomy-0-0000010" / "mp_rank_00_model_states.pt", weights_only=False)["module"]
    exported = load_file(run / "export" / "2-anatomy" / "open_clip_model.safetensors")
    for name, tensor in exported.items():
        assert torch.equal(tensor.reshape(-1), checkpoint[f"clip.{name}"].reshape(-1)), name
    embeddings = []
    for folder in ("1-modality", "2-anatomy"):
        model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{run / 'export' / folder}")
        tokens = open_clip.get_tokenizer(f"local-dir:{run / 'export' / folder}")(texts)
        embeddings.append(model.eval().encode_image(images, normalize=True))
        assert model.encode_text(tokens).shape == (2, 16)
        assert "Resize" in str(preprocess)
    assert not torch.allclose(embeddings[0], embeddings[1]), "the second stage changed nothing"


def test_exports_say_what_they_are(done: tuple[World, Path]) -> None:
    for folder, stage in (("1-modality", "modality"), ("2-anatomy", "anatomy")):
        text = (done[1] / "export" / folder / "README.md").read_text()
        assert f"# toy, after stage {stage}" in text
        assert "Synthetic" not in text


def test_the_report_split_is_scored_at_every_accepted_stage(done: tuple[World, Path]) -> None:
    run = done[1]
    card = result(run, fold(read(run)[0]))
    assert (card.split, card.stage, card.samples) == ("report", "anatomy", 320)
    for score in card.subtasks:
        assert set(score.floors) == {"pixel_statistics", "thumbnail"}
        assert all(i.low <= i.value <= i.high for i in score.scores.values())
        assert score.trained_on == ["drawn"]
    assert (run / "scores" / "report-modality.json").is_file()
    assert all(e.suites is None for e in read(run)[0] if isinstance(e, ev.Scored) and e.split == "report"), "a report score is in the ledger"


def test_the_page_does_not_ask_the_last_model_again(done: tuple[World, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """What it made of the report split's images and prompts is kept."""
    world, run = done
    monkeypatch.chdir(world.root)

    def refused(*_: object) -> None:
        pytest.fail("the model is asked again")

    for what in ("images", "images_and_patches", "texts"):
        monkeypatch.setattr(Embedder, what, refused)
    shown = examples(Story.of(run))
    assert shown.found, shown.why


def test_starting_a_finished_run_again_is_done_at_once(done: tuple[World, Path]) -> None:
    before = (done[1] / "ledger.jsonl").read_bytes()
    told = done[0].cli("run", "toy")
    assert (told.returncode, "goes on with what it began with" in told.stdout) == (0, False)
    assert (done[1] / "ledger.jsonl").read_bytes() == before


def test_what_changes_no_result_stays_as_it_began_and_that_is_said(done: tuple[World, Path]) -> None:
    before = (done[1] / "plan.yaml").read_bytes()
    told = done[0].cli("run", "toy", "--set", "profiles.laptop.readers=7", "--set", "profiles.laptop.save_every=9")
    assert told.returncode == 0, told.stderr
    assert re.findall(r"runs/toy keeps (\S+: \S+, not \S+) \(", told.stdout) == ["scale.readers: 2, not 7", "scale.save_every: 4, not 9"]
    assert (done[1] / "plan.yaml").read_bytes() == before


def test_log_tells_what_happened_and_status_where_it_is(done: tuple[World, Path]) -> None:
    told = done[0].cli("log", "toy").stdout
    for words in ("stage modality", "gate, look 1 (enforce): passed", "accepted: export/2-anatomy", "finished"):
        assert words in told
    told = done[0].cli("status", "toy").stdout
    for words in ("modality", "160", "passed", "finished; 320 samples seen; 80 in reserve", "report split"):
        assert words in told


def test_no_patient_is_named_in_anything_that_a_run_writes(done: tuple[World, Path]) -> None:
    for file in (f for f in done[1].rglob("*") if f.is_file()):
        assert not re.search(rb"patient\d{3}", file.read_bytes()), file


def test_tensorboard_has_losses_and_the_mixture(done: tuple[World, Path]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(done[1] / "tensorboard"))
    board.Reload()
    tags = set(board.Tags()["scalars"])
    assert {"train/total", "train/multi_positive", "train/lr", "train/logit_scale", "gate/modality", "gate/anatomy"} <= tags
    assert len(board.Scalars("train/total")) == 20
    for part in ("drawn/CT", "drawn/MR", "drawn/DR"):
        asked, realised = (board.Scalars(f"mixture_{what}/anatomy/{part}")[-1].value for what in ("asked", "realised"))
        assert abs(asked - realised) < 12


def test_a_changed_plan_is_refused_field_by_field(done: tuple[World, Path]) -> None:
    told = done[0].cli("run", "toy", "--set", "stages.anatomy.train.lr=2e-3", "--set", "seed=4")
    assert told.returncode == 2
    assert "stages[1].spec.train.lr: 0.002, not 0.001" in told.stderr
    assert "curriculum.seed: 4, not 3" in told.stderr


def test_a_folder_that_a_killed_start_left_is_begun_in_and_another_is_not(world: World) -> None:
    asked, begun, other = plan(load(world.curriculum), world.curriculum.parent), world.root / "runs" / "begun", world.root / "runs" / "other"
    for folder, names in ((begun, (".lock", ".lock.holder", ".plan.yaml.tmp")), (other, (".lock", "thesis.tex"))):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_text("{")
    create(asked, begun, nproc=1)
    assert [e.event for e in read(begun)[0]] == ["RunStarted"]
    with pytest.raises(InputError, match="is not empty and not a run"):
        create(asked, other, nproc=1)


def test_rewinding_keeps_what_was_accepted_and_takes_another_stream(world: World) -> None:
    assert world.cli("run", "toy").returncode == 0
    run = world.root / "runs" / "toy"
    first = load_file(run / "export" / "2-anatomy" / "open_clip_model.safetensors")
    kept = (run / "export" / "1-modality" / "open_clip_model.safetensors").read_bytes()
    told = world.cli("resume", "toy", "--stage", "2")
    assert told.returncode == 0, told.stderr
    state = fold(read(run)[0])
    assert (state.rewinds, state.accepted["anatomy"].attempt, state.accepted["modality"].attempt) == (1, 1, 0)
    assert (run / "export" / "1-modality" / "open_clip_model.safetensors").read_bytes() == kept
    again = load_file(run / "export" / "2-anatomy" / "open_clip_model.safetensors")
    assert any(not torch.equal(first[n], again[n]) for n in first)
    decided = [e for e in read(run)[0] if isinstance(e, ev.GateDecided) and e.stage == "anatomy"]
    assert decided[1].alpha == decided[0].alpha / 2, "looking again is not free"
    assert "rewound 1 times" in world.cli("status", "toy").stdout


@pytest.mark.parametrize(("stage", "words"), [("9", "1 modality, 2 anatomy"), ("grading", "no such stage")])
def test_a_stage_that_does_not_exist(done: tuple[World, Path], stage: str, words: str) -> None:
    told = done[0].cli("resume", "toy", "--stage", stage)
    assert (told.returncode, "Traceback" in told.stderr) == (2, False)
    assert words in told.stderr


def test_an_unreachable_gate_extends_within_the_reserve_then_stops_with_its_reasons(world: World) -> None:
    told = world.cli("run", "toy", "--set", "stages.modality.gate.requires=[{kind: threshold, suite: modality, at_least: 1.0, confidence: 0.99}]")
    assert told.returncode == 3, told.stderr
    assert re.search(r"modality skill -?\d\.\d+, lower bound -?\d\.\d+ .* < 1", told.stderr)
    run = world.root / "runs" / "toy"
    decided = [e for e in read(run)[0] if isinstance(e, ev.GateDecided)]
    assert [(d.look, d.decision, d.passed) for d in decided] == [(1, "extend", False), (2, "stop", False)]
    assert 0 < decided[0].batches <= load_plan(run).reserve
    state = fold(read(run)[0])
    assert state.status == "stopped"
    assert state.checkpoint is not None
    assert (run / "checkpoints" / state.checkpoint.tag).is_dir()
    assert not list((run / "scores").glob("report-*")), "a stage that was not accepted has no report score"
    assert world.cli("resume", "toy").returncode == 3
    assert "not passed" in world.cli("status", "toy").stdout


@pytest.mark.parametrize(("mode", "passed"), [("observe", False), ("off", None)])
def test_modes_that_do_not_act(world: World, mode: str, passed: bool | None) -> None:
    never = "requires=[{kind: threshold, suite: modality, at_least: 1.0}]"
    told = world.cli("run", "toy", "--set", f"stages.modality.gate.{never}", "--set", f"stages.modality.gate.mode={mode}")
    assert told.returncode == 0, told.stderr
    run = world.root / "runs" / "toy"
    decided = next(e for e in read(run)[0] if isinstance(e, ev.GateDecided))
    assert (decided.decision, decided.passed, decided.mode) == ("advance", passed, mode)
    assert not fold(read(run)[0]).accepted["modality"].passed
    assert "accepted without having passed" in told.stdout.lower()


def test_two_ranks_see_the_same_samples_and_finish(done: tuple[World, Path], world: World) -> None:
    told = world.process("run", "toy", "--nproc", "2", "--set", "profiles.laptop.zero=1")
    assert told.returncode == 0, told.stderr

    def realised(run: Path) -> list[dict[str, int]]:
        return [e.drawn for e in read(run)[0] if isinstance(e, ev.CheckpointCommitted)]

    two = world.root / "runs" / "toy"
    assert realised(two) == realised(done[1])
    first = "scores/gate-start-0-0.parquet"
    pd.testing.assert_frame_equal(pd.read_parquet(two / first), pd.read_parquet(done[1] / first))


def test_a_model_that_normalizes_over_the_batch_is_not_trained_in_pieces(world: World) -> None:
    told = world.cli("run", "toy", "--set", "profiles.laptop.model.arch=radisim-tiny-resnet", "--set", "profiles.laptop.micro_batch=8")
    assert told.returncode == 2
    assert "'radisim-tiny-resnet' normalizes over the batch, and pieces of micro_batch 8 would be normalized apart" in " ".join(told.stderr.split())


def test_a_machine_without_a_compiler_trains_in_bf16(world: World) -> None:
    """DeepSpeed would build an op for collectives on CPUs, and raise where there is no compiler."""
    sets = ("--set", "profiles.laptop.precision=bf16", "--set", "profiles.laptop.budget.samples=160")
    told = world.process("run", "toy", *sets, PATH="", CXX="", CC="")
    assert told.returncode == 0, told.stderr


def test_a_model_is_scored_in_the_precision_it_was_trained_in(world: World) -> None:
    assert world.cli("run", "toy", "--set", "profiles.laptop.precision=bf16").returncode == 0
    def answers(file: Path) -> pd.DataFrame:
        rows = pd.read_parquet(file)
        return rows[rows["by"] == "model"].dropna(axis=1, how="all").reset_index(drop=True)

    own = answers(world.root / "runs/toy/scores/gate-anatomy-0-1.parquet")
    for model, asked, same in (("toy", "auto", True), ("runs/toy/export/2-anatomy", "auto", True), ("toy", "fp32", False)):
        told = world.cli("bench", model, "--benchmark", "toy", "--catalog", "toy", "--split", "gate", "--precision", asked, "--out", "out")
        assert told.returncode == 0, told.stderr
        assert answers(world.root / "out" / "answers.parquet").equals(own) == same


@pytest.mark.parametrize(("instructions", "precision"), [({"avx512_bf16": True}, "bf16"), ({"avx512_bf16": False}, "fp32"), ({}, "fp32")])
def test_auto_is_settled_by_the_machine_that_plans(world: World, monkeypatch: pytest.MonkeyPatch, instructions: dict[str, bool],
                                                   precision: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    spec = load(world.root / "curricula" / "toy.yaml", ["profiles.laptop.precision=auto"])
    assert plan(spec, world.root / "curricula").curriculum.scale.precision == precision


@pytest.mark.slow
@pytest.mark.parametrize("zero", [2, 3])
def test_two_ranks_share_weights_and_resume_them(world: World, done: tuple[World, Path], zero: int) -> None:
    """They score as one process that has the weights: the start as a run of one rank, the end as the exported model."""
    sets = ("--nproc", "2", "--set", f"profiles.laptop.zero={zero}")
    assert world.cli("run", "toy", *sets).returncode == 0
    run = world.root / "runs" / "toy"
    first = "scores/gate-start-0-0.parquet"
    pd.testing.assert_frame_equal(pd.read_parquet(run / first), pd.read_parquet(done[1] / first))
    told = world.cli("bench", "runs/toy/export/2-anatomy", "--benchmark", "toy", "--catalog", "toy", "--split", "gate", "--out", "out")
    assert told.returncode == 0, told.stderr
    cards = (world.root / "out" / "scorecard.json", run / "scores" / "gate-anatomy-0-1.json")
    alone, own = (Scorecard.model_validate_json(card.read_text()) for card in cards)
    assert [s.scores for s in alone.subtasks] == [s.scores for s in own.subtasks]
    told = world.cli("resume", "toy", "--stage", "anatomy")
    assert told.returncode == 0, told.stderr
    assert fold(read(world.root / "runs" / "toy")[0]).world_size == 2


def test_the_doctor_finds_nothing_on_a_machine_that_trains(world: World) -> None:
    told = world.cli("doctor", RADISIM_CACHE=str(world.root))
    assert told.returncode == 0, told.stdout
    for word in ("torch", "accelerators", "GiB free", "cores"):
        assert word in told.stdout


def harm(run: Path, how: str) -> None:
    """What may have become of a run directory."""
    checkpoint = fold(read(run)[0]).checkpoint
    assert checkpoint is not None
    weights = next(p for p in (run / "checkpoints" / checkpoint.tag).rglob("*.pt"))
    match how:
        case "was changed after it was written":
            raw = bytearray(weights.read_bytes())
            raw[len(raw) // 2] ^= 1
            weights.write_bytes(raw)
        case "bytes, not":
            weights.write_bytes(weights.read_bytes()[:-1])
        case "is missing or was changed":
            (run / "scores" / "gate-start-0-0.parquet").write_bytes(b"")
        case "open_clip_model.safetensors is missing":
            (run / "export" / "2-anatomy" / "open_clip_model.safetensors").unlink()
        case "not event 3":
            lines = (run / "ledger.jsonl").read_text().splitlines(keepends=True)
            (run / "ledger.jsonl").write_text("".join(lines[:3] + lines[4:]))
        case "a torn last line of 9 bytes was dropped":
            with (run / "ledger.jsonl").open("a") as f:
                f.write('{"event":')


@pytest.mark.parametrize("how", ["", "was changed after it was written", "bytes, not", "is missing or was changed",
                                 "open_clip_model.safetensors is missing", "not event 3", "a torn last line of 9 bytes was dropped"])
def test_the_doctor_checks_every_digest_of_a_run_and_changes_nothing(done: tuple[World, Path], tmp_path: Path, how: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(done[1], run)
    harm(run, how)
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    checks = doctor.of_run(run)
    assert any(how in c.found for c in checks)
    assert any(c.broken for c in checks) == (how != "" and "torn" not in how)
    assert all(c.fix for c in checks if c.broken)
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


def test_the_report_split_cannot_be_unsealed_early(done: tuple[World, Path]) -> None:
    run = done[1]
    events = read(run)[0]
    early = fold(events[: next(i for i, e in enumerate(events) if isinstance(e, ev.StageFinished)) + 1])
    with pytest.raises(InputError, match="sealed"):
        unseal(run, load_plan(run), early)
    with pytest.raises(InputError, match="sealed"):
        result(run, early)


def test_one_writer_a_run(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(RadisimError, match="held by process"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def damage(folder: Path, how: str) -> str:
    """Harms a checkpoint; the words that must come of it."""
    file = folder / "mp_rank_00_model_states.pt"
    if how == "missing":
        file.unlink()
        return "is missing"
    data = bytearray(file.read_bytes())
    if how == "truncated":
        file.write_bytes(data[:-100])
        return "bytes, not"
    if how == "manifest":
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return "is not the one that the ledger knows"
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    return "was changed after it was written"


@pytest.mark.parametrize("how", ["missing", "truncated", "bit flip", "manifest"])
def test_a_damaged_checkpoint_is_found_before_it_is_opened(done: tuple[World, Path], tmp_path: Path, how: str) -> None:
    import shutil

    from radisim_cl.runs.checkpoints import load

    class Engine:
        rank = 0

        def broadcast(self, value: Any) -> Any:
            return value

        world = 1

        def load(self, folder: Path, tag: str, world: int) -> None:
            raise AssertionError("a damaged checkpoint was opened")

    shutil.copytree(done[1] / "checkpoints", tmp_path / "checkpoints")
    newest = [e for e in read(done[1])[0] if isinstance(e, ev.CheckpointCommitted)][-1]
    words = damage(tmp_path / "checkpoints" / newest.tag, how)
    with pytest.raises(RadisimError, match=words):
        load(Engine(), tmp_path, newest)  # type: ignore[arg-type]


def test_without_a_name_status_takes_the_newest_run_and_resume_the_newest_unfinished(done: tuple[World, Path]) -> None:
    world = done[0]
    assert "runs/toy" in world.cli("status").stdout
    told = world.cli("resume")
    assert (told.returncode, "no unfinished run under runs/" in told.stderr) == (2, True)
