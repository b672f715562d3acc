"""PMC-OA: figures of articles, cut into panels with captions of their own; `pmc_oa.jsonl` (or `train`, `valid` and `test.jsonl`) beside a folder of
JPEGs.

Lin et al. 2023, PMC-CLIP, arXiv:2303.07240; huggingface.co/datasets/axiong/pmc_oa. A line is `{"image": "PMC212319_Fig3_4.jpg", "caption": ...}`.
Only pairs whose caption names CT, MR or a radiograph, and no other kind of image, are wanted; figures of several panels are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from radisim_cl.corpus.blobs import Blob
from radisim_cl.errors import InputError
from radisim_cl.ingest import _captions, _flat
from radisim_cl.ingest._flat import ENDINGS as ENDINGS
from radisim_cl.ingest._protocol import TRAIN, About, Picture, Record, Settings, UnwantedError
from radisim_cl.ingest._tables import Files, jsonl, text

ABOUT = About("PMC-OA", "https://huggingface.co/datasets/axiong/pmc_oa", "that of each article of PubMed Central's open-access subset", splits=TRAIN)
SPLITS = {"pmc_oa": "", "train": "train", "valid": "val", "test": "test"}


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a line; the patient is the article.

    Raises:
        InputError: no table, or a line that is no object with an image.
    """
    tables = [(split, folder / f"{name}.jsonl") for name, split in SPLITS.items() if (folder / f"{name}.jsonl").is_file()]
    if not tables:
        raise InputError(f"{folder}: no file pmc_oa.jsonl, nor train.jsonl; give the folder that holds it")
    images = Files(files, folder)
    for split, table in tables:
        for line, row in jsonl(table):
            name, caption = text(row, "image"), text(row, "caption")
            if not name:
                raise InputError(f"{table}:{line}  image: must name a file")
            yield _record(f"{split}/{name}", name, caption, split, images.named(name.rpartition("/")[2]))


def _record(key: str, name: str, caption: str, split: str, image: Path | None) -> Record:
    article = re.match(r"PMC\d+", name)
    kind, unwanted = _captions.modality(caption)
    if _captions.panels(caption):
        unwanted = "a figure of several panels, by its caption"
    facts = {"caption": caption, "split": split, "modality": kind, "anatomy": _captions.told("region", caption),
             "plane": _captions.told("plane", caption)}
    unusable = "" if image else "an image that is not there"
    return Record(key, article[0] if article else name, (image,) if image else (), facts, unusable="no caption" if not caption else unusable,
                  unwanted=unwanted if caption else "")


def pictures(record: Record, settings: Settings) -> Iterator[Picture]:
    """The panel.

    Raises:
        UnusableError: as `_flat.decoded`.
        UnwantedError: a white band crosses it, so that it is several panels.
    """
    values = _flat.decoded(Blob(record.files[0]), settings)
    if _captions.compound(values):
        raise UnwantedError("a figure of several panels, by a white band across it")
    yield _flat.picture(values, settings)
