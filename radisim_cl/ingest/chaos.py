"""CHAOS: `Train_Sets/CT/1/DICOM_anon/*.dcm` and `Ground/*.png`; `Train_Sets/MR/1/T2SPIR/` likewise, and `T1DUAL/DICOM_anon/InPhase/` and
`OutPhase/`.

Kavur et al. 2021, Medical Image Analysis 69; chaos.grand-challenge.org/Data. Masks and images go together in the order of their names. In CT what is
not 0 is the liver; in MR values about 63, 126, 189 and 252 are the liver, the right and the left kidney and the spleen. The two phases share their
masks. Test sets have no public masks and are not read. CT and MR are of different people.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from radisim_cl.errors import InputError
from radisim_cl.ingest import dicom, nifti
from radisim_cl.ingest._protocol import HELD, About, Picture, Record, Settings

STRUCTURES = {1: "liver", 2: "right kidney", 3: "left kidney", 4: "spleen"}
ABOUT = About("CHAOS", "https://chaos.grand-challenge.org", "CC BY-NC-SA 4.0", structures=STRUCTURES, splits=HELD)
ENDINGS = (".dcm", ".png")
RANGES = {1: (55, 70), 2: (110, 135), 3: (175, 200), 4: (240, 255)}
"""Of MR, as the organizers give them."""


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a series.

    Raises:
        InputError: no folder `Ground`.
    """
    series: dict[Path, list[Path]] = {}
    for file in files:
        series.setdefault(file.parent, []).append(file)
    grounds = [p for p in series if p.name == "Ground"]
    if not grounds:
        raise InputError(f"{folder}: no folder Ground with masks; give the folder that holds Train_Sets")
    for ground in sorted(grounds):
        parts = ground.relative_to(folder).parts[:-1]
        modality, patient = ("MR", parts[-2]) if parts and parts[-1] in ("T1DUAL", "T2SPIR") else ("CT", parts[-1] if parts else "")
        for images in (ground.parent / "DICOM_anon", ground.parent / "DICOM_anon" / "InPhase", ground.parent / "DICOM_anon" / "OutPhase"):
            if images in series:
                shown, masks = sorted(series[images]), sorted(series[ground])
                pairs = sorted(zip(shown, masks, strict=False), key=lambda pair: dicom.place(pair[0], settings))
                yield Record(images.relative_to(folder).as_posix(), f"chaos {modality} {patient}", tuple(p[0] for p in pairs),
                             {"modality": modality, "anatomy": "abdomen"}, tuple(p[1] for p in pairs),
                             unusable="" if len(shown) == len(masks) else "another number of masks than of images")


def pictures(record: Record, settings: Settings) -> Iterator[Picture]:
    """Slices with their masks; errors as of DICOM."""
    def recoded() -> Iterator[Picture]:
        for picture in dicom.pictures(record, settings):
            assert picture.mask is not None
            yield replace(picture, mask=_recoded(picture.mask, record.facts["modality"]))

    yield from nifti.named(recoded(), STRUCTURES)


def _recoded(mask: npt.NDArray[np.uint8], modality: str) -> npt.NDArray[np.uint8]:
    if modality == "CT":
        return (mask > 0).astype(np.uint8)
    out = np.zeros_like(mask)
    for value, (low, high) in RANGES.items():
        out[(mask >= low) & (mask <= high)] = value
    return out
