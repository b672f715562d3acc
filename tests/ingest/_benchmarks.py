"""Benchmark sets as they are distributed, made small: real names, tables and values, drawn pictures, and a name that must never leave.

Each maker writes `n` patients and returns the folder.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml
from _made import CANARY, dicom, grey, jpeg, nifti, png
from _sources import NAME, table
from PIL import Image

SHAPE = (16, 14, 12)


def scan(seed: int) -> npt.NDArray[np.int16]:
    """(16, 14, 12) noise, another for each seed."""
    return np.random.default_rng(seed).integers(-100, 200, SHAPE).astype(np.int16)


def blocks(*values: int) -> npt.NDArray[np.uint8]:
    """(16, 14, 12) labels: a block for each value, one behind the other from the right on, in the lower eight slices."""
    out = np.zeros(SHAPE, dtype=np.uint8)
    for k, value in enumerate(values):
        out[k:k + 1, 2:12, :8] = value
    return out


def medmnist(folder: Path, n: int) -> Path:
    """`pneumoniamnist.npz`: two thirds to train, a sixth each to validate and test."""
    arrays: dict[str, Any] = {}
    for split, count, first in (("train", n, 0), ("val", n, 1000), ("test", n, 2000)):
        arrays[f"{split}_images"] = np.stack([grey(20_000 + first + k, (28, 28)) for k in range(count)])
        arrays[f"{split}_labels"] = np.arange(count, dtype=np.uint8)[:, None] % 2
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "pneumoniamnist.npz", **arrays)
    return folder


ORGANS = ("heart", "left lung", "right lung", "liver", "spleen", "pancreas", "left kidney", "right kidney", "bladder", "left femoral head",
          "right femoral head")


def medimeta(folder: Path, n: int) -> Path:
    """Three folders of slices, a slice of each organ a patient."""
    for p, plane in enumerate(("axial", "coronal", "sagittal")):
        home, rows = folder / f"organs_{plane}", list[dict[str, object]]()
        (home / "splits").mkdir(parents=True)
        split: dict[str, list[str]] = {"train": [], "val": [], "test": []}
        for k in range(n * len(ORGANS)):
            name, patient = f"images/{k:06d}.tiff", k // len(ORGANS)
            (home / "images").mkdir(exist_ok=True)
            Image.fromarray(grey(30_000 + 10_000 * p + k, (32, 32))).save(home / name)
            rows.append({"filepath": name, "tasks/organ label": k % len(ORGANS), "original_filepath": f"{NAME}/volume-{patient}.nii",
                         "original_split": "test" if patient % 3 == 2 else "train"})
            split[("train", "val", "test")[patient % 3]].append(name)
        table(home / "annotations.csv", rows)
        info = {"id": f"organs_{plane}", "tasks": [{"task_name": "organ label", "labels": dict(enumerate(ORGANS))}], "license": "CC BY-NC-SA 4.0"}
        (home / "info.yaml").write_text(yaml.safe_dump(info))
        for name, files in split.items():
            (home / "splits" / f"{name}.txt").write_text("\n".join(files))
    return folder


BOXES = ((4.0, 2.0, 8.0, 10.0), (20.0, 6.0, 10.0, 16.0))
"""Column and row of the upper left corner, width and height in pictures of 32 x 24."""


def rsna_pneumonia(folder: Path, n: int) -> Path:
    """DICOM by patient, and two tables; a patient with two boxes has two rows."""
    labels, kinds = list[dict[str, object]](), list[dict[str, object]]()
    (folder / "stage_2_train_images").mkdir(parents=True)
    for k in range(n):
        patient, kind = f"{NAME}-{k:04d}", ("Normal", "No Lung Opacity / Not Normal", "Lung Opacity")[k % 3]
        dicom(folder / "stage_2_train_images" / f"{patient}.dcm", grey(40_000 + k), Modality="CR", BodyPartExamined="CHEST", PatientID=patient)
        for box in BOXES if k % 3 == 2 else (("", "", "", ""),):
            labels.append({"patientId": patient, **dict(zip(("x", "y", "width", "height"), box, strict=True)), "Target": int(k % 3 == 2)})
            kinds.append({"patientId": patient, "class": kind})
    table(folder / "stage_2_train_labels.csv", labels)
    table(folder / "stage_2_detailed_class_info.csv", kinds)
    return folder


def brain_tumor_mri(folder: Path, n: int) -> Path:
    """Two splits of four folders."""
    for k in range(4 * n):
        split, name = ("Training", "Testing")[k // 4 % 2], ("glioma", "meningioma", "notumor", "pituitary")[k % 4]
        jpeg(folder / split / name / f"{split[:2]}-{NAME}_{k:04d}.jpg", 50_000 + k)
    return folder


def br35h(folder: Path, n: int) -> Path:
    """`yes`, `no`, and `pred`, which repeats some."""
    for k in range(n):
        jpeg(folder / "yes" / f"y{NAME}{k}.jpg", 51_000 + 2 * k)
        jpeg(folder / "no" / f"no{NAME}{k}.jpg", 51_001 + 2 * k)
    jpeg(folder / "pred" / "pred0.jpg", 51_000)
    return folder


def covid_ct(folder: Path, n: int) -> Path:
    """Pictures, splits and tables of patients, of whom each has two pictures."""
    for name, ending, seed in (("COVID", "png", 0), ("NonCOVID", "jpg", 1)):
        rows, split = list[dict[str, object]](), dict[str, list[str]](train=[], val=[], test=[])
        for k in range(2 * n):
            file = f"2020.{NAME}-p{k}%1.{ending}"
            (png if ending == "png" else jpeg)(folder / "Images-processed" / f"CT_{name}" / file, 52_000 + 2 * k + seed)
            rows.append({"File name": file.removesuffix(".png"), "Patient ID": f"Patient {NAME} {k // 2}", "Age": 60, "DOI": CANARY})
            split[("train", "val", "test")[k // 2 % 3]].append(file)
        for s, files in split.items():
            (folder / "Data-split" / name).mkdir(parents=True, exist_ok=True)
            (folder / "Data-split" / name / f"{s}CT_{name}.txt").write_text("\n".join(files) + "\n")
        if ending == "png":
            pd.DataFrame(rows).to_excel(folder / "COVID-CT-MetaInfo.xlsx", index=False)
        else:
            table(folder / "NonCOVID-CT-MetaInfo.csv", [{"image": r["File name"], "patient": r["Patient ID"]} for r in rows])
    return folder


def ct_ich(folder: Path, n: int, codes: str = "RAS") -> Path:
    """NIfTI with masks, and a row a slice: even patients bleed in their lower four slices."""
    rows = []
    for kind in ("ct_scans", "masks"):
        (folder / kind).mkdir(parents=True)
    for k in range(n):
        mask = np.zeros(SHAPE, dtype=np.uint8)
        mask[4:8, 4:8, :4] = 255 if k % 2 == 0 else 0
        nifti(folder / "ct_scans" / f"{49 + k:03d}.nii", scan(60_000 + k), codes)
        nifti(folder / "masks" / f"{49 + k:03d}.nii", mask, codes)
        for s in range(SHAPE[2]):
            z = SHAPE[2] - 1 - s if codes.endswith("I") else s
            bleeds = int(k % 2 == 0 and z < 4)
            rows.append({"PatientNumber": 49 + k, "SliceNumber": s + 1, "Intraventricular": 0, "Intraparenchymal": bleeds, "Subarachnoid": 0,
                         "Epidural": 0, "Subdural": 0, "No_Hemorrhage": 1 - bleeds, "Fracture_Yes_No": int(k % 2 == 1 and z == SHAPE[2] - 1)})
    table(folder / "hemorrhage_diagnosis_raw_ct.csv", rows)
    (folder / "Patient_demographics.csv").write_text(f"Patient Number,Name\n49,{CANARY}\n")
    return folder


def series(folder: Path, values: npt.NDArray[np.int16], patient: str) -> None:
    """Axial slices from the head on, named so that their names tell nothing of their places."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(values.shape[2]):
        pixels = values[::-1, ::-1, k].T  # rows towards the back, columns towards the left
        dicom(folder / f"1-{k * 5 % values.shape[2]:02d}.dcm", pixels, PatientID=patient, SeriesInstanceUID=f"1.2.{zlib.crc32(patient.encode())}",
              ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[0, 0, 3 * k], PixelSpacing=[1, 1], RescaleSlope=1,
              RescaleIntercept=0)


def ct_lymph_nodes(folder: Path, n: int) -> Path:
    """DICOM series and masks that number the nodes, stored as L, P, S."""
    for k in range(n):
        patient = f"{('ABD', 'MED')[k % 2]}_LYMPH_{NAME}{k:03d}"
        series(folder / "CT Lymph Nodes" / patient / "09-14-2014-1" / "abdominallymphnodes-2", scan(70_000 + k), patient)
        mask = np.zeros(SHAPE, dtype=np.uint8)
        mask[1:4, 9:13, 2:5] = 1 + k
        (folder / "MED_ABD_LYMPH_MASKS" / patient).mkdir(parents=True)
        nifti(folder / "MED_ABD_LYMPH_MASKS" / patient / f"{patient}_mask.nii.gz", mask, "LPS")
    return folder


def mrnet(folder: Path, n: int) -> Path:
    """Three planes of an examination, and tables without a header; every fifth is of the validation split."""
    home, lines = folder / "MRNet-v1.0", dict[str, list[str]]()
    for k in range(n):
        split = "valid" if k % 5 == 4 else "train"
        for p, plane in enumerate(("axial", "coronal", "sagittal")):
            (home / split / plane).mkdir(parents=True, exist_ok=True)
            np.save(home / split / plane / f"{k:04d}.npy", np.stack([grey(80_000 + 100 * k + 10 * p + s, (32, 32)) for s in range(9)]))
        for what, there in (("abnormal", k % 5 > 0), ("acl", k % 5 in (1, 4)), ("meniscus", k % 5 in (2, 4))):
            lines.setdefault(f"{split}-{what}", []).append(f"{k:04d},{int(there)}")
    for name, rows in lines.items():
        (home / f"{name}.csv").write_text("\n".join(rows) + "\n")
    return folder


def chaos(folder: Path, n: int) -> Path:
    """CT with a mask of the liver, MR with four organs in two sequences, one of them in two phases; and a test set without masks."""
    for k in range(n):
        for parts, values, kind in ((("CT", str(k)), (255,), ""), (("MR", str(k), "T1DUAL"), (63, 126, 189, 252), "InPhase"),
                                    (("MR", str(k), "T1DUAL"), (63, 126, 189, 252), "OutPhase"), (("MR", str(k), "T2SPIR"), (63, 126, 189, 252), "")):
            home = folder.joinpath("CHAOS_Train_Sets", "Train_Sets", *parts)
            images, masks = home / "DICOM_anon" / kind, blocks(*values)
            images.mkdir(parents=True)
            (home / "Ground").mkdir(exist_ok=True)
            voxels = scan(90_000 + 10 * k + len(kind) + len(parts))
            for z in range(SHAPE[2]):  # from the head on
                dicom(images / f"IMG-0004-{z:05d}.dcm", voxels[::-1, ::-1, -1 - z].T, Modality=parts[0], SeriesInstanceUID=f"1.{k}.{z}",
                      ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[0, 0, -3 * z], PixelSpacing=[1, 1])
                Image.fromarray(np.ascontiguousarray(masks[::-1, ::-1, -1 - z].T)).save(home / "Ground" / f"IMG-0004-{z:05d}.png")
    dicom_folder = folder / "CHAOS_Test_Sets" / "Test_Sets" / "CT" / "3" / "DICOM_anon"
    dicom_folder.mkdir(parents=True)
    dicom(dicom_folder / "i0000.dcm", scan(1)[:, :, 0])
    return folder


def amos(folder: Path, n: int) -> Path:
    """CT and MR scans with labels, and one without."""
    for k in range(n):
        for number in (1 + k, 507 + k):
            part = "Va" if k % 4 == 3 else "Tr"
            for kind, values in (("images", scan(100_000 + number)), ("labels", blocks(1, 2, 3, 6, 7, 10))):
                (folder / "amos22" / f"{kind}{part}").mkdir(parents=True, exist_ok=True)
                nifti(folder / "amos22" / f"{kind}{part}" / f"amos_{number:04d}.nii.gz", values, "LAS")
    (folder / "amos22" / "imagesTs").mkdir()
    nifti(folder / "amos22" / "imagesTs" / "amos_0300.nii.gz", scan(2))
    (folder / "amos22" / "dataset.json").write_text(json.dumps({"name": "AMOS", "reference": CANARY}))
    return folder


def ct_org(folder: Path, n: int) -> Path:
    """Volumes and labels; kidneys on both sides of the spine are one structure."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(n):
        labels = np.zeros(SHAPE, dtype=np.uint8)
        for value, at in ((1, 14), (4, 12), (5, 8), (4, 4), (3, 2), (2, 1)):
            labels[at, 2:12, :8] = value
        nifti(folder / f"volume-{13 + k}.nii.gz", scan(110_000 + k), "LPS")
        nifti(folder / f"labels-{13 + k}.nii.gz", labels, "LPS")
    return folder


def totalsegmentator(folder: Path, n: int) -> Path:
    """A folder a subject with a mask a structure: a brain, lungs, a liver and a bladder, three slices each from the head on."""
    rows = []
    for k in range(n):
        home = folder / f"s{k:04d}"
        (home / "segmentations").mkdir(parents=True)
        nifti(home / "ct.nii.gz", scan(120_000 + k))
        for z, names in enumerate((("urinary_bladder", "hip_left"), ("liver",), ("lung_upper_lobe_left", "lung_lower_lobe_right"), ("brain",))):
            for j, name in enumerate(names):
                mask = np.zeros(SHAPE, dtype=np.uint8)
                mask[2 + 6 * j:8 + 6 * j, 2:12, 3 * z:3 * z + 3] = 1
                nifti(home / "segmentations" / f"{name}.nii.gz", mask)
        nib.save(nib.Nifti1Image(np.zeros(SHAPE, dtype=np.uint8), np.eye(4)), home / "segmentations" / "spleen.nii.gz")
        rows.append({"image_id": f"s{k:04d}", "age": 60, "gender": CANARY, "institute": "A", "study_type": "ct",
                     "split": ("train", "val", "test")[k % 3]})
    table(folder / "meta.csv", rows, ";")
    return folder


BENCHMARKS: dict[str, Callable[[Path, int], Path]] = {
    "medmnist": medmnist, "medimeta": medimeta, "rsna_pneumonia": rsna_pneumonia, "brain_tumor_mri": brain_tumor_mri, "br35h": br35h,
    "covid_ct": covid_ct, "ct_ich": ct_ich, "ct_lymph_nodes": ct_lymph_nodes, "mrnet": mrnet, "chaos": chaos, "amos": amos, "ct_org": ct_org,
    "totalsegmentator": totalsegmentator}
