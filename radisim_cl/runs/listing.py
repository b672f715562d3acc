"""What `radisim-cl ls` lists."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml
from rich.table import Table

from radisim_cl.bench.items import counted, fewest, items
from radisim_cl.corpus.corpora import Corpora
from radisim_cl.errors import InputError
from radisim_cl.files import library_names
from radisim_cl.models import arch
from radisim_cl.registry import hint, kinds
from radisim_cl.runs.directory import state
from radisim_cl.runs.embedded import ready
from radisim_cl.specs.benchmark import SubtaskSpec, load_benchmark
from radisim_cl.specs.catalog import CatalogSpec, load_catalog
from radisim_cl.specs.datasets import DatasetSpec

WHAT = ("benchmarks", "catalogs", "curricula", "gates", "layouts", "losses", "models", "protocols", "runs", "sources", "stages", "subtasks",
        "templates")


def listing(what: str, catalog: str, benchmark: str) -> list[str]:
    """Lines to print.

    Raises:
        InputError: nothing of that name can be listed.
    """
    match what:
        case "curricula" | "stages" | "benchmarks" | "catalogs" | "templates":
            return library_names(what, Path())
        case "losses" | "gates":
            return kinds(f"radisim_cl.{what}")
        case "layouts":
            return kinds("radisim_cl.ingest")
        case "protocols":
            return kinds("radisim_cl.bench.protocols")
        case "models":
            return arch.known()
        case "runs":
            return [f"{p.parent.name}  {(now := state(p.parent)).status}  {now.name}" for p in sorted(Path("runs").glob("*/plan.yaml"))]
        case "sources":
            corpora = Corpora(ready(load_catalog(catalog, Path())), load_benchmark(benchmark, Path()).version)
            return [f"{n}  {len(corpora[n].frame):,} pairs  " + "  ".join(f"{k} {v}" for k, v in corpora[n].frame["split"].value_counts().items())
                    for n in corpora.catalog.corpora]
        case "subtasks":
            spec = load_benchmark(benchmark, Path())
            corpora = Corpora(ready(load_catalog(catalog, Path())), spec.version)
            return [f"{s.suite}  {s.id}  {s.protocol}  {s.metric}  {_available(s, corpora, spec.datasets)}" for s in spec.subtasks]
    raise InputError(f"cannot list {what!r}. {hint(what, WHAT)}")


def _available(subtask: SubtaskSpec, corpora: Corpora, datasets: Mapping[str, DatasetSpec]) -> str:
    """What the gate split has of a subtask; or what is missing, and where to get it."""
    catalog, lacking = corpora.catalog, dict[str, str]()
    for source in (part.source for part in subtask.items):
        if source not in catalog.corpora:
            lacking[source] = f"no source {source!r} in catalog {catalog.name!r}"
        elif not (manifest := Path(catalog.root) / catalog.corpora[source].manifest).is_file():
            lacking[source] = f"no manifest {manifest} of source {source!r}"
    if lacking:
        return "missing: " + "; ".join(f"{why} ({datasets[s].where})" if s in datasets else why for s, why in lacking.items())
    gate = items(subtask, corpora, "gate")
    if gate.empty:
        rest = counted(items(subtask, corpora, "report"))
        return "missing: no item in the gate split" + (f"; {rest} in the report split, for `bench`" if rest else "")
    what = "volumes" if subtask.protocol == "volume" else "images"
    of = {"ground": "with a mask", "retrieve": "with a caption"}.get(subtask.protocol, "of the rarest class")
    return f"available: {counted(gate)} {what} on the gate split, {fewest(subtask, gate)} patients {of}"


def corpora_table(catalog: CatalogSpec) -> Table:
    """What `radisim-cl phantom make` has made, a line a corpus.

    Args:
        catalog: of the phantom, its root made.
    """
    table = Table(title=f"{catalog.root}\n{catalog.notice}", title_justify="left")
    for column in ("source", "stands for", "pairs", "patients", "modalities", "columns", "MB"):
        table.add_column(column, justify="right" if column in ("pairs", "patients", "MB") else "left")
    pairs = total = 0
    for name, corpus in catalog.corpora.items():
        folder = (Path(catalog.root) / corpus.manifest).parent
        card = yaml.safe_load((folder / "card.yaml").read_text(encoding="utf-8"))
        size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        modalities = ", ".join(f"{k} {v:,}" for k, v in card["by_modality"].items())
        table.add_row(name, card["stands_for"], f"{card['pairs']:,}", f"{card['patients']:,}", modalities, ", ".join(card["columns"]),
                      f"{size / 1e6:.1f}")
        pairs, total = pairs + card["pairs"], total + size
    table.add_section()
    table.add_row("all", "", f"{pairs:,}", "", "", "", f"{total / 1e6:.1f}")
    return table
