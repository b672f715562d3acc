"""`radisim-cl corpus caption`: a corpus whose captions a language model has written from its labels."""

from __future__ import annotations

import collections
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from radisim_cl.corpus.captions import caption, captioned
from radisim_cl.corpus.card import CARD, card_in, origin
from radisim_cl.corpus.corpora import Corpus, manifest, open_corpus, read_manifest
from radisim_cl.corpus.hashes import Progress
from radisim_cl.errors import InputError
from radisim_cl.files import sha256_text, write_atomic
from radisim_cl.ingest._levels import level
from radisim_cl.runs.embedded import ready
from radisim_cl.runs.lock import HOLDER, LOCK, locked
from radisim_cl.specs.catalog import CatalogSpec, TemplateSet, load_catalog, load_templates
from radisim_cl.written.answers import FILE, Answers, key_of
from radisim_cl.written.check import Check
from radisim_cl.written.endpoint import Endpoint, examples, host_of
from radisim_cl.written.facts import PROMPT, facts_of
from radisim_cl.written.permission import may_leave
from radisim_cl.written.wordings import ANSWER_TOKENS, Style, Wording, Written, counted, tokens, wording_of, write_all, written

COLUMN = "caption_from"
"""Of the manifest: `model`, or `template` where no answer could be used, or nothing where there is nothing to word."""


@dataclass(frozen=True)
class Captioning:
    """A corpus, and the captions that it is to have.

    Attributes:
        catalog: that names it.
        corpus: itself.
        templates: that word a row for which no answer can be used.
        out: folder of the new manifest, and of the answers.
        style: how captions are asked for.
        endpoint: URL.
        per_minute: requests.
        rows: the wording of each row; without facts where nothing is known of it.
        wordings: those that are asked for, once each.
    """

    catalog: CatalogSpec
    corpus: Corpus
    templates: TemplateSet
    out: Path
    style: Style
    endpoint: str
    per_minute: float
    rows: list[Wording]
    wordings: list[Wording]

    @classmethod
    def of(cls, name: str, out: Path, catalog: str, endpoint: str, model: str, prompt: Path | None, temperature: float, wordings: int,
           per_minute: float, progress: Progress) -> Captioning:
        """Reads the corpus, and refuses what may not be.

        Raises:
            InputError: an option that is none, a corpus that cannot be used or may not leave, a catalog without templates, or an `out` that
                holds something else.
        """
        found = ready(load_catalog(catalog, Path()))
        corpus, path, host = open_corpus(found, name, ""), manifest(found, name), host_of(endpoint)
        may_leave(name, card_in(path.parent), corpus.frame["licence"], host)
        if found.templates is None:
            raise InputError(f"catalog {found.name!r} names no template set, from which a row has its caption where no answer can be used; write "
                             "`templates: radiology` into it")
        if out.resolve() == path.parent.resolve():
            raise InputError(f"--out {out}: is the corpus itself; its captions stay as they are, so give another folder")
        if out.is_dir() and not (out / FILE).is_file() and {p.name for p in out.iterdir()} - {LOCK, HOLDER}:
            raise InputError(f"--out {out}: is not empty and not of this command; give another one")
        style = Style(model, _prompt(prompt), temperature)
        rows = [wording_of(f, str(i), wordings) for f, i in zip(facts_of(corpus, progress), corpus.frame["id"], strict=True)]
        return cls(found, corpus, load_templates(found.templates, Path()), out, style, endpoint, per_minute, rows,
                   list(dict.fromkeys(w for w in rows if w.facts)))

    def told(self) -> dict[str, Any]:
        """What a call would do, as `--dry-run` tells it; sends and writes nothing."""
        kept = Answers(self.out).found
        bodies = [body for w in self.wordings if key_of(body := self.style.body(w)) not in kept]
        asked, answered = tokens(bodies)
        return {
            "corpus": self.corpus.name, "rows": len(self.rows), "different facts": len({w.facts for w in self.wordings}),
            "wordings": len(self.wordings), "requests": len(bodies), "minutes at least": round(len(bodies) / self.per_minute, 1),
            "tokens of requests, about": asked, "tokens of answers, about": answered,
            "estimated": f"a token is four characters, an answer {ANSWER_TOKENS} tokens; none is asked for twice",
            "endpoint": self.endpoint, "examples": examples(bodies),
        }

    def make(self, jobs: int, progress: Progress) -> dict[str, Any]:
        """Writes `manifest.parquet` and `card.yaml`. Killed and called again it asks only for what it does not have.

        Args:
            jobs: requests at once; what is written does not depend on it.
            progress: of the requests.

        Returns:
            The card.

        Raises:
            InputError: the endpoint refuses, or the package openai is not there.
            RadisimError: the endpoint does not answer, or another process is at work in `out`.
        """
        endpoint = Endpoint(self.endpoint, self.per_minute)
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / FILE).touch()
        with locked(self.out):
            answers = Answers(self.out)
            check = Check((name for w in self.wordings for name in w.facts.findings), self.templates)
            done = write_all(self.wordings, lambda w: written(w, self.style, answers, check, endpoint), jobs, progress)
            frame = self._frame(done)
            frame.to_parquet(self.out / ".manifest.tmp", index=False)
            (self.out / ".manifest.tmp").replace(self.out / "manifest.parquet")
            card = self._card(frame, done, endpoint.host)
            write_atomic(self.out / CARD, yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=120))
        return card

    def _frame(self, done: dict[Wording, Written]) -> pd.DataFrame:
        """The corpus's own rows, with new captions and the levels that these serve; images and masks where they are."""
        corpus, columns = self.corpus, self.catalog.corpora[self.corpus.name].columns
        frame = read_manifest(manifest(self.catalog, corpus.name))
        worded, rows = _templated(corpus, self.templates), range(len(frame))
        model = [done[w].caption if w.facts else "" for w in self.rows]
        captions = [m or t for m, t in zip(model, worded, strict=True)]
        masks = [corpus.mask(row) for row in rows]
        new = {"caption": captions, "level": [level(c, labels) if c else "" for c, labels in zip(captions, corpus.frame["labels"], strict=True)],
               "image": [str(corpus.image(row).resolve()) for row in rows], "mask": [str(m.resolve()) if m else "" for m in masks]}
        for column, cells in new.items():
            if any(cells):
                frame[columns.get(column, column)] = cells
        frame[COLUMN] = ["model" if m else "template" if t else "" for m, t in zip(model, worded, strict=True)]
        return frame

    def _card(self, frame: pd.DataFrame, done: dict[Wording, Written], host: str) -> dict[str, Any]:
        corpus, spec, path = self.corpus, self.catalog.corpora[self.corpus.name], manifest(self.catalog, self.corpus.name)
        by = {what: int((frame[COLUMN] == told).sum()) for what, told in (("model", "model"), ("template", "template"), ("none", ""))}
        why = collections.Counter(done[w].faults[-1].reason for w in self.rows if w.facts and not done[w].caption)
        entry = spec.model_dump(mode="json", exclude_defaults=True) | {"manifest": f"{self.out.name}/manifest.parquet"}
        levels = frame.get(spec.columns.get("level", "level"), pd.Series(dtype="str")).value_counts().sort_index()
        return {
            "name": self.out.name, **origin(path.parent), "licences": corpus.licences, "pairs": len(frame), "captioned_from": corpus.digest,
            "by_level": {str(k): int(n) for k, n in levels.items() if k},
            "captions": {
                "model": self.style.model, "endpoint": host, "temperature": self.style.temperature, "prompt": self.style.prompt,
                "rows": by, "templates_because_the_last_answer": dict(sorted(why.items())), "wordings": len(self.wordings), **counted(done),
            },
            "catalog": entry,
        }


def dry(told: dict[str, Any]) -> str:
    """What a call would do, in lines."""
    lines = [f"{what}: {value:,}" if isinstance(value, int | float) else f"{what}: {value}" for what, value in told.items() if what != "examples"]
    return "\n".join([*lines, *(f"\nexample {n}:\n{json.dumps(e, indent=1, ensure_ascii=False)}" for n, e in enumerate(told["examples"], 1))])


def _prompt(file: Path | None) -> str:
    if file is None:
        return PROMPT
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise InputError(f"--prompt {file}: cannot be read as a file in UTF-8") from None
    if not text:
        raise InputError(f"--prompt {file}: is empty; write what the model is to do with the facts of an image")
    return text


def _templated(corpus: Corpus, templates: TemplateSet) -> list[str]:
    """The caption of each row by the last level of the template set that its columns allow; a function of the row."""
    usable = {name: captioned(corpus.frame, name, templates).to_numpy() for name in reversed(templates.levels)}
    out = []
    for row in range(len(corpus.frame)):
        record, of = corpus.record(row), next((name for name, rows in usable.items() if rows[row]), "")
        rng = np.random.default_rng(int(sha256_text(record["id"])[:16], 16))
        out.append(caption(record, of, templates, rng).text if of else "")
    return out
