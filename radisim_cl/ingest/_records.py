"""The records of one ingestion, on disk; in memory there are eight bytes of each."""

from __future__ import annotations

import itertools
import json
import pickle
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import replace
from hashlib import blake2b, sha256
from pathlib import Path

import numpy as np

from radisim_cl.ingest._protocol import Record
from radisim_cl.ingest._site import Site


class Records:
    """Records in the order in which a layout gives them, in a file that has no name: native ids are gone with the process.

    Attributes:
        n: how many.
        strangers: of them, those whose patient the site's pattern does not match.
        digest: SHA-256 of their keys and facts, under the site's secret.
    """

    def __init__(self, found: Iterable[Record], site: Site, near: Path) -> None:
        """
        Args:
            found: each is used once, and not kept in memory.
            site: whose secret hashes the keys.
            near: a folder of the disk where there is room.
        """
        self._file = tempfile.TemporaryFile(dir=near)  # noqa: SIM115  # closed with the object
        keys, facts, self.strangers = array("Q"), sha256(), 0
        for record in found:
            pickle.dump(record, self._file, pickle.HIGHEST_PROTOCOL)
            keys.append(_short(record.key))
            facts.update(json.dumps([site.pseudonym("study", record.key), dict(record.facts)]).encode())
            self.strangers += not site.patient_of(record.patient)
        self.n, self.digest = len(keys), facts.hexdigest()
        values, counts = np.unique(np.frombuffer(keys, dtype=np.uint64), return_counts=True)
        self._twice = set(values[counts > 1].tolist())

    def __iter__(self) -> Iterator[Record]:
        """All of them; one whose key an earlier one has cannot be used."""
        self._file.seek(0)
        seen = set[str]()
        for _ in range(self.n):
            record: Record = pickle.load(self._file)
            if _short(record.key) in self._twice:
                if record.key in seen:
                    record = replace(record, unusable="the key of an earlier record")
                seen.add(record.key)
            yield record

    def blocks(self, size: int) -> Iterator[tuple[Record, ...]]:
        """All of them, `size` at a time."""
        records = iter(self)
        while block := tuple(itertools.islice(records, size)):
            yield block


def _short(key: str) -> int:
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
