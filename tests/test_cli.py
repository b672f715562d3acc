"""The command line: what it prints, how it ends, and that looking at things never loads a deep-learning library."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import World

from radisim_cl import cli
from radisim_cl.runs import directory, planning
from radisim_cl.specs.curriculum import load
from radisim_cl.specs.plan import Plan

CURRICULUM = "curricula/toy.yaml"
HEAVY = ("torch", "torchvision", "open_clip", "deepspeed")
LOOKING = [
    "--help", "run --help", f"validate {CURRICULUM}", f"plan {CURRICULUM}", f"plan {CURRICULUM} --json", "schema", "schema benchmark", "ls curricula",
    "ls stages", "ls benchmarks", "ls catalogs", "ls templates", "ls losses", "ls gates", "ls protocols", "ls models", "ls runs",
    "ls sources --catalog toy --benchmark toy", "ls subtasks --catalog toy --benchmark toy", "status", "status toy", "log", "log toy",
    "corpus check drawn --against toy --catalog toy", "corpus check --help", f"ablate {CURRICULUM} --slurm", "compare --help", "micro-batch --help",
]
# Runs every command of argv in one process; prints, by command, the heavy modules that it brought and what ended it.
PROBE = f"""
import contextlib, io, json, sys
from radisim_cl.cli import app
found, said = {{}}, {{}}
for command in sys.argv[1:]:
    before = set(sys.modules)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            app(command.split(), standalone_mode=False)
        except SystemExit as e:
            assert not e.code, (command, e.code)
    found[command] = sorted(set({HEAVY!r}) & (set(sys.modules) - before))
    said[command] = out.getvalue()
print(json.dumps([found, said]))
"""


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory, shared_world: World) -> tuple[dict[str, list[str]], dict[str, str]]:
    """What each looking command loaded and printed, all in one process, beside a run that has just begun."""
    root = tmp_path_factory.mktemp("looked")
    for name in ("curricula", "stages", "catalogs", "benchmarks", "templates"):
        (root / name).symlink_to(shared_world.root / name)
    made = planning.plan(load(root / CURRICULUM), root / "curricula")
    directory.create(made, root / "runs" / "toy", 1)
    done = subprocess.run([sys.executable, "-c", PROBE, *LOOKING], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found, said = json.loads(done.stdout)
    return found, said


@pytest.mark.parametrize("command", LOOKING)
def test_looking_loads_no_deep_learning_library(looked: tuple[dict[str, list[str]], dict[str, str]], command: str) -> None:
    assert looked[0][command] == []
    assert looked[1][command].strip()


def test_the_probe_would_see_a_library_being_loaded(tmp_path: Path) -> None:
    """The test above can fail: a module of a heavy name, imported while a command runs, is found."""
    (tmp_path / "deepspeed.py").write_text("")
    guilty = PROBE.replace("app(command.split(), standalone_mode=False)", "import deepspeed")
    done = subprocess.run([sys.executable, "-c", guilty, "x"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout)[0] == {"x": ["deepspeed"]}


@pytest.mark.parametrize(("command", "words"), [
    ("--help", ["run", "resume", "plan", "validate", "schema", "status", "ls", "Exit codes"]),
    (f"validate {CURRICULUM}", [f"{CURRICULUM}: ok"]),
    (f"plan {CURRICULUM}", ["modality", "anatomy", "mod.three", "drawn", "replay", "digest"]),
    ("ls curricula", ["open_sample", "toy"]), ("ls stages", ["open_sample/anatomy", "modality"]), ("ls losses", ["clip", "multi_positive"]),
    ("ls gates", ["threshold"]), ("ls models", ["radisim-tiny", "ViT-B-32"]), ("ls runs", ["toy"]), ("ls protocols", ["classify"]),
    ("ls sources --catalog toy --benchmark toy", ["drawn", "180 pairs", "train", "report"]),
    ("ls subtasks --catalog toy --benchmark toy", ["mod.three", "anat.mass", "auc", "images on the gate split"]),
    ("corpus check drawn --against toy --catalog toy", ["training pairs of drawn against", "Nothing in common, by patient, file or picture"]),
    ("corpus check --help", ["benchmark", "suspected", "--json"]),
    ("status", ["runs/toy", "to come"]),
    ("log", ["runs/toy", "started: toy, seed 3"]),
])
def test_looking_shows_what_there_is(looked: tuple[dict[str, list[str]], dict[str, str]], command: str, words: list[str]) -> None:
    for word in words:
        assert word in looked[1][command]


def test_the_plan_as_json_is_the_plan(looked: tuple[dict[str, list[str]], dict[str, str]]) -> None:
    plan = Plan.model_validate_json(looked[1][f"plan {CURRICULUM} --json"])
    assert [s.spec.name for s in plan.stages] == ["modality", "anatomy"]
    assert plan.digest()[:16] in looked[1][f"plan {CURRICULUM}"]


def test_the_digest_does_not_depend_on_the_process(shared_world: World) -> None:
    plans = [shared_world.process("plan", CURRICULUM, "--json", PYTHONHASHSEED=seed) for seed in ("1", "2")]
    assert [p.returncode for p in plans] == [0, 0], plans[0].stderr
    one, other = (Plan.model_validate_json(p.stdout) for p in plans)
    assert one.differences(other) == []
    assert one.digest() == other.digest()


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`main()` in the world's folder: exit code, stdout, stderr."""
    monkeypatch.chdir(world.root)
    for name in ("RADISIM_DEBUG", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)

    def ended(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["radisim-cl", *args])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err + said.out
        return int(caught.value.code or 0), said.out, said.err

    return ended


@pytest.mark.parametrize(("args", "words"), [
    (["schema", "curiculum"], ["Did you mean 'curriculum'?"]),
    (["ls", "loses"], ["cannot list 'loses'", "Did you mean 'losses'?"]),
    (["ls", "sources", "--catalog", "toi"], ["no catalog 'toi'", "Did you mean 'toy'?"]),
    (["ls", "subtasks", "--catalog", "toy", "--benchmark", "toi"], ["no benchmark 'toi'", "Did you mean 'toy'?"]),
    (["plan", "toi"], ["'toi'", "Did you mean 'toy'?"]),
    (["plan", "nowhere.yaml"], ["nowhere.yaml"]),
    (["plan", "toy", "--profile", "laptob"], ["no profile 'laptob'", "Did you mean 'laptop'?"]),
    (["plan", "toy", "--catalog", "toi"], ["no catalog 'toi'", "Did you mean 'toy'?"]),
    (["plan", "toy", "--set", "sead=1"], ["--set sead=1", "Did you mean 'seed'?"]),
    (["run", "toy", "--nproc", "3"], ["global_batch 16", "3 ranks"]),
    (["run", "toy", "--nproc", "2", "--set", "profiles.laptop.micro_batch=3"], ["16 / (3 x 2) = 2.66667", "divide the 8 pairs of a rank"]),
    (["status"], ["no run under runs/"]),
    (["log", "other"], ["no run 'other'"]),
    (["status", "other"], ["no run 'other'"]),
    (["resume", "other"], ["no run 'other'"]),
])
def test_a_wrong_argument_ends_with_2_and_words(run: Run, args: list[str], words: list[str]) -> None:
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    for word in words:
        assert word in err
    assert not Path("runs").exists()


def test_a_subtask_that_cannot_be_scored_says_what_is_missing_and_where_to_get_it(run: Run, world: World) -> None:
    """A source that the catalog lacks, a manifest that is not there, and a set that is not to be had."""
    catalog = yaml.safe_load((world.root / "catalogs" / "toy.yaml").read_text())
    world.edit("catalogs/toy.yaml", corpora=catalog["corpora"] | {"absent": {"manifest": "absent/manifest.csv"}})
    first = yaml.safe_load((world.root / "benchmarks" / "toy.yaml").read_text())["subtasks"][0]
    facts = {"drawn": {"title": "Drawn", "url": "here", "licence": "CC0", "access": "open"},
             "absent": {"title": "Absent", "url": "https://example.org/absent", "licence": "not verified", "access": "registration"},
             "open": {"title": "Open", "citation": "Somebody 2020", "licence": "CC0", "access": "open"},
             "ours": {"title": "Ours", "licence": "none", "access": "internal", "substitute": "IXI"}}
    world.edit("benchmarks/toy.yaml", subtasks=[first | {"id": f"on.{s}", "items": [{"source": s}]} for s in facts], datasets=facts)
    code, out, _ = run("ls", "subtasks", "--catalog", "toy", "--benchmark", "toy")
    told = {line.split()[1]: line.split("  ", 4)[4] for line in out.splitlines()}
    assert code == 0
    assert told["on.drawn"].startswith("available: ")
    manifest = world.root / "data" / "absent" / "manifest.csv"
    assert told["on.absent"] == f"missing: no manifest {manifest} of source 'absent' (Absent, access: registration, https://example.org/absent)"
    assert told["on.open"] == "missing: no source 'open' in catalog 'toy' (Open, access: open, Somebody 2020)"
    assert told["on.ours"] == "missing: no source 'ours' in catalog 'toy' (Ours, access: internal, not public; or instead IXI)"


def test_without_facts_a_missing_source_is_named_and_so_is_an_empty_split(run: Run, world: World) -> None:
    first = yaml.safe_load((world.root / "benchmarks" / "toy.yaml").read_text())["subtasks"][0]
    world.edit("benchmarks/toy.yaml", subtasks=[first | {"id": "gone", "items": [{"source": "gone"}]},
                                                first | {"id": "none", "items": [{"source": "drawn", "where": {"plane": "oblique"}}]}])
    _, out, err = run("ls", "subtasks", "--catalog", "toy", "--benchmark", "toy")
    assert not err
    assert [line.split("  ", 4)[4] for line in out.splitlines()] == ["missing: no source 'gone' in catalog 'toy'",
                                                                    "missing: no item in the gate split"]


def test_validate_tells_of_every_file(run: Run, world: World) -> None:
    curriculum = yaml.safe_load(world.curriculum.read_text())
    for name, change in {"one": {"seed": -1}, "two": {"benchmark": "toi"}}.items():
        (world.root / "curricula" / f"{name}.yaml").write_text(yaml.safe_dump(curriculum | change))
    code, out, err = run("validate", "one", "toy", "two")
    assert code == 2
    assert out == "toy: ok\n"
    assert "curricula/one.yaml:" in err
    assert "curricula/two.yaml:" in err


def test_options_replace_what_the_file_says(run: Run, world: World) -> None:
    profiles = yaml.safe_load(world.curriculum.read_text())["profiles"]
    world.edit(CURRICULUM, profiles=profiles | {"big": profiles["laptop"] | {"global_batch": 32}}, catalog="nothing")
    code, out, _ = run("plan", "toy", "--profile", "big", "--catalog", "toy", "--set", "seed=5", "--set", "stages.anatomy.train.lr=5e-5", "--json")
    assert code == 0
    plan = Plan.model_validate_json(out)
    assert (plan.curriculum.scale.global_batch, plan.catalog.name, plan.curriculum.seed, plan.stages[1].spec.train.lr) == (32, "toy", 5, 5e-5)


@pytest.mark.parametrize(("error", "code", "words"), [
    (ZeroDivisionError("by zero"), 1, "fault: ZeroDivisionError: by zero"), (KeyboardInterrupt(), 130, ""),
])
def test_a_fault_is_told_in_one_line_and_a_break_in_none(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, words: str
) -> None:
    def fail(kind: str) -> None:
        raise error

    monkeypatch.setattr("radisim_cl.specs.schema.schema_of", fail)
    ended, _, err = run("schema")
    assert ended == code
    assert err.startswith(words)


def test_a_fault_shows_its_traceback_when_asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADISIM_DEBUG", "1")
    monkeypatch.setattr("radisim_cl.specs.schema.schema_of", lambda kind: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["radisim-cl", "schema"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_without_arguments_the_help_is_shown(run: Run) -> None:
    _, out, err = run()
    assert "Usage" in out + err
    assert "validate" in out + err
