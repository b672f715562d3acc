"""What `radisim-cl ls` lists."""

from __future__ import annotations

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
from radisim_cl.specs.benchmark import load_benchmark
from radisim_cl.specs.catalog import CatalogSpec, load_catalog

WHAT = ("benchmarks", "catalogs", "curricula", "gates", "losses", "models", "protocols", "runs", "sources", "stages", "subtasks", "templates")


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
            out = []
            for s in spec.subtasks:
                absent = [i.source for i in s.items if i.source not in corpora.catalog.corpora]
                told = f"missing: no source {absent[0]!r} in catalog {catalog!r}" if absent else ""
                if not absent:
                    gate = items(s, corpora, "gate")
                    of = "with a mask" if s.protocol == "ground" else "of the rarest class"
                    told = f"{counted(gate)} {'volumes' if s.protocol == 'volume' else 'images'} on the gate split, {fewest(s, gate)} patients {of}"
                out.append(f"{s.suite}  {s.id}  {s.protocol}  {s.metric}  {told}")
            return out
    raise InputError(f"cannot list {what!r}. {hint(what, WHAT)}")


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
