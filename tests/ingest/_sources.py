"""Training sources as they are distributed, made small: real names and fields, drawn pictures, and a name that must never leave.

Each maker writes `n` patients and returns the folder.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from _made import CANARY, jpeg, png
from PIL import Image

from radisim_cl.ingest._chexpert import OBSERVATIONS

NAME = "CanaryJane"
"""Where a file or folder is named."""
GONE = "X" * 4
"""What stands in OpenI's reports where de-identification took something out."""


def table(path: Path, rows: Sequence[Mapping[str, object]], separator: str = ",") -> Path:
    """A CSV, packed where its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=separator, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(gzip.compress(text.getvalue().encode()) if path.suffix == ".gz" else text.getvalue().encode())
    return path


CAPTIONS = ("Axial CT of the abdomen.", "Sagittal T2-weighted MRI of the lumbar spine.", "Coronal CT shows the left kidney.",
            "Chest radiograph with right pleural effusion.", "Contrast-enhanced MRI shows a WHO grade II glioma.", "CT scan.")
"""One of each level, and a localization more."""


def pmc_oa(folder: Path, n: int) -> Path:
    """`pmc_oa.jsonl` and a folder of panels."""
    lines = []
    for k in range(n):
        name = f"PMC{1000 + k}_Fig{1 + k % 4}_{k % 3}.jpg"
        jpeg(folder / "caption_T060_filtered_top4_sep_v0_subfigures" / name, k)
        lines.append({"image": name, "caption": CAPTIONS[k % len(CAPTIONS)], "alignment_type": "Label", "alignment_score": 0.9, "author": CANARY})
    (folder / "pmc_oa.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def radimagenet(folder: Path, n: int) -> Path:
    """Pictures by modality, anatomy and pathology, and three tables."""
    rows: dict[str, list[dict[str, object]]] = {"train": [], "val": [], "test": []}
    kinds = ("MR/brain/normal", "CT/abd/bladder_pathology", "MR/knee/acl_pathology", "CT/lung/normal", "US/thyroid/normal")
    for k in range(n):
        name, label = f"radiology_ai/{kinds[k % 5]}/{NAME}{k:06d}.png", kinds[k % 5].rpartition("/")[2].replace("_", " ")
        png(folder / name, 100 + k)
        rows[("train", "train", "train", "val", "test")[k // 5 % 5]].append({"filename": name, "label": label})
    for split in (s for s, some in rows.items() if some):
        table(folder / f"RadiologyAI_{split}.csv", rows[split])
    return folder


def observations(**found: float) -> dict[str, object]:
    """Of the CheXpert labeler: what is not given is empty."""
    return {name: found.get(name.replace(" ", "_"), "") for name in OBSERVATIONS}


def chexpert(folder: Path, n: int) -> Path:
    """`CheXpert-v1.0-small` with two views a study."""
    rows: dict[str, list[dict[str, object]]] = {"train": [], "valid": []}
    found = (observations(No_Finding=1.0), observations(Pneumonia=1.0, Edema=-1.0, Fracture=0.0),
             observations(Pleural_Effusion=1.0, Cardiomegaly=1.0), observations(Pneumonia=-1.0))
    for k in range(n):
        for view, side in ((1, "frontal"), (2, "lateral")):
            split = "valid" if k % 5 == 4 else "train"
            path = f"CheXpert-v1.0-small/{split}/patient{NAME}{k:05d}/study1/view{view}_{side}.jpg"
            jpeg(folder / path, 200 + 2 * k + view)
            rows[split].append({"Path": path, "Sex": "Female", "Age": 61, "Frontal/Lateral": side.capitalize(), "AP/PA": "AP" if view == 1 else "",
                                **found[k % 4]})
    for split in (s for s, some in rows.items() if some):
        table(folder / "CheXpert-v1.0-small" / f"{split}.csv", rows[split])
    return folder


BRAIN = "MRI of the brain. (a) Axial T1 with a mass in the left frontal lobe. (b) Coronal FLAIR, WHO grade III glioma."


def eurorad(folder: Path, n: int) -> Path:
    """A JSON a case, and the images."""
    for k in range(n):
        number = 18000 + k
        figures = [{"number": 1, "caption": CAPTIONS[k % len(CAPTIONS)], "subfigures": [{"label": "a", "file": f"{number}_1_a.png"}]},
                   {"number": 2, "caption": BRAIN,
                    "subfigures": [{"label": "a", "file": f"{number}_2_a.png"}, {"label": "b", "file": f"{number}_2_b.png"}]},
                   {"number": 3, "caption": "", "subfigures": [{"label": "a", "caption": "Histopathology, H&E stain.", "file": f"{number}_3_a.png"}]}]
        for j, letter in enumerate(("1_a", "2_a", "2_b", "3_a")):
            png(folder / "images" / f"{number}_{letter}.png", 1000 + 4 * k + j)
        case = {"case_id": number, "title": "A mass in the brain", "section": "Neuroradiology", "final_diagnosis": "Anaplastic astrocytoma",
                "clinical_history": f"{CANARY}, 61, has headaches.", "author": CANARY, "figures": figures}
        (folder / "cases").mkdir(exist_ok=True)
        (folder / "cases" / f"{number}.json").write_text(json.dumps(case))
    return folder


REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  {name} with cough.

 FINDINGS:

 There is a consolidation in the right lower lobe of ___.
 The heart is normal in size.

 IMPRESSION:

 Right lower lobe pneumonia.
"""


def mimic_cxr(folder: Path, n: int, ending: str = ".jpg") -> Path:
    """MIMIC-CXR-JPG's tables and images with MIMIC-CXR's reports; every third study has no report."""
    metadata, split, labels = [], [], []
    for k in range(n):
        subject, study = f"{NAME}{k:08d}", str(50000000 + k)
        home = folder / "files" / subject[:3] / f"p{subject}"
        labels.append({"subject_id": subject, "study_id": study, **observations(**({"Pneumonia": 1.0} if k % 2 else {"No_Finding": 1.0}))})
        if k % 3 < 2:
            home.mkdir(parents=True, exist_ok=True)
            (home / f"s{study}.txt").write_text(REPORT.format(name=CANARY))
        for view in ("PA", "LATERAL"):
            image = f"{k:08x}-{NAME}-{view}"
            jpeg(home / f"s{study}" / f"{image}{ending}", 3000 + 2 * k + (view == "PA"))
            metadata.append({"dicom_id": image, "subject_id": subject, "study_id": study, "ViewPosition": view, "StudyDate": 21800506})
            split.append({"dicom_id": image, "study_id": study, "subject_id": subject, "split": ("train", "validate", "test")[k % 3]})
    table(folder / "mimic-cxr-2.0.0-metadata.csv.gz", metadata)
    table(folder / "mimic-cxr-2.0.0-split.csv.gz", split)
    table(folder / "mimic-cxr-2.0.0-chexpert.csv.gz", labels)
    return folder


XML = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><meta type="rr"/><uId id="CXR{k}"/><pmcId id="{k}"/>
<MedlineCitation><Article><AuthorList><Author><LastName>{name}</LastName></Author></AuthorList>
<Abstract><AbstractText Label="COMPARISON">None.</AbstractText><AbstractText Label="INDICATION">{name} with {GONE} pain</AbstractText>
<AbstractText Label="FINDINGS">The heart is enlarged. {GONE} lungs are clear.</AbstractText>
<AbstractText Label="IMPRESSION">Mild cardiomegaly.</AbstractText></Abstract></Article></MedlineCitation>
<MeSH><major>Cardiomegaly/mild</major><major>Lung/hypoinflation</major><automatic>cardiomegaly</automatic></MeSH>
<parentImage id="CXR{k}_IM-0001-1001"><figureId>F1</figureId></parentImage><parentImage id="CXR{k}_IM-0001-2001"><figureId>F2</figureId></parentImage>
</eCitation>"""


def openi(folder: Path, n: int) -> Path:
    """Reports in XML and PNGs, two a report."""
    (folder / "ecgen-radiology").mkdir(parents=True)
    for k in range(1, n + 1):
        (folder / "ecgen-radiology" / f"{k}.xml").write_text(XML.format(GONE=GONE, k=k, name=CANARY))
        for view in (1, 2):
            png(folder / "NLMCXR_png" / f"CXR{k}_IM-0001-{view}001.png", 4000 + 2 * k + view)
    return folder


def vqa_rad(folder: Path, n: int) -> Path:
    """Questions in one JSON, and images."""
    asked = []
    for k in range(n):
        name, organ = f"synpic{NAME}{k}.jpg", ("HEAD", "CHEST", "ABD")[k % 3]
        jpeg(folder / "VQA_RAD Image Folder" / name, 5000 + k)
        asked += [{"qid": str(2 * k), "image_name": name, "image_organ": organ, "answer": "MRI", "question": "What modality is used?",
                   "phrase_type": "freeform", "evaluation": CANARY},
                  {"qid": str(2 * k + 1), "image_name": name, "image_organ": organ, "answer": 3, "question": "How many lesions are there?",
                   "phrase_type": "test_freeform", "evaluation": CANARY}]
    (folder / "VQA_RAD Dataset Public.json").write_text(json.dumps(asked))
    return folder


def slake(folder: Path, n: int) -> Path:
    """Three lists of questions, and a folder an image; masks in turn of shades as much as of a structure, of two, and in colours."""
    asked: dict[str, list[dict[str, object]]] = {"train": [], "validate": [], "test": []}
    for k in range(n):
        name = f"xmlab{NAME}{k}/source.jpg"
        jpeg(folder / "imgs" / name, 6000 + k)
        shown = np.zeros((24, 32, 3), dtype=np.uint8)
        shown[4:12, 4:20, 0], shown[12:20, 4:20, 0], shown[20, 4, 0] = (np.arange(1, 17), 70, 135)[k % 3], (70, 136, 0)[k % 3], 9
        Image.fromarray(shown if k % 3 == 2 else shown[..., 0]).save((folder / "imgs" / name).with_name("mask.png"))
        said = {"img_id": k, "img_name": name, "location": ("Lung", "Abdomen", "Brain_Tissue")[k % 3], "modality": ("X-Ray", "CT", "MRI")[k % 3],
                "answer_type": "OPEN", "base_type": "vqa", "content_type": "Organ", "qid": k}
        asked[("train", "validate", "test")[k % 3]] += [
            {**said, "q_lang": "en", "question": "Which organ is abnormal?", "answer": "Left lung"},
            {**said, "q_lang": "zh", "question": "哪个器官异常?", "answer": "左肺"}]
    for split, some in asked.items():
        (folder / f"{split}.json").write_text(json.dumps(some))
    (folder / "mask.txt").write_text("70:Liver\n135: Left Kidney\n136:Left Kidney")
    return folder


SOURCES: dict[str, Callable[[Path, int], Path]] = {
    "pmc_oa": pmc_oa, "radimagenet": radimagenet, "chexpert": chexpert, "eurorad": eurorad, "mimic_cxr": mimic_cxr, "openi": openi,
    "vqa_rad": vqa_rad, "slake": slake}
