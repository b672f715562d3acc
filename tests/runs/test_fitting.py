"""Micro batches are tried on the machine at hand, and what a run does stays a matter of its plan."""

from __future__ import annotations

import pytest
import torch
from conftest import World

from radisim_cl.errors import InputError
from radisim_cl.runs import fitting
from radisim_cl.runs.fitting import Trial, advice, sizes, tried
from radisim_cl.specs.curriculum import CurriculumSpec, load

OOM = "out of memory"
APART = "would be normalized apart"


@pytest.mark.parametrize(("local", "found"), [(64, [8, 16, 32, 64]), (48, [12, 24, 48]), (6, [6]), (1, [1]), (12, [12]), (15, [15])])
def test_each_size_is_twice_the_one_before_and_divides_the_whole(local: int, found: list[int]) -> None:
    assert sizes(local) == found


@pytest.fixture
def spec(shared_world: World) -> CurriculumSpec:
    return load(shared_world.curriculum, ["profiles.laptop.global_batch=128"])


def asked(spec: CurriculumSpec, monkeypatch: pytest.MonkeyPatch, answers: dict[int, Trial | str], cuda: bool = False, ranks: int = 1) -> list[int]:
    """Which sizes are tried where these are the answers; a string is one that the model refuses."""
    def alone(spec: CurriculumSpec, micro: int, local: int, patches: bool) -> Trial:
        answer = answers[micro]
        if isinstance(answer, str):
            raise InputError(answer)
        return answer

    monkeypatch.setattr(fitting, "_alone", alone)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    return [t.micro for t in tried(spec, ranks, lambda what, done, of: None)]


def rates(*pairs_a_second: float | None, first: int = 8, gib: float = 1.0) -> dict[int, Trial | str]:
    """Answers of doubling sizes."""
    return {n: Trial(n, r, None if r is None else gib, OOM if r is None else "") for i, r in enumerate(pairs_a_second) for n in (first * 2**i,)}


def test_on_a_cpu_it_doubles_until_nothing_is_gained_and_then_takes_all_at_once(spec: CurriculumSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(spec, monkeypatch, rates(10, 20, 20.5, 20.6, 28)) == [8, 16, 32, 128]
    assert asked(spec, monkeypatch, rates(10, 20, 40, 80, 100)) == [8, 16, 32, 64, 128]


def test_on_an_accelerator_it_doubles_until_memory_does_not_suffice(spec: CurriculumSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(spec, monkeypatch, rates(10, 20, 20, None), cuda=True) == [8, 16, 32, 64]
    assert asked(spec, monkeypatch, rates(10, 20, 20, 20, 20, gib=1e6), cuda=True) == [8, 16, 32, 64, 128]


def test_the_batch_is_that_of_a_rank(spec: CurriculumSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(spec, monkeypatch, rates(10, 20), ranks=8) == [8, 16]


def test_no_size_is_tried_that_may_take_a_machine_down(spec: CurriculumSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(spec, monkeypatch, rates(10, 20, 40, 80, 160, gib=1e6)) == [8, 16]
    (_, last) = tried(spec, 1, lambda what, done, of: None)
    assert last.note.startswith("not tried: may need more than")


def test_a_model_that_normalizes_over_the_batch_takes_all_at_once_or_nothing(spec: CurriculumSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Trial(128, 5.0, 1.0)
    assert asked(spec, monkeypatch, {8: APART, 128: whole}) == [8, 128]
    assert advice([Trial(8, None, None, APART), whole], "laptop", 128).startswith("profiles.laptop needs no micro_batch")
    with pytest.raises(InputError, match="no such model"):
        asked(spec, monkeypatch, dict.fromkeys((8, 128), "no such model"))


def test_what_to_write() -> None:
    assert advice([Trial(8, 10, 1), Trial(16, 12, 1), Trial(32, None, None, OOM)], "paper", 64) == "write micro_batch: 16 into profiles.paper"
    with pytest.raises(InputError, match="not even 8 pairs at a time fit: out of memory"):
        advice([Trial(8, None, None, OOM)], "paper", 64)


def test_memory_that_does_not_suffice_is_an_answer_and_other_faults_are_not(spec: CurriculumSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(error: Exception) -> None:
        def build(*_: object) -> None:
            raise error

        monkeypatch.setattr(fitting, "build", build)

    for error in (torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")):
        failing(error)
        assert fitting._steps(spec.scale, spec, False) == OOM
    failing(RuntimeError("something else"))
    with pytest.raises(RuntimeError, match="something else"):
        fitting._steps(spec.scale, spec, False)


def test_the_command_tries_and_says_what_to_write(world: World) -> None:
    told = world.cli("micro-batch", "toy")
    assert told.returncode == 0, told.stderr
    rows = [[c.strip() for c in line.strip("│").split("│")] for line in told.stdout.splitlines() if line.startswith("│")]
    assert [row[:2] for row in rows] == [["8", "2"], ["16", "1"]]
    assert all(float(row[2].replace(",", "")) > 0 and 0 < float(row[3]) < 8 for row in rows)
    assert "profiles.laptop" in told.stdout
    assert not (world.root / "runs").exists()


@pytest.mark.parametrize(("args", "words"), [
    (["--set", "profiles.laptop.micro_batch=auto"], "call `radisim-cl micro-batch` on the machine that will train"),
    (["--nproc", "3"], "global_batch 16 is not a multiple of 3 ranks"),
    (["--set", "profiles.laptop.model.arch=ViT-B-23"], "unknown model 'ViT-B-23'"),
])
def test_what_cannot_be_tried_is_said(world: World, args: list[str], words: str) -> None:
    told = world.cli("micro-batch", "toy", *args)
    assert (told.returncode, told.stdout) == (2, "")
    assert words in " ".join(told.stderr.split())
