"""What the command line says of an ingestion, made into what it needs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from radisim_cl.corpus.pack import bytes_of
from radisim_cl.corpus.pack import pack as write_shards
from radisim_cl.errors import InputError
from radisim_cl.ingest._corpus import ingest as make
from radisim_cl.ingest._parts import Part
from radisim_cl.ingest._protocol import PLANES, UNCERTAIN, Settings
from radisim_cl.ingest._site import Site
from radisim_cl.ingest._tables import Table
from radisim_cl.registry import hint
from radisim_cl.specs.catalog import CatalogSpec, CorpusSpec

_SALT = 16
"""Characters that a secret has at least."""


def ingest(layout: str, folder: Path, out: Path, settings: Mapping[str, Any], patient: str, table: Path | None, columns: Sequence[str],
           where: Sequence[str], licence: str, most_unusable: float, jobs: int, part: str, shard_size: str, known: Sequence[Path],
           progress: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Checks what was asked for, and makes the corpus; with a size of shards, also `packed/` in it.

    Raises:
        InputError: no secret, a window, pattern, part or size that is none, or anything of `radisim_cl.ingest`.
    """
    of = site(patient)
    if settings["plane"] not in PLANES:
        raise InputError(f"--plane {settings['plane']}: {hint(settings['plane'], PLANES)}")
    if settings["window"] != "auto" and not re.fullmatch(r"-?\d+(\.\d+)?/\d*[1-9]\d*(\.\d+)?", settings["window"]):
        raise InputError(f"--window {settings['window']}: is neither `auto` nor centre/width, as in 40/400")
    if settings["uncertain"] not in UNCERTAIN:
        raise InputError(f"--uncertain {settings['uncertain']}: {hint(settings['uncertain'], UNCERTAIN)}")
    if not re.fullmatch(r"[1-9]\d*/[1-9]\d*", part) or (share := Part(*map(int, part.split("/")))).number > share.of:
        raise InputError(f"--part {part}: is no part of a whole, as in 3/16, the third of sixteen")
    size = bytes_of(shard_size) if shard_size else 0
    rows = {c: v.split(",") for c, v in _pairs("--where", where).items()}
    told = Table.read(table, _pairs("--column", columns), rows) if table else None
    if table is None and columns:
        raise InputError("--column is about a table; give it with --table")
    card = make(layout, folder, out, Settings(**settings), of, told, licence, most_unusable, jobs, progress, share, None if table else rows,
                known)
    if size and "open" not in card:
        whole = CatalogSpec(name="ingested", root=str(out.resolve()), corpora={out.name: CorpusSpec(manifest="manifest.parquet")})
        write_shards(whole, out.name, out / "packed", size, progress)
    return card


def site(patient: str) -> Site:
    """The site that this process works for: its secret is in the environment.

    Args:
        patient: of `Site`.

    Raises:
        InputError: no secret, or a pattern that is none.
    """
    salt = os.environ.get("RADISIM_SALT", "")
    if len(salt) < _SALT:
        raise InputError(f"RADISIM_SALT is not set, or shorter than {_SALT} characters: ids of patients are hashed with a secret of your site. "
                         "`export RADISIM_SALT=$(openssl rand -hex 32)`, keep it, and use it for all corpora of the site")
    try:
        groups = re.compile(patient).groups
    except re.error as e:
        raise InputError(f"--patient {patient}: not a regular expression: {e}") from None
    if patient and groups != 1:
        raise InputError(f"--patient {patient}: needs exactly one group in parentheses, not {groups}")
    return Site(salt, patient)


def _pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    for one in given:
        if not re.fullmatch(r"[^=]+=.+", one):
            raise InputError(f"{option} {one}: needs an equals sign between two names, as in labels=label")
    return dict(one.split("=", 1) for one in given)
