"""Plugins are found by their file name: the `kind` in a spec *is* the module's name."""

from __future__ import annotations

import difflib
import functools
import importlib
import pkgutil
from collections.abc import Iterable
from types import ModuleType

from radisim_cl.errors import InputError


def kinds(package: str) -> list[str]:
    """The plugins of a package, by name; a module that starts with an underscore is not one. Imports no plugin."""
    home = importlib.import_module(package)
    return sorted(m.name for m in pkgutil.iter_modules(home.__path__) if not m.name.startswith("_"))


@functools.cache
def plugin(package: str, kind: str) -> ModuleType:
    """The module `package.kind`.

    Raises:
        InputError: no such plugin; the message lists those that exist.
    """
    if kind not in kinds(package):
        raise InputError(f"unknown {package.rsplit('.', 1)[-1]} kind {kind!r}. {hint(kind, kinds(package))}")
    return importlib.import_module(f"{package}.{kind}")


def hint(word: str, known: Iterable[str]) -> str:
    """`Did you mean 'region'? Known: clip, region.` for an unknown word; long lists keep the nearest names."""
    names = sorted(set(known))
    near = difflib.get_close_matches(word, names, n=8, cutoff=0.5)
    meant = f"Did you mean {near[0]!r}? " if near else ""
    shown = names if len(names) <= 30 else [*near, f"... {len(names)} in all"]
    return f"{meant}Known: {', '.join(shown) or 'none'}."
