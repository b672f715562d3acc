"""WebDataset shards: tars of `<key>.jpg` (or .png), `<key>.txt` with a caption and `<key>.json` with columns of a manifest.

The layout is documented at github.com/webdataset/webdataset. `corpus index` leaves shards as they are; this makes 8-bit pictures of one size of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from radisim_cl.corpus.blobs import Blob
from radisim_cl.corpus.corpora import COLUMNS
from radisim_cl.corpus.shards import samples
from radisim_cl.ingest._flat import pictures as pictures
from radisim_cl.ingest._protocol import About, Record, Settings

ABOUT = About()
ENDINGS = (".tar",)
IMAGES = ("png", "jpg", "jpeg", "webp")


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a key. The patient is what the JSON says, or the key.

    Raises:
        InputError: a shard that is empty, cut short, no tar, or holds what is refused (`radisim_cl.corpus.shards`).
    """
    for file in files:
        for key, parts in samples(file):
            name = f"{file.relative_to(folder).as_posix()}/{key}"
            image = next((parts[e] for e in IMAGES if e in parts), None)
            if image is None or image.offset is None:
                yield Record(name, name, (file,), unusable="a key without an image")
                continue
            facts = _facts(parts["json"]) if "json" in parts else {}
            if "txt" in parts:
                facts["caption"] = _text(parts["txt"])
            patient, study = facts.pop("patient", ""), facts.pop("study", "")
            yield Record(name, patient or name, (file,), facts, at=(image.offset, image.length), study=study)


def _facts(file: Blob) -> dict[str, str]:
    try:
        found = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return {}
    known = {c: found[c] for c in COLUMNS if found.get(c) is not None} if isinstance(found, dict) else {}
    return {c: " ".join(str(v).split()) for c, v in known.items() if c not in ("id", "image", "mask")}


def _text(file: Blob) -> str:
    return " ".join(file.read_bytes().decode("utf-8", "replace").split())
