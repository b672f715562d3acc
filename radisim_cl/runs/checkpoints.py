"""Checkpoints that are whole or absent.

All ranks write into a temporary folder; rank 0 writes the manifest (sizes and digests) last, makes everything durable, renames.
The caller then appends the event, and only a ledgered checkpoint exists. Before DeepSpeed opens a file, which unpickles it, every
digest is compared with the manifest and the manifest's with the ledger.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from radisim_cl.errors import RadisimError
from radisim_cl.files import fsync, sha256, write_atomic
from radisim_cl.records.events import AnyEvent, CheckpointCommitted, FellBack, GateDecided, Rewound
from radisim_cl.records.state import fold
from radisim_cl.train.engine import Engine

MANIFEST = "manifest.json"
FORMAT = 1
_FULL = 2**26
"""Bytes free below which a disk is as good as full."""


def save(engine: Engine, run: Path, tag: str) -> str:
    """Writes `checkpoints/<tag>`; the digest of its manifest, on every rank. Called by all ranks.

    Raises:
        RadisimError: the disk is full or cannot be written; older checkpoints are whole.
    """
    try:
        return _save(engine, run / "checkpoints", tag)
    except (OSError, RuntimeError) as e:
        free = shutil.disk_usage(run).free
        if isinstance(e, RuntimeError) and free > _FULL:  # torch tells of a full disk by a RuntimeError, and of other things too
            raise
        told = str(e).splitlines()[0] if isinstance(e, OSError) else "the disk is full"
        raise RadisimError(f"checkpoint {tag} cannot be written to {run / 'checkpoints'}: {told}; {free / 2**20:,.0f} MiB are free there. Make "
                           "room, or make it writable, and start the run again: it goes on from its newest whole checkpoint.") from e


def _save(engine: Engine, home: Path, tag: str) -> str:
    folder, temporary = home / tag, home / f".{tag}.tmp"
    if engine.rank == 0:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    engine.barrier()
    engine.save(temporary, tag)
    engine.barrier()
    digest = ""
    if engine.rank == 0:
        whole = temporary / tag
        files = sorted(p for p in whole.rglob("*") if p.is_file())
        for file in files:
            fsync(file)
        listed = {p.relative_to(whole).as_posix(): {"bytes": p.stat().st_size, "sha256": sha256(p)} for p in files}
        write_atomic(whole / MANIFEST, json.dumps({"format": FORMAT, "files": listed}, indent=1))
        digest = sha256(whole / MANIFEST)
        shutil.rmtree(folder, ignore_errors=True)
        whole.replace(folder)
        shutil.rmtree(temporary)  # ZeRO leaves a conversion script there
        fsync(folder.parent)
    return engine.broadcast(digest)


def load(engine: Engine, run: Path, checkpoint: CheckpointCommitted, verified: bool = False) -> None:
    """Verifies and reads a checkpoint. Called by all ranks.

    Args:
        engine: takes it.
        run: the run's directory.
        checkpoint: as the ledger has it.
        verified: rank 0 has just compared every digest.

    Raises:
        RadisimError: a file is missing, of another size or digest, or written by another version.
    """
    problem = engine.broadcast(damage(run / "checkpoints" / checkpoint.tag, checkpoint.manifest) if engine.rank == 0 and not verified else "")
    if problem:
        raise RadisimError(f"checkpoint {checkpoint.tag} cannot be used: {problem}. Restore it from a copy, or go back to the start of "
                           "a stage with `resume --stage`. Nothing was changed.")
    engine.load(run / "checkpoints", checkpoint.tag, checkpoint.world or engine.world)


def fallback(run: Path, events: Sequence[AnyEvent]) -> FellBack | None:
    """Where a run has to go on from because its newest checkpoint is damaged; None where that one is whole, or there is none yet.

    Args:
        run: its directory.
        events: of its ledger.

    Raises:
        RadisimError: no checkpoint since the run last went back can be used; or the ledger does not know what lies on disk.
    """
    known = {e.tag for e in events if isinstance(e, CheckpointCommitted)}
    unknown = sorted(p.name for p in (run / "checkpoints").glob("[!.]*") if p.name not in known)
    if len(unknown) > 1:  # one may have been written when the run was killed before its event was
        raise RadisimError(f"{run}: the ledger does not know the checkpoints {', '.join(unknown)}, so lines of it are lost; restore the ledger from "
                           "a copy, or remove these folders to go on from what it knows. Nothing was changed.")
    reasons: dict[str, str] = {}
    k = len(events) - 1
    while k >= 0:
        e = events[k]
        back = isinstance(e, Rewound) or (isinstance(e, GateDecided) and e.decision == "rollback")
        if isinstance(e, FellBack):
            k = e.to
            continue
        if back or isinstance(e, CheckpointCommitted):
            checkpoint = fold(events[: k + 1]).checkpoint
            assert checkpoint is not None
            problem = damage(run / "checkpoints" / checkpoint.tag, checkpoint.manifest)
            if not problem:
                return FellBack(to=k, reasons=[f"checkpoint {tag}: {why}" for tag, why in reasons.items()]) if reasons else None
            reasons[checkpoint.tag] = problem
            if back:
                break
        k -= 1
    if reasons:
        raise RadisimError("no checkpoint can be used: " + "; ".join(f"{tag}: {why}" for tag, why in reasons.items())
                           + f". Restore one, or go back to the start of a stage with `radisim-cl resume {run} --stage`. Nothing was changed.")
    return None


def damage(folder: Path, digest: str) -> str:
    """What is wrong with a checkpoint, in words; empty where nothing is.

    Args:
        folder: of the checkpoint.
        digest: of its manifest, as the ledger has it.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return f"{manifest} is missing"
    if sha256(manifest) != digest:
        return f"{manifest} is not the one that the ledger knows"
    content = json.loads(manifest.read_text())
    if content["format"] != FORMAT:
        return f"it is of format {content['format']}, and this version reads {FORMAT}"
    for name, told in content["files"].items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != told["bytes"]:
            return f"{name} has {path.stat().st_size:,} bytes, not {told['bytes']:,}"
        if sha256(path) != told["sha256"]:
            return f"{name} was changed after it was written"
    return ""


def rotate(run: Path, keep: Iterable[str]) -> None:
    """Deletes what is neither named nor needed. Called by rank 0, after the event of the newest checkpoint."""
    kept = set(keep)
    for folder in (run / "checkpoints").iterdir():
        if folder.name not in kept:
            shutil.rmtree(folder)
