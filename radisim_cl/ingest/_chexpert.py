"""The fourteen observations of the CheXpert labeler (Irvin et al. 2019, arXiv:1901.07031, table 1), which MIMIC-CXR-JPG has too."""

from __future__ import annotations

from collections.abc import Mapping

from radisim_cl.errors import InputError
from radisim_cl.ingest._protocol import Settings

OBSERVATIONS = ("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Lesion", "Lung Opacity", "Edema", "Consolidation", "Pneumonia",
                "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices")
_WORDS = {"No Finding": "normal", "Pleural Other": "other pleural abnormality"}
_MEANS = {"": 0, "0.0": 0, "0": 0, "1.0": 1, "1": 1, "-1.0": -1, "-1": -1}
UNCERTAIN = "an uncertain finding"


def findings(row: Mapping[str, str], settings: Settings, where: str) -> tuple[str, str]:
    """Labels of a row, and why it is not wanted, if it is not.

    Uncertain ones (-1) are not named (the paper's U-Zeros), named (U-Ones), or a reason to leave the picture out (U-Ignore).

    Raises:
        InputError: a value that is none of 1, 0, -1 and nothing.
    """
    named, doubt = [], False
    for name in OBSERVATIONS:
        value = row.get(name, "").strip()
        if value not in _MEANS:
            raise InputError(f"{where}: {name}: {value!r} must be 1.0, 0.0, -1.0 or empty")
        doubt |= _MEANS[value] == -1
        if _MEANS[value] == 1 or (_MEANS[value] == -1 and settings.uncertain == "positive"):
            named.append(_WORDS.get(name, name.lower()))
    return "|".join(named), UNCERTAIN if doubt and settings.uncertain == "skip" else ""
