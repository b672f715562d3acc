"""What follows a look: the gate's policy, within what the run may still spend."""

from __future__ import annotations

from typing import Literal

from radisim_cl.records.events import Decision
from radisim_cl.specs.gates import GateSpec


def decision(gate: GateSpec, mode: Literal["enforce", "observe", "off"], passed: bool | None, look: int, tries: int, reserve: int, extension: int,
             whole: int) -> tuple[Decision, int]:
    """What the gate decides, and the optimizer steps that it takes from the reserve. Pure.

    Args:
        gate: its policy.
        mode: in which it runs; only `enforce` acts.
        passed: what its requirements say; None: the data cannot decide, which more training does not change.
        look: this one, from 1.
        tries: attempts so far, this one included.
        reserve: steps left.
        extension: steps of one extension or repair, where that many are left.
        whole: steps of the stage, which a rollback takes.
    """
    if passed or mode != "enforce":
        return "advance", 0
    longer = min(extension, reserve)
    match gate.on_fail:
        case "extend" if passed is False and look < gate.looks and longer:
            return "extend", longer
        case "replay_up" if passed is False and tries < gate.max_attempts and longer:
            return "replay_up", longer
        case "rollback" if passed is False and tries < gate.max_attempts and whole <= reserve:
            return "rollback", whole
        case "stop" | "advance_flagged":
            return gate.on_fail, 0
    return gate.then, 0
