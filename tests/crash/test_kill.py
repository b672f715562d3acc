"""Kill a run anywhere, resume it, and nothing can be told from an uninterrupted run; nor where some of its images are none."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from _runs import outcome, same, start, wait_for_events
from conftest import World, make_world
from PIL import Image

from radisim_cl.corpus.corpora import Corpora
from radisim_cl.records import events as ev
from radisim_cl.records.ledger import read
from radisim_cl.specs.catalog import load_catalog


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, dict[str, Any]]:
    """The oracle."""
    world = make_world(tmp_path_factory.mktemp("kill") / "world")
    process = start(world, "oracle")
    assert process.wait(300) == 0, process.stderr and process.stderr.read()
    return world, outcome(world.root / "oracle")


def kill_and_resume(world: World, out: str, kills: int, seed: int) -> int:
    """SIGKILLs at random moments, each followed by starting again; how many hit a run in progress."""
    moments, hit = random.Random(seed), 0
    for _ in range(kills):
        process = start(world, out)
        lines = (world.root / out / "ledger.jsonl").read_bytes().count(b"\n") if (world.root / out / "ledger.jsonl").is_file() else 0
        if process.poll() is None:
            try:
                wait_for_events(world.root / out, lines + 1)
            except AssertionError:
                process.wait(60)
                continue
            time.sleep(moments.uniform(0.0, 2.5))
        hit += process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
    process = start(world, out)
    assert process.wait(300) == 0, process.stderr and process.stderr.read()
    return hit


@pytest.mark.slow
def test_killed_at_random_moments(uninterrupted: tuple[World, dict[str, Any]]) -> None:
    world, expected = uninterrupted
    assert kill_and_resume(world, "killed", kills=10, seed=2) >= 5
    same(expected, outcome(world.root / "killed"))


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGUSR1, marks=pytest.mark.slow)])
def test_a_signal_saves_within_a_step_and_exits_with_75(uninterrupted: tuple[World, dict[str, Any]], number: signal.Signals) -> None:
    world, expected = uninterrupted
    out = f"stopped-{number.name}"
    process = start(world, out)
    wait_for_events(world.root / out, 4)
    process.send_signal(number)
    assert process.wait(60) == 75, process.stderr and process.stderr.read()
    stopped = read(world.root / out)[0]
    assert isinstance(stopped[-1], ev.RunFailed)
    assert isinstance(stopped[-2], ev.CheckpointCommitted)
    process = start(world, out)
    assert process.wait(300) == 0
    ours = outcome(world.root / out)
    ours["drawn"] = {k: v for k, v in ours["drawn"].items() if k in expected["drawn"]}
    same(expected, ours)


@pytest.mark.slow
def test_two_ranks_deliver_exit_code_75_and_resume(world: World) -> None:
    process = start(world, "run", nproc=2)
    wait_for_events(world.root / "run", 4)
    process.send_signal(signal.SIGTERM)
    assert process.wait(90) == 75, process.stderr and process.stderr.read()
    process = start(world, "run", nproc=2)
    assert process.wait(300) == 0


def add_masks(world: World) -> None:
    """Two images of three have a mask, and both stages learn what is where and how bad it is."""
    path = world.root / "data" / "manifest.csv"
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    for i, name in enumerate(frame["image"]):
        if i % 3:
            grey = np.asarray(Image.open(world.root / "data" / name))
            Image.fromarray((grey > 50).astype(np.uint8) + (grey > 245)).save((world.root / "data" / name).with_suffix(".mask.png"))
    masks = frame["image"].str.replace(".png", ".mask.png", regex=False)
    frame.assign(mask=masks.where(frame.index % 3 != 0, "")).to_csv(path, index=False)
    catalog = yaml.safe_load((world.root / "catalogs/toy.yaml").read_text())
    catalog["corpora"]["drawn"]["structures"] = {1: "body", 2: "mass"}
    world.edit("catalogs/toy.yaml", corpora=catalog["corpora"])
    grades = [{"values": [v], "names": [v]} for v in ("normal", "mass")]
    losses = [{"kind": "clip"}, {"kind": "region", "weight": 0.5}, {"kind": "ordinal", "grades": grades}]
    for stage in ("modality", "anatomy"):
        world.edit(f"stages/{stage}.yaml", losses=losses)


@pytest.mark.slow
def test_a_run_that_learns_from_masks_and_grades_goes_on_as_if_nothing_had_happened(world: World) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    add_masks(world)
    whole = start(world, "whole")
    assert whole.wait(300) == 0, whole.stderr and whole.stderr.read()
    stopped = start(world, "stopped")
    wait_for_events(world.root / "stopped", 6)
    os.killpg(stopped.pid, signal.SIGKILL)
    stopped.wait(60)
    stopped = start(world, "stopped")
    assert stopped.wait(300) == 0, stopped.stderr and stopped.stderr.read()
    same(outcome(world.root / "whole"), outcome(world.root / "stopped"))
    board = EventAccumulator(str(world.root / "whole" / "tensorboard"))
    board.Reload()
    used = {kind: [s.value for s in board.Scalars(f"pairs_used/{kind}")] for kind in ("region", "ordinal")}
    assert set(used["ordinal"]) == {16.0}
    assert 16 * 0.5 < sum(used["region"]) / len(used["region"]) < 16 * 0.8
    lost = [s.value for s in board.Scalars("train/region")]
    assert sum(lost[-8:]) < 0.8 * sum(lost[:8])


@pytest.mark.slow
def test_a_stage_that_retains_what_it_was_entered_with_goes_on_as_if_nothing_had_happened(world: World) -> None:
    """Stopped in the middle of the second stage, where the model is no longer the one to compare with; the weight is still rising."""
    losses = [{"kind": "multi_positive"}, {"kind": "retain", "weight": 0.5, "warmup": 0.9}]
    world.edit("stages/anatomy.yaml", losses=losses)
    whole = start(world, "whole")
    assert whole.wait(300) == 0, whole.stderr and whole.stderr.read()
    stopped = start(world, "stopped")
    begun = next(i for i, e in enumerate(read(world.root / "whole")[0], 1) if isinstance(e, ev.StageStarted) and e.stage == "anatomy")
    for n in range(1, begun + 2):
        wait_for_events(world.root / "stopped", n)
    stopped.send_signal(signal.SIGTERM)
    assert stopped.wait(60) == 75, stopped.stderr and stopped.stderr.read()
    saved = [e for e in read(world.root / "stopped")[0] if isinstance(e, ev.CheckpointCommitted)][-1]
    assert (saved.stage, saved.batch > 0) == ("anatomy", True)
    stopped = start(world, "stopped")
    assert stopped.wait(300) == 0, stopped.stderr and stopped.stderr.read()
    expected, ours = outcome(world.root / "whole"), outcome(world.root / "stopped")
    ours["drawn"] = {k: v for k, v in ours["drawn"].items() if k in expected["drawn"]}
    same(expected, ours)


def spoil(world: World, share: float) -> set[str]:
    """Makes a share of the training images end too soon or flips a bit of them, and allows a twentieth; their names in the ledger."""
    for name in ("modality", "anatomy"):
        stage = yaml.safe_load((world.root / f"stages/{name}.yaml").read_text())
        world.edit(f"stages/{name}.yaml", data=stage["data"] | {"max_corrupt": 0.05})
    corpus = Corpora(load_catalog("toy", world.root), "toy-1")["drawn"]
    train = corpus.frame.index[corpus.frame["split"] == "train"]
    rows = np.random.default_rng(0).choice(train, max(1, round(share * len(train))), replace=False).tolist()
    for k, row in enumerate(rows):
        path = corpus.image(row).path
        whole = path.read_bytes()
        path.write_bytes(whole[:100] if k % 2 else whole[:300] + bytes([whole[300] ^ 16]) + whole[301:])
    return {f"drawn:{row}" for row in rows}


def committed(run: Path) -> list[ev.CheckpointCommitted]:
    """Checkpoints of the stages."""
    return [e for e in read(run)[0] if isinstance(e, ev.CheckpointCommitted) and e.stage]


def test_a_few_are_stood_in_for_counted_and_named(world: World) -> None:
    spoilt = spoil(world, 0.02)
    process = start(world, "run")
    assert process.wait(300) == 0, process.stderr and process.stderr.read()
    named: Counter[str] = Counter()
    for e in committed(world.root / "run"):
        named.update([f"{e.stage}: {one}" for one in e.unreadable])
        assert e.substituted == ({"drawn": n} if (n := sum(v for k, v in named.items() if k.startswith(f"{e.stage}:"))) else {})
        assert sum(e.drawn.values()) == e.batch * 16, "every slot was filled"
    assert {name.partition(": ")[2] for name in named} == spoilt


@pytest.mark.slow
def test_many_stop_the_run_in_words(world: World) -> None:
    spoil(world, 0.3)
    told = world.cli("run", "toy")
    assert told.returncode == 2
    assert "pairs drawn cannot be read" in told.stderr
    assert "max_corrupt is 5.00%" in told.stderr
    assert ".png: cannot be decoded" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.slow
@pytest.mark.parametrize("nproc", [1, 2])
def test_killed_and_resumed_or_on_two_ranks_the_same_are_stood_in_for(world: World, nproc: int) -> None:
    spoil(world, 0.02)
    whole = start(world, "whole")
    assert whole.wait(300) == 0, whole.stderr and whole.stderr.read()
    if nproc == 1:
        killed = start(world, "other")
        wait_for_events(world.root / "other", 6)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait(60)
    other = start(world, "other", nproc)
    assert other.wait(300) == 0, other.stderr and other.stderr.read()
    told = [[(e.stage, e.batch, e.drawn, e.substituted, e.unreadable) for e in committed(world.root / run)] for run in ("whole", "other")]
    assert told[0] == told[1]
    assert told[0][-1][3]
    if nproc == 1:
        same(outcome(world.root / "whole"), outcome(world.root / "other"))
@pytest.mark.slow
def test_a_stage_that_freezes_and_forgets_goes_on_as_if_nothing_had_happened(world: World) -> None:
    """Left where the stage has begun and nothing is trained yet, and in its middle; the frozen tower is that of the stage before, bit for bit."""
    world.edit("stages/anatomy.yaml", train={"share": 0.5, "lr": 1e-3, "warmup": 0.1, "optimizer": "fresh", "freeze": ["image"]})
    whole = start(world, "whole")
    assert whole.wait(300) == 0, whole.stderr and whole.stderr.read()
    expected = outcome(world.root / "whole")
    before, after = ({k: v for k, v in expected["weights"].items() if k.startswith(f"{stage}/visual.")} for stage in ("1-modality", "2-anatomy"))
    assert all(torch.equal(v, after[k.replace("1-modality", "2-anatomy")]) for k, v in before.items())
    events = read(world.root / "whole")[0]
    begun = next(i for i, e in enumerate(events, 1) if isinstance(e, ev.StageStarted) and e.stage == "anatomy")
    saved = next(i for i, e in enumerate(events, 1) if isinstance(e, ev.CheckpointCommitted) and e.stage == "anatomy" and e.batch == 16)
    for name, lines in (("begun", begun), ("saved", saved)):
        shutil.copytree(world.root / "whole", world.root / name)
        ledger = world.root / name / "ledger.jsonl"
        ledger.write_text("".join(ledger.read_text().splitlines(keepends=True)[:lines]))
        known = {e.tag for e in read(world.root / name)[0] if isinstance(e, ev.CheckpointCommitted)}
        for folder in (world.root / name / "checkpoints").iterdir():
            if folder.name not in known:
                shutil.rmtree(folder)
        again = start(world, name)
        assert again.wait(300) == 0, again.stderr and again.stderr.read()
        same(expected, outcome(world.root / name))
