"""A contact sheet: what the phantom looks like, with captions and outlines of masks."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np

from radisim_cl.phantom import words
from radisim_cl.phantom.exams import Exam, Picture
from radisim_cl.phantom.make import NOTICE
from radisim_cl.phantom.patients import Patient, generator
from radisim_cl.phantom.sections import OVERSAMPLING
from radisim_cl.phantom.sources._base import meeting

TILES: tuple[tuple[str, Exam, tuple[str, ...]], ...] = (
    ("anatomy", Exam("head", "CT", "brain", "axial"), ("ventricles",)),
    ("anatomy", Exam("head", "MR", "T1", "sagittal", focus="brainstem"), ("cerebellum",)),
    ("anatomy", Exam("head", "MR", "T2", "axial", focus="ventricles"), ("ventricles",)),
    ("anatomy", Exam("head", "MR", "FLAIR", "coronal"), ()),
    ("anatomy", Exam("head", "MR", "MRA", "axial", focus="pituitary"), ()),
    ("anatomy", Exam("head", "MR", "DWI", "axial", focus="ventricles"), ()),
    ("anatomy", Exam("chest", "CT", "lung", "axial", focus="heart"), ("left lung", "right lung")),
    ("anatomy", Exam("chest", "CT", "mediastinum", "coronal", focus="aorta"), ("aorta",)),
    ("anatomy", Exam("chest", "DR", "radiograph", "coronal"), ()),
    ("anatomy", Exam("chest", "DR", "radiograph", "sagittal"), ()),
    ("anatomy", Exam("abdomen", "CT", "soft tissue", "axial", focus="pancreas"), ("liver", "spleen", "pancreas", "left kidney", "right kidney")),
    ("anatomy", Exam("abdomen", "CT", "soft tissue", "coronal", focus="liver"), ("liver", "spleen")),
    ("anatomy", Exam("abdomen", "MR", "T2", "axial", focus="left kidney"), ("left kidney", "right kidney", "liver")),
    ("anatomy", Exam("abdomen", "CT", "soft tissue", "sagittal", focus="right kidney", crop=1.4), ("right kidney",)),
    ("anatomy", Exam("pelvis", "CT", "soft tissue", "axial", focus="bladder"), ("bladder", "left femur", "right femur")),
    ("anatomy", Exam("pelvis", "DR", "radiograph", "coronal"), ()),
    ("anatomy", Exam("knee", "MR", "PD", "sagittal", focus="anterior cruciate ligament"), ("anterior cruciate ligament",)),
    ("anatomy", Exam("knee", "MR", "T1", "coronal", focus="medial meniscus"), ("medial meniscus", "lateral meniscus")),
    ("anatomy", Exam("knee", "DR", "radiograph", "coronal"), ()),
    ("anatomy", Exam("breast", "MR", "T1C", "axial"), ()),
    ("anatomy", Exam("lumbar spine", "MR", "T2", "sagittal", focus="spinal canal"), ("discs",)),
    ("anatomy", Exam("lumbar spine", "DR", "radiograph", "sagittal"), ()),
    ("diagnosis", Exam("head", "MR", "T1C", "axial", ("glioma",), "glioma"), ("glioma",)),
    ("diagnosis", Exam("head", "MR", "T1C", "sagittal", ("pituitary tumour",), "pituitary tumour"), ("pituitary tumour",)),
    ("diagnosis", Exam("head", "CT", "brain", "axial", ("intracranial haemorrhage",), "intracranial haemorrhage"), ("haemorrhage",)),
    ("grading", Exam("head", "MR", "T1C", "coronal", ("meningioma grade 1",), "meningioma grade 1"), ("meningioma",)),
    ("grading", Exam("head", "MR", "T1C", "axial", ("meningioma grade 2",), "meningioma grade 2"), ("meningioma",)),
    ("grading", Exam("head", "MR", "FLAIR", "axial", ("meningioma grade 3",), "meningioma grade 3"), ("meningioma",)),
    ("diagnosis", Exam("chest", "DR", "radiograph", "coronal", ("pneumonia",)), ()),
    ("diagnosis", Exam("chest", "DR", "radiograph", "coronal", ("pleural effusion",)), ()),
    ("diagnosis", Exam("chest", "DR", "radiograph", "coronal", ("cardiomegaly",)), ()),
    ("diagnosis", Exam("chest", "CT", "lung", "axial", ("COVID-19 pneumonia",), "COVID-19 pneumonia"), ()),
    ("diagnosis", Exam("chest", "CT", "lung", "axial", ("pneumonia",), "pneumonia"), ()),
    ("diagnosis", Exam("chest", "CT", "mediastinum", "axial", ("enlarged lymph nodes",), "enlarged lymph nodes"), ("enlarged lymph nodes",)),
    ("diagnosis", Exam("knee", "MR", "PD", "sagittal", ("ACL tear",), "ACL tear"), ()),
    ("diagnosis", Exam("knee", "MR", "PD", "sagittal", ("meniscal tear",), "meniscal tear"), ()),
    ("diagnosis", Exam("breast", "MR", "T1C", "axial", ("breast tumour",), "breast tumour"), ()),
    ("diagnosis", Exam("lumbar spine", "MR", "T2", "sagittal", ("disc herniation",), "disc herniation"), ()),
    ("diagnosis", Exam("lumbar spine", "MR", "T1", "sagittal", ("vertebral fracture",), "vertebral fracture"), ()),
    ("diagnosis", Exam("abdomen", "CT", "liver", "axial", ("liver lesion",), "liver lesion"), ("liver lesion",)),
)
"""Caption level, exam, and the structures that are outlined."""


def sheet(out: Path, seed: int = 0, size: int = 192, columns: int = 8) -> None:
    """Draws TILES into an image file; its ending says which format.

    Args:
        out: PNG, PDF or SVG.
        seed: of patients and pictures.
        size: pixels a side of each picture.
        columns: tiles a row.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    rows = -(-len(TILES) // columns)
    with rc_context({"savefig.facecolor": "white", "svg.hashsalt": "phantom"}):
        figure = Figure(figsize=(1.75 * columns, 2.12 * rows + 0.5), dpi=100, layout="constrained")
        figure.suptitle(f"RadiSim-CL phantom, seed {seed}. {NOTICE}", fontsize=11)
        for axes, (i, (level, exam, outlined)) in zip(figure.subplots(rows, columns).flat, enumerate(TILES), strict=True):
            patient = Patient.draw(seed, f"sheet-{i}", "F" if exam.region == "breast" else None)
            picture = meeting(exam, patient, generator(seed, "sheet", i), size)
            axes.imshow(picture.pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            for structure in outlined:
                mask = outline(picture, structure)
                if mask.any():
                    axes.contour(mask, [0.5], colors="#ff9f1c", linewidths=0.7)
            axes.set_axis_off()
            text = words.caption(level, picture, generator(seed, "sheet caption", i))
            axes.set_title("\n".join(textwrap.wrap(text, 34)[:3]), fontsize=6.5, y=-0.02, va="top", pad=0)
        figure.savefig(out)


def outline(picture: Picture, structure: str) -> np.ndarray:
    """(size, size) 1 where the structure is."""
    if picture.cut is None:
        return np.zeros(picture.pixels.shape)
    which = np.array([p.structure == structure for p in picture.body.parts] + [False])
    half = OVERSAMPLING // 2
    return which[picture.cut.index][half::OVERSAMPLING, half::OVERSAMPLING].astype(float)
