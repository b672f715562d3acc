"""Which findings a sentence names, and whether it says that they are there.

By words alone, after NegEx (Chapman et al. 2001, J Biomed Inform 34:301-310): a word of negation reaches to the end of its clause. Unlike there, what
cannot be told is said to be so: in `no effusion, pneumonia` without an "or", nobody knows of the second. The lists are short, made for sentences
of a model that was asked not to name what is absent; negspaCy and medspaCy know more words and bring a pipeline of spaCy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_BRITISH = ((r"ae", "e"), (r"oe", "e"), (r"our(?=s?\b)", "or"), (r"n't\b", " not"), (r"\bcannot\b", "can not"))
NORMAL = r"normal|unremarkable|healthy|(?:no|free of)(?: [a-z]+){0,3} (?:abnormality|finding|pathology|disease)"
"""What says that there is nothing, in the form of `plain`."""
_EVENTS = {
    "nothing": r"no(?: [a-z]+)? (?:change|increase|decrease)|not only|without(?: [a-z]+)? contrast|can not(?: be)? (?:exclude|rule)d?(?: out)?|"
               r"not(?: be)? (?:excluded|ruled out)",
    "end": r"[.;:]|but|however|although|though|except|with|show|showing|shown|demonstrate|demonstrating|reveal|revealing|which|whereas|while",
    "after": r"(?:is |are )?(?:absent|excluded|ruled out|unlikely|"
             r"not (?:seen|present|identified|visible|evident|detected|demonstrated|shown|noted|found))",
    "before": r"not (?:show|demonstrate|reveal)|without showing|no|not|without|absence of|free of|negative for|lack of|lack|never|neither|nor|none|"
              r"exclude|excluding|rule out|unlikely|rather than|instead of",
    "list": r",|and", "or": r"or",
}


@dataclass(frozen=True)
class Mention:
    """A finding in a sentence.

    Attributes:
        names: what the words can mean.
        start: where they begin in the `plain` sentence.
        end: where they end.
        there: whether the sentence says that it is; None where that cannot be told.
    """

    names: frozenset[str]
    start: int
    end: int
    there: bool | None


def plain(text: str) -> str:
    """Words and marks, a space between them: in lower case, without hyphens, in American spelling, in the singular."""
    text = text.lower()
    for pattern, instead in _BRITISH:
        text = re.sub(pattern, instead, text)
    text = " ".join(re.findall(r"[a-z0-9]+|[.,;:]", text))
    return re.sub(r"(?<=[a-z]{3})(?<![suia])s\b|(?<=ss|sh|ch)es\b", "", re.sub(r"(?<=[a-z]{2})ies\b", "y", text))


class Findings:
    """The findings that a sentence can name.

    Attributes:
        words: by finding, what it may be called, in the form of `plain`.
    """

    def __init__(self, names: Mapping[str, Iterable[str]]) -> None:
        """Takes, by finding, its names beside its own."""
        self.words = {name: sorted({plain(w) for w in (name, *others)} - {""}) for name, others in names.items()}
        self._nothing = frozenset(name for name in names if re.fullmatch(NORMAL, plain(name)))
        self._meant: dict[str, frozenset[str]] = {}
        for name, words in self.words.items():
            for w in words:
                self._meant[w] = self._meant.get(w, frozenset()) | {name}
        longest = [re.escape(w) for w in sorted(self._meant, key=len, reverse=True)]
        kinds = {"mention": "|".join([*longest, NORMAL]), **_EVENTS}
        self._events = re.compile(r"(?<!\S)(?:" + "|".join(f"(?P<{kind}>{words})" for kind, words in kinds.items()) + r")(?!\S)")

    def mentions(self, sentence: str) -> list[Mention]:
        """All that a `plain` sentence names, in order; of names that lie in one another, the longest."""
        found = list(self._events.finditer(sentence))
        ends = [i for i, m in enumerate(found) if m.lastgroup == "end"]
        out = []
        for i, m in enumerate(found):
            if m.lastgroup == "mention":
                first = max((e + 1 for e in ends if e < i), default=0)
                last = min((e for e in ends if e > i), default=len(found))
                meant = self._meant.get(m[0], frozenset()) | (self._nothing if re.fullmatch(NORMAL, m[0]) else frozenset())
                out.append(Mention(meant, m.start(), m.end(), _there(found[first:i], found[i + 1:last])))
        return out


def _there(before: list[re.Match[str]], after: list[re.Match[str]]) -> bool | None:
    """What a clause says of a finding, from what stands before and after it."""
    kinds = [m.lastgroup for m in before]
    if "before" in kinds:
        since = kinds[len(kinds) - kinds[::-1].index("before"):]
        ored = "or" in since or any(m.lastgroup == "or" or m[0] == "nor" for m in after)
        return None if "list" in since and not ored else False
    kinds = [m.lastgroup for m in after]
    if "after" in kinds:
        return None if "list" in kinds[:kinds.index("after")] else False
    return True
