"""MIMIC-CXR and MIMIC-CXR-JPG: `mimic-cxr-2.0.0-metadata.csv.gz`, `-split` and `-chexpert`, images and reports under `files/p10/p10000032/`.

physionet.org/content/mimic-cxr-jpg and /mimic-cxr (Johnson et al. 2019, Scientific Data 6:317). Images are `s50414267/<dicom_id>.jpg`, or `.dcm`;
reports are `s50414267.txt`, unpacked in the same tree or beside it. A caption is the impression and the findings of the report; labels are those of
the CheXpert labeler.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from radisim_cl.ingest import _captions, _flat, dicom
from radisim_cl.ingest._chexpert import OBSERVATIONS, findings
from radisim_cl.ingest._protocol import TRAIN, About, Picture, Record, Settings
from radisim_cl.ingest._tables import Files, rows, the

ABOUT = About("MIMIC-CXR", "https://physionet.org/content/mimic-cxr-jpg/", "PhysioNet Credentialed Health Data License 1.5.0",
              "PhysioNet Credentialed Health Data Use Agreement 1.5.0", splits=TRAIN)
ENDINGS = (".jpg", ".dcm", ".txt")
SPLITS = {"train": "train", "validate": "val", "test": "test"}
_NAME = "mimic-cxr-2.0.0-{}.csv"


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One an image. A report is that of its study; a study without one has labels only.

    Raises:
        InputError: a table is missing, lacks a column, or has a label that is none.
    """
    found = Files(files, folder)
    tables = {kind: the(folder, _NAME.format(kind), f"{_NAME.format(kind)}.gz") for kind in ("metadata", "split", "chexpert")}
    split = {row["dicom_id"]: row["split"] for row in rows(tables["split"], ("dicom_id", "split"))}
    labels = {row["study_id"]: findings(row, settings, f"{tables['chexpert']}:{line}")
              for line, row in enumerate(rows(tables["chexpert"], ("study_id", *OBSERVATIONS)), 2)}
    for row in rows(tables["metadata"], ("dicom_id", "subject_id", "study_id")):
        image = found.named(f"{row['dicom_id']}.jpg") or found.named(f"{row['dicom_id']}.dcm")
        named, unwanted = labels.get(row["study_id"], ("", ""))
        facts = {"modality": "DR", "anatomy": "chest", "labels": named, "split": SPLITS.get(split.get(row["dicom_id"], ""), "")}
        if report := found.named(f"s{row['study_id']}.txt"):
            facts["caption"] = _read_out(report)
        yield Record(row["dicom_id"], f"p{row['subject_id']}", (image,) if image else (), facts, study=f"s{row['study_id']}",
                     unusable="" if image else "an image that is not there", unwanted=unwanted)


def _read_out(report: Path) -> str:
    said = _captions.sections(report.read_text(encoding="utf-8", errors="replace"))
    return _captions.read_out(said.get("IMPRESSION", ""), said.get("FINDINGS", ""))


def pictures(record: Record, settings: Settings) -> Iterator[Picture]:
    """The image, from JPEG or DICOM; errors as of those."""
    reader = dicom.pictures if record.files[0].suffix == ".dcm" else _flat.pictures
    yield from reader(record, settings)
