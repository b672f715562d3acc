"""Open-i (Indiana University chest X-rays): `ecgen-radiology/<n>.xml`, one a report, beside `NLMCXR_png/CXR1_1_IM-0001-3001.png`.

Demner-Fushman et al. 2016, JAMIA 23(2); openi.nlm.nih.gov/faq. Of a report, the sections FINDINGS and IMPRESSION, the MeSH codes and the names of its
images are read. Labels are the first word of each major code, as `Cardiomegaly/mild`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from pathlib import Path

from radisim_cl.errors import InputError
from radisim_cl.ingest import _captions
from radisim_cl.ingest._flat import ENDINGS as ENDINGS
from radisim_cl.ingest._flat import pictures as pictures
from radisim_cl.ingest._protocol import TRAIN, About, Record, Settings
from radisim_cl.ingest._tables import Files

ABOUT = About("Open-i, Indiana University chest X-rays", "https://openi.nlm.nih.gov/faq", "CC BY-NC-ND 4.0", splits=TRAIN)


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One an image; the patient is the report.

    Raises:
        InputError: no report, or one that is no XML of this form.
    """
    images, reports = Files(files, folder), sorted(folder.rglob("*.xml"))
    if not reports:
        raise InputError(f"{folder}: no file that ends in .xml; give the folder that holds the reports and the images")
    for report in reports:
        root = _parsed(report)
        said = {str(t.get("Label", "")).upper(): _captions.plain("".join(t.itertext())) for t in root.iter("AbstractText")}
        caption = _captions.read_out(said.get("IMPRESSION", ""), said.get("FINDINGS", ""))
        codes = [_captions.plain(code.text or "").partition("/")[0].lower() for code in root.iterfind("MeSH/major")]
        facts = {"modality": "DR", "anatomy": "chest", "caption": caption, "labels": "|".join(dict.fromkeys(c for c in codes if c))}
        for shown in root.iter("parentImage"):
            name = str(shown.get("id", ""))
            image = images.named(f"{name}.png") or images.named(f"{name}.jpg")
            yield Record(f"{report.stem}/{name}", f"openi {report.stem}", (image,) if image else (), facts, study=f"openi {report.stem}",
                         unusable="no caption" if not caption else "" if image else "an image that is not there")


def _parsed(report: Path) -> ET.Element:
    data = report.read_bytes()
    if b"<!ENTITY" in data.replace(b"\0", b""):  # in UTF-16 too
        raise InputError(f"{report}: declares entities, which reports have no need of; it is not read")
    try:
        return ET.fromstring(data)
    except (ET.ParseError, ValueError, LookupError) as e:
        raise InputError(f"{report}: no XML: {e}") from None
