"""What a machine has, and whether a run directory is what its ledger says: looked at, never changed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.markup import escape
from rich.table import Table

from radisim_cl.corpus.corpora import Corpora
from radisim_cl.errors import Problem, RadisimError
from radisim_cl.files import cache_folder, sha256
from radisim_cl.models.blocks import cpp_compiler
from radisim_cl.records import events as ev
from radisim_cl.records.ledger import read
from radisim_cl.records.state import fold
from radisim_cl.runs import checkpoints
from radisim_cl.runs.directory import load_plan, versions
from radisim_cl.runs.lock import holder
from radisim_cl.specs.curriculum import CurriculumSpec

LITTLE_GIB = 5.0
"""Less room on a disk than this is told."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        what: it is.
        found: in words.
        broken: whether a run cannot go on like this.
        fix: what to do; empty where there is nothing to do.
    """

    what: str
    found: str
    broken: bool = False
    fix: str = ""


def machine() -> list[Check]:
    """Versions, accelerators, memory and room."""
    return [*_software(), *_hardware(), _room("run directories, here", Path()), _room("cache", cache_folder(), "set RADISIM_CACHE to another folder")]


def lacking(spec: CurriculumSpec) -> list[Problem]:
    """What the profile in use takes and this machine does not have."""
    at, out = ("profiles", spec.profile), []
    if spec.scale.precision == "fp16" and not torch.cuda.is_available():
        out.append(spec.problem((*at, "precision"), "fp16 takes a GPU, and this machine has none that torch can use; take fp32, or bf16"))
    if spec.scale.compile and not cpp_compiler():
        out.append(spec.problem((*at, "compile"), "torch.compile takes a C++ compiler, and there is no g++ (or what CXX names) here; install one, or "
                                                  "take compile out"))
    return out


def _software() -> Iterator[Check]:
    yield Check("versions", ", ".join(f"{name} {number}" for name, number in versions().items()))
    try:
        import torchvision.ops  # noqa: F401

        yield Check("torchvision", "of torch's own release")
    except (ImportError, RuntimeError) as e:
        yield Check("torchvision", str(e).splitlines()[0], True, "install torch and torchvision of one release and one kind, CPU or CUDA")
    yield Check("C++ compiler", cpp_compiler() or "none; only a profile with `compile: true` needs one")


def _hardware() -> Iterator[Check]:
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    told = os.environ.get("OMP_NUM_THREADS")
    yield Check("CPU", f"{cores} cores, {torch.get_num_threads()} threads of a process" + (f" (OMP_NUM_THREADS is {told})" if told else ""))
    if hasattr(os, "sysconf"):
        yield Check("memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB")
    if not torch.cuda.is_available():
        built = f"torch is built for CUDA {torch.version.cuda}, and finds no device" if torch.version.cuda else "torch is built for CPUs"
        yield Check("accelerators", f"none: {built}; ranks talk by gloo")
        return
    for n in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(n)
        yield Check(f"accelerator {n}", f"{about.name}, {about.total_memory / 2**30:.0f} GiB"
                                        + (", bf16" if torch.cuda.is_bf16_supported() else ", no bf16"))
    yield Check("NCCL", ".".join(map(str, torch.cuda.nccl.version())))  # type: ignore[no-untyped-call]


def _room(what: str, folder: Path, otherwise: str = "make room") -> Check:
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.is_dir())
    if not os.access(there, os.W_OK):
        return Check(what, f"{there} cannot be written", True, otherwise)
    free = shutil.disk_usage(there).free / 2**30
    return Check(what, f"{there}: {free:.0f} GiB free", fix=otherwise if free < LITTLE_GIB else "")


def of_run(run: Path) -> list[Check]:
    """The ledger, and by its word the plan, the checkpoints that may be needed, the answers that were scored, the exports and the data."""
    try:
        events, note = read(run)
    except RadisimError as e:
        return [Check("ledger", str(e), True, "nothing else can be checked without it")]
    state, plan = fold(events), load_plan(run)
    out = [Check("ledger", f"{len(events)} events; {state.status}" + (f"; {note}: going on drops it" if note else ""))]
    started = next(e for e in events if isinstance(e, ev.RunStarted))
    if plan.digest() == started.plan:
        out.append(Check("plan", plan.digest()[:16]))
    else:
        out.append(Check("plan", "is not what the run was started with, or this is another version",
                         fix="restore plan.yaml, unless you have upgraded"))
    needed = {c.tag: c.manifest for c in ([state.checkpoint] if state.checkpoint else []) + [e.checkpoint for e in state.entries.values()]}
    for tag, manifest in needed.items():
        wrong = checkpoints.damage(run / "checkpoints" / tag, manifest)
        out.append(Check(f"checkpoint {tag}", wrong or "whole", bool(wrong), "restore it from a copy, or `resume --stage`" if wrong else ""))
    scored = {e.file: e.digest for e in events if isinstance(e, ev.Scored)}
    changed = [f for f, digest in scored.items() if not (run / f).is_file() or sha256(run / f) != digest]
    out.append(Check("answers", f"{changed[0]} is missing or was changed" if changed else f"{len(scored)} files", bool(changed),
                     "restore it from a copy" if changed else ""))
    models = [f"{e.export}/open_clip_model.safetensors" for e in state.accepted.values()]
    gone = [m for m in models if not (run / m).is_file()]
    out.append(Check("exports", f"{gone[0]} is missing" if gone else f"{len(models)} models", bool(gone), "restore it from a copy" if gone else ""))
    corpora = Corpora(plan.catalog, plan.benchmark.version)
    for name, corpus in plan.corpora.items():
        try:
            if corpora[name].digest != corpus.digest:
                out.append(Check(f"data: {name}", "the manifest has changed since the plan was made", True, "restore it, or start another run"))
        except RadisimError as e:
            out.append(Check(f"data: {name}", str(e), True, "mount or restore it"))
    if not any(c.what.startswith("data") for c in out):
        out.append(Check("data", f"{len(plan.corpora)} manifests as they were planned with"))
    out.append(Check("lock", f"held by {who}" if (who := holder(run)) else "nobody works on it"))
    return out


def table(checks: Sequence[Check]) -> Table:
    """What `doctor` has looked at."""
    out = Table()
    for column in ("", "looked at", "found", "to do"):
        out.add_column(column, overflow="fold")
    for c in checks:
        out.add_row("[red]broken[/red]" if c.broken else "[yellow]look[/yellow]" if c.fix else "[green]ok[/green]", c.what, escape(c.found),
                    escape(c.fix))
    return out
