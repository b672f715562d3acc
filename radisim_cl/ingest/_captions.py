"""What figure captions and reports say: which modality, region and plane, which panel, which section. By words alone; no word, no answer."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

_KINDS = {
    "CT": r"ct|cta|cect|ncct|hrct|cbct|(computed|computerized)\s+(axial\s+)?tomogra\w+",
    "MR": r"mri|mris|mr|mra|mrv|mrcp|fmri|magnetic\s+resonance|t[12][\s-]*(weighted|wi?)|flair|dwi",
    "DR": r"x-?rays?|radiographs?|radiography|roentgenogra\w+|cxr|plain\s+films?|mammogra\w+",
    "other": r"pet|spect|scintigra\w+|ultraso\w+|sonogra\w+|echocardiogra\w+|doppler|endoscop\w+|histolog\w+|histopatholog\w+|immunohisto\w+|"
             r"h\s*&\s*e|microscop\w+|micrographs?|stain\w*|photographs?|intraoperative\s+view|kaplan|roc|flow\s*chart|diagram|schematic|graph|western\s+blot|"
             r"fundus|oct|electrocardiogra\w+|ecg|eeg|bar\s+plot|scatter\s*plot|(digital\s+subtraction\s+)?angiograms?|dsa",
}
_REGIONS = {
    "head": r"head|brain|cranial|intracranial|cerebral|cerebell\w+|skull|pituitary|sellar|ventricles?",
    "neck": r"neck|thyroid|larynx|laryngeal|carotid",
    "chest": r"chest|thora(x|cic)|lungs?|pulmonary|mediastin\w+|pleural?|bronch\w+",
    "abdomen": r"abdom(en|inal)|liver|hepatic|spleen|splenic|pancrea\w+|kidneys?|renal|gallbladder|bowel|colon|stomach|gastric|adrenal|appendi\w+",
    "pelvis": r"pelvi[sc]|bladder|uter(us|ine)|prostat\w+|ovar(y|ian)|rect(um|al)", "breast": r"breasts?|mammogra\w+",
    "heart": r"heart|cardiac|myocardi\w+|coronary", "knee": r"knees?|menisc\w+|cruciate|patell\w+", "hip": r"hips?|acetabul\w+",
    "lumbar spine": r"lumbar|lumbosacral", "spine": r"spin(e|al)|vertebra\w*|cervical\s+spine", "shoulder": r"shoulders?|rotator\s+cuff|glenohumeral",
    "ankle": r"ankles?|achilles", "hand": r"hands?|wrists?", "foot": r"foot|feet|calcane\w+",
}
_PLANES = {"axial": r"axial|transverse", "coronal": r"coronal", "sagittal": r"sagittal"}


def _words(patterns: Mapping[str, str]) -> dict[str, re.Pattern[str]]:
    return {name: re.compile(rf"(?<![\w-])({pattern})(?![\w-])", re.I) for name, pattern in patterns.items()}


_RULES = {"kind": _words(_KINDS), "region": _words(_REGIONS), "plane": _words(_PLANES)}
_ONE = r"[a-l](?:\s*(?:,|and|&|-|–|to)\s*[a-l])*"
_MARK = re.compile(rf"\(\s*({_ONE})\s*\)|(?:^|(?<=[.;:]\s))({_ONE.replace('a-l', 'A-L')})\s*[).:]\s", re.I)
_SECTION = re.compile(r"^[ \t]*([A-Z][A-Z /&()-]{2,60}):", re.M)
_WHITE = 250


def named(rule: str, text: str) -> list[str]:
    """All kinds of image (`kind`: CT, MR, DR, other), regions (`region`) or planes (`plane`) that a text names."""
    found = [name for name, pattern in _RULES[rule].items() if pattern.search(text)]
    return [name for name in found if not (name == "spine" and "lumbar spine" in found)]


def told(rule: str, text: str) -> str:
    """The only one that a text names; "" where it names none or several."""
    found = named(rule, text)
    return found[0] if len(found) == 1 else ""


def modality(caption: str) -> tuple[str, str]:
    """CT, MR or DR, and ""; or "", and why nobody wants the pair."""
    found = named("kind", caption)
    if found in (["CT"], ["MR"], ["DR"]):
        return found[0], ""
    return "", "a caption that names no CT, MR or radiograph" if not found or found == ["other"] else "a caption that names several kinds of image"


def panels(caption: str) -> dict[str, str]:
    """By panel letter, what a caption says of it: `(A) Axial CT. (B) Coronal CT.` or `Axial CT (a) and coronal CT (b)`.

    What stands before the first letter is said of each panel. Empty where there are not at least two letters that begin with a.
    """
    marks = [(m.start(), m.end(), _letters(m[1] or m[2])) for m in _MARK.finditer(caption)]
    letters = [letter for _, _, some in marks for letter in some]
    if len(set(letters)) < 2 or "a" not in letters or "b" not in letters:
        return {}
    out: dict[str, str] = {}
    before = caption[:marks[0][0]].strip()
    leading = not before or before[-1] in ".:;"
    for i, (start, end, some) in enumerate(marks):
        after = caption[end:marks[i + 1][0] if i + 1 < len(marks) else None]
        said = f"{before} {after}" if leading else caption[marks[i - 1][1] if i else 0:start]
        for letter in some:
            out[letter] = f"{out.get(letter, '')} {' '.join(said.split()).strip(' ,;')}".strip()
    return out


def _letters(mark: str) -> list[str]:
    """`A`, `A, B`, `a and b`, `A-C`."""
    found = re.findall(r"[a-l]", re.sub(r"\b(and|to)\b", lambda m: "," if m[1] == "and" else "-", mark.lower()))
    if re.search(r"-|–|\bto\b", mark.lower()) and len(found) == 2:
        return [chr(c) for c in range(ord(found[0]), ord(found[1]) + 1)]
    return found


def compound(pixels: npt.NDArray[np.uint8 | np.uint16]) -> bool:
    """Whether a white band crosses the middle of (h, w) or (h, w, 3) pixels from edge to edge, as it does between the panels of a figure."""
    grey = pixels.min(axis=-1) if pixels.ndim == 3 else pixels
    for image in (grey, grey.T):
        white: npt.NDArray[np.bool_] = np.asarray((image >= _WHITE).all(axis=1))
        low, high = len(white) // 5, len(white) - len(white) // 5
        width = max(2, len(white) // 100)
        bands = np.convolve(white[low:high], np.ones(width), "valid") == width if high - low >= width else np.zeros(1, bool)
        if bands.any() and not white[:low].all() and not white[high:].all():
            return True
    return False


def sections(report: str) -> dict[str, str]:
    """By heading in capitals, as `FINDINGS`, its text as one line (`plain`)."""
    found = list(_SECTION.finditer(report))
    ends = [*(m.start() for m in found), len(report)][1:]
    return {m[1].strip(): plain(report[m.end():end]) for m, end in zip(found, ends, strict=False)}


def plain(words: str) -> str:
    """One line without the marks that de-identification leaves: underscores in MIMIC-CXR, a word of four or more X in OpenI."""
    return " ".join(re.sub(r"_{2,}|\b[xX]{4,}\b", " ", words).split())


def read_out(impression: str, findings: str) -> str:
    """A caption of a report: the impression first, since a text tower reads no further than its context; then the findings."""
    return " ".join(part for part in (impression, findings) if part)
