"""Whether a caption says what the labels say, and nothing against it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from radisim_cl.corpus.captions import sides
from radisim_cl.ingest._captions import named
from radisim_cl.specs.catalog import TemplateSet
from radisim_cl.written.facts import Facts
from radisim_cl.written.mentions import Findings, Mention, plain

WORDS = 60
"""That a caption has at most: what a text tower of 77 tokens reads."""
_KINDS = ("CT", "MR", "DR")
_BOTH = re.compile(r"\bbilateral(?:ly)?\b|\bboth\b")


class Fault(NamedTuple):
    """Why a caption cannot be used.

    Attributes:
        reason: as it is counted; holds no word of the row.
        told: as it is said to the model.
    """

    reason: str
    told: str


class Check:
    """Compares captions with facts, in the words of a corpus.

    What is not a label of the corpus is not looked for: a finding that no row has, a place but for its side, a size, an organ.
    """

    def __init__(self, labels: Iterable[str], templates: TemplateSet) -> None:
        """Takes all names of labels that the corpus has, and the template set whose words are as good."""
        synonyms = templates.words.get("label", {})
        self._findings = Findings({name: synonyms.get(name, ()) for name in sorted(set(labels))})

    def fault(self, text: str, facts: Facts) -> Fault | None:
        """The first thing that is wrong with a caption; None where nothing is."""
        return _form(text) or self._contents(text, facts)

    def _contents(self, text: str, facts: Facts) -> Fault | None:
        sentence, found = plain(text), self._findings.mentions(plain(text))
        return self._named(found, facts, sentence) or _side(sentence, found, facts) or _made(text, facts)

    def _named(self, found: list[Mention], facts: Facts, sentence: str) -> Fault | None:
        there = {*facts.findings, *facts.structures, facts.anatomy}
        for m in found:
            words = sentence[m.start:m.end]
            if m.names & there and m.there is not True:
                return Fault("denies a finding", f"it does not plainly say that there is {words!r}")
            if not m.names & there and m.there is not False:
                return Fault("names a finding that the labels do not have", f"it says {words!r}, which is not among the findings")
        for name in facts.findings:
            if not any(name in m.names for m in found):
                return Fault("does not name a finding", f"it must name this finding in one of these words: {'; '.join(self._findings.words[name])}")
        return None


def _form(text: str) -> Fault | None:
    if not text:
        return Fault("is empty", "it is empty")
    if "\n" in text:
        return Fault("has several lines", "it has several lines, and must be one sentence")
    if len(text.split()) > WORDS:
        return Fault("is too long", "it is too long")
    return None


def _side(sentence: str, found: list[Mention], facts: Facts) -> Fault | None:
    """Sides that are part of a name, as in `left kidney`, are that name's."""
    of = {name: side for name, place in facts.findings.items() if (side := _joined(s for _, s in _sides(plain(place))))}
    spans = [(m.start, m.end) for m in found]
    spans += [m.span() for name in (*facts.structures, facts.anatomy) if name for m in re.finditer(rf"\b{re.escape(plain(name))}\b", sentence)]
    said = [(at, side) for at, side in _sides(sentence) if not any(a <= at < b for a, b in spans)]
    if not said:
        return None
    if not of:
        return Fault("names a side that the labels do not have", "it names a side, and none is given")
    if len(set(of.values())) == 1:
        right = _joined(s for _, s in said) == next(iter(of.values()))
    else:
        steps = sorted([*said, *((m.start, next(n for n in of if n in m.names)) for m in found if m.names & set(of))])
        right = any(all(step in ((name, of[name]) for name in of) for step in _pairs([s for _, s in steps], of, ahead)) for ahead in (1, -1))
    return None if right else Fault("names another side", "its sides are not those of the findings")


def _pairs(steps: list[str], of: dict[str, str], ahead: int) -> Iterable[tuple[str, str]]:
    """Each finding with what stands next to it: behind it (1) or before it (-1)."""
    return [(s, steps[i + ahead] if 0 <= i + ahead < len(steps) else "") for i, s in enumerate(steps) if s in of]


def _sides(sentence: str) -> list[tuple[int, str]]:
    return sorted([*sides(sentence), *((m.start(), "both") for m in _BOTH.finditer(sentence))])


def _joined(found: Iterable[str]) -> str:
    """`left`, `right`, `both`, or nothing."""
    some = set(found)
    return "both" if "both" in some or len(some) == 2 else "".join(some)


def _made(text: str, facts: Facts) -> Fault | None:
    """Words for a modality or plane that is not the image's; a modality that the words do not know is not compared."""
    own = facts.modality if facts.modality in ("", *_KINDS) else next(iter(named("kind", facts.modality)), None)
    if own is not None and set(named("kind", text)) - {own}:
        return Fault("names another modality", "it names a kind of image that is not given")
    if set(named("plane", text)) - {facts.plane}:
        return Fault("names another plane", "it names a plane that is not given")
    return None
