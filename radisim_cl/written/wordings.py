"""How often the same facts are asked about, and what becomes of the answers."""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from radisim_cl.files import sha256_text
from radisim_cl.written.answers import Answers, Kept, key_of
from radisim_cl.written.check import Check, Fault
from radisim_cl.written.endpoint import Endpoint
from radisim_cl.written.facts import Facts

TRIES = 2
"""How often a wording is asked for: an answer that cannot be used is told why, once."""
ANSWER_TOKENS = 40
"""That a sentence has, about; and four characters are one token, about."""


@dataclass(frozen=True)
class Wording:
    """One of several captions of the same facts.

    Attributes:
        facts: that it words.
        number: from 0.
    """

    facts: Facts
    number: int


@dataclass(frozen=True)
class Style:
    """How captions are asked for.

    Attributes:
        model: as the endpoint calls it.
        prompt: the instructions.
        temperature: 0 to 2; at 0 all wordings of the same facts are the same.
    """

    model: str
    prompt: str
    temperature: float

    def body(self, wording: Wording, rejected: Sequence[tuple[str, Fault]] = ()) -> dict[str, Any]:
        """The request for a wording, after the answers that could not be used. Each has a seed of its own."""
        messages = [{"role": "system", "content": self.prompt}, {"role": "user", "content": wording.facts.message()}]
        for text, fault in rejected:
            messages += [{"role": "assistant", "content": text}, {"role": "user", "content": f"That cannot be used: {fault.told}. Write it again."}]
        return {"model": self.model, "temperature": self.temperature, "seed": TRIES * wording.number + len(rejected), "messages": messages}


@dataclass(frozen=True)
class Written:
    """What became of a wording.

    Attributes:
        caption: empty where no answer could be used.
        faults: of the answers that could not be.
        had: all answers.
    """

    caption: str
    faults: tuple[Fault, ...]
    had: tuple[Kept, ...]


def wording_of(facts: Facts, row_id: str, wordings: int) -> Wording:
    """Which wording a row has: by a hash of its id."""
    return Wording(facts, int(sha256_text(row_id)[:16], 16) % wordings)


def written(wording: Wording, style: Style, answers: Answers, check: Check, endpoint: Endpoint) -> Written:
    """Asks for a wording, or takes what is kept; once more where the answer contradicts the facts."""
    rejected, had = list[tuple[str, Fault]](), list[Kept]()
    for _ in range(TRIES):
        body = style.body(wording, rejected)
        had.append(answers.found.get(key_of(body)) or answers.add(body, wording.facts.message(), endpoint.ask(body)))
        answer = had[-1].answer
        text = answer.text.strip("\"'“”` ")
        fault = Fault("is cut off", "it is too long") if answer.finish == "length" else check.fault(text, wording.facts)
        if fault is None:
            return Written(text, tuple(f for _, f in rejected), tuple(had))
        rejected.append((answer.text, fault))
    return Written("", tuple(f for _, f in rejected), tuple(had))


def write_all(wordings: Sequence[Wording], each: Callable[[Wording], Written], jobs: int,
              progress: Callable[[str, int, int], None]) -> dict[Wording, Written]:
    """All wordings, `jobs` at once; where one fails, those that have not begun are not begun."""
    out, pool = dict[Wording, Written](), ThreadPoolExecutor(jobs)
    try:
        waiting = {pool.submit(each, w): w for w in wordings}
        for done, future in enumerate(as_completed(waiting), 1):
            out[waiting[future]] = future.result()
            progress("captions", done, len(wordings))
    finally:
        pool.shutdown(cancel_futures=True)
    return out


def tokens(bodies: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Tokens of requests and of their answers, estimated: a quarter of the characters, and ANSWER_TOKENS each."""
    characters = sum(len(m["content"]) for body in bodies for m in body["messages"])
    return -(-characters // 4), ANSWER_TOKENS * len(bodies)


def counted(done: Mapping[Wording, Written]) -> dict[str, Any]:
    """What a card says of the answers."""
    had = [kept for w in done.values() for kept in w.had]
    dates = sorted({kept.date for kept in had})
    return {
        "answers": len(had), "tokens": {"requests": sum(k.answer.tokens[0] for k in had), "answers": sum(k.answer.tokens[1] for k in had)},
        "dates": {"first": dates[0], "last": dates[-1]} if dates else {},
        "rejected": dict(sorted(collections.Counter(f.reason for w in done.values() for f in w.faults).items())),
    }
