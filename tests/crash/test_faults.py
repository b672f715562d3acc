"""What docs/reliability.md promises, fault by fault; the oracle is an uninterrupted run."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from _runs import drawn, outcome, same, start, wait_for_events, weights
from conftest import World, make_world

from radisim_cl.records import events as ev
from radisim_cl.records import ledger as ledgers
from radisim_cl.records.ledger import Ledger, read
from radisim_cl.records.state import fold
from radisim_cl.train.engine import Engine
from radisim_cl.train.health import Ailment

HERE = Path(__file__).parent
SMALL = ["--set", "profiles.laptop.budget.samples=240", "--set", "profiles.laptop.save_every=3"]


class Forks:
    """`_forks.py` at work in a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.process = subprocess.Popen([sys.executable, str(HERE / "_forks.py"), str(world.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})

    def run(self, out: str, *args: str, **how: object) -> dict[str, int]:
        """`run toy --out OUT ARGS`, killed as told."""
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps({"args": ["run", "toy", "--no-report", "--out", out, *args], **how}), file=self.process.stdin, flush=True)
        told: dict[str, int] = json.loads(self.process.stdout.readline())
        return told

    def close(self) -> None:
        """No more."""
        assert self.process.stdin
        self.process.stdin.close()
        assert self.process.wait(60) == 0


@contextmanager
def forks(world: World) -> Iterator[Forks]:
    """For as long as it is used."""
    made = Forks(world)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Forks, dict[str, Any], int]]:
    """A world, what runs in it, the uninterrupted run of two short stages, and how many calls of it make something durable."""
    world = make_world(tmp_path_factory.mktemp("faults") / "world")
    with forks(world) as made:
        told = made.run("whole", *SMALL)
        assert told["exit"] == 0, (world.root / "stderr").read_text()
        counted = made.run("counted", *SMALL)  # what the first one left in the cache is not written again
        yield world, made, outcome(world.root / "whole"), counted["calls"]


@pytest.mark.parametrize("part", [0, *(pytest.param(p, marks=pytest.mark.slow) for p in range(1, 9))])
def test_killed_before_or_after_any_write_that_makes_something_durable(whole: tuple[World, Forks, dict[str, Any], int], part: int) -> None:
    """Every fsync and rename of a run, in saves, in scorings, at gates and in exports: an eighth in each part but the first, which is three."""
    world, made, expected, calls = whole
    assert calls > 60
    chosen = range(part, calls + 1, 8) if part else sorted(random.Random(0).sample(range(1, calls + 1), 3))
    for call in chosen:
        killed = made.run(f"at-{call}", *SMALL, call=call, late=call % 2)
        assert killed["exit"] == -signal.SIGKILL, call
        again = made.run(f"at-{call}", *SMALL)
        assert again["exit"] == 0, (call, (world.root / "stderr").read_text())
        same(expected, outcome(world.root / f"at-{call}"))
        shutil.rmtree(world.root / f"at-{call}")


def five_stages(world: World) -> None:
    """As the radiologist's curriculum has."""
    for i, like in enumerate(("modality", "anatomy", "modality"), 3):
        text = yaml.safe_load((world.root / f"stages/{like}.yaml").read_text())
        (world.root / f"stages/stage{i}.yaml").write_text(yaml.safe_dump(text | {"name": f"stage{i}"}))
    world.edit("curricula/toy.yaml", stages=[{"use": s} for s in ("modality", "anatomy", "stage3", "stage4", "stage5")])


@pytest.mark.slow
def test_a_hundred_kills_at_random_moments_of_five_stages(world: World) -> None:
    """No sample is repeated or lost, no gate is decided twice."""
    five_stages(world)
    with forks(world) as made:
        assert made.run("whole")["exit"] == 0
        began = time.monotonic()
        assert made.run("timed")["exit"] == 0
        took, moments, kills, runs = time.monotonic() - began, random.Random(5), 0, 0
        expected = outcome(world.root / "whole")
        while kills < 100:
            runs += 1
            assert runs < 60, "the runs end before they are killed"
            while made.run(f"cut-{runs}", seconds=moments.uniform(0.3, 0.7 * took))["exit"] != 0:
                kills += 1
                assert kills < 400, "a run does not come to its end"
            same(expected, outcome(world.root / f"cut-{runs}"))
            decided = [(e.stage, e.attempt, e.look) for e in read(world.root / f"cut-{runs}")[0] if isinstance(e, ev.GateDecided)]
            assert len(set(decided)) == len(decided)
    print(f"{kills} kills in {runs} runs")


@pytest.mark.slow
def test_kills_at_random_moments_of_two_ranks(world: World) -> None:
    five_stages(world)
    process = start(world, "whole", nproc=2)
    assert process.wait(300) == 0, process.stderr and process.stderr.read()
    moments = random.Random(6)
    for _ in range(12):
        process = start(world, "cut", nproc=2)
        wait_for_events(world.root / "cut", 1)
        time.sleep(moments.uniform(5, 25))
        os.killpg(process.pid, signal.SIGKILL)
        subprocess.run(["pkill", "-KILL", "-f", "radisim_cl resume cut"], check=False)
        process.wait(60)
        time.sleep(1)
    process = start(world, "cut", nproc=2)
    assert process.wait(600) == 0, process.stderr and process.stderr.read()
    same(outcome(world.root / "whole"), outcome(world.root / "cut"))


def test_a_second_signal_in_a_save_changes_nothing(whole: tuple[World, Forks, dict[str, Any], int]) -> None:
    world, _, expected, _ = whole
    process = start(world, "twice", more=SMALL)
    wait_for_events(world.root / "twice", 4)
    until = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < until:
        process.send_signal(signal.SIGTERM)
        time.sleep(0.01)
    assert process.wait(1) == 75, process.stderr and process.stderr.read()
    process = start(world, "twice", more=SMALL)
    assert process.wait(300) == 0
    ours = outcome(world.root / "twice")
    ours["drawn"] = {k: v for k, v in ours["drawn"].items() if k in expected["drawn"]}
    same(expected, ours)


@pytest.fixture(scope="module")
def cut(whole: tuple[World, Forks, dict[str, Any], int]) -> Path:
    """A run that was killed in the second stage, with three checkpoints since that stage began."""
    world, made, _, calls = whole
    for call in range(calls - 10, 0, -2):
        shutil.rmtree(world.root / "cut", ignore_errors=True)
        made.run("cut", *SMALL, call=call)
        state = fold(read(world.root / "cut")[0])
        if state.stage == 1 and len(list((world.root / "cut" / "checkpoints").glob("anatomy-*"))) >= 2:
            return world.root / "cut"
    raise AssertionError("no such moment")


def newest(run: Path, n: int) -> list[Path]:
    """The folders of the last checkpoints, the newest first."""
    return [run / "checkpoints" / e.tag for e in reversed(read(run)[0]) if isinstance(e, ev.CheckpointCommitted)][:n]


def flip(folder: Path) -> None:
    """One bit of the weights."""
    file = folder / "mp_rank_00_model_states.pt"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def cut_short(folder: Path) -> None:
    """The last bytes are gone."""
    file = folder / "mp_rank_00_model_states.pt"
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize(("harm", "bad", "words"), [(cut_short, 1, "bytes, not"), (flip, 1, "was changed after it was written"),
                                                   (shutil.rmtree, 2, "is missing")])
def test_damaged_checkpoints_are_found_and_an_older_one_is_taken(whole: tuple[World, Forks, dict[str, Any], int], cut: Path,
                                                                  harm: Callable[[Path], None], bad: int, words: str) -> None:
    world, made, expected, _ = whole
    run = world.root / f"{harm.__name__}-{bad}"
    shutil.copytree(cut, run)
    for folder in newest(run, bad):
        harm(folder)
    assert made.run(run.name, *SMALL)["exit"] == 0, (world.root / "stderr").read_text()
    fell = next(e for e in read(run)[0] if isinstance(e, ev.FellBack))
    assert len(fell.reasons) == bad
    assert all(words in reason for reason in fell.reasons)
    assert "FELL BACK" in world.cli("log", str(run)).stdout
    ours = outcome(run)
    for once in ("decided", "scored"):  # what came after the older checkpoint was done again, to the same bits
        ours[once] = list(dict.fromkeys(map(str, ours[once])))
        expected = expected | {once: list(map(str, expected[once]))}
    same(expected, ours)


def test_without_any_whole_checkpoint_nothing_is_changed(whole: tuple[World, Forks, dict[str, Any], int], cut: Path) -> None:
    world, made, _, _ = whole
    shutil.copytree(cut, world.root / "none")
    for folder in (world.root / "none" / "checkpoints").iterdir():
        flip(folder)
    assert made.run("none", *SMALL)["exit"] == 1
    complaint = (world.root / "stderr").read_text()
    assert "no checkpoint can be used" in complaint
    assert "Traceback" not in complaint


class Canary:
    """What must not be unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mknod, (str(self.file),)


def test_a_malicious_pickle_never_runs(whole: tuple[World, Forks, dict[str, Any], int], cut: Path, tmp_path: Path) -> None:
    world, made, _, _ = whole
    shutil.copytree(cut, world.root / "malice")
    for folder in (world.root / "malice" / "checkpoints").iterdir():
        torch.save(Canary(tmp_path / "sang"), folder / "mp_rank_00_model_states.pt")
    assert made.run("malice", *SMALL)["exit"] == 1
    assert not (tmp_path / "sang").exists()
    torch.load(newest(world.root / "malice", 1)[0] / "mp_rank_00_model_states.pt", weights_only=False)
    assert (tmp_path / "sang").exists(), "it would have sung"


@pytest.mark.parametrize(("lines", "words"), [(0, "there are checkpoints but no ledger.jsonl"), (5, "restore the ledger")])
def test_a_ledger_that_is_lost_is_never_replaced_by_a_new_start(whole: tuple[World, Forks, dict[str, Any], int], cut: Path, lines: int,
                                                               words: str) -> None:
    world, made, _, _ = whole
    run = world.root / f"ledger-{lines}"
    shutil.copytree(cut, run)
    text = (run / "ledger.jsonl").read_text().splitlines(keepends=True)
    (run / "ledger.jsonl").write_text("".join(text[:lines]))
    assert made.run(run.name, *SMALL)["exit"] == 1
    assert words in (world.root / "stderr").read_text()


def test_changed_data_are_refused(whole: tuple[World, Forks, dict[str, Any], int], cut: Path) -> None:
    world, made, _, _ = whole
    shutil.copytree(cut, world.root / "data-changed")
    manifest = world.root / "data" / "manifest.csv"
    before = manifest.read_text()
    try:
        manifest.write_text(before.replace("CT of the head", "CT of a head", 1))
        assert made.run("data-changed", *SMALL)["exit"] == 2
        assert "corpora.drawn.digest" in (world.root / "stderr").read_text()
    finally:
        manifest.write_text(before)
    assert made.run("data-changed", *SMALL)["exit"] == 0


def test_any_number_of_readers_gives_the_same_run(whole: tuple[World, Forks, dict[str, Any], int]) -> None:
    world, made, expected, _ = whole
    for readers in (0, 4):
        assert made.run(f"readers-{readers}", *SMALL, "--set", f"profiles.laptop.readers={readers}")["exit"] == 0
        same(expected, outcome(world.root / f"readers-{readers}"))


def poisoned(steps: set[int], monkeypatch: pytest.MonkeyPatch, where: str = "features") -> None:
    """The n-th batches of a run, from 1, give a loss, or a gradient, that is not finite."""
    count, features = 0, Engine.features

    def poison(self: Engine, *args: Any) -> Any:
        nonlocal count
        out, count = features(self, *args), count + 1
        if count in steps:
            if where == "features":
                return torch.nan * out.image, out
            out.image.register_hook(lambda g: g * torch.inf)  # type: ignore[no-untyped-call]
        return out

    if where == "features":
        def lost(self: Engine, *args: Any) -> Any:
            from dataclasses import replace

            made = poison(self, *args)
            return made if not isinstance(made, tuple) else replace(made[1], image=made[0])

        monkeypatch.setattr(Engine, "features", lost)
    else:
        monkeypatch.setattr(Engine, "features", poison)


@pytest.mark.parametrize(("where", "why"), [("features", "loss not finite"), ("gradient", "gradient not finite")])
def test_a_poisoned_batch_changes_nothing_and_is_logged(world: World, monkeypatch: pytest.MonkeyPatch, where: str, why: str) -> None:
    with monkeypatch.context() as patched:
        poisoned({6}, patched, where)
        assert world.cli("run", "toy", "--out", "poisoned").returncode == 0
    skipped = [e for e in read(world.root / "poisoned")[0] if isinstance(e, ev.StepsSkipped)]
    assert [(e.stage, e.first, e.last, e.why, len(e.pairs)) for e in skipped] == [("modality", 6, 6, why, 16)]
    assert all(pair.startswith("drawn:") for pair in skipped[0].pairs)
    assert f"SKIPPED step 6 of modality: {why}" in world.cli("log", "poisoned").stdout
    batch, drawn = Engine.step, []

    def without(self: Engine, loss: torch.Tensor, lr: float) -> Ailment | None:
        drawn.append(lr)
        return None if len(drawn) == 6 else batch(self, loss, lr)  # the sixth is passed over by hand

    monkeypatch.setattr(Engine, "step", without)
    assert world.cli("run", "toy", "--out", "without").returncode == 0
    ours, theirs = outcome(world.root / "poisoned"), outcome(world.root / "without")
    same({k: theirs[k] for k in ("weights", "module", "optimizer")}, {k: ours[k] for k in ("weights", "module", "optimizer")})


def test_poison_for_ever_stops_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    poisoned(set(range(3, 1000)), monkeypatch)
    done = world.cli("run", "toy", "--set", "profiles.laptop.health.max_skipped=3")
    assert done.returncode == 1
    assert "4 steps in a row, up to step 6, had a loss not finite" in done.stderr
    monkeypatch.undo()
    poisoned(set(range(3, 1000)), monkeypatch, "gradient")
    done = world.cli("run", "toy", "--out", "gradients", "--set", "profiles.laptop.health.max_skipped=3")
    assert done.returncode == 1
    assert "4 steps in a row, up to step 6, had a gradient not finite" in done.stderr


def test_a_spike_goes_back_and_passes_over_what_led_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that one step has ruined: the run goes back to the checkpoint before it, and the steps from there to the spike are passed over."""
    monkeypatch.setattr("radisim_cl.train.loop.HISTORY", 8)
    monkeypatch.setattr("radisim_cl.train.health.HISTORY", 8)
    step, made = Engine.step, 0

    def ruinous(self: Engine, loss: torch.Tensor, lr: float) -> Ailment | None:
        nonlocal made
        made += 1
        return step(self, loss, 3.0 if made == 14 else lr)

    monkeypatch.setattr(Engine, "step", ruinous)
    done = world.cli("run", "toy", "--set", "profiles.laptop.health.spike=30", "--set", "profiles.laptop.budget.samples=1200")
    assert done.returncode == 0, done.stderr
    run = world.root / "runs" / "toy"
    skipped = [e for e in read(run)[0] if isinstance(e, ev.StepsSkipped)]
    assert [(e.stage, e.first, e.why) for e in skipped] == [("modality", 13, "loss spike")]
    assert skipped[0].last in (15, 16)
    weights = torch.load(newest(run, 1)[0] / "mp_rank_00_model_states.pt", weights_only=False)["module"]
    assert all(bool(torch.isfinite(w).all()) and float(w.float().abs().max()) < 100 for w in weights.values() if w.is_floating_point())


def test_a_clock_that_goes_backwards_changes_no_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Backwards(datetime):
        count = 0

        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            cls.count += 1
            return datetime(2026, 1, 1, tzinfo=UTC) - timedelta(hours=cls.count)

    monkeypatch.setattr(ledgers, "datetime", Backwards)
    book = Ledger(tmp_path)
    for n in range(5):
        book.append(ev.RunResumed(world_size=n + 1, versions={}))
    events, _ = read(tmp_path)
    assert [e.number for e in events] == list(range(5))
    assert sorted(e.time for e in events) == [e.time for e in reversed(events)]
    assert fold(events).world_size == 5


@contextmanager
def small_disk(where: Path, megabytes: float) -> Iterator[Path]:
    """A file system of its own."""
    where.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={int(megabytes * 1024)}k", "none", str(where)], check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


def test_a_full_disk_leaves_the_old_checkpoint_whole(whole: tuple[World, Forks, dict[str, Any], int]) -> None:
    world, made, expected, _ = whole
    size = sum(p.stat().st_size for p in (world.root / "whole" / "checkpoints").rglob("*") if p.is_file()) / 2**20
    with small_disk(world.root / "disk", 0.6 * size) as disk:
        assert made.run("disk/run", *SMALL)["exit"] == 1
        complaint = (world.root / "stderr").read_text()
        assert "cannot be written" in complaint
        assert "Make room" in complaint
        assert "Traceback" not in complaint
        subprocess.run(["mount", "-o", f"remount,size={int(8 * size)}m", str(disk)], check=True)
        assert made.run("disk/run", *SMALL)["exit"] == 0, (world.root / "stderr").read_text()
        same(expected, outcome(disk / "run"))


def test_a_disk_that_becomes_read_only_is_told(whole: tuple[World, Forks, dict[str, Any], int]) -> None:
    world, made, expected, _ = whole
    with small_disk(world.root / "frozen", 500) as disk:
        assert made.run("frozen/run", *SMALL, call=30)["exit"] == -signal.SIGKILL
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert made.run("frozen/run", *SMALL)["exit"] == 1
        complaint = (world.root / "stderr").read_text()
        assert "Read-only file system" in complaint
        assert "Traceback" not in complaint
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        assert made.run("frozen/run", *SMALL)["exit"] == 0
        same(expected, outcome(disk / "run"))


def ranks(run: Path) -> dict[int, int]:
    """Process ids by rank, once the watchdogs have told them."""
    for _ in range(2000):
        told = {int(p.name): json.loads(p.read_text())["pid"] for p in (run / ".ranks").glob("[0-9]")}
        if len(told) == 2:
            return told
        time.sleep(0.05)
    raise AssertionError("no watchdog")


LONG = ["--set", "profiles.laptop.budget.samples=40000", "--set", "profiles.laptop.patience=8", "--set", "profiles.laptop.save_every=50"]


@pytest.mark.slow
def test_a_rank_that_dies_ends_all_and_is_named(world: World) -> None:
    process = start(world, "run", nproc=2, more=LONG)
    pids = ranks(world.root / "run")
    os.kill(pids[1], signal.SIGKILL)
    began = time.monotonic()
    assert process.wait(60) == 1
    assert time.monotonic() - began < 30
    assert process.stderr
    assert b"rank      : 1" in process.stderr.read()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids.values())


@pytest.mark.slow
def test_a_rank_that_hangs_is_named_with_stacks(world: World) -> None:
    process = start(world, "run", nproc=2, more=LONG)
    pids = ranks(world.root / "run")
    time.sleep(2)
    os.kill(pids[1], signal.SIGSTOP)
    assert process.wait(120) == 1
    assert process.stderr
    told = process.stderr.read().decode()
    assert "rank 0: no step for 8 s" in told
    assert "rank 1 shows no sign of life" in told
    assert "runner.py" in (world.root / "run" / "stacks-rank0.txt").read_text()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids.values())


@pytest.mark.slow
@pytest.mark.parametrize("zero", [0, 1, 2, 3])
def test_another_number_of_ranks_goes_on_with_the_same_samples(world: World, zero: int) -> None:
    """Two ranks, one, two: what is drawn is the same, and the weights are, within what the order of a sum changes.

    DeepSpeed converts ZeRO's partitions of Adam's state only. A large eps keeps Adam from making whole steps of rounding noise where a
    gradient is nearly zero.
    """
    sets = ["--set", "profiles.laptop.budget.samples=960", "--set", f"profiles.laptop.zero={zero}",
            "--set", f"optimizer.kind={'adamw' if zero else 'sgd'}",
            "--set", "optimizer.weight_decay=0", "--set", "optimizer.eps=0.01",
            *([] if zero else ["--set", "stages.modality.train.lr=0.1", "--set", "stages.anatomy.train.lr=0.1"])]
    process = start(world, "whole", nproc=2, more=sets)
    assert process.wait(300) == 0, process.stderr and process.stderr.read()
    for nproc, lines in ((2, 5), (1, 11), (2, 0)):
        process = start(world, "changed", nproc=nproc, more=sets)
        if lines:
            wait_for_events(world.root / "changed", lines)
            process.send_signal(signal.SIGTERM)
        assert process.wait(300) == (75 if lines else 0), process.stderr and process.stderr.read()
    whole, changed = world.root / "whole", world.root / "changed"
    assert drawn(whole).items() <= drawn(changed).items()
    trained, again = weights(whole), weights(changed)
    for name, weight in trained.items():
        if weight.is_floating_point():
            assert torch.allclose(weight, again[name], rtol=1e-4, atol=1e-5), name
    assert any(not torch.allclose(w, trained[f"1-modality/{n.split('/')[1]}"], rtol=1e-3, atol=1e-4)
               for n, w in trained.items() if w.is_floating_point()), "nothing was trained, so nothing was compared"
    worlds = [e.world for e in read(world.root / "changed")[0] if isinstance(e, ev.CheckpointCommitted)]
    assert set(worlds) == {1, 2}


