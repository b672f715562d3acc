"""Errors that a user can act on. Each carries the exit code that the command line returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EXIT_DONE = 0
EXIT_FAULT = 1
EXIT_INPUT = 2
EXIT_GATE = 3
EXIT_SIGNAL = 75


class RadisimError(Exception):
    """Anything that ends a command with words instead of a traceback."""

    exit_code = EXIT_FAULT


class InputError(RadisimError):
    """A spec, a corpus or an argument is not usable as it is."""

    exit_code = EXIT_INPUT


class GateStopped(RadisimError):
    """A gate in mode `enforce` was not passed and its policy says stop."""

    exit_code = EXIT_GATE


class Interrupted(RadisimError):
    """A signal arrived; the state was saved and the same command goes on from there."""

    exit_code = EXIT_SIGNAL


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and where: `curricula/x.yaml:14`, `stages[3].losses[1].kind`, what and the fix."""

    where: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}  {self.field}: {self.message}" if self.field else f"{self.where}  {self.message}"


class SpecError(InputError):
    """Every problem of a spec at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(dict.fromkeys(problems))  # what several stages find wrong is said once
        super().__init__("\n".join(map(str, self.problems)))
