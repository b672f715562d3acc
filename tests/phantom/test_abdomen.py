"""The abdomen and the pelvis: where organs lie, how large they are, how they look."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from radisim_cl.phantom import ct, mr
from radisim_cl.phantom.anatomy import abdomen, pelvis
from radisim_cl.phantom.body import Body
from radisim_cl.phantom.patients import Patient
from radisim_cl.phantom.sections import OVERSAMPLING, PLANES, Plane, Sampled, Section
from radisim_cl.phantom.tissues import TISSUES

BUILD = {"abdomen": abdomen.build, "pelvis": pelvis.build}
NAMES = ("a", "b", "c", "d", "e", "f")
FINDINGS = [("abdomen", f) for f in abdomen.FINDINGS] + [("pelvis", f) for f in pelvis.FINDINGS]
ORGANS = {
    "abdomen": ("liver", "gallbladder", "spleen", "left kidney", "right kidney", "stomach", "pancreas", "aorta", "vena cava", "spine", "bowel",
                "ribs", "muscle"),
    "pelvis": ("bladder", "left femur", "right femur", "pelvic bones", "sacrum", "rectum", "bowel", "iliac arteries"),
}
LITRES = {"liver": (1.0, 2.2), "spleen": (0.1, 0.4), "left kidney": (0.1, 0.25), "right kidney": (0.1, 0.25), "pancreas": (0.04, 0.13),
          "bladder": (0.05, 0.6)}
STEP = 4.0


@cache
def body(region: str, name: str) -> Body:
    return BUILD[region](Patient.draw(0, name))


@cache
def grid(region: str, name: str) -> dict[str, npt.NDArray[np.float64]]:
    """(n, 3) positions of each structure on a coarse grid, mm."""
    x, y, z = (np.arange(low, high, STEP, dtype=np.float32) for low, high in ((-200, 200), (-150, 150), (-170, 170)))
    b = body(region, name)
    index = b.sample(x[:, None, None], y[None, :, None], z[None, None, :])
    out = {}
    for structure in b.structures:
        which = np.array([p.structure == structure for p in b.parts] + [False])
        i, j, k = np.nonzero(which[index])
        out[structure] = np.stack([x[i], y[j], z[k]], axis=1).astype(np.float64)
    return out


def middle(region: str, name: str, structure: str) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = grid(region, name)[structure].mean(axis=0)
    return found


def pure(cut: Sampled, structure: str, tissue: str) -> npt.NDArray[np.bool_]:
    """(size, size) pixels of one tissue of one structure alone."""
    wanted = np.array([p.structure == structure and p.tissue == tissue for p in cut.body.parts] + [False])
    n = cut.index.shape[0] // OVERSAMPLING
    return np.asarray(wanted[cut.index].reshape(n, OVERSAMPLING, n, OVERSAMPLING).all(axis=(1, 3)))


def through(b: Body, structure: str, plane: Plane = "axial", size: int = 96) -> Sampled:
    return Section(plane, b.centre(structure), 380, size=size).cut(b)


@pytest.mark.parametrize("region", BUILD)
def test_the_same_patient_has_the_same_body(region: str) -> None:
    assert BUILD[region](Patient.draw(0, "a")) == body(region, "a")
    assert BUILD[region](Patient.draw(0, "b")).parts != body(region, "a").parts


@pytest.mark.parametrize("region", BUILD)
def test_an_unknown_finding_is_refused(region: str) -> None:
    with pytest.raises(ValueError, match="no finding 'glioma'"):
        BUILD[region](Patient.draw(0, "a"), ["glioma"])


@pytest.mark.parametrize("name", NAMES)
def test_sides(name: str) -> None:
    at = {s: middle("abdomen", name, s) for s in ORGANS["abdomen"]}
    assert at["liver"][0] < -20
    assert at["gallbladder"][0] < 0
    assert at["spleen"][0] > 40
    assert at["stomach"][0] > 10
    assert at["aorta"][0] > at["vena cava"][0] + 10
    assert at["left kidney"][0] > 30
    assert at["right kidney"][0] < -30
    assert at["right kidney"][2] < at["left kidney"][2]
    assert at["pancreas"][1] < at["left kidney"][1]
    assert grid("abdomen", name)["liver"][:, 0].max() > 0  # its left lobe crosses the midline
    assert middle("pelvis", name, "left femur")[0] > 60
    assert middle("pelvis", name, "right femur")[0] < -60
    assert middle("pelvis", name, "bladder")[1] < middle("pelvis", name, "rectum")[1]


@pytest.mark.parametrize("name", [*NAMES, *(f"p{i}" for i in range(6))])
def test_volumes(name: str) -> None:
    """Ranges of adults: Kratzer 2003, Prassopoulos 1997, Emamian 1993, Saisho 2007, Lukacz 2011."""
    for region in BUILD:
        for structure, found in grid(region, name).items():
            if structure in LITRES:
                low, high = LITRES[structure]
                assert low <= len(found) * STEP**3 * 1e-6 <= high, structure


@pytest.mark.parametrize("region", BUILD)
@pytest.mark.parametrize("name", NAMES[:3])
def test_organs_show_in_sections_through_their_middle(region: str, name: str) -> None:
    for structure in (*ORGANS[region], *(("prostate" if Patient.draw(0, name).sex == "M" else "uterus",) if region == "pelvis" else ())):
        for plane in PLANES:
            centre = middle(region, name, structure)
            cut = Section(plane, (float(centre[0]), float(centre[1]), float(centre[2])), 380).cut(body(region, name))
            if structure not in ("ribs", "muscle", "bowel", "pelvic bones", "iliac arteries"):  # these surround their middle
                assert cut.shares().get(structure, 0) > 5e-4, (structure, plane)
        assert structure in through(body(region, name), structure).shares()


@pytest.mark.parametrize(("region", "structure", "tissue"), [
    ("abdomen", "liver", "liver"), ("abdomen", "spleen", "spleen"), ("abdomen", "left kidney", "kidney"), ("abdomen", "right kidney", "kidney"),
    ("abdomen", "aorta", "blood"), ("pelvis", "bladder", "urine"), ("pelvis", "left femur", "marrow")])
def test_hounsfield_units_are_those_of_the_tissue(region: str, structure: str, tissue: str) -> None:
    cut = through(body(region, "a"), structure)
    values = ct.hounsfield(cut)[pure(cut, structure, tissue)]
    assert values.size > 5
    assert abs(float(values.mean()) - TISSUES[tissue].hu) < 4 + 0.05 * abs(TISSUES[tissue].hu)


def test_urine_is_brighter_than_muscle_in_t2_and_darker_than_fat_in_t1() -> None:
    cut = through(body("pelvis", "a"), "bladder")
    urine, flesh, fat = pure(cut, "bladder", "urine"), pure(cut, "gluteal muscles", "muscle"), pure(cut, "", "fat")
    t1, t2 = (mr.clean(cut, mr.SEQUENCES[s]) for s in ("T1", "T2"))
    assert t2[urine].mean() > 4 * t2[flesh].mean()
    assert t1[urine].mean() < 0.6 * t1[fat].mean()


@pytest.mark.parametrize(("region", "finding"), FINDINGS)
@pytest.mark.parametrize("name", NAMES)
def test_findings_lie_in_their_organs(region: str, finding: str, name: str) -> None:
    sick = BUILD[region](Patient.draw(0, name), [finding])
    lesion = sick.lesions[0]
    organ = "liver" if finding == "liver lesion" else lesion.place
    x, y, z = (np.full((1, 1), c, dtype=np.float32) for c in lesion.centre)
    before = int(body(region, name).sample(x, y, z)[0, 0])
    after = int(sick.sample(x, y, z)[0, 0])
    assert body(region, name).parts[before].structure == organ
    assert sick.parts[after] in lesion.parts
    assert sick.parts[: -len(lesion.parts)] == body(region, name).parts
    sign = -1 if "right" in lesion.place else 1 if "left" in lesion.place else 0
    assert sign * lesion.centre[0] >= 0
    cut = Section("axial", lesion.centre, 60, size=64).cut(sick)
    seen = np.isin(cut.index, range(len(sick.parts) - len(lesion.parts), len(sick.parts)))
    assert seen.mean() * 60**2 > 0.5 * np.pi * lesion.extent[0] * lesion.extent[1]


def test_organs_wander_between_patients() -> None:
    for region, structures in (("abdomen", ("liver", "spleen", "left kidney", "pancreas", "stomach")), ("pelvis", ("bladder",))):
        for structure in structures:
            places = np.stack([middle(region, f"p{i}", structure) - np.mean(body(region, f"p{i}").field, axis=0) for i in range(6)])
            assert places.std(axis=0).max() > 5, structure
