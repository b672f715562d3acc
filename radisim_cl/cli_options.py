"""What commands have in common: arguments, and where they print."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

out = Console(width=None if sys.stdout.isatty() else 160)

CurriculumArg = Annotated[str, typer.Argument(help="A YAML file, or the name of a curriculum that ships with the package: `radiologist`.")]
Profile = Annotated[str | None, typer.Option(help="Scale: a key of the curriculum's `profiles`. Default: what the file says.")]
Catalog = Annotated[str | None, typer.Option(help="What the source names stand for: a file of `catalogs/`, or its path.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Change a field: `stages.grading.train.lr=1e-4`. Repeatable.")]
Drop = Annotated[list[str] | None, typer.Option(help="Leave a stage out; the others share its samples. Repeatable.")]
Shorter = Annotated[bool, typer.Option("--shorter", help="With --drop: nobody gets the samples of what is left out.")]
