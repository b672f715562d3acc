"""The ledger: what is written is read, and what is damaged is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from radisim_cl.errors import RadisimError
from radisim_cl.records import events as ev
from radisim_cl.records.ledger import FILE, Ledger, read

EVENTS: list[type[ev.Event]] = list(get_args(get_args(ev.AnyEvent)[0]))
VALUES: dict[str, Any] = {
    "world_size": 2, "versions": {"torch": "2.11"}, "corpora": {"drawn": "ab12"}, "stages": ["one", "zwölf"], "drawn": {"drawn/CT": 3},
    "asked": {"drawn/CT": 2.9}, "reasons": ["a\nline \u2028 break", "≥ 0.5"], "split": "gate", "mode": "observe", "passed": True,
    "decision": "extend", "why": "look", "suites": {"one": {"value": 0.5, "low": -0.1, "high": 0.7}}, "alpha": 0.0125, "stage": "one",
    "exit_code": 75, "changed": ["seed: 4, not 3"], "pairs": ["drawn:17"],
}
WHY: dict[type[ev.Event], str] = {ev.StepsSkipped: "loss spike"}


def example(model: type[ev.Event]) -> Any:
    """An event of a class, with a telling value in every required field."""
    required = [n for n, f in model.model_fields.items() if f.is_required()]
    values = VALUES | ({"why": WHY[model]} if model in WHY else {})
    return model.model_validate({n: values.get(n, 7 if model.model_fields[n].annotation in (int, bool) else "some text") for n in required})


def lines(run: Path) -> list[bytes]:
    """The ledger's lines."""
    return (run / FILE).read_bytes().splitlines(keepends=True)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with four events."""
    ledger = Ledger(tmp_path)
    for n in range(4):
        ledger.append(ev.RunFailed(exit_code=1, error=f"fault {n}"))
    return tmp_path


@pytest.mark.parametrize("model", EVENTS, ids=lambda m: m.__name__)
def test_every_event_survives_being_written_down(tmp_path: Path, model: type[ev.Event]) -> None:
    event = example(model)
    assert type(event) is model
    assert ev.EVENT.validate_json(event.model_dump_json()) == event
    written = Ledger(tmp_path).append(event)
    (found,), note = read(tmp_path)
    assert found == written
    assert type(found) is model
    assert not note
    assert found.model_copy(update={"number": 0, "time": ""}) == event
    assert json.loads(lines(tmp_path)[0])["event"] == model.__name__


def test_what_is_absent_stays_absent(tmp_path: Path) -> None:
    """An undecided gate, a sealed score, a scoring before any stage: None is not False and not nothing."""
    ledger = Ledger(tmp_path)
    ledger.append(example(ev.GateDecided).model_copy(update={"passed": None}))
    ledger.append(example(ev.Scored).model_copy(update={"suites": None, "stage": None}))
    gate, scored = read(tmp_path)[0]
    assert isinstance(gate, ev.GateDecided)
    assert isinstance(scored, ev.Scored)
    assert (gate.passed, scored.suites, scored.stage) == (None, None, None)


def test_every_event_class_is_one_that_can_be_read() -> None:
    assert {c.__name__ for c in ev.Event.__subclasses__()} == {c.__name__ for c in EVENTS}


@pytest.mark.parametrize("model", EVENTS, ids=lambda m: m.__name__)
def test_an_event_with_an_unknown_field_is_refused(model: type[ev.Event]) -> None:
    with pytest.raises(ValidationError, match="colour"):
        ev.EVENT.validate_python(example(model).model_dump() | {"colour": "red"})


def test_events_are_numbered_from_zero_and_dated(run: Path) -> None:
    events, _ = read(run)
    assert [e.number for e in events] == [0, 1, 2, 3]
    assert all(datetime.fromisoformat(e.time).utcoffset() is not None for e in events)
    assert [e.error for e in events if isinstance(e, ev.RunFailed)] == [f"fault {n}" for n in range(4)]


def test_a_ledger_is_gone_on_with(run: Path) -> None:
    again = Ledger(run)
    assert len(again.events) == 4
    assert again.append(ev.RunFinished()).number == 4
    assert [e.number for e in read(run)[0]] == [0, 1, 2, 3, 4]
    assert again.events == read(run)[0]


def test_a_run_without_a_ledger_is_new(tmp_path: Path) -> None:
    assert read(tmp_path) == ([], "")
    assert Ledger(tmp_path).events == []
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("keep", [1, 20, -1])
def test_a_torn_last_line_is_dropped_and_said_and_cut_off_before_writing(run: Path, keep: int) -> None:
    """Also when only its line end is missing: then the event was not yet durable."""
    torn = lines(run)[3][:keep]
    (run / FILE).write_bytes(b"".join(lines(run)[:3]) + torn)
    damaged = (run / FILE).read_bytes()
    events, note = read(run)
    assert len(events) == 3
    assert "torn" in note
    assert str(len(torn)) in note
    assert (run / FILE).read_bytes() == damaged, "reading changes nothing"
    ledger = Ledger(run)
    assert ledger.note == note
    assert ledger.append(ev.RunFinished()).number == 3
    events, note = read(run)
    assert [type(e) for e in events] == [ev.RunFailed] * 3 + [ev.RunFinished]
    assert not note


DAMAGE: dict[str, tuple[Callable[[list[bytes]], list[bytes]], int]] = {
    "torn in the middle": (lambda x: [x[0], x[1][:10] + b"\n", *x[2:]], 2),
    "torn in the middle and at the end": (lambda x: [x[0], x[1][:10] + b"\n", x[2], x[3][:10]], 2),
    "not JSON at the end": (lambda x: [*x[:3], b"oh no\n"], 4),
    "an empty line": (lambda x: [x[0], b"\n", *x[1:]], 2),
    "a gap": (lambda x: [x[0], *x[2:]], 2),
    "twice the same": (lambda x: [*x[:2], *x[1:]], 3),
    "another order": (lambda x: [x[0], x[2], x[1], x[3]], 2),
    "an unknown event": (lambda x: [x[0].replace(b"RunFailed", b"RunHalted"), *x[1:]], 1),
    "an unknown field": (lambda x: [*x[:2], x[2].replace(b'"error"', b'"fault":1,"error"'), x[3]], 3),
    "another encoding": (lambda x: [*x[:2], x[2].replace(b"fault 2", b"\xff\xfe"), x[3]], 3),
    "first lost": (lambda x: x[1:], 1),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_ledger_is_refused_at_its_line_and_left_as_it_is(run: Path, damage: str) -> None:
    change, line = DAMAGE[damage]
    (run / FILE).write_bytes(b"".join(change(lines(run))))
    before = (run / FILE).read_bytes()
    for open_ in (read, Ledger):
        with pytest.raises(RadisimError, match=rf"{FILE}:{line}:"):
            open_(run)
    assert (run / FILE).read_bytes() == before


@pytest.mark.parametrize("left", [None, b""], ids=["missing", "empty"])
def test_checkpoints_without_a_ledger_are_refused(tmp_path: Path, left: bytes | None) -> None:
    (tmp_path / "checkpoints").mkdir()
    if left is not None:
        (tmp_path / FILE).write_bytes(left)
    for open_ in (read, Ledger):
        with pytest.raises(RadisimError, match="checkpoints"):
            open_(tmp_path)
