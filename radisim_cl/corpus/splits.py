"""Splits by patient: `train` for training, `tune`, `gate` and `report` for the benchmark."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pandas as pd

from radisim_cl.errors import InputError
from radisim_cl.specs.catalog import SPLITS, Shares


def position(version: str, patient: str) -> float:
    """Where a patient falls in [0, 1): a hash of the benchmark's version and the native patient id.

    The same patient falls at the same place in every corpus.
    """
    digest = hashlib.sha256(f"{version}\0{patient}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def cut(frame: pd.DataFrame, shares: Mapping[str, Shares], version: str, corpus: str) -> pd.Series[str]:
    """The split of each row, never across a patient.

    Args:
        frame: with columns `patient` and `split`, the set's own split or "".
        shares: own split (`*`: any other) to the shares into which its patients are cut.
        version: of the benchmark.
        corpus: name, for messages.

    Raises:
        InputError: a patient stands in two of the set's own splits that are cut differently.
    """
    native = frame["split"].where(frame["split"].isin(list(shares)), "*")
    if "*" not in shares and (native == "*").any():
        value = frame.loc[native == "*", "split"].iloc[0]
        raise InputError(f"corpus {corpus}: split {value!r} of the manifest is not under 'splits' in the catalog; name it or add '*'")
    crossing = native.groupby(frame["patient"]).nunique()
    if (crossing > 1).any():
        raise InputError(f"corpus {corpus}: {int((crossing > 1).sum())} patients stand in more than one of the manifest's own "
                         "splits; correct the manifest, or cut all of it by patient with splits: {'*': ...}")
    patients = frame["patient"].drop_duplicates()
    where = pd.Series({p: position(version, p) for p in patients})
    out = pd.Series("", index=frame.index)
    for name, parts in shares.items():
        rows = native == name
        at, edge = frame.loc[rows, "patient"].map(where), 0.0
        for split in SPLITS:
            inside = (at >= edge) & (at < edge + parts.get(split, 0.0))
            out.loc[inside.index[inside]] = split
            edge += parts.get(split, 0.0)
        out.loc[rows & (out == "")] = next(s for s in reversed(SPLITS) if parts.get(s, 0.0) > 0)
    return out
