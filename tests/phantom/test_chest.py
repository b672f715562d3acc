from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from radisim_cl.phantom import ct, dr
from radisim_cl.phantom.anatomy import chest
from radisim_cl.phantom.body import Body
from radisim_cl.phantom.patients import Patient
from radisim_cl.phantom.sections import PLANES, Section

PATIENTS = tuple(f"p{i}" for i in range(6))


@cache
def made(name: str, finding: str = "") -> Body:
    return chest.build(Patient.draw(3, name), [finding] if finding else [])


@cache
def labelled(name: str, finding: str = "") -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Structure of each position of a grid of 6 mm, and the grid's axes."""
    body = made(name, finding)
    x, y, z = (np.arange(a, b, 6, dtype=np.float32) for a, b in zip(*body.field, strict=True))
    index = body.sample(x[:, None, None], y[None, :, None], z[None, None, :])
    return np.array([p.structure for p in body.parts] + ["outside"])[index], x, y, z


def middle(name: str, structure: str) -> np.ndarray:
    labels, *axes = labelled(name)
    found = np.argwhere(labels == structure)
    assert len(found), structure
    return np.array([a[found[:, d]].mean() for d, a in enumerate(axes)])


def width(name: str, finding: str, *structures: str) -> float:
    labels, x, _, _ = labelled(name, finding)
    across = np.isin(labels, structures).any(axis=(1, 2))
    return float(np.ptp(x[across]))


@pytest.mark.parametrize("name", PATIENTS)
def test_organs_lie_on_their_side(name: str) -> None:
    assert middle(name, "liver")[0] < -20 < 20 < min(middle(name, "stomach")[0], middle(name, "spleen")[0])
    assert middle(name, "right lung")[0] < -30 < 30 < middle(name, "left lung")[0]
    assert middle(name, "heart")[0] > 5
    labels, x, _, z = labelled(name)
    low = np.argwhere(labels == "heart")
    apex = low[low[:, 1] <= np.quantile(low[:, 1], 0.1)]  # the front of the heart
    assert x[apex[:, 0]].mean() > 5
    arch = np.argwhere((labels == "aorta") & (z > 45))
    assert x[arch[:, 0]].mean() > 3, "the arch goes to the left"
    assert middle(name, "vena cava")[0] < 0
    assert middle(name, "sternum")[1] < middle(name, "heart")[1] < middle(name, "spine")[1]
    assert middle(name, "liver")[2] < middle(name, "heart")[2] < middle(name, "clavicles")[2]


def test_same_patient_same_body() -> None:
    patient = Patient.draw(3, "p0")
    assert chest.build(patient) == chest.build(patient)
    sick, well = made("p0", "pneumonia"), made("p0")
    assert sick.parts[: len(well.parts)] == well.parts
    assert sick.field == well.field
    assert made("p1").parts != well.parts


def test_unknown_finding() -> None:
    with pytest.raises(ValueError, match="no finding 'glioma' in a chest; known: pneumonia, COVID-19"):
        chest.build(Patient.draw(3, "p0"), ["glioma"])


@pytest.mark.parametrize("finding", chest.FINDINGS)
@pytest.mark.parametrize("name", PATIENTS)
def test_finding_is_seen_in_each_plane_through_its_centre(name: str, finding: str) -> None:
    body = made(name, finding)
    (lesion,) = body.lesions
    structure = {p.structure for p in lesion.parts}.pop()
    assert lesion.finding == finding
    assert all(e > 3 for e in lesion.extent)
    for plane in PLANES:
        share = Section(plane, lesion.centre, 360, size=48).cut(body).shares().get(structure, 0.0)
        assert share * 360**2 > 150, f"{plane}: {share * 360**2:.0f} mm^2"


@pytest.mark.parametrize("name", PATIENTS)
def test_findings_stay_in_their_structure_and_on_their_side(name: str) -> None:
    well, x, _, _ = labelled(name)
    for finding, allowed in {"pneumonia": chest.LUNGS, "COVID-19 pneumonia": chest.LUNGS, "pleural effusion": chest.LUNGS,
                             "enlarged lymph nodes": (*chest.LUNGS, "", "lymph nodes")}.items():
        sick = labelled(name, finding)[0]
        body = made(name, finding)
        here = sick == finding
        assert set(well[here]) <= {*allowed, "granulomas"}, finding
        side = {"left": 1, "righ": -1}.get(body.lesions[0].place[:4])
        if side and "lymph" not in finding:
            assert (side * x[np.argwhere(here)[:, 0]] > 0).mean() > 0.95
        if finding == "COVID-19 pneumonia":
            assert np.ptp(np.sign(x[np.argwhere(here)[:, 0]])) == 2, "both lungs"
        if finding == "enlarged lymph nodes":
            assert all(2 * min(p.shape.radii) >= 12 for p in body.lesions[0].parts)  # type: ignore[attr-defined]


def test_left_lung_has_no_middle_lobe() -> None:
    places = {chest.build(Patient.draw(0, f"m{i}"), ["pneumonia"]).lesions[0].place for i in range(60)}
    assert places == {"left upper lobe", "left lower lobe", "right upper lobe", "right middle lobe", "right lower lobe"}


@pytest.mark.parametrize("name", PATIENTS)
def test_cardiothoracic_ratio(name: str) -> None:
    well = width(name, "", "heart") / width(name, "", *chest.LUNGS)
    large = width(name, "cardiomegaly", "heart") / width(name, "cardiomegaly", *chest.LUNGS)
    assert 0.36 < well < 0.5 < large < 0.7


def test_hounsfield_units_of_regions() -> None:
    body = made("p0")
    heart, liver, lung = body.centre("heart"), middle("p0", "liver"), middle("p0", "right lung")
    for (x, y, z), low, high in ((heart, 20, 70), (liver, 50, 75), ((lung[0] - 20, lung[1], lung[2] + 30), -900, -600)):
        hu = ct.hounsfield(Section("axial", (float(x), float(y), float(z)), 16, size=8).cut(body))
        assert low < hu.mean() < high
    assert ct.hounsfield(Section("coronal", body.centre("spine"), 20, size=8).cut(body)).max() > 150


def test_radiograph() -> None:
    body = made("p2")
    paths = dr.integrals(body, "frontal", (0, 0, 0), 360, 72)

    def mean(x: float, z: float) -> float:
        column, row = int((x / 360 + 0.5) * 72), int((0.5 - z / 360) * 72)
        return float(paths[row - 2 : row + 3, column - 2 : column + 3].mean())

    lungs = max(mean(-85, 30), mean(85, 30))
    assert lungs < 0.75 * min(mean(0, -40), mean(-60, -130)), "lungs let more through than the mediastinum and the liver"


@pytest.mark.parametrize("name", PATIENTS)
def test_effusion_whitens_the_base_of_its_side(name: str) -> None:
    sick = made(name, "pleural effusion")
    more = dr.integrals(sick, "frontal", (0, 0, 0), 360, 48) - dr.integrals(made(name), "frontal", (0, 0, 0), 360, 48)
    right, left = more[:, :24].sum(axis=1), more[:, 24:].sum(axis=1)
    own, other = (left, right) if "left" in sick.lesions[0].place else (right, left)
    assert np.abs(other).sum() < 0.02 * own.sum(), "the other side is as it was"
    assert own[24:].sum() > 2 * own[:24].sum(), "fluid sinks"
