"""COVID-CT: `Images-processed/CT_COVID/` and `CT_NonCOVID/`, `Data-split/COVID/trainCT_COVID.txt` and the like, and two tables of patients.

Yang et al. 2020, arXiv:2003.13865; github.com/UCSD-AI4H/COVID-CT. `COVID-CT-MetaInfo.xlsx` and `NonCOVID-CT-MetaInfo.csv` say whose a picture is; one
that they do not name is a patient of its own. Pictures were cut out of articles, so PMC-OA may hold them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from radisim_cl.errors import InputError
from radisim_cl.ingest._flat import ENDINGS as ENDINGS
from radisim_cl.ingest._flat import pictures as pictures
from radisim_cl.ingest._protocol import OFFICIAL, About, Record, Settings
from radisim_cl.ingest._tables import Files, frame, the

ABOUT = About("COVID-CT", "https://github.com/UCSD-AI4H/COVID-CT", "not stated; the articles' publishers hold the rights", splits=OFFICIAL,
              values={"labels": {"no COVID-19": "normal"}})
CLASSES = {"CT_COVID": ("COVID", "COVID-19 pneumonia", "COVID-CT-MetaInfo.xlsx"),
           "CT_NonCOVID": ("NonCOVID", "no COVID-19", "NonCOVID-CT-MetaInfo.csv")}
_FILE, _PATIENT = ("file name", "image", "image name", "filename"), ("patient id", "patient", "patientid")


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a picture.

    Raises:
        InputError: a table is missing, or has no column of files or patients.
    """
    found = Files(files, folder).by_path.values()
    for home, (name, label, table) in CLASSES.items():
        whose = _patients(the(folder, table))
        split = {line.strip(): s for s in ("train", "val", "test")
                 for line in the(folder, f"Data-split/{name}/{s}CT_{name}.txt").read_text(errors="replace").splitlines()}
        for file in (f for f in found if f.parent.name == home):
            patient = whose.get(file.name) or whose.get(file.stem)
            yield Record(f"{home}/{file.name}", f"{home} {patient or file.name}", (file,),
                         {"modality": "CT", "anatomy": "chest", "plane": "axial", "labels": label, "split": split.get(file.name, "train")})


def _patients(table: Path) -> dict[str, str]:
    found = frame(table)
    columns = {str(c).strip().lower(): c for c in found.columns}
    for wanted in (_FILE, _PATIENT):
        if not set(wanted) & set(columns):
            raise InputError(f"{table}: no column {wanted[0]!r}; it has {', '.join(map(str, found.columns))}")
    file, patient = (next(columns[w] for w in wanted if w in columns) for wanted in (_FILE, _PATIENT))
    return {str(f).strip(): str(p).strip() for f, p in zip(found[file], found[patient], strict=True) if str(p).strip()}
