"""The chest: rib cage, lungs, heart, great vessels, the domes of the diaphragm and what lies under them. The origin is a little below the carina.

Sizes: ICRP Publication 89 (2002; lungs, heart, wall) and Gray's Anatomy (vertebrae, ribs, trachea, oesophagus); aorta by age: Hager et al. 2002
(J Thorac Cardiovasc Surg 123:1060); pulmonary artery: Edwards et al. 1998 (Br J Radiol 71:1018); depth of the chest and kyphosis grow with age
(Fon et al. 1980, AJR 134:979). Findings: Hansell et al. 2008 (Radiology 246:697) for words and density, Bernheim et al. 2020 (Radiology
295:685) for COVID-19, Danzer 1919 (Am J Med Sci 157:513) for the cardiothoracic ratio, Rusch et al. 2009 (J Thorac Oncol 4:568) for
the stations of lymph nodes, which are enlarged from 10 mm on the short axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from radisim_cl.phantom.body import Body, Lesion, Part
from radisim_cl.phantom.patients import Patient
from radisim_cl.phantom.shapes import A, Cut, Ellipsoid, Mask, Point, Shape, Tube, Without, phase

FINDINGS = ("pneumonia", "COVID-19 pneumonia", "pleural effusion", "cardiomegaly", "enlarged lymph nodes")
LUNGS = ("right lung", "left lung")
F = npt.NDArray[np.float64]


def build(patient: Patient, findings: Sequence[str] = ()) -> Body:
    """The chest of a patient with findings of FINDINGS.

    Raises:
        ValueError: a finding that a chest cannot have.
    """
    if unknown := [f for f in findings if f not in FINDINGS]:
        raise ValueError(f"no finding {unknown[0]!r} in a chest; known: {', '.join(FINDINGS)}")
    c = _Build.draw(patient)
    if "cardiomegaly" in findings:
        c = replace(c, ratio=float(patient.rng("chest", "cardiomegaly").uniform(0.55, 0.66)))
    rng = patient.rng("chest", "parts")
    heart = _heart(c, rng)
    parts = (*_wall(patient, c, rng), *_cage(c, rng), *_lungs(patient, c, rng), *_mediastinum(patient, c, rng), *heart, *_vessels(patient, c, rng),
             *_nodes(c, rng), *_under(c, rng), *_spine(c), *_front(c))
    low, high = _at(-c.w - 48, -c.d - 62, c.dome - 98), _at(c.w + 48, c.d + 48, c.apex + 36)
    body = Body("chest", parts, (low, high), key=f"{patient.seed}/{patient.name}/chest")
    lesions = tuple(_lesion(f, patient, c, body, heart) for f in findings)
    painted = (p for lesion in lesions if lesion.finding != "cardiomegaly" for p in lesion.parts)
    return replace(body, parts=(*parts, *painted), lesions=lesions)


@dataclass(frozen=True)
class _Build:
    """Measures of one chest, mm.

    Attributes:
        s: scale of the organs.
        w, d: half the inner width and depth of the rib cage.
        apex, dome: height of the tops of the lungs and of the right dome of the diaphragm.
        ratio: width of the heart over that of the rib cage.
        bend, kyphosis: of the spine to the side and to the back.
        lung: tissue of the lungs, by how far they are aired.
    """

    s: float
    w: float
    d: float
    apex: float
    dome: float
    ratio: float
    bend: float
    kyphosis: float
    lung: str

    @classmethod
    def draw(cls, patient: Patient) -> _Build:
        """The measures of this patient."""
        rng, s, old = patient.rng("chest"), patient.size, (patient.age - 50) / 40
        aired = rng.uniform(-1, 1)
        lung = ("dense lung", "lung", "lung", "lucent lung")[int(np.clip(2 * (aired + rng.uniform(-0.5, 0.5)) + 2, 0, 3))]
        return cls(s=s, w=138 * s * rng.uniform(0.95, 1.06), d=84 * s * rng.uniform(0.94, 1.06) * (1 + 0.09 * old), apex=128 * s,
                   dome=-78 * s - 14 * aired, ratio=rng.uniform(0.40, 0.475), bend=float(rng.normal(0, 3.5)),
                   kyphosis=16 + 7 * old + rng.uniform(-4, 4), lung=lung)

    def lung_at(self, s: int, grow: float = 0.0) -> Ellipsoid:
        """The half of the rib cage's inside on one side (-1 right, 1 left), made larger by some mm."""
        middle = -45 * self.s
        return Ellipsoid(_at(s * 0.47 * self.w, 0, middle), _at(0.53 * self.w + grow, self.d + grow, self.apex - middle + grow), power=2.2)

    def inside(self, s: int, x: float, y: float, z: float) -> Point:
        """A point by its distance from the middle of a lung, as a share of its half-axes; x grows to the side."""
        lung = self.lung_at(s)
        return _at(*(np.asarray(lung.centre) + np.array([s * x, y, z]) * np.asarray(lung.radii)))

    def spine(self, z: float) -> Point:
        """Middle of the vertebral column at a height."""
        t = z / (130 * self.s)
        return _at(self.bend * np.sin(1.7 * t + 0.4), 0.74 * self.d - self.kyphosis * t * t, z)


@dataclass(frozen=True)
class _Slats:
    """Of a shape, slats at regular distances: vertebrae of a column, or ribs of a rib cage once its inside is painted over.

    Attributes:
        whole: what they are cut from.
        pitch, height: from slat to slat and of a slat, mm.
        slope: how far a slat rises, mm per mm to the back.
        top: no slat is higher, mm.
        margin: z + 0.6 y of the lower end (of the ribs, the costal margin), mm.
        front: only what lies before this, mm.
    """

    whole: Shape
    pitch: float
    height: float
    slope: float = 0.0
    top: float = 1e3
    margin: float = -1e3
    front: float = 1e3

    @property
    def box(self) -> tuple[Point, Point]:
        low, high = self.whole.box
        return low, (high[0], min(high[1], self.front), min(high[2], self.top))

    def inside(self, x: A, y: A, z: A) -> Mask:
        off = (z - np.float32(self.slope) * y) / np.float32(self.pitch)
        slat = np.abs(off - np.round(off)) < np.float32(self.height / self.pitch / 2)
        slat = slat & (z + np.float32(0.6) * y > np.float32(self.margin)) & (z < np.float32(self.top)) & (y < np.float32(self.front))
        return np.asarray(slat & self.whole.inside(x, y, z))


@dataclass(frozen=True)
class _Branches:
    """The vessels of a lung: thin cones that fan out of the hilum, with side branches from half-way.

    Directions from the hilum are mapped to a plane by stereographic projection, (y, z) / (r + x) with x to the side, which holds a grid of one
    branch a cell; a distance there is one in space divided by r + x.

    Attributes:
        whole: no vessel leaves it.
        hilum: where they meet, mm.
        side: -1 right, 1 left.
        thick: radius of a branch near the hilum, mm.
        seed: 0 to 1; shifts the branches in their cells.
    """

    whole: Ellipsoid
    hilum: Point
    side: int
    thick: float
    seed: float

    @property
    def box(self) -> tuple[Point, Point]:
        return self.whole.box

    def inside(self, x: A, y: A, z: A) -> Mask:
        dx, dy, dz = ((a - np.float32(h)) * np.float32(f) for a, h, f in zip((x, y, z), self.hilum, (self.side, 1, 1), strict=True))
        r = np.sqrt(dx * dx + dy * dy + dz * dz)
        reach = np.maximum(r + dx, np.float32(6))
        bend = np.float32(0.05) * np.sin(r / np.float32(17))
        a, b = dy / reach + bend, dz / reach - bend
        trunks = self._near(a, b, 0.44) * reach < self.thick * (1 - r / np.float32(100))
        twigs = self._near(a, b, 0.22) * reach < np.minimum(0.62 * self.thick * (1 - r / np.float32(145)), 0.09 * (r - np.float32(22)))
        return np.asarray((trunks | twigs) & self.whole.inside(x, y, z))

    def _near(self, a: A, b: A, cell: float) -> A:
        """Distance to the branch of the cell."""
        i, j = np.round(a / np.float32(cell)), np.round(b / np.float32(cell))
        turn = np.float32(6.28 * self.seed)
        u = a / np.float32(cell) - i - np.float32(0.27) * np.sin(np.float32(3.1) * i + np.float32(5.3) * j + turn)
        v = b / np.float32(cell) - j - np.float32(0.27) * np.sin(np.float32(4.7) * i - np.float32(2.9) * j + 2 * turn)
        out: A = np.sqrt(u * u + v * v) * np.float32(cell)
        return out


def _at(*p: float) -> Point:
    return float(p[0]), float(p[1]), float(p[2])


def _shifted(e: Ellipsoid, *by: float) -> Ellipsoid:
    return replace(e, centre=_at(*(np.asarray(e.centre) + by)))


def _wall(patient: Patient, c: _Build, rng: np.random.Generator) -> list[Part]:
    fat, brawn = 3 + 9 * patient.fat, (15 if patient.sex == "M" else 12) * rng.uniform(0.85, 1.2)
    out = []
    if patient.sex == "F":
        big, sag = rng.uniform(0.75, 1.25) * patient.fat**0.4, rng.uniform(0, 20) + 0.25 * max(0, patient.age - 30)
        gland = float(np.clip(1.1 - patient.age / 120 + rng.normal(0, 0.15), 0.25, 0.85))
        for s in (-1, 1):
            at = _at(s * 0.52 * c.w, -c.d - 0.3 * fat, -14 - sag)
            r = np.array([60.0, 26 + fat + 16 * big, 60]) * big**0.5 * c.s
            inner = _at(at[0], at[1] - 0.3 * r[1], at[2])
            out += [Part("", "skin", Ellipsoid(at, _at(*(r + 2)))), Part("", "fat", Ellipsoid(at, _at(*r))),
                    Part("breasts", "gland", Ellipsoid(inner, _at(*(r * gland * np.array([0.8, 0.6, 0.75]))), lobes=0.25, phase=phase(rng)), 0.1, 6)]
    trunk, shoulders = np.array([c.w + 6 + brawn, c.d + 16 + brawn, 215 * c.s]), np.array([215.0, 56, 58]) * c.s
    neck = np.array([50.0, 52, 90]) * c.s
    for tissue, grow in (("skin", fat + 2), ("fat", fat), ("muscle", 0.0)):
        out += [Part("", tissue, Ellipsoid(_at(0, 7, -62 * c.s), _at(*(trunk + grow)), power=2.5)),
                Part("", tissue, Ellipsoid(_at(0, 22, 108 * c.s), _at(*(shoulders + 0.8 * grow)), power=2.4)),
                Part("", tissue, Ellipsoid(_at(0, 8, 165 * c.s), _at(*(neck + 0.4 * grow))))]
    for s in (-1, 1):  # fat of the axilla
        out.append(Part("", "fat", Ellipsoid(_at(s * (c.w + 10), -4, 72 * c.s), _at(17, 26, 40), turn=(0, s * 18, 0))))
    return out


def _cage(c: _Build, rng: np.random.Generator) -> list[Part]:
    out = []
    for s in (-1, 1):
        blade = _at(s * (0.83 * c.w), 0.86 * c.d + 14, 38 * c.s)
        out += [Part("scapulae", "cortical bone", Ellipsoid(blade, _at(48 * c.s, 2.6, 64 * c.s), turn=(-9, 0, -s * 38))),
                Part("scapulae", "marrow", Tube([_at(s * 0.6 * c.w, c.d + 10, 78 * c.s), _at(s * 1.15 * c.w, 0.3 * c.d, 98 * c.s)], [5, 9]))]
        bone = _Slats(c.lung_at(s, 9.5), rng.uniform(23, 25) * c.s, 11.5 * c.s, rng.uniform(0.48, 0.6), c.apex + 3, c.dome - 72 * c.s)
        out += [Part("ribs", "cortical bone", bone),
                Part("ribs", "cartilage", replace(bone, front=-0.72 * c.d))]
    # What is neither lung nor organ inside the cage, with the intercostal muscles.
    for s in (-1, 1):
        out.append(Part("", "muscle", c.lung_at(s, 2)))
    return out


def _lungs(patient: Patient, c: _Build, rng: np.random.Generator) -> list[Part]:
    out = [Part("", "fat", c.lung_at(s, 0.8)) for s in (-1, 1)]
    for s, name in ((-1, LUNGS[0]), (1, LUNGS[1])):
        floor = c.dome - (54 if s < 0 else 60) * c.s
        out.append(Part(name, c.lung, Cut(c.lung_at(s), _at(0, 0, floor), _at(0, -0.4, -1)), 0.5, 18))
        for tissue, often, least, most in (("dense lung", 0.6, 5, 22), ("ground glass", 0.6, 2, 11)):  # a lung is denser where one lies on it
            if rng.random() < often:
                rest = _shifted(c.lung_at(s), 0, -rng.uniform(least, most), rng.uniform(2, 8))
                out.append(Part(name, tissue, Without(c.lung_at(s), rest), 0.5, 10, within=(name,)))
        hilum = _at(s * 36 * c.s, 10, -4 * c.s)
        for z in (26.0, -30.0):
            out.append(Part(name, "blood", Tube([hilum, _at(s * 52 * c.s, 14 - 0.3 * z, z)], [9 * c.s, 5 * c.s]), within=(name,)))
        tree = _Branches(c.lung_at(s, -3), hilum, s, float(rng.uniform(2.6, 3.6) * c.s), float(rng.random()))
        out.append(Part(name, "blood", tree, within=(name,)))
        for _ in range(int(rng.integers(0, 4) * (1.5 if c.dome > -76 * c.s else 1))):  # crowded vessels at the base
            y = rng.uniform(-0.4, 0.7)
            points = [c.inside(s, -0.3, 0.6 * y, -0.12), c.inside(s, rng.uniform(-0.2, 0.7), y, -0.5)]
            out.append(Part(name, "blood", Tube(points, [3.6, 1.4]), within=(name,)))
    for _ in range(int(rng.integers(0, 3) if patient.age > 40 else 0)):
        s = 1 if rng.random() < 0.5 else -1
        at = c.inside(s, *rng.uniform((-0.1, -0.5, -0.1), (0.6, 0.6, 0.6)))
        out.append(Part("granulomas", "calcification", Ellipsoid(at, _at(*rng.uniform(1.8, 3.4, 3))), within=LUNGS))
    return out


def _mediastinum(patient: Patient, c: _Build, rng: np.random.Generator) -> list[Part]:
    plump = rng.uniform(0.9, 1.1) + 0.12 * (patient.fat - 1)
    out = [Part("", "fat", Ellipsoid(_at(3, -2, 20 * c.s), _at(24 * plump * c.s, 0.9 * c.d, 128 * c.s), power=2.6)),
           Part("", "fat", Ellipsoid(_at(2, 4, 118 * c.s), _at(35 * c.s, 34, 42)))]
    if patient.age < 45 and rng.random() < 0.6:
        out.append(Part("", "soft", Ellipsoid(_at(4, -0.56 * c.d, 38 * c.s), _at(rng.uniform(10, 18), 7, 26))))  # what is left of the thymus
    return out


def _heart(c: _Build, rng: np.random.Generator) -> tuple[Part, ...]:
    turn = rng.uniform(-5, 5)
    # Centre, half-axes, turn, wall: right and left atrium, right and left ventricle, of a heart 126 mm wide.
    chambers = [
        ((-23.0, -10.0, 4.0), (25.0, 27.0, 35.0), (0.0, 0.0, 0.0), 2.5),
        ((6.0, 20.0, 20.0), (34.0, 19.0, 25.0), (0.0, 0.0, 0.0), 2.5),
        ((12.0, -36.0, -8.0), (50.0, 25.0, 36.0), (0.0, 14 + turn, -20.0), 3.5),
        ((35.0, -16.0, -8.0), (50.0, 34.0, 37.0), (0.0, 26 + turn, -36.0), 10.0),
    ]
    boxes = [Ellipsoid(at, r, t).box for at, r, t, _ in chambers]
    natural = max(b[1][0] for b in boxes) - min(b[0][0] for b in boxes)
    wide = 2 * c.w * c.ratio / natural
    # A larger heart grows mostly to the left and down; the breast bone and the spine leave it less room in depth.
    scale, base = np.array([wide, 0.35 * c.s + 0.6 * wide, 0.3 * c.s + 0.7 * wide]), np.array([0, -0.16 * c.d, 0.66 * c.dome])
    fat = Ellipsoid(_at(*(base + scale * np.array([22, -20, -12]))), _at(*(scale * np.array([57, 42, 42]))), turn=(0, 18 + turn, -26))
    out = [Part("", "fat", fat)]
    for tissue in ("myocardium", "blood"):
        for at, r, t, wall in chambers:
            radii = scale * np.asarray(r) - (wall if tissue == "blood" else 0)
            out.append(Part("heart", tissue, Ellipsoid(_at(*(base + scale * np.asarray(at))), _at(*radii), t)))
    return tuple(out)


def _vessels(patient: Patient, c: _Build, rng: np.random.Generator) -> list[Part]:
    r = (12.5 + 0.06 * (patient.age - 20) + rng.normal(0, 0.8)) * c.s
    top = rng.uniform(58, 68) * c.s + 0.06 * patient.age

    def run(name: str, tissue: str, radii: float | Sequence[float], *points: tuple[float, float, float]) -> Part:
        return Part(name, tissue, Tube([_at(x * c.s, y * c.d / 84, z * c.s) for x, y, z in points], radii))

    low = [_at(c.spine(z)[0] + 24 + 0.04 * (z - 40), c.spine(z)[1] - 20 * c.s, z) for z in (36.0, -40.0, -110.0, -190.0)]
    arch = [_at(-2, -14, -18), _at(-15 * c.s, -20, 24), _at(-9 * c.s, -14, top - 16), _at(12 * c.s, 6, top), _at(28 * c.s, 26, top - 8), *low]
    out = [
        run("vena cava", "blood", [8.5, 9, 10], (-26, -14, 100), (-27, -13, 40), (-25, -12, -35)),
        run("vena cava", "blood", [11.5, 11], (-20, 2, -72), (-16, 14, -190)),
        run("", "blood", [6, 7.5], (44, -22, 104), (-22, -20, 74)),  # left brachiocephalic vein
        Part("aorta", "blood", Tube(arch, [r * 1.1, r * 1.2, r * 1.12, r, r * 0.95, r * 0.92, r * 0.88, r * 0.85, r * 0.8])),
        run("pulmonary artery", "blood", [13, 13.5, 12, 10], (20, -40, -24), (21, -34, 14), (24, -8, 22), (48, 14, 18)),
        run("pulmonary artery", "blood", [12.5, 11.5, 9], (21, -20, 14), (-8, 4, 10), (-40, 8, 4)),
        run("", "blood", [6, 4], (-12, -10, 62), (-34, -6, 120)), run("", "blood", [4.5, 3.5], (8, 0, 66), (16, 4, 130)),
        run("", "blood", [5, 4.5], (18, 12, 66), (38, 12, 124)),
        run("oesophagus", "muscle", 7.5, (2, 24, 160), (6, 32, 55), (9, 34, -40), (12, 26, -105), (36, 0, -142)),
        run("trachea", "cartilage", [10.5, 10.5, 11], (0, -4, 170), (0, 6, 100), (3, 16, 36)),
        run("trachea", "air", [8.5, 8.5, 9], (0, -4, 170), (0, 6, 100), (3, 16, 36)),
    ]
    carina = (3.0, 16.0, 36.0)
    for bore, *ends in ((6.8, carina, (-30.0, 20.0, 8.0), (-44.0, 26.0, -16.0)), (6.0, carina, (40.0, 24.0, 6.0), (52.0, 32.0, -14.0))):
        out += [run("trachea", "cartilage", [bore + 2, bore + 1.5, bore - 1], *ends), run("trachea", "air", [bore, bore - 0.5, bore - 3], *ends)]
    if patient.age > 55 and rng.random() < 0.5:
        out.append(Part("aorta", "calcification", Ellipsoid(_at(22 * c.s + 0.7 * r, 24, top - 5), _at(3, 9, 4)), within=("", "aorta")))
    return out


_STATIONS: dict[str, Point] = {
    "right paratracheal": (-27, 12, 66), "left paratracheal": (30, 6, 88), "prevascular": (24, -38, 50), "subcarinal": (0, 22, 14),
    "right hilar": (-48, 12, 20), "left hilar": (56, 14, 30), "right axillary": (-150, -4, 74), "left axillary": (150, -4, 74),
}
"""Where lymph nodes lie in an average chest, mm."""


def _station(c: _Build, name: str) -> Point:
    x, y, z = _STATIONS[name]
    return _at(x * (c.w / 138 if "axillary" in name else c.s), y * c.d / 84, z * c.s)


def _nodes(c: _Build, rng: np.random.Generator) -> list[Part]:
    out = []
    for name in rng.permutation(list(_STATIONS))[: int(rng.integers(2, 6))]:
        at = np.asarray(_station(c, str(name))) + rng.normal(0, 2.5, 3)
        out.append(Part("lymph nodes", "lymph node", Ellipsoid(_at(*at), _at(*rng.uniform(2, 3.5, 3))), within=("",)))
    return out


def _under(c: _Build, rng: np.random.Generator) -> list[Part]:
    deep = 85 * c.s
    right = Ellipsoid(_at(-0.47 * c.w, -0.1 * c.d, c.dome - deep), _at(0.545 * c.w, 0.95 * c.d, deep))
    left = Ellipsoid(_at(0.47 * c.w, -0.1 * c.d, c.dome - deep - rng.uniform(4, 14)), _at(0.545 * c.w, 0.95 * c.d, deep))
    lobe = Ellipsoid(_at(0.08 * c.w, -0.25 * c.d, c.dome - deep), _at(0.55 * c.w, 0.65 * c.d, deep - 26 * c.s))

    def smaller(e: Ellipsoid, by: float) -> Ellipsoid:
        return replace(e, radii=_at(*(np.asarray(e.radii) - by)))

    x, z, bubble = left.centre[0], left.centre[2], rng.uniform(14, 26)
    stomach = Ellipsoid(_at(x - 0.02 * c.w, -0.18 * c.d, z + 22 * c.s), _at(0.3 * c.w, 0.42 * c.d, 55 * c.s))
    gas = Ellipsoid(_at(x - 0.04 * c.w, -0.3 * c.d, z + 70 * c.s - bubble), _at(bubble * 1.3, 0.25 * c.d, bubble))
    spleen = Ellipsoid(_at(x + 0.2 * c.w, 0.42 * c.d, z + 28 * c.s), _at(0.2 * c.w, 0.36 * c.d, 48 * c.s), turn=(12, 0, 0))
    return [
        *(Part("diaphragm", "muscle", e) for e in (right, left, lobe)), Part("", "fat", smaller(left, 3)), Part("spleen", "spleen", spleen),
        Part("stomach", "stomach wall", stomach), Part("stomach", "gastric content", smaller(stomach, 4)),
        Part("stomach", "air", gas, within=("stomach",)), Part("liver", "liver", smaller(right, 3), 0.04, 10),
        Part("liver", "liver", smaller(lobe, 3), 0.04, 10),
    ]


def _spine(c: _Build) -> list[Part]:
    column = [c.spine(z) for z in np.linspace(-210 * c.s, 180 * c.s, 6)]
    pitch, r = 24 * c.s, 15.5 * c.s

    def along(back: float) -> list[Point]:
        return [_at(x, y + back * c.s, z) for x, y, z in column]

    back = along(37)[::2] + along(37)[-1:]
    out = [Part("", "muscle", Tube([_at(x + s * 25 * c.s, y, z) for x, y, z in back], 19 * c.s), within=("",)) for s in (-1, 1)]
    return [
        *out,
        Part("spine", "disc", Tube(along(0), r * 0.95)),
        Part("spine", "red marrow", _Slats(Tube(along(0), r, flat=(1, 0.92)), pitch, 20 * c.s), 0.15, 3),
        Part("spine", "cortical bone", _Slats(Tube(along(26), 31 * c.s, flat=(1, 0.14)), pitch, 8 * c.s)),  # transverse processes
        Part("spine", "cortical bone", _Slats(Tube(along(37), 16 * c.s, flat=(0, 0.2)), pitch, 8 * c.s, slope=-0.8)),  # spinous processes
        Part("spine", "marrow", Tube(along(19), 12.5 * c.s)), Part("spine", "csf", Tube(along(19), 8.5 * c.s)),
        Part("spine", "cord", Tube(along(19), 4.4 * c.s)),
    ]


def _front(c: _Build) -> list[Part]:
    plate = [_at(0, -0.66 * c.d - 6, 80 * c.s), _at(0, -0.9 * c.d - 8, 20 * c.s), _at(0, -0.96 * c.d - 8, -72 * c.s)]
    out = [Part("sternum", "cortical bone", Tube(plate, [24 * c.s, 17 * c.s, 14 * c.s], flat=(1, 0.42))),
           Part("sternum", "marrow", Tube(plate, [20 * c.s, 13.5 * c.s, 10.5 * c.s], flat=(1, 0.36)))]
    for s in (-1, 1):
        ends = [_at(s * 20, -0.66 * c.d - 6, 86 * c.s), _at(s * 70 * c.s, -0.55 * c.d - 6, 104 * c.s), _at(s * 150 * c.s, -4, 116 * c.s)]
        bone = Tube(ends, [8, 5.5, 6.5])
        out += [Part("clavicles", "cortical bone", bone), Part("clavicles", "marrow", replace(bone, radii=[5.5, 3, 4]))]
    return out


# Findings.


def _lesion(finding: str, patient: Patient, c: _Build, body: Body, heart: tuple[Part, ...]) -> Lesion:
    rng = patient.rng("chest", finding)
    if finding == "cardiomegaly":
        boxes = np.array([p.shape.box for p in heart if p.structure == "heart"])
        low, high = boxes[:, 0].min(0), boxes[:, 1].max(0)
        return Lesion(finding, "", tuple(p for p in heart if p.structure == "heart"), _at(*((low + high) / 2)), _at(*((high - low) / 2)))
    if finding == "pleural effusion":
        return _effusion(c, body, rng)
    if finding == "enlarged lymph nodes":
        return _enlarged(c, rng)
    return _covid(c, rng) if finding == "COVID-19 pneumonia" else _pneumonia(c, rng)


def _pneumonia(c: _Build, rng: np.random.Generator) -> Lesion:
    s, side = (1, "left") if rng.random() < 0.5 else (-1, "right")
    lobes = {"upper": (0.12, -0.1, 0.42), "lower": (0.12, 0.4, -0.14)} | ({"middle": (0.15, -0.4, -0.1)} if s < 0 else {})
    lobe = list(lobes)[int(rng.integers(len(lobes)))]
    at = c.inside(s, *(np.asarray(lobes[lobe]) + rng.uniform(-0.1, 0.1, 3)))
    first = rng.uniform(32, 46) * rng.uniform(0.85, 1.2, 3) * c.s
    foci = [(np.asarray(at), first)]
    if rng.random() < 0.6:
        foci.append((np.asarray(at) + rng.uniform(-1, 1, 3) * (28, 28, 36), first * rng.uniform(0.4, 0.65)))
    halos, cores = [], []
    for middle, r in foci:
        core = Ellipsoid(_at(*middle), _at(*r), lobes=0.42, waves=3.6, phase=phase(rng))
        halo = _shifted(replace(core, radii=_at(*(r * rng.uniform(1.1, 1.5, 3))), phase=phase(rng)), *(rng.normal(0, 0.12, 3) * r))
        halos.append(Part("pneumonia", "ground glass", halo, 0.5, 7, within=LUNGS))
        cores.append(Part("pneumonia", "consolidation", core, 0.4, 6, within=(*LUNGS, "pneumonia")))
    hilum = _at(s * 44, 20, 0)  # air in the bronchi stands out
    tip = np.asarray(at) + rng.normal(0, 0.2, 3) * first
    air = Part("pneumonia", "air", Tube([hilum, _at(*tip)], [3.5, 2]), within=("pneumonia",))
    return Lesion("pneumonia", f"{side} {lobe} lobe", (*halos, *cores, air), at, _at(*first))


def _covid(c: _Build, rng: np.random.Generator) -> Lesion:
    sides = [1, -1] if rng.random() < 0.5 else [-1, 1]
    level, parts, first = rng.uniform(-0.2, 0.25), [], None
    for i in range(int(rng.integers(5, 12))):
        # Most in the back and low, the first ones at one height on both sides.
        angle, up = rng.uniform(-0.3, 1.35), level + rng.normal(0, 0.06) if i < 4 else rng.uniform(-0.35, 0.45)
        out = 0.84 * np.sqrt(1 - up**2)
        at = c.inside(sides[i % 2], out * np.cos(angle), out * np.sin(angle), up)
        deep, broad = rng.uniform(12, 20), rng.uniform(18, 30)
        turn = (0.0, 0.0, float(np.degrees(sides[i % 2] * angle)))
        r, edge = _at(deep, broad, rng.uniform(16, 27)), phase(rng)
        shape = Ellipsoid(at, r, turn, lobes=0.3, waves=2.5, phase=edge)
        parts.append(Part("COVID-19 pneumonia", "ground glass", shape, 0.5, 5, within=LUNGS))
        if rng.random() < 0.35:
            core = replace(shape, radii=_at(*(np.asarray(r) * rng.uniform(0.4, 0.6))))
            parts.append(Part("COVID-19 pneumonia", "consolidation", core, 0.4, 5, within=(*LUNGS, "COVID-19 pneumonia")))
        first = first or (at, r)
    assert first is not None
    return Lesion("COVID-19 pneumonia", "both lungs, peripheral", tuple(parts), *first)


def _effusion(c: _Build, body: Body, rng: np.random.Generator) -> Lesion:
    s, side = (1, "left") if rng.random() < 0.5 else (-1, "right")
    lung = c.lung_at(s)
    level = c.dome + rng.uniform(-22, 34) * c.s  # lowest point of the aired lung, which floats
    above, behind = 0.5 * (c.apex - level) + 16, rng.uniform(12, 28)
    aired = Ellipsoid(_at(lung.centre[0] - s * 4, -behind, level + above), _at(lung.radii[0] * 1.1, lung.radii[1] * 1.14, above), power=2.3)
    part = Part("pleural effusion", "effusion", Without(lung, aired), within=(f"{side} lung",))
    x, y, z = (np.arange(a, b, 4, dtype=np.float32) for a, b in zip(*lung.box, strict=True))
    x, y, z = x[:, None, None], y[None, :, None], z[None, None, :]
    wet = np.argwhere(part.shape.inside(x, y, z) & np.array([p.structure in part.within for p in body.parts] + [False])[body.sample(x, y, z)])
    upper = wet[wet[:, 2] >= np.quantile(wet[:, 2], 0.6)]  # where there is still lung beside it
    middle = upper[np.argmin(((upper - upper.mean(0)) ** 2).sum(1))]
    low, high = wet.min(0), wet.max(0)
    at = _at(x[middle[0], 0, 0], y[0, middle[1], 0], z[0, 0, middle[2]])
    return Lesion("pleural effusion", f"{side} pleural space", (part,), at, _at(*(2.0 * (high - low) + 2)))


def _enlarged(c: _Build, rng: np.random.Generator) -> Lesion:
    names = [str(n) for n in rng.permutation(list(_STATIONS))]
    # Disease spreads to stations near the first.
    names[1:] = sorted(names[1:], key=lambda n: abs(_STATIONS[n][2] - _STATIONS[names[0]][2]))
    sites = [np.asarray(_station(c, n)) for n in names[: int(rng.integers(2, 4))]]
    beside = 4 * np.sign(sites[0][0])
    sites[1:1] = [sites[0] + (beside, 17, rng.uniform(-6, 6)), sites[0] + (beside, -17, rng.uniform(-6, 6))][: int(rng.integers(1, 3))]  # in clusters
    nodes = []
    for i, at in enumerate(sites):
        short = rng.uniform(30, 42) / 2 if i == 0 else rng.uniform(20, 34) / 2
        r = _at(short, short * rng.uniform(1, 1.3), short * rng.uniform(1.1, 1.6))
        nodes.append(Ellipsoid(_at(*at), r, lobes=0.08, phase=phase(rng)))
    parts = tuple(Part("enlarged lymph nodes", "lymph node", n, within=("", "lymph nodes", *LUNGS)) for n in nodes)
    return Lesion("enlarged lymph nodes", names[0], parts, nodes[0].centre, nodes[0].radii)
