"""Kill a run anywhere, resume it, and nothing can be told from an uninterrupted run."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import World, make_world
from PIL import Image
from safetensors.torch import load_file

from radisim_cl.records import events as ev
from radisim_cl.records.ledger import read

LENGTH = "profiles.laptop.budget.samples=800"


def start(world: World, out: str, nproc: int = 1) -> subprocess.Popen[bytes]:
    """A run in the background, in a process group of its own."""
    command = [sys.executable, "-m", "radisim_cl", "run", "toy", "--out", out, "--nproc", str(nproc), "--set", LENGTH]
    return subprocess.Popen(command, cwd=world.root, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                            start_new_session=True)


def wait_for_events(run: Path, n: int) -> None:
    """Until the ledger has n lines: the run is well under way."""
    for _ in range(600):
        if (run / "ledger.jsonl").is_file() and (run / "ledger.jsonl").read_bytes().count(b"\n") >= n:
            return
        time.sleep(0.05)
    raise AssertionError("the run did not get under way")


def outcome(run: Path) -> dict[str, Any]:
    """Weights of every stage, optimizer state, what was drawn, what was decided."""
    events = read(run)[0]
    last = [e for e in events if isinstance(e, ev.CheckpointCommitted)][-1]
    checkpoint = torch.load(run / "checkpoints" / last.tag / "mp_rank_00_model_states.pt", weights_only=False)
    return {
        "weights": {f"{p.parent.name}/{k}": v for p in sorted((run / "export").glob("*/*.safetensors")) for k, v in load_file(p).items()},
        "module": checkpoint["module"], "optimizer": checkpoint["optimizer"]["state"], "rng": checkpoint["radisim"]["rngs"][0]["torch"],
        "drawn": {(e.stage, e.batch): e.drawn for e in events if isinstance(e, ev.CheckpointCommitted)},
        "decided": [(e.stage, e.look, e.decision, e.reasons) for e in events if isinstance(e, ev.GateDecided)],
        "scored": [(e.split, e.stage, e.look, e.digest) for e in events if isinstance(e, ev.Scored)],
        "report": [p.read_text() for p in sorted((run / "scores").glob("report-*.json"))],
    }


def same(a: Any, b: Any, path: str = "") -> None:
    """Bit for bit."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for k in a:
            same(a[k], b[k], f"{path}/{k}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            same(x, y, f"{path}/{i}")
    else:
        assert a == b, path


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


@pytest.mark.parametrize(("kills", "seed"), [(2, 1), pytest.param(10, 2, marks=pytest.mark.slow)])
def test_killed_at_random_moments(uninterrupted: tuple[World, dict[str, Any]], kills: int, seed: int) -> None:
    world, expected = uninterrupted
    assert kill_and_resume(world, f"killed-{kills}", kills, seed) >= kills // 2
    same(expected, outcome(world.root / f"killed-{kills}"))


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
        again = start(world, name)
        assert again.wait(300) == 0, again.stderr and again.stderr.read()
        same(expected, outcome(world.root / name))
