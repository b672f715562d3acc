"""The mini-MIAS mammograms: `mdb001.pgm` and `Info.txt`, a line a lesion: `mdb001 G CIRC B 535 425 197`.

Suckling et al. 1994, Excerpta Medica 1069; peipa.essex.ac.uk/info/mias.html. Lesions are circles of x, y from the lower left corner, and a radius; a
mask has them. Two neighbouring numbers, the odd one first, are the breasts of a woman.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from radisim_cl.corpus.blobs import Blob
from radisim_cl.errors import InputError
from radisim_cl.ingest import _flat
from radisim_cl.ingest._protocol import About, Picture, Record, Settings
from radisim_cl.ingest._tables import Files, the

KINDS = {"M": "malignant mass", "B": "benign mass"}
ABOUT = About("mini-MIAS", "http://peipa.essex.ac.uk/info/mias.html", "CC BY 2.0 UK", structures=dict(enumerate(KINDS.values(), 1)))
ENDINGS = (".pgm",)
_LINE = re.compile(r"(mdb(\d+))\s+\w\s+(NORM|\w+\s+([BM])(?:\s+(\d+)\s+(\d+)\s+(\d+))?.*?)\s*")


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a breast.

    Raises:
        InputError: no `Info.txt`, or lines that are none of its.
    """
    images, table = Files(files, folder), the(folder, "Info.txt")
    said: dict[str, list[re.Match[str]]] = {}
    for n, line in enumerate(table.read_text(errors="replace").splitlines(), 1):
        if not line.startswith("mdb"):
            continue  # its title and explanations
        if not (found := _LINE.fullmatch(line)):
            raise InputError(f"{table}:{n}  {line!r}: not an image, tissue, kind, severity and a circle, as in mdb001 G CIRC B 535 425 197")
        said.setdefault(found[1], []).append(found)
    for name, lesions in said.items():
        image = images.named(f"{name}.pgm")
        kinds = [kind for letter, kind in KINDS.items() if any(m[4] == letter for m in lesions)]
        yield Record(name, f"mias {(int(lesions[0][2]) + 1) // 2}", (image,) if image else (),
                     {"modality": "DR", "anatomy": "breast", "labels": "|".join(kinds) or "normal"},
                     outlines=tuple((list(KINDS).index(m[4]) + 1, *map(int, m.groups()[4:])) for m in lesions if m[5]),
                     unusable="" if image else "an image that is not there")


def pictures(record: Record, settings: Settings) -> Iterator[Picture]:
    """The mammogram, with a mask of its circles where it has any; errors as of any picture.

    The set counts rows from the foot.
    """
    values = _flat.decoded(Blob(record.files[0]), settings)
    circles = [(value, x, values.shape[0] - 1 - y, radius) for value, x, y, radius in record.outlines]
    yield _flat.picture(values, settings, mask=_flat.drawn(circles, values.shape[:2]))
