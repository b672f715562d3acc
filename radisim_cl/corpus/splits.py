"""Splits by patient: `train` for training, `tune`, `gate` and `report` for the benchmark."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from radisim_cl.errors import InputError
from radisim_cl.specs.catalog import SPLITS, Shares


def positions(version: str, patients: Iterable[str]) -> npt.NDArray[np.float64]:
    """Where patients fall in [0, 1): a hash of the benchmark's version and the native patient id.

    The same patient falls at the same place in every corpus.
    """
    head = f"{version}\0".encode()
    digests = b"".join(hashlib.sha256(head + patient.encode()).digest()[:8] for patient in patients)
    return np.frombuffer(digests, dtype=">u8").astype(np.float64) / 2**64


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
    patient, patients = pd.factorize(frame["patient"])
    of, natives = pd.factorize(native)
    several = np.bincount(np.unique(patient * len(natives) + of) // max(1, len(natives))) > 1
    if several.any():
        raise InputError(f"corpus {corpus}: {int(several.sum())} patients stand in more than one of the manifest's own "
                         "splits; correct the manifest, or cut all of it by patient with splits: {'*': ...}")
    at = positions(version, patients.tolist())[patient]
    out = np.full(len(frame), -1, dtype=np.int8)
    for name, parts in shares.items():
        rows = (native == name).to_numpy()
        edge = 0.0
        for k, split in enumerate(SPLITS):
            out[rows & (at >= edge) & (at < edge + parts.get(split, 0.0))] = k
            edge += parts.get(split, 0.0)
        out[rows & (out < 0)] = max(k for k, split in enumerate(SPLITS) if parts.get(split, 0.0) > 0)
    return pd.Series(pd.array(SPLITS, dtype="str").take(out), index=frame.index)
