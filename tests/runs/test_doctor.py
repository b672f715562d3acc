"""What a profile takes of a machine is said before there is a run."""

from __future__ import annotations

import pytest
import torch
from conftest import World

from radisim_cl import cli
from radisim_cl.errors import SpecError
from radisim_cl.runs import doctor
from radisim_cl.specs.curriculum import CurriculumSpec, load


def asking(world: World, *settings: str) -> CurriculumSpec:
    """The toy curriculum with these fields of its profile."""
    return load(world.curriculum, [f"profiles.laptop.{s}" for s in settings])


def test_fp16_without_a_gpu_is_refused_where_it_was_written(shared_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = asking(shared_world, "precision=fp16")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SpecError, match=r"--set profiles.laptop.precision=fp16  profiles.laptop.precision: fp16 takes a GPU"):
        cli._check(spec, 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    cli._check(spec, 1)


def test_compilation_without_a_compiler_is_refused_and_the_doctor_says_so(shared_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = asking(shared_world, "compile=true")
    monkeypatch.setenv("CXX", "nothing")
    with pytest.raises(SpecError, match=r"profiles.laptop.compile: torch.compile takes a C\+\+ compiler"):
        cli._check(spec, 1)
    assert "none; only a profile with `compile: true` needs one" in [c.found for c in doctor._software()]
    monkeypatch.setenv("CXX", "sh")  # there, whatever it is
    cli._check(spec, 1)
