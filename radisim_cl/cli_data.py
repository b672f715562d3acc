"""The commands that make and check corpora: `phantom`, `ingest` and `corpus`. No logic, as in `cli.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from radisim_cl.cli_options import Catalog, out
from radisim_cl.errors import EXIT_DONE, EXIT_INPUT, InputError

phantom_app = typer.Typer(no_args_is_help=True, help="The embedded synthetic corpora: look at them, or make them beforehand.")
corpus_app = typer.Typer(no_args_is_help=True, help="Corpora: find training pairs that a benchmark asks about too.")


@phantom_app.command("sheet")
def phantom_sheet(
    out_: Annotated[Path, typer.Option("--out", help="PNG, PDF or SVG.")] = Path("sheet.png"),
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other patients.")] = 0,
) -> None:
    """Draw a contact sheet of modalities, regions, planes and findings, with captions and outlines of masks."""
    from radisim_cl.phantom.sheet import sheet

    if out_.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise InputError(f"--out {out_}: ends in {out_.suffix or 'nothing'!r}; use .png, .pdf or .svg")
    if not out_.parent.is_dir():
        raise InputError(f"--out {out_}: no folder {out_.parent}; make it first")
    sheet(out_, seed)


@phantom_app.command("make")
def phantom_make(catalog: Annotated[str, typer.Option(help="A catalog of the phantom, for its seed, size and scale.")] = "phantom") -> None:
    """Render the corpora now, as `run` does when it first needs them, and say where they are."""
    from radisim_cl.runs.embedded import ready
    from radisim_cl.runs.listing import corpora_table
    from radisim_cl.specs.catalog import load_catalog

    made = ready(load_catalog(catalog, Path()))
    if made.phantom is None:
        raise InputError(f"catalog {catalog!r} is not of the phantom; its data lie in {made.root}")
    out.print(corpora_table(made))


def ingest(
    layout: Annotated[str, typer.Argument(help="How the files are distributed: `ls layouts` lists what can be read.")],
    folder: Annotated[Path, typer.Argument(help="Where they are.")],
    out_: Annotated[Path, typer.Option("--out", help="Folder of the corpus. A second call goes on, or finds it made.")],
    table: Annotated[Path | None, typer.Option(help="CSV, TSV, JSONL or Parquet with a column `path` and columns of a manifest: which files, and "
                                                    "what is known of them.")] = None,
    column: Annotated[list[str] | None, typer.Option(help="What a column of the table is: `labels=label`. Repeatable.")] = None,
    where: Annotated[list[str] | None, typer.Option(help="Rows of the table that are wanted, or without one, of the manifest: `modality=CT,MR`. "
                                                         "Repeatable.")] = None,
    patient: Annotated[str, typer.Option(help="Regular expression: its first group in the native patient id, or path, is the patient.")] = "",
    licence: Annotated[str, typer.Option(help="Where the table has none; instead of the layout's own.")] = "",
    slices: Annotated[int, typer.Option(min=1, help="Pictures of a volume, evenly spread.")] = 7,
    size: Annotated[int, typer.Option(min=16, max=2048, help="Pixels of the longest side.")] = 256,
    plane: Annotated[str, typer.Option(help="axial, coronal or sagittal; of volumes that are stored whole.")] = "axial",
    window: Annotated[str, typer.Option(help="`auto`: the file's own, or by region in CT, or percentiles. Or `40/400`: centre and width.")] = "auto",
    most_unusable: Annotated[float, typer.Option(min=0, max=1, help="Share of volumes or images that may be left out.")] = 0.05,
    uncertain: Annotated[str, typer.Option(help="A finding that is labelled uncertain (CheXpert, MIMIC-CXR): negative (not named), positive, or skip "
                                                "(the picture is left out).")] = "negative",
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    part: Annotated[str, typer.Option(help="Of a job array: `3/16` is the third of sixteen parts; the last one to end finishes the corpus.")] = "1/1",
    shard_size: Annotated[str, typer.Option(help="Also write it as tar shards of this size, in `packed/`: `256MB`.")] = "",
    known: Annotated[list[Path] | None, typer.Option(help="Folder of a corpus that was ingested before: the card says how many patients and pictures "
                                                          "it shares with this one. Repeatable.")] = None,
) -> None:
    """Make a corpus of real images: 8-bit pictures, a manifest and a card.

    Patient and study ids are hashed with the site's secret, RADISIM_SALT. Captions and labels are written as the table has them: see that they
    name nobody.
    """
    from radisim_cl.runs.bars import Bars
    from radisim_cl.runs.ingesting import ingest as make

    with Bars() as progress:
        card = make(layout, folder, out_, {"slices": slices, "size": size, "plane": plane, "window": window, "uncertain": uncertain}, patient, table,
                    column or [], where or [], licence, most_unusable, jobs, part, shard_size, known or [], progress)
    if "open" in card:
        out.print(f"{out_}: part {part} is done; {card['open']:,} blocks of records are left to others", highlight=False)
        return
    out.print(f"{out_}: {card['pairs']:,} pairs of {card['patients']:,} patients; card.yaml says how", highlight=False)


@corpus_app.command("check")
def corpus_check(
    train: Annotated[list[str], typer.Argument(help="Sources of the catalog; their train split is looked for in the benchmark.")],
    against: Annotated[str, typer.Option(help="A file of `benchmarks/`: `radiologist-24`. All its splits are asked; a finding says which.")],
    catalog: Catalog = None,
    examples: Annotated[int, typer.Option(min=0, help="Pairs that are listed of each finding.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Find training pairs that are in a benchmark: the same patient, the same image file, or the same picture saved anew.

    Pictures are found after JPEG, resizing, changes of brightness and small crops; not mirrored or turned. What only looks the same is listed
    as [i]suspected[/i] and refuses nothing. A first check reads every image; a second one takes the hashes from $RADISIM_CACHE.

    Ends with 2 where an overlap is confirmed, with 0 where none is.
    """
    from radisim_cl.runs.leakage import check

    found = check(train, against, catalog or "phantom")
    if as_json:
        print(json.dumps(found.record(examples), indent=1))
    else:
        out.print(found.table(examples))
    raise typer.Exit(EXIT_INPUT if found.confirmed else EXIT_DONE)


@corpus_app.command("pack")
def corpus_pack(
    corpus: Annotated[str, typer.Argument(help="A source of the catalog.")],
    out_: Annotated[Path, typer.Option("--out", help="Folder of the shards. A second call goes on, or finds it made.")],
    catalog: Catalog = None,
    shard_size: Annotated[str, typer.Option(help="The most that a shard takes: `256MB`, `1GiB`.")] = "256MB",
) -> None:
    """Write a corpus as tar shards in WebDataset's layout, with a manifest that says where in them each image is."""
    from radisim_cl.runs.bars import Bars
    from radisim_cl.runs.packing import pack

    with Bars() as progress:
        card = pack(corpus, out_, catalog or "phantom", shard_size, progress)
    out.print(f"{out_}: {card['pairs']:,} pairs in {len(card['shards']):,} shards; name manifest.parquet in a catalog", highlight=False)


@corpus_app.command("index")
def corpus_index(
    folder: Annotated[Path, typer.Argument(help="Where WebDataset shards are: `.tar`, not compressed. They stay where they are.")],
    out_: Annotated[Path, typer.Option("--out", help="Folder of the manifest.")],
    patient: Annotated[str, typer.Option(help="Regular expression: its first group in the native patient id, or key, is the patient.")] = "",
    licence: Annotated[str, typer.Option(help="Where `<key>.json` has none.")] = "",
) -> None:
    """Make a manifest of WebDataset shards that others have written. Ids are hashed with the site's secret, RADISIM_SALT."""
    from radisim_cl.runs.bars import Bars
    from radisim_cl.runs.packing import index

    with Bars() as progress:
        card = index(folder, out_, patient, licence, progress)
    out.print(f"{out_}: {card['pairs']:,} pairs of {card['patients']:,} patients; card.yaml says what was left out", highlight=False)


@corpus_app.command("caption")
def corpus_caption(
    corpus: Annotated[str, typer.Argument(help="A source of the catalog.")],
    out_: Annotated[Path, typer.Option("--out", help="Folder of the new manifest and the answers. A second call asks only for what is not there.")],
    endpoint: Annotated[str, typer.Option(help="URL of an OpenAI-compatible API: `http://localhost:8000/v1`. A key is read from RADISIM_API_KEY.")],
    model: Annotated[str, typer.Option(help="As the endpoint calls it.")],
    catalog: Catalog = None,
    prompt: Annotated[Path | None, typer.Option(help="File with instructions instead of ours; the facts of an image come after them.")] = None,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="At 0 all wordings of the same facts are the same.")] = 0.7,
    wordings: Annotated[int, typer.Option(min=1, max=20, help="Captions of the same facts; each row has one of them, by its id.")] = 3,
    per_minute: Annotated[float, typer.Option(min=0.1, help="Requests that are sent, those that are sent again among them.")] = 60,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Requests that wait for an answer at once.")] = 4,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, with three examples; send and write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the card, or what a dry run says, as JSON.")] = False,
) -> None:
    """Have captions written by a language model from labels, modality, plane, anatomy and structures; nothing else is sent.

    Captions that contradict the labels are asked for once more, then worded by the catalog's templates, and counted on the card. A corpus under a
    data-use agreement is sent to an endpoint on this machine only.
    """
    from radisim_cl.runs.bars import Bars
    from radisim_cl.runs.captioning import Captioning, dry

    with Bars() as progress:
        asked = Captioning.of(corpus, out_, catalog or "phantom", endpoint, model, prompt, temperature, wordings, per_minute, progress)
        told = asked.told() if dry_run else asked.make(jobs, progress)
    if as_json:
        print(json.dumps(told, indent=1, ensure_ascii=False))
    elif dry_run:
        out.print(dry(told), highlight=False, markup=False, soft_wrap=True)
    else:
        rows = told["captions"]["rows"]
        said = f"{rows['model']:,} captions by {model}, {rows['template']:,} by templates, {rows['none']:,} rows without"
        out.print(f"{out_}: {said}; card.yaml says why", highlight=False, markup=False)
