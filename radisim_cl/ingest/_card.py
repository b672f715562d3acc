"""The end of an ingestion: a manifest of all that was written, and the card that says what it is."""

from __future__ import annotations

import collections
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import yaml

from radisim_cl.corpus.corpora import COLUMNS
from radisim_cl.errors import InputError
from radisim_cl.files import write_atomic
from radisim_cl.ingest._protocol import About, Settings

EXTRA = ("window",)
"""Columns of a manifest beside those that are read: how grey values were made."""


def finish(out: Path, parts: Sequence[Path], layout: str, settings: Settings, about: About, unwanted: Mapping[str, int], records: int,
           most_unusable: float) -> dict[str, object]:
    """Writes `manifest.parquet` and `card.yaml` of what the parts say.

    Args:
        out: of the corpus.
        parts: files that say what became of some records each.
        layout: that was read.
        settings: how pictures were made.
        about: the set.
        unwanted: by reason, records that were not read.
        records: that were.
        most_unusable: share of them that may be left out.

    Returns:
        The card.

    Raises:
        InputError: more than that were.
    """
    reasons, unwanted, frames = collections.Counter[str](), collections.Counter(unwanted), list[pd.DataFrame]()
    for file in parts:
        part = json.loads(file.read_text())
        reasons.update(part["left out"])
        unwanted.update(part["not wanted"])
        frames.append(pd.DataFrame(part["rows"], columns=[*COLUMNS, *EXTRA, "sha256"], dtype="str").fillna(""))
    if reasons.total() > most_unusable * records:
        each = "; ".join(f"{n} x {reason}" for reason, n in reasons.most_common(8))
        raise InputError(f"{reasons.total()} of {records} records cannot be used ({each}), and {most_unusable:.1%} may be left out; "
                         "take them out of the table, or allow more with --most-unusable")
    frame = pd.concat(frames, ignore_index=True).sort_values("id", ignore_index=True)
    frame.drop(columns="sha256").to_parquet(out / ".manifest.tmp", index=False)
    (out / ".manifest.tmp").replace(out / "manifest.parquet")
    card: dict[str, object] = {
        "name": out.name, **{k: v for k, v in (("title", about.title), ("url", about.url), ("agreement", about.agreement)) if v},
        "licences": sorted(set(frame["licence"]) - {""}), "layout": layout, "settings": asdict(settings), "records": records,
        "left_out": dict(reasons), "not_wanted": dict(unwanted), **_counts(frame),
        "ids": "hashed with the site's secret; captions and labels are as the files gave them", "catalog": _entry(out.name, about),
    }
    write_atomic(out / "card.yaml", yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=120))
    return card


def _counts(frame: pd.DataFrame) -> dict[str, object]:
    def of(column: pd.Series[str]) -> dict[str, int]:
        return {str(k): int(v) for k, v in column[column != ""].value_counts().items()}

    twice = frame[frame["sha256"].duplicated(keep=False)]
    return {
        "patients": int(frame["patient"].nunique()), "pairs": len(frame), "captions": int((frame["caption"] != "").sum()),
        "masks": int((frame["mask"] != "").sum()),
        "duplicates": {"pictures that an earlier one is the same as": len(twice) - int(twice["sha256"].nunique()),
                       "of them between patients": int((twice.groupby("sha256")["patient"].nunique() - 1).sum())},
        **{f"by_{column}": of(frame[column]) for column in ("modality", "level", "split")},
        "windows": of(frame["window"].str.replace(r":.*", "", regex=True)),
    }


def _entry(name: str, about: About) -> dict[str, object]:
    """What a catalog says of the corpus, whose root is the folder that it lies in."""
    found: dict[str, object] = {"manifest": f"{name}/manifest.parquet"}
    if about.structures:
        found["structures"] = dict(about.structures)
    for field, told in (("splits", about.splits), ("values", about.values)):
        if told:
            found[field] = {k: dict(v) for k, v in told.items()}
    if about.splits.get("test") == {"report": 1.0}:
        found["official_split"] = True
    return found
