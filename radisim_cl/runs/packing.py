"""What the command line says of packing and indexing, made into what they need."""

from __future__ import annotations

import collections
import json
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from radisim_cl.corpus.blobs import Blob
from radisim_cl.corpus.card import origin
from radisim_cl.corpus.corpora import COLUMNS
from radisim_cl.corpus.hashes import Progress
from radisim_cl.corpus.pack import bytes_of
from radisim_cl.corpus.pack import pack as write
from radisim_cl.corpus.shards import samples, shards
from radisim_cl.errors import InputError
from radisim_cl.files import write_atomic
from radisim_cl.ingest._site import Site
from radisim_cl.runs.embedded import ready
from radisim_cl.runs.ingesting import site
from radisim_cl.specs.catalog import load_catalog

IMAGES = ("png", "jpg", "jpeg", "webp")


def pack(name: str, out: Path, catalog: str, shard_size: str, progress: Progress) -> dict[str, Any]:
    """Packs a corpus of a catalog.

    Raises:
        InputError: a size that is none, or anything of `radisim_cl.corpus.pack`.
    """
    return write(ready(load_catalog(catalog, Path())), name, out, bytes_of(shard_size), progress)


def index(folder: Path, out: Path, patient: str, licence: str, progress: Progress) -> dict[str, Any]:
    """Writes a manifest of WebDataset shards that stay where they are.

    Captions are what `<key>.txt` holds; other columns of a manifest come from `<key>.json`. Ids are hashed with the site's secret; where the
    JSON has no patient, the key is one.

    Args:
        folder: of the shards.
        out: folder of `manifest.parquet` and `card.yaml`.
        patient: regular expression whose first group, in the native patient id, or the key, is the patient; empty: all of it.
        licence: where the JSON has none.
        progress: of the shards.

    Raises:
        InputError: no secret, a pattern that is none or does not match, or anything of `radisim_cl.corpus.shards`.
    """
    of, files, frames = site(patient), shards(folder), list[pd.DataFrame]()
    left_out: collections.Counter[str] = collections.Counter()
    for done, file in enumerate(files, 1):
        shard, rows = file.relative_to(folder).as_posix(), list[dict[str, str]]()
        for key, parts in samples(file):
            image = next((parts[e] for e in IMAGES if e in parts), None)
            if image is None:
                left_out["no image"] += 1
                continue
            rows.append(_row(of, f"{shard}/{key}", image, parts, licence))
        frames.append(pd.DataFrame(rows, columns=COLUMNS, dtype="str").fillna(""))
        progress("shards", done, len(files))
    frame = pd.concat(frames, ignore_index=True)
    card = {"name": out.name, **(origin(folder) or origin(folder.parent)), "licences": sorted(set(frame["licence"]) - {""}),
            "shards": len(files), "left_out": dict(left_out), "patients": int(frame["patient"].nunique()), "pairs": len(frame),
            "captions": int((frame["caption"] != "").sum()), "masks": int((frame["mask"] != "").sum()),
            "ids": "hashed with the site's secret; captions and labels are as the shards gave them"}
    out.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(out / ".manifest.tmp", index=False)
    (out / ".manifest.tmp").replace(out / "manifest.parquet")
    write_atomic(out / "card.yaml", yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=120))
    return card


def _row(of: Site, key: str, image: Blob, parts: dict[str, Blob], licence: str) -> dict[str, str]:
    facts = _facts(parts["json"]) if "json" in parts else {}
    native = facts.get("patient") or key
    if not (patient := of.patient_of(native)):
        raise InputError(f"--patient {of.patient}: does not match the patient of a key of {image.path}; widen it")
    caption = _text(parts["txt"]).strip() if "txt" in parts else facts.get("caption", "")
    study = of.pseudonym("study", facts["study"]) if facts.get("study") else ""
    return facts | {"id": of.pseudonym("study", key), "patient": of.pseudonym("patient", patient), "study": study, "image": str(image.resolve()),
                    "mask": str(parts["mask.png"].resolve()) if "mask.png" in parts else "", "caption": caption,
                    "licence": facts.get("licence") or licence}


def _facts(file: Blob) -> dict[str, str]:
    try:
        found = json.loads(_text(file))
    except (ValueError, RecursionError) as e:
        raise InputError(f"{file}: is no JSON: {e}") from None
    return {c: str(found[c]) for c in COLUMNS if found.get(c) is not None} if isinstance(found, dict) else {}


def _text(file: Blob) -> str:
    try:
        return file.read_bytes().decode()
    except UnicodeDecodeError as e:
        raise InputError(f"{file}: not UTF-8 (byte {e.start})") from None
