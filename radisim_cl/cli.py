"""The command line. No logic: it reads arguments, calls, prints, and turns errors into exit codes."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from radisim_cl.cli_data import corpus_app, ingest, phantom_app
from radisim_cl.cli_options import Catalog, CurriculumArg, Drop, Profile, Sets, Shorter, out
from radisim_cl.errors import EXIT_DONE, EXIT_FAULT, EXIT_INPUT, InputError, RadisimError, SpecError
from radisim_cl.specs.curriculum import CurriculumSpec
from radisim_cl.specs.plan import Plan

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich", add_completion=False,
    help="Train a radiology CLIP the way a radiologist learns: each stage is over when a gate has seen that the skill is there.\n\n"
         "Exit codes: 0 done, 2 bad spec or input, 3 a gate said stop, 1 a fault, 75 saved and stopped on a signal (start again).",
)
app.add_typer(phantom_app, name="phantom")
app.add_typer(corpus_app, name="corpus")

Split = Literal["tune", "gate", "report"]
Format = Literal["table", "json", "csv", "latex", "html"]
Precision = Literal["auto", "fp32", "bf16"]
Page = Annotated[bool, typer.Option("--report/--no-report", help="Write the run's page, report.html, at the end; it shows images of the benchmark.")]
Nproc = Annotated[int | None, typer.Option(min=1, help="Ranks on this machine. Default: 1, or what the run had before.")]


@app.command()
def run(
    curriculum: CurriculumArg,
    profile: Profile = None,
    catalog: Catalog = None,
    out_: Annotated[Path | None, typer.Option("--out", help="Run directory. Default: runs/<name of the curriculum>.")] = None,
    nproc: Nproc = None,
    drop: Drop = None,
    shorter: Shorter = False,
    set_: Sets = None,
    report: Page = True,
) -> None:
    """Train a curriculum from its first stage to an exported model. Starting it again goes on where it was."""
    plan = _plan(curriculum, profile, catalog, set_, drop, shorter)
    from radisim_cl.runs import directory

    folder = out_ or Path("runs") / plan.curriculum.name
    _check(plan.curriculum, nproc or 1)
    if os.environ.get("RANK", "0") == "0":
        for kept in directory.create(plan, folder, int(os.environ.get("WORLD_SIZE", nproc or 1))):
            out.print(f"{folder} keeps {kept} (it goes on with what it began with)", highlight=False, markup=False, soft_wrap=True)
    _execute(folder, nproc, report)


@app.command()
def resume(
    run: Annotated[str | None, typer.Argument(help="A run by name or path. Default: the newest unfinished one under runs/.")] = None,
    stage: Annotated[str | None, typer.Option(help="Go back to the state in which this stage began: its name, or its number from 1.")] = None,
    fork: Annotated[str | None, typer.Option(help="Leave the run as it is, and go on under a changed plan in a new one: a name under runs/, or a "
                                                  "path.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="With --fork: change a field of what is to come.")] = None,
    curriculum: Annotated[str | None, typer.Option(help="With --fork: the edited curriculum file.")] = None,
    nproc: Nproc = None,
    report: Page = True,
) -> None:
    """Go on with a run, exactly as if it had not been interrupted; or, forked, under another plan from where it is."""
    from radisim_cl.runs import directory

    folder = directory.find(run, unfinished=fork is None)
    if run is None:
        out.print(f"resuming {folder}", highlight=False)
    if (set_ or curriculum) and fork is None:
        raise InputError("--set and --curriculum change the plan of a run, which takes --fork NEW; the run itself stays as it is")
    if fork is not None:
        from radisim_cl.runs.forking import fork as forked

        folder = forked(folder, Path(fork) if "/" in fork else Path("runs") / fork, stage, set_ or (), curriculum)
        out.print(f"forked into {folder}", highlight=False)
    elif stage is not None:
        out.print(f"going back to the beginning of {directory.rewind(folder, stage)}", highlight=False)
    _execute(folder, nproc, report)


@app.command()
def plan(curriculum: CurriculumArg, profile: Profile = None, catalog: Catalog = None, drop: Drop = None, shorter: Shorter = False,
         set_: Sets = None, as_json: Annotated[bool, typer.Option("--json", help="Print the whole plan as JSON.")] = False) -> None:
    """Show what a run would do: steps, mixtures with available and requested pairs, losses, subtasks, memory, time."""
    made = _plan(curriculum, profile, catalog, set_, drop, shorter)
    from radisim_cl.runs.tables import plan_table

    if as_json:
        print(json.dumps(made.model_dump(mode="json"), indent=1))
    else:
        out.print(plan_table(made))


@app.command()
def validate(curricula: Annotated[list[str], typer.Argument(help="Curriculum files or names.")], profile: Profile = None,
             catalog: Catalog = None, set_: Sets = None) -> None:
    """Check any number of curricula against catalog and benchmark; all problems at once, with file and line."""
    problems = []
    for name in curricula:
        try:
            _plan(name, profile, catalog, set_)
            out.print(f"{name}: ok", highlight=False)
        except InputError as e:
            problems.append(str(e))
    if problems:
        raise InputError("\n".join(problems))


@app.command()
def ablate(
    curricula: Annotated[list[str], typer.Argument(help="Curriculum files or names; the first is what the others are compared with.")],
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each, with the seeds from 1.")] = 3,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at work at a time.")] = 1,
    profile: Profile = None,
    catalog: Catalog = None,
    out_: Annotated[Path | None, typer.Option("--out", help="Default: runs/ablation-<name of the first curriculum>.")] = None,
    drop: Annotated[list[str] | None, typer.Option(help="Also run the first curriculum without this stage. Repeatable.")] = None,
    shorter: Shorter = False,
    set_: Sets = None,
    slurm: Annotated[bool, typer.Option("--slurm", help="Only print a Slurm job array that does it, a run a task.")] = False,
) -> None:
    """Run curricula with several seeds each, and compare them. A second call runs what is missing and goes on with what was cut.

    Each run has a directory of its own, <out>/<curriculum>-seed<k>, and a log beside it. One that fails does not stop the others; the exit code
    is then 1. At the end a page compares all of them: <out>/comparison.html.
    """
    from radisim_cl.compare import ablation

    given = ablation.options(profile, catalog, set_)
    variants = [ablation.variant(name, given, _spec(name, profile, catalog, set_, None, False)) for name in curricula]
    for stage in drop or ():
        without = [*given, "--drop", stage, *["--shorter"] * shorter]
        variants.append(ablation.variant(curricula[0], without, _spec(curricula[0], profile, catalog, set_, [stage], shorter)))
    home = out_ or Path("runs") / f"ablation-{variants[0].spec.name}"
    runs = ablation.runs(variants, seeds, home)
    if slurm:
        print(ablation.slurm(runs, home))
        return
    if failed := ablation.Ablation(runs, jobs, out).go():
        raise RadisimError(f"{len(failed)} of {len(runs)} runs have not finished:\n" + "\n".join(f"  {r.folder.name}: {r.error}" for r in failed))
    if len(variants) > 1:
        from radisim_cl.compare.comparison import compare
        from radisim_cl.compare.formats import tables
        from radisim_cl.compare.runs import finished
        from radisim_cl.files import write_atomic
        from radisim_cl.report.compared import FILE, html

        made = compare(finished([str(r.folder) for r in runs]), allow_different=shorter)
        write_atomic(home / FILE, html(made))
        out.print(tables(made))
        out.print(f"comparison: {home / FILE}", highlight=False, soft_wrap=True)


@app.command("compare")
def compare_(
    runs: Annotated[list[str], typer.Argument(help="Runs by name or path, or a folder of runs such as an ablation's. The first one's curriculum is "
                                                   "what the others are compared with.")],
    allow_different: Annotated[bool, typer.Option("--allow-different", help="Also runs of another budget; in what they differ is said.")] = False,
    format_: Annotated[Format, typer.Option("--format", help="JSON has all of it, CSV and LaTeX the differences; HTML is a page with "
                                                             "pictures.")] = "table",
    out_: Annotated[Path | None, typer.Option("--out", help="Write it there instead of printing it.")] = None,
) -> None:
    """Compare finished runs by curriculum: differences over patients and over seeds, forgetting, sample efficiency, gates, cost.

    Runs of one curriculum are its seeds. Those that were asked other questions are refused; so are those of another budget.
    """
    from radisim_cl.compare.comparison import compare
    from radisim_cl.compare.formats import tables, written
    from radisim_cl.compare.runs import finished
    from radisim_cl.files import write_atomic

    made = compare(finished(runs), allow_different)
    if format_ == "table":
        page = Console(width=150, record=True, file=io.StringIO()) if out_ else out
        page.print(tables(made))
        text = page.export_text() if out_ else ""
    elif format_ == "html":
        from radisim_cl.report.compared import html

        text = html(made)
    else:
        text = written(made, format_)
    if out_:
        write_atomic(out_, text)
    else:
        print(text, end="")


@app.command()
def schema(kind: Annotated[str, typer.Argument(help="curriculum, stage, benchmark, catalog or templates")] = "curriculum") -> None:
    """Print the JSON Schema of a YAML file, for editors."""
    from radisim_cl.specs.schema import schema_of

    print(json.dumps(schema_of(kind), indent=1))


@app.command()
def bench(
    model: Annotated[str, typer.Argument(help="A run (name or path), an exported folder, `hf-hub:org/name`, or an open_clip name and --pretrained.")],
    benchmark: Annotated[str | None, typer.Option(help="A file of `benchmarks/`, or its path. Default: the run's own, or `radiologist-24`.")] = None,
    catalog: Catalog = None,
    split: Annotated[Split, typer.Option(help="Whose items are asked. Thresholds always come from `tune`.")] = "report",
    pretrained: Annotated[str | None, typer.Option(help="An open_clip tag, or a weights file.")] = None,
    out_: Annotated[Path | None, typer.Option("--out", help="Default: bench/<model>-<benchmark>-<split>.")] = None,
    readers: Annotated[int, typer.Option(min=1, max=64, help="Threads that read and decode.")] = 2,
    precision: Annotated[Precision, typer.Option(help="`auto`: as the run was trained; else bf16 where the machine has it built in.")] = "auto",
) -> None:
    """Score any open_clip model zero-shot: a table with intervals, `scorecard.json`, answers by item, and pictures.

    A second call with the same weights, images and prompts embeds nothing. Heat maps show images: keep them where the images may be.
    """
    from radisim_cl.runs.benching import bench as score
    from radisim_cl.runs.benching import subject
    from radisim_cl.runs.tables import scorecard_table

    card, published, folder = score(subject(model, pretrained), benchmark, catalog, split, out_, readers, precision, out)
    out.print(scorecard_table(card, published=published))
    out.print(f"{folder}: scorecard.json, answers.parquet, pictures/", highlight=False)


@app.command()
def status(run: Annotated[str | None, typer.Argument(help="A run by name or path. Default: the newest one under runs/.")] = None,
           svg: Annotated[Path | None, typer.Option(help="Also draw what is shown into this file.")] = None) -> None:
    """Tell where a run is, stage by stage; the result, if it has finished."""
    from radisim_cl.records.ledger import read
    from radisim_cl.records.state import fold
    from radisim_cl.runs.directory import find, load_plan
    from radisim_cl.runs.tables import save_picture, scorecard_table, status_table

    folder = find(run, unfinished=False)
    events, note = read(folder)
    state = fold(events)
    page = Console(width=150, record=True) if svg else out
    page.print(f"[bold]{folder}[/bold] {note}", highlight=False)
    page.print(status_table(state, load_plan(folder)), highlight=False)
    if state.status == "finished":
        from radisim_cl.runs.scores import result

        page.print(scorecard_table(result(folder, state)))
    if svg:
        save_picture(page, svg, f"radisim-cl status {folder.name}")


@app.command()
def log(run: Annotated[str | None, typer.Argument(help="A run by name or path. Default: the newest one under runs/.")] = None) -> None:
    """Tell what happened in a run and why, from the beginning: what was trained, scored, decided, skipped, lost and resumed."""
    from radisim_cl.records.ledger import read
    from radisim_cl.records.state import fold
    from radisim_cl.runs.directory import find, load_plan
    from radisim_cl.runs.tables import log_table

    folder = find(run, unfinished=False)
    events, note = read(folder)
    out.print(f"[bold]{folder}[/bold] {note}", highlight=False)
    out.print(log_table(events, fold(events), load_plan(folder)), highlight=False)


@app.command()
def report(
    run: Annotated[str | None, typer.Argument(help="A run by name or path. Default: the newest one under runs/.")] = None,
    images: Annotated[bool, typer.Option("--images/--no-images", help="Show images, and captions, of the benchmark's data.")] = True,
    out_: Annotated[Path | None, typer.Option("--out", help="Default: report.html in the run.")] = None,
) -> None:
    """Write a run's page: one HTML file with verdict, curves, subtasks, forgetting, examples and plan. `run` does it at its end.

    The page shows images of the benchmark: keep it where they may be, or use --no-images. It asks the network for nothing.
    """
    from radisim_cl.report.write import write
    from radisim_cl.runs.directory import find

    if out_ is not None and not out_.parent.is_dir():
        raise InputError(f"--out {out_}: no folder {out_.parent}; make it first")
    out.print(f"report: {write(find(run, unfinished=False), images, out_)}", highlight=False, soft_wrap=True)


@app.command()
def doctor(run: Annotated[str | None, typer.Argument(help="A run by name or path, whose every file is then checked too.")] = None) -> None:
    """Check this machine; and a run, by every digest that it wrote. Changes nothing.

    Ends with 2 where something is broken, with 0 where nothing is.
    """
    from radisim_cl.runs.directory import find
    from radisim_cl.runs.doctor import machine, of_run, table

    found = machine() if run is None else of_run(find(run, unfinished=False))
    out.print(table(found))
    raise typer.Exit(EXIT_INPUT if any(c.broken for c in found) else EXIT_DONE)


@app.command("micro-batch")
def micro_batch(
    curriculum: CurriculumArg,
    profile: Profile = None,
    nproc: Annotated[int, typer.Option(min=1, help="Ranks that the run will have: the batch of one of them is tried.")] = 1,
    set_: Sets = None,
) -> None:
    """Try sizes of `micro_batch` on this machine, and say which to write into the profile.

    A rank that cannot hold its part of the global batch puts it through the towers in pieces; the loss stays that of the whole batch. Each size
    takes a few whole steps on noise, with the profile's model and precision, captions of full length and the contrastive loss, each in a process
    of its own: twice as many pairs at a time until memory does not suffice; on CPUs until nothing is gained. Then all at once, which is faster
    where it fits, since pieces go through the towers twice.

    Nothing is written: a run is a function of its plan, and the plan one of its files. Leave some memory to other losses and to longer runs.
    """
    spec = _spec(curriculum, profile, None, set_, None, False)
    _check(spec, nproc)
    from radisim_cl.runs.bars import Bars
    from radisim_cl.runs.fitting import advice, table, tried
    from radisim_cl.runs.planning import scale_problems

    if problems := scale_problems(spec):
        raise SpecError(problems)
    local = spec.scale.global_batch // nproc
    with Bars() as progress:
        trials = tried(spec, nproc, progress)
    out.print(table(trials, local))
    out.print(advice(trials, spec.profile, local), highlight=False, soft_wrap=True)


@app.command("ls")
def list_(what: Annotated[str, typer.Argument(help="benchmarks, catalogs, curricula, gates, layouts, losses, models, protocols, runs, sources, "
                                                       "stages, subtasks or templates")],
          catalog: Catalog = None, benchmark: Annotated[str, typer.Option(help="For `ls subtasks`.")] = "radiologist-24") -> None:
    """List what there is to choose from."""
    from radisim_cl.runs.listing import listing

    for line in listing(what, catalog or "phantom", benchmark):
        print(line)


app.command()(ingest)


def _spec(curriculum: str, profile: str | None, catalog: str | None, sets: list[str] | None, drop: list[str] | None, shorter: bool) -> CurriculumSpec:
    from radisim_cl.specs.controls import without
    from radisim_cl.specs.curriculum import load

    if shorter and not drop:
        raise InputError("--shorter goes with --drop, which says what is left out")
    spec = load(curriculum, sets or (), profile, catalog)
    return without(spec, drop, shorter) if drop else spec


def _plan(curriculum: str, profile: str | None, catalog: str | None, sets: list[str] | None, drop: list[str] | None = None,
          shorter: bool = False) -> Plan:
    from radisim_cl.files import library_file
    from radisim_cl.runs.planning import plan as make

    spec = _spec(curriculum, profile, catalog, sets, drop, shorter)
    return make(spec, library_file("curricula", curriculum, Path()).resolve().parent)


def _check(curriculum: CurriculumSpec, nproc: int) -> None:
    scale = curriculum.scale
    world, batch, micro = int(os.environ.get("WORLD_SIZE", nproc)), scale.global_batch, scale.micro_batch
    if batch % world:
        raise InputError(f"global_batch {batch} is not a multiple of {world} ranks: {batch} / {world} = {batch / world:g}")
    if micro and batch // world % micro:
        raise InputError(f"global_batch {batch} is not micro_batch x pieces x ranks: {batch} / ({micro} x {world}) = {batch / micro / world:g}; "
                         f"micro_batch must divide the {batch // world} pairs of a rank")
    if scale.precision == "fp16" or scale.compile:
        from radisim_cl.runs.doctor import lacking

        if problems := lacking(curriculum):
            raise SpecError(problems)


def _execute(folder: Path, nproc: int | None, page: bool) -> None:
    if "RANK" not in os.environ:
        from radisim_cl.runs.directory import ended, load_plan, state

        if ended(folder):
            out.print(f"{folder} has finished; `radisim-cl status {folder}` shows the result", highlight=False)
            return
        from radisim_cl.runs.embedded import restore

        made = load_plan(folder)
        nproc = nproc or state(folder).world_size
        _check(made.curriculum, nproc)
        restore(made.catalog)
        if nproc > 1:
            from radisim_cl.runs.launch import ranks

            if code := ranks(folder, nproc):
                raise typer.Exit(code)
    if "RANK" in os.environ or nproc == 1:
        from radisim_cl.runs.runner import resume as go

        go(folder)
    if page and os.environ.get("RANK", "0") == "0":
        from radisim_cl.report.write import write

        out.print(f"report: {write(folder)}", highlight=False, soft_wrap=True)


def _rank() -> str:
    return f"rank {os.environ['RANK']}: " if "RANK" in os.environ else ""


def main() -> None:
    """Runs a command; errors that a user can act on become words on stderr and an exit code."""
    try:
        app()
    except RadisimError as e:
        print(f"{_rank()}{e}", file=sys.stderr)
        sys.exit(e.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as e:
        if os.environ.get("RADISIM_DEBUG"):
            raise
        print(f"{_rank()}fault: {type(e).__name__}: {e}\nSet RADISIM_DEBUG=1 for the traceback; a run keeps it in fault.log.", file=sys.stderr)
        sys.exit(EXIT_FAULT)
    sys.exit(EXIT_DONE)
