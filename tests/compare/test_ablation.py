"""An ablation runs what is missing, goes on with what was cut, and lets no run that fails stop the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from conftest import World
from rich.console import Console

from radisim_cl.compare.ablation import Ablation, Run, Variant, options, runs, slurm
from radisim_cl.compare.comparison import compare
from radisim_cl.compare.records import Comparison
from radisim_cl.compare.runs import finished
from radisim_cl.errors import InputError
from radisim_cl.report.compared import FILE, html
from radisim_cl.specs.curriculum import load

HOME = Path("runs/ablation-toy")


@pytest.fixture
def here(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world with a joint control and a yoked one."""
    monkeypatch.chdir(world.root)
    for name, control in (("joint", {"kind": "joint"}), ("yoked", {"kind": "yoked", "run": "runs/toy"})):
        (world.root / f"curricula/{name}.yaml").write_text(yaml.safe_dump({"use": "toy", "name": name, "control": control}))
    return world


def variant(name: str, *given: str) -> Variant:
    """One of its curricula."""
    return Variant(name, given, load(f"curricula/{name}.yaml"), 20)


def test_every_curriculum_with_every_seed_and_yoked_to_the_first(here: World) -> None:
    made = runs([variant("toy", "--profile", "laptop"), variant("yoked")], 2, HOME)
    assert [r.folder.name for r in made] == ["toy-seed1", "toy-seed2", "yoked-seed1", "yoked-seed2"]
    assert made[1].arguments == ["run", "toy", "--profile", "laptop", "--set", "seed=2", "--out", str(HOME / "toy-seed2")]
    assert made[3].after is made[1]
    assert f"control.run={HOME}/toy-seed2" in made[3].arguments
    assert options("laptop", None, ["a=1", "b=2"]) == ["--profile", "laptop", "--set", "a=1", "--set", "b=2"]


def test_what_cannot_be_an_ablation(here: World) -> None:
    with pytest.raises(InputError, match="two curricula have the name 'toy'"):
        runs([variant("toy"), variant("toy")], 1, HOME)
    with pytest.raises(InputError, match="'yoked' takes the lengths of another curriculum's runs"):
        runs([variant("yoked"), variant("toy")], 1, HOME)
    with pytest.raises(InputError, match="tasks of an array do not wait"):
        slurm(runs([variant("toy"), variant("yoked")], 1, HOME), HOME)


def test_a_job_array_runs_the_same_commands(here: World, tmp_path: Path) -> None:
    """With `srun` and `scontrol` that say what they were asked."""
    made = runs([variant("toy", "--set", "stages.modality.losses=[{kind: clip}]"), variant("joint")], 2, HOME)
    script = slurm(made, HOME)
    assert "#SBATCH --array=0-3" in script
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, says in (("srun", 'printf "%s\\n" "$@"; exit 75'), ("scontrol", 'echo "scontrol $@"')):
        (tools / name).write_text(f"#!/bin/bash\n{says}\n")
        (tools / name).chmod(0o755)
    (tmp_path / "job.sh").write_text(script)
    environment = {"PATH": f"{tools}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_JOB_ID": "77"}
    done = subprocess.run(["bash", str(tmp_path / "job.sh")], env=environment, capture_output=True, text=True)
    assert done.returncode == 75, done.stderr
    said = done.stdout.splitlines()
    assert said[: said.index("scontrol requeue 77_1")] == ["--kill-on-bad-exit=0", "python", "-m", "radisim_cl", *made[1].arguments]


def test_one_that_fails_does_not_stop_the_others_and_what_waits_for_it_says_so(here: World) -> None:
    wrong = Run(HOME / "wrong-seed1", ["run", "nothing", "--out", str(HOME / "wrong-seed1")], 16, 20)
    other = Run(HOME / "other-seed1", ["validate", "toy"], 16, 20)
    after = Run(HOME / "after-seed1", ["run", "toy"], 16, 0, after=wrong)
    console = Console(record=True, width=200, file=open(os.devnull, "w"))  # noqa: SIM115  # as long as the test
    ablation = Ablation([wrong, after, other], 2, console)
    failed = ablation.go()
    assert failed == [wrong, after, other]
    assert wrong.error.startswith("exit code 2: nothing  no curriculum 'nothing' in curricula/.")
    assert after.error == "wrong-seed1, whose lengths it takes, has not finished"
    assert other.error == f"exit code 0: toy: ok ({HOME}/other-seed1.log)"
    assert after.process is None
    console.print(ablation.table())
    said = console.export_text()
    assert "other-seed1 started" in said
    assert any("wrong-seed1" in line and "320" in line and "exit code 2" in line for line in said.splitlines())
    assert "wrong-seed1 failed" in said


def ablate(world: World, out: str, curricula: Sequence[str] = ("toy", "joint"), setting: str = "budget.samples=800") -> subprocess.Popen[str]:
    """A seed each, two at a time."""
    command = [sys.executable, "-m", "radisim_cl", "ablate", *curricula, "--seeds", "1", "--jobs", "2", "--out", out,
               "--set", f"profiles.laptop.{setting}"]
    return subprocess.Popen(command, cwd=world.root, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True)


def same_but_for_hours(c: Comparison) -> Comparison:
    """How long a machine took is not what is compared."""
    groups = [g.model_copy(update={"runs": [r.model_copy(update={"hours": 0.0}) for r in g.runs]}) for g in c.groups]
    return c.model_copy(update={"groups": groups})


@pytest.mark.slow
def test_runs_that_were_cut_give_the_same_comparison(here: World) -> None:
    whole = ablate(here, "whole")
    said, _ = whole.communicate(timeout=550)
    assert whole.returncode == 0, said
    assert "joint less toy" in said
    assert f"comparison: whole/{FILE}" in said
    cut = ablate(here, "cut")
    for _ in range(2000):
        if all((here.root / f"cut/{n}-seed1/ledger.jsonl").is_file() and b"gate-" in (here.root / f"cut/{n}-seed1/ledger.jsonl").read_bytes()
               for n in ("toy", "joint")):
            break
        time.sleep(0.1)
    cut.send_signal(signal.SIGTERM)
    said, _ = cut.communicate(timeout=300)
    assert cut.returncode == 75, said
    for name in ("toy", "joint"):
        assert '"exit_code":75' in (here.root / f"cut/{name}-seed1/ledger.jsonl").read_text().splitlines()[-1]
    again = ablate(here, "cut")
    said, _ = again.communicate(timeout=550)
    assert again.returncode == 0, said
    one, other = (same_but_for_hours(compare(finished([home]))) for home in ("cut", "whole"))
    assert one == other
    assert html(one) == html(other)
    assert (here.root / "whole" / FILE).read_text() == html(compare(finished(["whole"])))


@pytest.mark.slow
def test_every_control_realises_the_samples_of_the_curriculum(here: World) -> None:
    kinds = ("joint", "joint_restarts", "reversed", "shuffled", "ungated", "no_replay")
    for kind in kinds:
        (here.root / f"curricula/{kind}.yaml").write_text(yaml.safe_dump({"use": "toy", "name": kind, "control": {"kind": kind}}))
    done = ablate(here, "all", ("toy", *kinds, "yoked"), "budget.unspent=last_stage")
    said, _ = done.communicate(timeout=900)
    assert done.returncode == 0, said
    made = compare(finished(["all"]))
    assert {r.samples for g in made.groups for r in g.runs} == {400}
    assert {g.curriculum: sum(r.exposures.values()) for g in made.groups for r in g.runs} == dict.fromkeys(("toy", *kinds, "yoked"), 400)
    decided = {g.curriculum: {d.mode for r in g.runs for d in r.decisions} for g in made.groups}
    assert decided == {name: {{"toy": "enforce", "ungated": "off", "yoked": "off"}.get(name, "observe")} for name in decided}
    ungated = {e.id: e for c in made.contrasts if c.curriculum in ("ungated", "yoked") for e in c.effects}
    assert {e.difference for e in ungated.values()} == {0.0}  # its gates passed at their first look: it is the same run
