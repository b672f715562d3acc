"""The open sample's sets as their makers distribute them, made small: real names, tables and values, drawn pictures, a name that must never leave.

Each maker writes `n` patients and returns the folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from _benchmarks import blocks, brain_tumor_mri, medmnist, scan
from _made import CANARY, grey, jpeg, nifti, png
from _sources import NAME, table, vqa_rad
from PIL import Image

LPS = np.diag([-1, -1, 1])


def itk(path: Path, values: npt.NDArray[np.int16 | np.uint8]) -> Path:
    """A volume whose first axis rises to the patient's right, second to the front, third to the head, as ITK writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(values.T)
    image.SetDirection(LPS.ravel().astype(float).tolist())
    image.SetMetaData("PatientName", CANARY)
    sitk.WriteImage(image, str(path))
    return path


def shenzhen_cxr(folder: Path, n: int) -> Path:
    """Pictures whose names end in their class, and clinical readings."""
    for k in range(n):
        png(folder / "CXR_png" / f"CHNCXR_{k:04d}_{k % 2}.png", 800_000 + k)
        (folder / "ClinicalReadings").mkdir(exist_ok=True)
        (folder / "ClinicalReadings" / f"CHNCXR_{k:04d}_{k % 2}.txt").write_text(f"{CANARY} male 45yrs")
    return folder


def knee_oa_xray(folder: Path, n: int) -> Path:
    """Both knees of each patient, in a folder a grade; and the folder that repeats some."""
    for k in range(n):
        for side in "LR":
            split = ("train", "train", "val", "test")[k % 4]
            png(folder / split / f"{k % 5}" / f"{9_000_000 + k}{side}.png", 810_000 + 2 * k + (side == "R"))
    png(folder / "auto_test" / "0" / "9000000L.png", 810_000)
    return folder


def covid_chestxray(folder: Path, n: int) -> Path:
    """`metadata.csv` and images: radiographs from the front, one from the side and a CT."""
    rows = []
    for k in range(n + 2):
        name = f"{NAME}-{k}.jpg"
        jpeg(folder / "images" / name, 820_000 + k)
        finding = ("Pneumonia/Viral/COVID-19", "No Finding", "Pneumonia/Fungal/Pneumocystis", "todo")[k % 4]
        rows.append({"patientid": f"{CANARY} {k}", "offset": k, "sex": "M", "age": 60, "finding": finding, "survival": "Y",
                     "view": "L" if k == n else ("PA", "AP", "AP Supine")[k % 3], "modality": "CT" if k == n + 1 else "X-ray", "date": "2020",
                     "location": CANARY, "folder": "images", "filename": name, "doi": "", "url": "", "license": "CC BY",
                     "clinical_notes": "Bilateral peripheral opacities.", "other_notes": CANARY})
    table(folder / "metadata.csv", rows)
    return folder


def hvsmr(folder: Path, n: int) -> Path:
    """`cropped_norm`, with the labels and the end points of vessels, which nobody wants."""
    (folder / "cropped_norm").mkdir(parents=True)
    for k in range(n):
        nifti(folder / "cropped_norm" / f"pat{k}_cropped_norm.nii.gz", scan(830_000 + k))
        for name in ("seg", "seg_endpoints"):
            nifti(folder / "cropped_norm" / f"pat{k}_cropped_{name}.nii.gz", blocks(*range(1, 9)))
    return folder


def msd(task: str, name: str, *values: int) -> Callable[[Path, int], Path]:
    """A task of the Decathlon."""
    def make(folder: Path, n: int) -> Path:
        for sub in ("imagesTr", "labelsTr", "imagesTs"):
            (folder / task / sub).mkdir(parents=True)
        for k in range(n):
            nifti(folder / task / "imagesTr" / f"{name}_{k:03d}.nii.gz", scan(840_000 + k))
            nifti(folder / task / "labelsTr" / f"{name}_{k:03d}.nii.gz", blocks(*values))
        nifti(folder / task / "imagesTs" / f"{name}_{n:03d}.nii.gz", scan(840_000 + n))
        (folder / task / "dataset.json").write_text(json.dumps({"name": name, "description": CANARY}))
        return folder
    return make


def spider(folder: Path, n: int) -> Path:
    """Two series a patient and one that is not read; masks with a vertebra, one in part, the canal and a disc."""
    for k in range(1, n + 1):
        for s, series in enumerate(("t1", "t2", "t2_SPACE")):
            itk(folder / "images" / f"{k}_{series}.mha", scan(850_000 + 3 * k + s))
            itk(folder / "masks" / f"{k}_{series}.mha", blocks(1, 102, 100, 201))
    return folder


def avt(folder: Path, n: int) -> Path:
    """Scans of three centres."""
    for k in range(n):
        centre, case = ("Dongyang", "KiTS", "Rider")[k % 3], f"{'DKR'[k % 3]}{k // 3 + 1}"
        itk(folder / centre / case / f"{case}.nrrd", scan(860_000 + k))
        itk(folder / centre / case / f"{case}.seg.nrrd", blocks(1))
    return folder


def mias(folder: Path, n: int) -> Path:
    """Two breasts a woman: the first has a mass, benign or malignant, of radius 3 at x 10, y 4 from the lower left corner."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["INFORMATION:  MIAS", ""]
    for k in range(1, 2 * n + 1):
        Image.fromarray(grey(870_000 + k, (24, 32))).save(folder / f"mdb{k:03d}.pgm")
        lines.append(f"mdb{k:03d} G NORM" if k % 2 == 0 else f"mdb{k:03d} F CIRC {'BM'[k // 2 % 2]} 10 4 3")
    (folder / "Info.txt").write_text("\n".join(lines))
    return folder


ORIGINALS: dict[str, Callable[[Path, int], Path]] = {
    "shenzhen_cxr": shenzhen_cxr, "knee_oa_xray": knee_oa_xray, "covid_chestxray": covid_chestxray, "hvsmr": hvsmr,
    "msd_hippocampus": msd("Task04_Hippocampus", "hippocampus", 1, 2), "msd_spleen": msd("Task09_Spleen", "spleen", 1), "spider": spider, "avt": avt,
    "mias": mias}
SAMPLE: dict[str, tuple[str, Callable[[Path, int], Path]]] = {
    "vqa_rad": ("vqa_rad", vqa_rad), "pneumoniamnist": ("medmnist", medmnist), "brain_tumor_mri": ("brain_tumor_mri", brain_tumor_mri),
    "shenzhen_cxr": ("shenzhen_cxr", shenzhen_cxr), "knee_oa_xray": ("knee_oa_xray", knee_oa_xray), "covid_cxr": ("covid_chestxray", covid_chestxray),
    "heart_mr_hvsmr": ("hvsmr", hvsmr), "hippocampus_mr_msd": ("msd_hippocampus", ORIGINALS["msd_hippocampus"]),
    "spleen_ct_msd": ("msd_spleen", ORIGINALS["msd_spleen"]), "spine_mr_spider": ("spider", spider), "aorta_ct": ("avt", avt),
    "mammogram_mias": ("mias", mias)}
"""By its name in the open sample, each set's layout and maker."""
