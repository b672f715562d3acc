"""The knee, the breasts and the lumbar spine: sides, places, and tears that differ from what is whole."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest

from radisim_cl.phantom import mr
from radisim_cl.phantom.anatomy import breast, knee, lumbar_spine
from radisim_cl.phantom.body import AIR, Body
from radisim_cl.phantom.patients import Patient
from radisim_cl.phantom.sections import Section
from radisim_cl.phantom.shapes import Point
from radisim_cl.phantom.tissues import NAMES

REGIONS = {"knee": knee, "breast": breast, "lumbar spine": lumbar_spine}
FINDINGS = [(r, f) for r, m in REGIONS.items() for f in m.FINDINGS]
PATIENTS = [Patient.draw(3, f"p{i}", "F") for i in range(8)]


def tissues(body: Body, points: npt.NDArray[np.float64]) -> list[tuple[str, str]]:
    """Structure and tissue at (n, 3) points."""
    x, y, z = (points[:, i].astype(np.float32) for i in range(3))
    return [("", "air") if i == AIR else (body.parts[i].structure, body.parts[i].tissue) for i in body.sample(x, y, z)]


def volume(body: Body, middle: Point, half: Point, step: float = 1.0) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.float64]]:
    """Structures at a grid of points around a place, and the points."""
    axes = [np.arange(c - h, c + h + step / 2, step) for c, h in zip(middle, half, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.array([s for s, _ in tissues(body, points)]), points


@pytest.mark.parametrize(("region", "module"), REGIONS.items())
def test_a_patient_has_one_body_and_different_patients_differ(region: str, module: ModuleType) -> None:
    def cut(patient: Patient) -> npt.NDArray[np.int16]:
        body = module.build(patient)
        return Section("axial", (0, 0, 3), 140, size=48).cut(body).index

    assert np.array_equal(cut(PATIENTS[0]), cut(PATIENTS[0]))
    assert not np.array_equal(cut(PATIENTS[0]), cut(PATIENTS[1]))
    assert module.build(PATIENTS[0]).region == region
    with pytest.raises(ValueError, match="known"):
        module.build(PATIENTS[0], ["gout"])


@pytest.mark.parametrize(("region", "finding"), FINDINGS)
def test_a_finding_is_where_its_lesion_says(region: str, finding: str) -> None:
    for patient in PATIENTS[:4]:
        body = REGIONS[region].build(patient, [finding])
        (lesion,) = body.lesions
        structures, points = volume(body, lesion.centre, lesion.extent)
        found = points[structures == finding]
        assert len(found) > 80, lesion  # mm^3
        assert np.all(np.abs(found.mean(0) - lesion.centre) < np.asarray(lesion.extent) * 0.7 + 2)
        low, high = (np.asarray(corner) for corner in body.field)
        assert np.all(low < lesion.centre)
        assert np.all(high > lesion.centre)
        assert lesion.place or finding == "ACL tear"  # its name says where it is


def test_knees_are_of_either_side_with_the_medial_meniscus_towards_the_midline() -> None:
    sides = set()
    for patient in PATIENTS:
        body = knee.build(patient)
        away = 1 if body.side == "left" else -1
        assert away * body.centre("medial meniscus")[0] < 0 < away * body.centre("lateral meniscus")[0]
        assert away * body.centre("fibula")[0] > 20
        assert body.centre("patella")[1] < -30
        sides.add(body.side)
    assert sides == {"left", "right"}


def test_the_anterior_cruciate_ligament_is_whole_or_torn() -> None:
    for patient in PATIENTS:
        f = knee.frame(patient)
        axis = np.array([f.at(*knee.along(t)) for t in np.linspace(0, 1, 60)])
        whole = [s for s, _ in tissues(knee.build(patient), axis)]
        assert set(whole) == {"anterior cruciate ligament"}
        torn = tissues(knee.build(patient, ["ACL tear"]), axis)
        assert sum(s == "ACL tear" for s, _ in torn) >= 6
        ends = [tissues(knee.build(patient), np.array([p + d]))[0][0] for p, d in ((axis[0], (9 * f.lateral, 0, 3)), (axis[-1], (0, 0, -9)))]
        assert ends == ["femur", "tibia"]


def test_a_meniscal_tear_reaches_the_surface_of_its_meniscus() -> None:
    for patient in PATIENTS:
        whole, torn = knee.build(patient), knee.build(patient, ["meniscal tear"])
        (lesion,) = torn.lesions
        assert lesion.place in knee.MENISCI
        away = 1 if torn.side == "left" else -1
        assert (away * lesion.centre[0] < 0) == (lesion.place == "medial meniscus")
        half = tuple(e + 4.0 for e in lesion.extent)
        before, points = volume(whole, lesion.centre, (half[0], half[1], half[2]))
        after = np.array([t for _, t in tissues(torn, points)])
        cleft = (after == "tear") & (before == lesion.place)
        assert cleft.sum() > 40
        grid = [len(np.unique(points[:, i])) for i in range(3)]
        inside, cut = (before == lesion.place).reshape(grid), cleft.reshape(grid)
        surface = np.zeros_like(cut)
        for axis in (1, 2):
            surface |= ~np.roll(inside, 1, axis) | ~np.roll(inside, -1, axis)
        assert (cut & surface).sum() > 5


@pytest.mark.parametrize("sequence", ["PD", "T2"])
def test_menisci_are_the_darkest_and_tears_are_bright(sequence: str) -> None:
    signal = dict(zip(NAMES, mr.signal(mr.SEQUENCES[sequence]), strict=True))
    assert signal["meniscus"] < 0.3 * signal["cartilage"] < signal["joint fluid"]
    assert signal["meniscus"] < signal["mucoid"] < 0.5 * signal["tear"]
    assert signal["ligament"] < 0.1 * signal["tear"]


def test_tumours_are_in_the_quadrant_that_the_report_names() -> None:
    for patient in PATIENTS:
        body = breast.build(patient, ["breast tumour"])
        (lesion,) = body.lesions
        side = 1 if lesion.place.startswith("left") else -1
        nipple = {b.side: b.nipple for b in breast.breasts(patient)}[side]
        assert side * lesion.centre[0] > 0
        assert (side * (lesion.centre[0] - nipple[0]) > 0) == ("outer" in lesion.place)
        assert (lesion.centre[2] > nipple[2]) == ("upper" in lesion.place)


def test_gland_is_inside_the_breast() -> None:
    for patient in PATIENTS[:2]:
        body = breast.build(patient)
        for b in breast.breasts(patient):
            structures, points = volume(body, b.at(0, 0.4, 0), (b.radii[0] + 8, 0.62 * b.radii[1], b.radii[2] + 8), 3.0)
            gland = points[structures == "gland"]
            assert 0.02 < len(gland) / np.isin(structures, ["gland", b.name]).sum() < 0.75
            out = np.concatenate([gland + d for d in ((2, 0, 0), (-2, 0, 0), (0, -2, 0), (0, 0, 2), (0, 0, -2))])
            assert "air" not in {t for _, t in tissues(body, out)}
        assert body.centre("sternum")[1] > body.centre("left breast")[1]


def test_one_breast_between_plates_has_the_tumour_of_its_side_only() -> None:
    for patient in PATIENTS[:4]:
        place = breast.build(patient, ["breast tumour"]).lesions[0].place
        for side in ("left", "right"):
            flat = breast.compressed(patient, side, ["breast tumour"])
            assert flat.side == side
            assert [lesion.place for lesion in flat.lesions] == ([place] if place.startswith(side) else [])


def test_discs_lie_between_the_vertebrae_in_front_of_the_canal() -> None:
    for patient in PATIENTS:
        body, column = lumbar_spine.build(patient), lumbar_spine.course(patient)
        heights = [v.centre[2] for v in column.vertebrae]
        assert heights == sorted(heights, reverse=True)
        for i, v in enumerate(column.vertebrae):
            disc = column.disc(i)
            (bone, marrow), (between, _), (canal, fluid) = tissues(
                body, np.array([v.centre, disc.centre, v.at(0, v.half[1] + 9.5, 0)]))
            assert (bone, between) == ("vertebrae", "discs")
            assert marrow in ("marrow", "fat")
            assert canal in ("spinal canal", "cord", "cauda equina")
            assert fluid in ("csf", "cord")
        assert body.centre("aorta")[1] < body.centre("discs")[1] < body.centre("spinal canal")[1]
        assert body.centre("aorta")[0] > body.centre("inferior vena cava")[0]
        # Lordosis: the middle of the spine is further to the front than a line from end to end.
        first, third, last = (np.asarray(column.vertebrae[i].centre) for i in (2, 4, 6))
        assert third[1] < (first[1] + last[1]) / 2


def test_a_herniated_disc_narrows_the_canal_at_its_level() -> None:
    for patient in PATIENTS:
        whole, hurt = lumbar_spine.build(patient), lumbar_spine.build(patient, ["disc herniation"])
        (lesion,) = hurt.lesions
        level = lumbar_spine.DISCS.index(lesion.place)
        assert abs(lesion.centre[2] - lumbar_spine.course(patient).disc(level).centre[2]) < 20
        canal = [(volume(b, lesion.centre, (14, 14, 5))[0] == "spinal canal").sum() for b in (whole, hurt)]
        assert canal[1] < 0.94 * canal[0]


def test_a_broken_vertebra_is_lower_in_front() -> None:
    for patient in PATIENTS:
        body = lumbar_spine.build(patient, ["vertebral fracture"])
        (lesion,) = body.lesions
        structures, points = volume(body, lesion.centre, (0.5, 40, 30))
        bone = points[structures == "vertebral fracture"]
        depth = np.quantile(bone[:, 1], [0.12, 0.88])
        front, back = (len(bone[np.abs(bone[:, 1] - d) < 1.5]) for d in depth)
        assert front < 0.85 * back
        assert lesion.place in lumbar_spine.LEVELS
