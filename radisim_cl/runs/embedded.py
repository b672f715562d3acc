"""The embedded corpora are made when a catalog first asks for them."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from radisim_cl.errors import InputError
from radisim_cl.phantom.make import ensure, folder_of
from radisim_cl.specs.catalog import CatalogSpec


def ready(catalog: CatalogSpec) -> CatalogSpec:
    """A catalog whose root exists, if it is made here; any other one as it is."""
    if catalog.phantom is None:
        return catalog
    out = catalog.model_copy(update={"root": str(_made(catalog, folder_of(catalog.phantom)).resolve())})
    out._node = catalog._node
    return out


def restore(catalog: CatalogSpec) -> None:
    """Makes again what a run was planned with, at the same place, where it has been deleted since.

    Raises:
        InputError: this version draws another phantom.
    """
    if catalog.phantom is None or os.path.isdir(catalog.root):
        return
    if folder_of(catalog.phantom).name != Path(catalog.root).name:
        raise InputError(f"the phantom that the run was planned with, {catalog.root}, is gone, and this version draws another one; start another run")
    _made(catalog, Path(catalog.root))


def _made(catalog: CatalogSpec, folder: Path) -> Path:
    assert catalog.phantom is not None
    console = Console(stderr=True)
    if not os.path.isdir(folder):
        console.print(f"drawing the phantom, once, into {folder} ...", highlight=False, soft_wrap=True)
    with Progress(TextColumn("patients"), BarColumn(), MofNCompleteColumn(), TextColumn("ETA"), TimeRemainingColumn(), console=console,
                  disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None)
        return ensure(catalog.phantom, lambda done, of: bar.update(task, completed=done, total=of), folder=folder)
