"""What a model is told of an image: labels, and how the image was made. Never an id, a caption or a report."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from radisim_cl.corpus.blobs import Blob
from radisim_cl.corpus.corpora import Corpus
from radisim_cl.errors import InputError
from radisim_cl.specs.losses import BACKGROUND

PROMPT = """\
You write captions of radiology images. Each message says what is known of one image, which you do not see. Answer with one sentence of at most \
30 words, in the plain English of a radiology report, and nothing else.
- Say every finding by the name that is given, and say it as present. Where it is "normal" or "no finding", say so.
- Say a side or a place only where one is given, and only of the finding that it is given of.
- Say no other finding, not even that it is absent; no size, grade, cause, age, sex, date, comparison or advice.
- You need not say every structure that is in view, and say of none that it is normal or diseased."""
"""The default instructions."""
_NAMES = 5
"""Characters from which on an id that stands in a fact is taken for one, as `ingest` does."""
_UNSEEN = (BACKGROUND, "body")
"""Structures that say nothing."""


@dataclass(frozen=True)
class Facts:
    """What is known of an image; rows of which the same is known make one request.

    Attributes:
        modality: as in the manifest; empty where not known, as all of these.
        plane: likewise.
        anatomy: likewise.
        labels: `name` or `name@place`, sorted.
        structures: that the mask shows, by name, sorted.
    """

    modality: str
    plane: str
    anatomy: str
    labels: tuple[str, ...]
    structures: tuple[str, ...]

    def __bool__(self) -> bool:
        return any((self.modality, self.plane, self.anatomy, self.labels, self.structures))

    @property
    def findings(self) -> dict[str, str]:
        """Places by name of the finding; several places of one are joined."""
        out = dict[str, str]()
        for name, _, place in (label.partition("@") for label in self.labels):
            out[name] = f"{out.get(name, '')} {place}".strip()
        return out

    def message(self) -> str:
        """All that is sent of it: a line a fact."""
        findings = "; ".join(f"{name} ({place})" if place else name for name, _, place in (label.partition("@") for label in self.labels))
        told = {"modality": self.modality, "plane": self.plane, "anatomy": self.anatomy, "findings": findings,
                "structures in view": "; ".join(self.structures)}
        return "\n".join(f"{what}: {fact}" for what, fact in told.items() if fact)


def facts_of(corpus: Corpus, progress: Callable[[str, int, int], None] = lambda what, done, of: None) -> Iterator[Facts]:
    """The facts of each row, in order. Masks are read where their structures have names.

    Raises:
        InputError: a fact that holds the row's patient or study, or a mask that cannot be read.
    """
    for row in range(len(corpus.frame)):
        r = {c: v.strip() for c, v in corpus.record(row).items()}
        labels = sorted({label for part in r["labels"].split("|") if (label := part.strip())})
        mask = corpus.mask(row) if corpus.structures else None
        facts = Facts(r["modality"], r["plane"], r["anatomy"], tuple(labels), () if mask is None else _structures(corpus, row, mask))
        told, patient = facts.message(), r["patient"].rpartition("/")[2]
        for column, native in (("patient", patient), ("study", r["study"]), ("id", r["id"])):
            if len(native) >= _NAMES and native in told:
                raise InputError(f"row {row + 1} of {corpus.name!r}: modality, plane, anatomy or labels hold what its column {column!r} says, which "
                                 "must not be sent; correct the manifest")
        yield facts
        if mask is not None:
            progress("masks", row + 1, len(corpus.frame))


def _structures(corpus: Corpus, row: int, mask: Blob) -> tuple[str, ...]:
    try:
        values = np.unique(np.asarray(Image.open(io.BytesIO(mask.read_bytes()))))
    except (UnidentifiedImageError, OSError, SyntaxError):
        raise InputError(f"row {row + 1} of {corpus.name!r}: its mask cannot be read as an image") from None
    seen = {corpus.structures[v] for v in values.tolist() if v in corpus.structures}
    return tuple(sorted(seen - set(_UNSEEN)))
