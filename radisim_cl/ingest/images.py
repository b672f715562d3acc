"""Pictures in any folders: PNG, JPEG, TIFF and the like, one a record.

What is known of them comes from a table (`--table`, with `--column path=file` where its column of paths has another name).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from radisim_cl.ingest._flat import ENDINGS as ENDINGS
from radisim_cl.ingest._flat import pictures as pictures
from radisim_cl.ingest._protocol import About, Record, Settings

ABOUT = About()


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a file; the patient is the file, unless a table says who."""
    for file in files:
        name = file.relative_to(folder).as_posix()
        yield Record(name, name, (file,))
