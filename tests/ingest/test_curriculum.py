"""The radiologist's curriculum over all six sources and all sets of its benchmark, each ingested from its own layout: nothing is missing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import yaml
from _benchmarks import BENCHMARKS, scan
from _made import nifti, png
from _sources import SOURCES
from test_ingest import SITE

from radisim_cl.ingest._corpus import ingest
from radisim_cl.ingest._protocol import Settings
from radisim_cl.ingest._tables import Table
from radisim_cl.runs.planning import plan
from radisim_cl.specs.catalog import load_catalog
from radisim_cl.specs.curriculum import load

TRAINING = ("pmc_oa", "radimagenet", "chexpert", "eurorad", "mimic_cxr", "openi")
NAMES = {"medmnist": "pneumoniamnist", "medimeta": "lits_organs", "brain_tumor_mri": "kaggle_brain_tumour"}
"""What the benchmark calls a layout's set, where it is not the layout's name."""
PATIENTS = 20


def internal_mr(folder: Path) -> Table:
    """Volumes by sequence and region, as a hospital would export them."""
    rows = {}
    folder.mkdir()
    for k in range(8 * PATIENTS):
        name, sequence = f"{k}.nii.gz", ("T1", "T1C", "T2", "PD", "FLAIR", "DWI", "MRA", "MRA")[k % 8]
        nifti(folder / name, scan(500_000 + k))
        region = ("head", "breast", "abdomen", "knee", "lumbar spine")[k % 5]
        rows[name] = {"patient": f"mr {k}", "modality": "MR", "labels": sequence, "anatomy": region}
    return Table(rows)


def pictures(folder: Path, first: int, rows: list[dict[str, str]]) -> Table:
    """Pictures and what is known of them."""
    for k in range(len(rows)):
        png(folder / f"{k}.png", first + k)
    return Table({f"{k}.png": {"patient": f"{folder.name} {k}", **row} for k, row in enumerate(rows)})


def test_the_radiologist_s_curriculum_is_planned_over_real_layouts_with_nothing_missing(tmp_path: Path) -> None:
    corpora = {}
    few = Settings(slices=3, size=16)

    def make(name: str, layout: str, folder: Path, table: Table | None = None) -> None:
        card = ingest(layout, folder, tmp_path / "corpora" / name, few, SITE, table)
        corpora[name] = card["catalog"]

    for layout in TRAINING:
        (tmp_path / layout).mkdir()
        make(layout, layout, SOURCES[layout](tmp_path / layout, 3 * PATIENTS))
    for layout, maker in BENCHMARKS.items():
        make(NAMES.get(layout, layout), layout, maker(tmp_path / layout, PATIENTS))
    make("internal_mr", "nifti", tmp_path / "mr", internal_mr(tmp_path / "mr"))
    make("internal_modality", "images", tmp_path / "modality", pictures(tmp_path / "modality", 600_000, [
        {"modality": m} for m in ("CT", "MR", "DR") for _ in range(PATIENTS)]))
    make("internal_meningioma", "images", tmp_path / "meningioma", pictures(tmp_path / "meningioma", 700_000, [
        {"modality": "MR", "anatomy": "head", "labels": f"meningioma grade {g}"} for g in (1, 2, 3) for _ in range(PATIENTS)]))
    catalog = tmp_path / "real.yaml"
    catalog.write_text(yaml.safe_dump({"name": "real", "root": str(tmp_path / "corpora"), "templates": "radiology", "corpora": corpora}))

    made = plan(load("radiologist", (), "smoke", str(catalog)))

    assert len(made.subtasks) == 24
    assert {s.id: s.missing for s in made.subtasks if s.missing} == {}
    assert all(min(s.items[split] for split in ("gate", "report")) > 0 for s in made.subtasks)
    assert [stage.spec.name for stage in made.stages] == ["modality", "anatomy", "localization", "diagnosis", "grading"]
    sources = {entry.entry.source for stage in made.stages for entry in stage.entries}
    assert sources == set(TRAINING)
    assert all(entry.available > 0 for stage in made.stages for entry in stage.entries)
    levels = pd.concat([pd.read_parquet(tmp_path / "corpora" / name / "manifest.parquet")["level"] for name in TRAINING])
    assert set(levels) - {""} == {"modality", "anatomy", "localization", "diagnosis", "grading"}
    assert load_catalog(str(catalog)).corpora["chaos"].structures[1] == "liver"
