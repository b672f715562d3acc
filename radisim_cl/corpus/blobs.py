"""Where the bytes of an image are: a file of its own, or a part of a tar shard."""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path

from radisim_cl.errors import InputError
from radisim_cl.files import sha256_bytes

_OPEN = 128
"""Shards that are open at once; a process may have 1,024 files."""
_PART = re.compile(r"(.+\.tar):(\d+):(\d+)")


@dataclass(frozen=True)
class Blob:
    """A file, or a part of one.

    Attributes:
        path: of the file.
        offset: where the part begins; None where the file is all of it.
        length: bytes of the part.
    """

    path: Path
    offset: int | None = None
    length: int = 0

    @classmethod
    def of(cls, folder: Path, cell: str) -> Blob:
        """What a cell of a manifest says: a path, or `shard.tar:offset:length`, relative to a folder."""
        found = _PART.fullmatch(cell)
        return cls(_shard(folder, found[1]), int(found[2]), int(found[3])) if found else cls(folder / cell)

    def __str__(self) -> str:
        return str(self.path) if self.offset is None else f"{self.path}:{self.offset}:{self.length}"

    def resolve(self) -> Blob:
        """The same with an absolute path."""
        return Blob(self.path.resolve(), self.offset, self.length)

    def size(self) -> int:
        """Bytes.

        Raises:
            OSError: there is no such file.
        """
        return self.path.stat().st_size if self.offset is None else self.length

    def read_bytes(self) -> bytes:
        """All of them, by one positioned read: threads share a shard that is open.

        Raises:
            InputError: there is no such file, it cannot be read, or it ends before the part does.
        """
        try:
            if self.offset is None:
                return self.path.read_bytes()
            opened = _opened(self.path)  # held while it is read: the cache may have let go of it, or never taken it from one of two threads
            data = os.pread(opened.fd, self.length, self.offset)
        except OSError as e:
            what = "" if self.offset is None else f"; shard {self.path.name} holds bytes that the manifest names"
            raise InputError(f"{self.path}: cannot be read: {e.strerror or e}{what}") from None
        if len(data) < self.length:
            raise InputError(f"{self.path}: ends at byte {self.offset + len(data)}, and the manifest names {self.length} bytes from "
                             f"{self.offset} on; the shard was cut short: copy it anew")
        return data

    def sha256(self) -> str:
        """Hexadecimal digest of the bytes.

        Raises:
            InputError: as `read_bytes`.
        """
        return sha256_bytes(self.read_bytes())


@functools.lru_cache(2**12)
def _shard(folder: Path, name: str) -> Path:
    return folder / name  # which takes as long as reading from it, and is the same for thousands of images


class _Opened:
    """An open file, closed when nobody reads from it any more."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)


_opened = functools.lru_cache(_OPEN)(_Opened)
