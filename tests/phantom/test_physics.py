"""Physics and geometry of the phantom against closed forms, values from the literature, and brute force."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radisim_cl.phantom import ct, dr, mr
from radisim_cl.phantom.body import AIR, Body, Index, Part
from radisim_cl.phantom.exams import REGIONS, Exam, body, take
from radisim_cl.phantom.patients import Patient, generator
from radisim_cl.phantom.sections import OVERSAMPLING, PLANES, Plane, Section, pooled
from radisim_cl.phantom.shapes import A, Cut, Ellipsoid, Mask, Point, Shape, Tube, Without
from radisim_cl.phantom.sources._base import CODES, STRUCTURES
from radisim_cl.phantom.tissues import NAMES, TISSUES

FAR = ((-500.0, -500.0, -500.0), (500.0, 500.0, 500.0))
LONG = 900.0


@dataclass(frozen=True)
class Box:
    """A cuboid, which the phantom itself does not have."""

    low: Point
    high: Point

    @property
    def box(self) -> tuple[Point, Point]:
        return self.low, self.high

    def inside(self, x: A, y: A, z: A) -> Mask:
        return np.asarray((x >= self.low[0]) & (x <= self.high[0]) & (y >= self.low[1]) & (y <= self.high[1])
                          & (z >= self.low[2]) & (z <= self.high[2]))


def made(*parts: tuple[str, Shape], key: str = "test") -> Body:
    """A body of (tissue, shape), each a structure named for its tissue."""
    return Body("abdomen", tuple(Part(tissue, tissue, shape) for tissue, shape in parts), FAR, key=key)


def ball(x: float, y: float, z: float, r: float) -> Ellipsoid:
    return Ellipsoid((x, y, z), (r, r, r))


def cylinder(tissue: str) -> Body:
    """A long one along z, 300 mm thick."""
    return made((tissue, Ellipsoid((0, 0, 0), (150, 150, 1e5))))


# Computed tomography

LITERATURE_HU = {
    "water": (-4, 4), "fat": (-120, -80), "muscle": (35, 70), "liver": (45, 70), "spleen": (40, 60), "kidney": (25, 50), "pancreas": (30, 50),
    "blood": (30, 60), "clot": (55, 80), "white matter": (20, 32), "grey matter": (32, 45), "csf": (0, 15), "urine": (0, 15), "bile": (0, 20),
    "lung": (-900, -700), "ground glass": (-700, -300), "cortical bone": (700, 2000), "marrow": (100, 500), "effusion": (0, 20),
    "calcification": (130, 1200),
}
"""Ranges as in Kalender 2011 (fig. 1.9), Lev and Gonzalez 2002 for the brain, Hansell 2008 for the lung; native scans."""


@pytest.mark.parametrize("tissue", LITERATURE_HU)
def test_hounsfield_units_in_a_rendered_section(tissue: str) -> None:
    hu = ct.hounsfield(Section("axial", (0, 0, 0), 40, size=8).cut(made(("muscle", ball(0, 0, 0, 200)), (tissue, ball(0, 0, 0, 60)))))
    low, high = LITERATURE_HU[tissue]
    assert low <= hu.min() <= hu.max() <= high
    assert ct.hounsfield(Section("axial", (700, 0, 0), 40, size=8).cut(cylinder("water"))).tolist() == np.full((8, 8), -1000).tolist()


@given(st.floats(-1000, 2000), st.floats(1, 4000), st.floats(-3000, 5000))
def test_windows_are_dicom_linear(level: float, width: float, hu: float) -> None:
    low, high = level - width / 2, level + width / 2
    expected = 0.0 if hu <= low else 1.0 if hu >= high else (hu - low) / (high - low)
    assert ct.Window(level, width)(np.array([hu], dtype=np.float32)) == pytest.approx(expected, abs=1e-3)


def test_ct_noise_scales_as_photons_do() -> None:
    assert ct.noise(1, 5, 300) == pytest.approx(10)
    assert ct.noise(4, 5, 300) == pytest.approx(5)
    assert ct.noise(1, 1.25, 300) == pytest.approx(20)
    # Half-value layer of water at 70 keV, 3.6 cm: as much more water doubles the variance (Kalender 2011, ch. 4).
    assert (ct.noise(1, 5, 336) / ct.noise(1, 5, 300)) ** 2 == pytest.approx(2, rel=0.02)
    assert ct.noise(1, 5, 400) * ct.noise(1, 5, 200) == pytest.approx(ct.noise(1, 5, 300) ** 2)


@pytest.mark.parametrize("sigma", [2.0, 25.0])
def test_a_homogeneous_cylinder_has_the_noise_asked_for(sigma: float) -> None:
    cut = Section("axial", (0, 0, 0), 200, size=192).cut(cylinder("water"))
    found = ct.scan(cut, sigma, generator(0, "noise"))
    assert found.std() == pytest.approx(sigma, rel=0.04)
    assert found.mean() == pytest.approx(0, abs=6 * sigma / 192)
    neighbours = np.corrcoef(found[:, :-1].ravel(), found[:, 1:].ravel())[0, 1]
    assert 0.2 < neighbours < 0.8, "reconstruction correlates neighbours"
    assert abs(np.corrcoef(found[:, :-8].ravel(), found[:, 8:].ravel())[0, 1]) < 0.05


# Magnetic resonance


@given(st.floats(50, 5000), st.floats(1, 2000), st.floats(0.05, 1), st.floats(10, 10_000), st.floats(1, 200), st.floats(10, 5000))
def test_signal_equations(t1: float, t2: float, pd: float, tr: float, te: float, ti: float) -> None:
    """By the magnetisation itself, step by step, in plain floats."""
    protons, long, short = (np.array([v], dtype=np.float32) for v in (pd, t1, t2))

    def relaxed(start: float, time: float) -> float:
        return pd + (start - pd) * math.exp(-time / t1)

    decay = math.exp(-te / t2)
    assert mr.spin_echo(protons, long, short, tr, te)[0] == pytest.approx(relaxed(0, tr) * decay, rel=1e-3, abs=1e-7)
    if tr > ti:
        before = relaxed(0, tr - ti)  # the 90 degree pulse of the last cycle left none along z
        after = relaxed(-before, ti)
        found = mr.inversion_recovery(protons, long, short, tr, te, ti)[0]
        assert found == pytest.approx(abs(after) * decay, rel=1e-4, abs=1e-6)


@given(st.floats(50, 5000), st.floats(5, 2000), st.floats(0.05, 1), st.floats(5, 200), st.floats(5, 90))
def test_spoiled_gradient_echo_reaches_its_steady_state(t1: float, t2: float, pd: float, tr: float, flip: float) -> None:
    along = pd
    for _ in range(20_000):
        new = pd + (along * math.cos(math.radians(flip)) - pd) * math.exp(-tr / t1)
        if abs(new - along) < 1e-13:
            break
        along = new
    protons, long, short = (np.array([v], dtype=np.float32) for v in (pd, t1, t2))
    still, flowing = (mr.spoiled(protons, long, short, tr, 4.0, flip, np.array([f], dtype=np.float32))[0] for f in (0, 1))
    assert still == pytest.approx(along * math.sin(math.radians(flip)) * math.exp(-4 / t2), rel=2e-3)
    assert flowing == pytest.approx(pd * math.sin(math.radians(flip)) * math.exp(-4 / t2), rel=1e-4)


def signals(sequence: str) -> dict[str, float]:
    return dict(zip(NAMES, mr.signal(mr.SEQUENCES[sequence]).tolist(), strict=True))


def test_contrast_of_the_brain() -> None:
    t1, t2, flair, dwi = (signals(s) for s in ("T1", "T2", "FLAIR", "DWI"))
    assert t1["white matter"] > 1.1 * t1["grey matter"] > 1.5 * t1["csf"]
    assert t2["csf"] > 1.5 * t2["grey matter"] > 1.8 * t2["white matter"]
    assert flair["csf"] < 0.15 * flair["grey matter"]
    assert flair["grey matter"] > flair["white matter"]
    assert flair["oedema"] > 1.2 * flair["grey matter"]
    assert dwi["csf"] < 0.4 * dwi["white matter"]
    unweighted = mr.signal(mr.Sequence("spin echo", tr=5000, te=85, fat_suppressed=True))
    for i, tissue in enumerate(NAMES):
        expected = unweighted[i] * math.exp(-1000 * TISSUES[tissue].adc * 1e-3)
        assert dwi[tissue] == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_gadolinium_brightens_what_takes_it_up_and_nothing_else() -> None:
    before, after = signals("T1"), signals("T1C")
    for tissue, t in TISSUES.items():
        if t.uptake == 0:
            assert after[tissue] == pytest.approx(before[tissue], rel=1e-5), tissue
        elif t.uptake >= 0.2:
            assert after[tissue] > 1.1 * before[tissue], tissue
    for tumour in ("meningioma", "glioma", "breast tumour", "pituitary tumour"):
        assert after[tumour] > 1.5 * before[tumour]
    assert after["white matter"] < 1.1 * before["white matter"], "behind the blood-brain barrier"


def test_angiograms_show_blood() -> None:
    mra = signals("MRA")
    assert mra["blood"] > 1.8 * max(v for t, v in mra.items() if not TISSUES[t].flow)
    assert mra["blood"] > 4 * mra["white matter"]
    for sequence in ("T1", "T2", "PD", "FLAIR", "DWI"):
        assert signals(sequence)["blood"] < 0.4 * signals(sequence)["muscle"] or sequence in ("T2", "FLAIR")
        assert signals(sequence)["blood"] < 0.5 * signals(sequence)["grey matter"], "flow void"


def test_fat_suppression() -> None:
    for sequence in ("PD", "DWI"):
        assert signals(sequence)["fat"] < 0.35 * signals(sequence)["grey matter"]
    assert signals("T1")["fat"] == max(signals("T1").values())


def test_a_rendered_head_has_these_contrasts() -> None:
    head = body(Patient.draw(5, "h"), "head", ())
    cut = Section("axial", head.centre("ventricles"), 180, size=96).cut(head)
    tissue = np.array([p.tissue for p in head.parts] + ["air"])[cut.index]
    pure = {t: pooled((tissue == t).astype(np.float32)) == 1 for t in ("white matter", "grey matter", "csf", "air")}
    mean = {s: {t: float(mr.clean(cut, mr.SEQUENCES[s])[where].mean()) for t, where in pure.items()} for s in mr.SEQUENCES}
    assert all(where.sum() > 20 for where in pure.values())
    assert mean["T1"]["white matter"] > mean["T1"]["grey matter"] > mean["T1"]["csf"] > mean["T1"]["air"] == 0
    assert mean["T2"]["csf"] > mean["T2"]["grey matter"] > mean["T2"]["white matter"]
    assert mean["FLAIR"]["csf"] < 0.15 * mean["FLAIR"]["grey matter"]


def test_rician_noise() -> None:
    air = mr.rician(np.zeros((400, 400), dtype=np.float32), 3.0, generator(0, "air"))
    assert air.min() >= 0
    assert air.mean() == pytest.approx(3 * math.sqrt(math.pi / 2), rel=0.01)
    assert air.std() == pytest.approx(3 * math.sqrt(2 - math.pi / 2), rel=0.02)
    bright = mr.rician(np.full((400, 400), 200, dtype=np.float32), 3.0, generator(0, "bright"))
    assert bright.mean() == pytest.approx(200 + 3**2 / (2 * 200), abs=0.05)
    assert bright.std() == pytest.approx(3, rel=0.02)
    skewness = float((((bright - bright.mean()) / bright.std()) ** 3).mean())
    assert abs(skewness) < 0.05


def test_bias_fields_are_positive_smooth_and_bounded() -> None:
    logs = np.stack([np.log(mr.bias_field((64, 48), 0.5, generator(0, "bias", i))) for i in range(60)])
    assert np.isfinite(logs).all()
    assert np.abs(logs).max() <= 2 * 0.5
    assert np.quantile(np.abs(logs), 0.95) < 0.5
    assert max(np.abs(np.diff(logs, axis=a)).max() for a in (1, 2)) < 0.06
    assert mr.bias_field((8, 8), 0.0, generator(0, "none")).tolist() == np.ones((8, 8)).tolist()


def test_mr_noise_is_relative_to_the_signal() -> None:
    cut = Section("axial", (0, 0, 0), 400, size=96).cut(cylinder("muscle"))
    found = mr.scan(cut, mr.SEQUENCES["T1"], 0.05, 0.0, generator(0, "scan"))
    inside = pooled((cut.index != AIR).astype(np.float32)) == 1
    assert found[inside].std() == pytest.approx(0.05 * signals("T1")["muscle"], rel=0.05)
    outside = pooled((cut.index != AIR).astype(np.float32)) == 0
    assert found[outside].mean() == pytest.approx(0.05 * signals("T1")["muscle"] * math.sqrt(math.pi / 2), rel=0.05)


# Radiography

MU = {"water": 0.0206, "muscle": 0.0215, "fat": 0.0187}
"""1/mm at 60 keV (NIST XCOM: water 0.2059, muscle 0.2048 x 1.05, adipose tissue 0.1974 x 0.95 g/cm^3)."""


def slab(tissue: str, low: float, high: float) -> tuple[str, Shape]:
    return tissue, Box((-LONG, low, -LONG), (LONG, high, LONG))


@pytest.mark.parametrize("tissue", MU)
def test_a_slab_lets_through_what_beer_and_lambert_say(tissue: str) -> None:
    for thick in (20.0, 100.0):
        paths = dr.integrals(made(slab(tissue, -30, thick - 30)), "frontal", (0, 0, 0), 100, 8)
        got = dr.transmitted(paths, dr.Exposure(1000, scatter=0), None)
        assert got == pytest.approx(np.full((8, 8), 1000 * math.exp(-MU[tissue] * thick)), rel=0.03)


def test_two_slabs_multiply() -> None:
    one, other = made(slab("water", -60, 0), slab("air", 0, 60)), made(slab("air", -60, 0), slab("fat", 0, 60))
    both = made(slab("water", -60, 0), slab("fat", 0, 60))
    a, b, ab = (np.exp(-dr.integrals(x, "frontal", (0, 0, 0), 100, 6)) for x in (one, other, both))
    assert ab == pytest.approx(a * b, rel=1e-4)


@pytest.mark.parametrize("angle", [0, 20, 45])
def test_an_oblique_slab_is_thicker(angle: float) -> None:
    n = (0.0, math.cos(math.radians(angle)), math.sin(math.radians(angle)))
    back = (0.0, -n[1], -n[2])
    tilted = Cut(Cut(Box((-300, -300, -300), (300, 300, 300)), (0, 20 * n[1], 20 * n[2]), n), (0, 20 * back[1], 20 * back[2]), back)
    paths = dr.integrals(made(("water", tilted)), "frontal", (0, 0, 0), 60, 8, depth=600)
    assert paths == pytest.approx(np.full((8, 8), 0.0206 * 40 / math.cos(math.radians(angle))), rel=0.03)


def test_counts_are_poisson() -> None:
    paths = np.full((500, 500), 2.0, dtype=np.float32)
    counted = dr.transmitted(paths, dr.Exposure(4000, scatter=0.3), generator(0, "poisson")).astype(float)
    expected = 1.3 * 4000 * math.exp(-2)
    assert counted.mean() == pytest.approx(expected, rel=0.002)
    assert counted.var() == pytest.approx(expected, rel=0.02)


def test_scatter_is_the_stated_share_of_what_comes_through() -> None:
    paths = np.full((96, 96), 1.0, dtype=np.float32)
    paths[40:56, 40:56] = 4.0
    alone, scattered = (dr.transmitted(paths, dr.Exposure(1000, scatter=s, spread=0.08), None) for s in (0.0, 0.5))
    assert scattered.sum() == pytest.approx(1.5 * alone.sum(), rel=1e-4)
    assert (scattered - alone)[48, 48] > 0.5 * alone[48, 48], "scatter fills shadows"


def peak(picture: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Row and column of the middle of what is dense, 0 to 1."""
    rows, columns = np.nonzero(picture > (np.median(picture) + picture.max()) / 2)
    return float((rows.mean() + 0.5) / picture.shape[0]), float((columns.mean() + 0.5) / picture.shape[1])


def test_sides_of_a_radiograph() -> None:
    flesh = ("fat", Box((-120, -90, -120), (120, 90, 120)))
    for at, frontal, lateral in (((70, 0, 0), (0.5, 0.75), (0.5, 0.5)), ((0, -70, 0), (0.5, 0.5), (0.5, 0.25)),
                                 ((0, 0, 70), (0.25, 0.5), (0.25, 0.5)), ((-70, 70, -70), (0.75, 0.25), (0.75, 0.75))):
        dense = made(flesh, ("cortical bone", ball(*at, 18)))
        assert peak(dr.integrals(dense, "frontal", (0, 0, 0), 280, 64)) == pytest.approx(frontal, abs=0.02)
        assert peak(dr.integrals(dense, "lateral", (0, 0, 0), 280, 64)) == pytest.approx(lateral, abs=0.02)


def test_what_is_dense_is_bright() -> None:
    dense = made(("muscle", Box((-100, -90, -100), (100, 90, 100))), ("cortical bone", ball(0, 0, 0, 25)), ("lung", ball(60, 0, 0, 30)))
    exposure = dr.Exposure(2e4)
    shown = dr.display(dr.transmitted(dr.integrals(dense, "frontal", (0, 0, 0), 240, 96), exposure, None), exposure)
    assert shown[48, 48] > shown[20, 48] + 0.1
    assert shown[48, 72] < shown[20, 48] - 0.1
    assert 0 <= shown.min() <= shown.max() <= 1


@pytest.mark.parametrize("region", ["abdomen", "chest", "pelvis", "lumbar spine", "knee", "head"])
def test_a_beam_meets_all_of_the_body(region: str) -> None:
    """The mass in one row of either view is that of the axial section at its height."""
    patient = body(Patient.draw(2, "mass"), region, ())
    z = float(np.mean([patient.field[0][2], patient.field[1][2]]))
    cut = Section("axial", (0, 0, z), 420, size=140).cut(patient)
    area = float(cut.lookup(dr.attenuation()[:-1], 0.0).mean()) * 420**2
    for view in ("frontal", "lateral"):
        paths = dr.integrals(patient, view, (0, 0, z), 420, 141, depth=140)
        assert float(paths[70].sum()) * 420 / 141 == pytest.approx(area, rel=0.03), view


@pytest.mark.parametrize("region", ["chest", "lumbar spine", "pelvis", "knee"])
def test_thicker_parts_get_more_photons(region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As automatic exposure gives them: behind the middle of every patient as many arrive as behind a chest, or more."""
    behind = []
    counted = dr.transmitted

    def seen(paths: A, exposure: dr.Exposure, rng: np.random.Generator | None) -> A:
        behind.append(exposure.photons * math.exp(-float(np.median(paths[paths > 0.2]))))
        return counted(paths, exposure, rng)

    monkeypatch.setattr(dr, "transmitted", seen)
    for i in range(6):
        for plane in ("coronal", "sagittal"):
            take(Exam(region, "DR", "radiograph", plane), Patient.draw(0, f"thick{i}"), generator(0, "thick", i), 48)
    assert min(behind) > 4e3 * math.exp(-3.6)
    assert max(behind) < 4e4


# Sections and solids


@pytest.mark.parametrize(("plane", "right", "down"), [("axial", (1, 0, 0), (0, 1, 0)), ("coronal", (1, 0, 0), (0, 0, -1)),
                                                      ("sagittal", (0, 1, 0), (0, 0, -1))])
def test_what_is_where_in_a_section(plane: Plane, right: Point, down: Point) -> None:
    """Axial and coronal: the patient's left (+x) at the right; axial: the back (+y) below; coronal and sagittal: the head (+z) above."""
    left, up = (tuple(-v for v in axis) for axis in (right, down))
    for direction, row, column in ((right, 0.5, 0.75), (down, 0.75, 0.5), (left, 0.5, 0.25), (up, 0.25, 0.5)):
        spot = made(("muscle", Ellipsoid((10 + 25 * direction[0], 10 + 25 * direction[1], 10 + 25 * direction[2]), (8, 8, 8))))
        found = pooled((Section(plane, (10, 10, 10), 100, size=50).cut(spot).index != AIR).astype(np.float32))
        assert peak(found) == pytest.approx((row, column), abs=0.01)


def test_a_turned_patient_is_turned_in_the_picture() -> None:
    spot = made(("muscle", ball(30, 0, 0, 8)))
    seen = peak(pooled((Section("axial", (0, 0, 0), 100, turn=(0, 0, 90), size=50).cut(spot).index != AIR).astype(np.float32)))
    assert seen == pytest.approx((0.2, 0.5), abs=0.01)


radius = st.floats(5, 40)
angle = st.floats(-180, 180)


@settings(max_examples=40)
@given(radius, radius, radius, st.floats(-0.9, 0.9), st.sampled_from(PLANES))
def test_area_of_a_cut_ellipsoid(a: float, b: float, c: float, height: float, plane: Plane) -> None:
    radii = {"axial": (a, b, c), "sagittal": (c, a, b), "coronal": (a, c, b)}[plane]
    middle = np.zeros(3)
    middle[{"axial": 2, "sagittal": 0, "coronal": 1}[plane]] = height * c
    cut = Section(plane, (float(middle[0]), float(middle[1]), float(middle[2])), 100, size=100).cut(made(("muscle", Ellipsoid((0, 0, 0), radii))))
    area = math.pi * a * b * (1 - height**2)
    assert cut.shares().get("muscle", 0) * 100**2 == pytest.approx(area, rel=0.03, abs=3)
    mass = float((ct.hounsfield(cut) + 1000).sum()) / (1000 + TISSUES["muscle"].hu)
    assert mass == pytest.approx(cut.shares().get("muscle", 0) * 100**2, rel=1e-3, abs=0.1), "partial volume keeps the mass"


thick = st.floats(15, 35)


@settings(max_examples=12)
@given(thick, thick, thick, angle, angle, angle, st.sampled_from(PLANES), st.sampled_from([2.0, 4.0]))
def test_volume_of_an_ellipsoid_by_slices(a: float, b: float, c: float, p: float, q: float, r: float, plane: Plane, power: float) -> None:
    solid = made(("muscle", Ellipsoid((3, -2, 1), (a, b, c), (p, q, r), power=power)))
    normal, step, total = {"axial": 2, "sagittal": 0, "coronal": 1}[plane], 1.5, 0.0
    for t in np.arange(-62, 62, step):
        at = [3.0, -2.0, 1.0]
        at[normal] += float(t)
        total += Section(plane, (at[0], at[1], at[2]), 150, size=60).cut(solid).shares().get("muscle", 0) * 150**2 * step
    # Dirichlet's integral for |x|^n + |y|^n + |z|^n <= 1.
    volume = 8 * a * b * c * math.gamma(1 + 1 / power) ** 3 / math.gamma(1 + 3 / power)
    assert total == pytest.approx(volume, rel=0.03)


coordinate = st.integers(-400, 400).map(lambda tenths: tenths / 10)
point = st.tuples(coordinate, coordinate, coordinate)
phases = st.tuples(*[st.floats(0, 1)] * 9)
ellipsoids = st.builds(Ellipsoid, point, st.tuples(radius, radius, radius), st.tuples(angle, angle, angle) | st.just((0.0, 0.0, 0.0)),
                       st.sampled_from([1.5, 2.0, 3.0, 4.0, 8.0]), st.sampled_from([0.0, 0.1, 0.5]), st.floats(1, 6), phases)


@st.composite
def tubes(draw: st.DrawFn) -> Tube:
    points = draw(st.lists(point, min_size=2, max_size=4))
    radii = draw(st.lists(st.floats(0.5, 20), min_size=len(points), max_size=len(points)))
    flat = draw(st.none() | st.tuples(st.integers(0, 2), st.floats(0.2, 2)))
    return Tube(points, radii, flat)


solids = ellipsoids | tubes()
shapes = st.one_of(solids, st.builds(Cut, solids, point, point), st.builds(Without, solids, solids))


@settings(max_examples=150)
@given(shapes, st.integers(0, 2**31))
def test_boxes_hold_all_of_their_solid(shape: Shape, seed: int) -> None:
    low, high = np.asarray(shape.box[0]), np.asarray(shape.box[1])
    rng = np.random.default_rng(seed)
    p = rng.uniform(low - 0.5 * (high - low) - 1, high + 0.5 * (high - low) + 1, (4000, 3)).astype(np.float32)
    within = p[shape.inside(p[:, 0], p[:, 1], p[:, 2])]
    assert (within >= low - 1e-3).all()
    assert (within <= high + 1e-3).all()


@settings(max_examples=60)
@given(tubes(), st.integers(0, 2**31))
def test_a_tube_is_a_chain_of_balls(tube: Tube, seed: int) -> None:
    """A point is inside exactly if it is in one of the (flattened) balls whose middles lie at its feet on the segments."""
    low, high = np.asarray(tube.box[0]), np.asarray(tube.box[1])
    p = np.random.default_rng(seed).uniform(low - 2, high + 2, (300, 3))
    inside = tube.inside(*(p[:, i].astype(np.float32) for i in range(3)))
    for q, found in zip(p, inside, strict=True):
        margins = []
        for a, b, ra, rb in zip(tube.points[:-1], tube.points[1:], tube._r[:-1], tube._r[1:], strict=True):
            way = np.subtract(b, a)
            t = float(np.clip((q - a) @ way / ((way @ way) or 1), 0, 1))
            off = q - (a + t * way)
            if tube.flat:
                off[tube.flat[0]] /= tube.flat[1]
            margins.append(ra + t * (rb - ra) - float(np.linalg.norm(off)))
        assert found == (max(margins) >= 0) or abs(max(margins)) < 1e-3


@settings(max_examples=60)
@given(ellipsoids, st.integers(0, 2**31))
def test_an_ellipsoid_lies_between_its_smallest_and_largest(shape: Ellipsoid, seed: int) -> None:
    low, high = np.asarray(shape.box[0]), np.asarray(shape.box[1])
    p = np.random.default_rng(seed).uniform(low, high, (500, 3))
    a, b, c = np.radians(shape.turn)
    about = (np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]]),
             np.array([[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]]),
             np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]]))
    local = (p - shape.centre) @ about[2] @ about[1] @ about[0] / np.asarray(shape.radii)  # rows: the inverse of x first, then y, then z
    level = (np.abs(local) ** shape.power).sum(axis=1) ** (1 / shape.power)
    inside = shape.inside(*(p[:, i].astype(np.float32) for i in range(3)))
    assert inside[level < 1 - shape.lobes - 1e-3].all()
    assert not inside[level > 1 + shape.lobes + 1e-3].any()


def painted(b: Body, x: A, y: A, z: A) -> Index:
    """Every part at every position, as the docstring of Body has it."""
    out = np.full(np.broadcast_shapes(x.shape, y.shape, z.shape), AIR, dtype=np.int16)
    for i, part in enumerate(b.parts):
        here = np.broadcast_to(part.shape.inside(x, y, z), out.shape)
        if part.within:
            here = here & np.array([q.structure in part.within for q in b.parts] + [False])[out]
        out[here] = i
    return out


@settings(max_examples=80)
@given(st.lists(st.tuples(shapes, st.booleans()), min_size=1, max_size=5), st.sampled_from(PLANES), point,
       st.tuples(angle, angle, angle) | st.just((0.0, 0.0, 0.0)), st.floats(20, 200), st.sampled_from([8, 17, 48]))
def test_looking_only_at_boxes_changes_nothing(solid: list[tuple[Shape, bool]], plane: Plane, centre: Point, turn: Point, width: float,
                                               size: int) -> None:
    parts = tuple(Part("ab"[i % 2], "muscle", s, within=("a",) if kept and i else ()) for i, (s, kept) in enumerate(solid))
    b = Body("abdomen", parts, FAR)
    x, y, z = Section(plane, centre, width, turn, size).positions()
    assert np.array_equal(b.sample(x, y, z), painted(b, x, y, z))
    grid = (x[:1, :, None], y[:, :1, None], np.linspace(-40, 40, 9, dtype=np.float32)[None, None, :])
    assert np.array_equal(b.sample(*grid), painted(b, *grid))


@pytest.mark.parametrize("region", REGIONS)
def test_looking_only_at_boxes_changes_nothing_in_anatomy(region: str) -> None:
    b = body(Patient.draw(1, "boxes", "F"), region, ())
    for plane in PLANES:
        at = np.mean(b.field, axis=0)
        x, y, z = Section(plane, (float(at[0]), float(at[1]), float(at[2])), 260, (4, -7, 3), 40).positions()
        assert np.array_equal(b.sample(x, y, z), painted(b, x, y, z)), plane


# Masks


@pytest.mark.parametrize(("region", "focus"), [("abdomen", "liver"), ("chest", "heart"), ("pelvis", "bladder"), ("abdomen", "right kidney")])
@pytest.mark.parametrize("plane", PLANES)
def test_masks_are_what_was_painted(region: str, focus: str, plane: Plane) -> None:
    b = body(Patient.draw(1, "mask"), region, ())
    cut = Section(plane, b.centre(focus), 380, (3, 2, -4), 48).cut(b)
    mask = cut.labels(CODES)
    assert mask.dtype == np.uint8
    assert STRUCTURES[int(mask[24, 24])] != ""
    x, y, z = Section(plane, b.centre(focus), 380, (3, 2, -4), 48).positions()
    for i in range(0, 48, 5):
        for j in range(0, 48, 5):
            at = (slice(OVERSAMPLING * i + 1, OVERSAMPLING * i + 2), slice(OVERSAMPLING * j + 1, OVERSAMPLING * j + 2))
            top = int(painted(b, x[at], y[at], z[at])[0, 0])
            expected = "outside" if top == AIR else b.parts[top].structure
            named = STRUCTURES.get(int(mask[i, j]), "outside")
            if named == "body":
                assert expected not in ("outside", *STRUCTURES.values())
            elif named in ("lungs", "bones"):
                assert expected in CODES
            else:
                assert named == expected
    assert set(np.unique(mask)) <= {0, *STRUCTURES}


@pytest.mark.parametrize("region", ["abdomen", "chest", "pelvis"])
def test_bone_is_bone_and_lung_is_lung_in_masks(region: str) -> None:
    codes = {name: code for code, name in STRUCTURES.items()}
    for name in ("a", "b", "c"):
        for part in body(Patient.draw(4, name), region, ()).parts:
            if part.tissue in ("cortical bone", "marrow", "red marrow"):
                assert CODES.get(part.structure) == codes["bones"], part.structure
            if part.tissue in ("lung", "dense lung", "lucent lung", "ground glass"):
                assert CODES.get(part.structure) == codes["lungs"], part.structure
