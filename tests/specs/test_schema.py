"""The JSON Schemas that editors use, the words for every field, and the YAML files that ship with the package."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from radisim_cl.errors import InputError
from radisim_cl.files import library_file, library_names
from radisim_cl.specs.base import Document
from radisim_cl.specs.benchmark import load_benchmark
from radisim_cl.specs.catalog import load_catalog, load_templates
from radisim_cl.specs.curriculum import StageSpec, load
from radisim_cl.specs.plan import Plan
from radisim_cl.specs.preprocess import PreprocessSpec
from radisim_cl.specs.schema import DOCUMENTS, schema_of
from radisim_cl.specs.tree import read, resolve_use

FOLDERS = {"curriculum": "curricula", "stage": "stages", "benchmark": "benchmarks", "catalog": "catalogs", "templates": "templates"}
READ: dict[str, Callable[[str], Document]] = {
    "curriculum": load, "benchmark": load_benchmark, "catalog": load_catalog, "templates": load_templates,
    "stage": lambda name: StageSpec.from_node(resolve_use(read(file := library_file("stages", name)), "stages", file.parent)),
}
SHIPPED = [(kind, name) for kind, folder in FOLDERS.items() for name in library_names(folder)]


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every model that an annotation leads to, through fields and containers."""
    seen: list[Any] = []
    todo = [annotation]
    while todo:
        here = todo.pop()
        if here in seen:
            continue
        seen.append(here)
        if isinstance(here, type) and issubclass(here, BaseModel):
            yield here
            todo += [f.annotation for f in here.model_fields.values()]
        else:
            todo += get_args(here)


SPECS = sorted({m for root in (*DOCUMENTS.values(), Plan, PreprocessSpec) for m in models(root)}, key=lambda m: m.__name__)


def subschemas(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema and every schema inside it."""
    if isinstance(schema, dict):
        yield schema
    for child in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from subschemas(child)


@pytest.mark.parametrize("model", SPECS, ids=lambda m: m.__name__)
def test_every_model_and_every_field_is_described(model: type[BaseModel]) -> None:
    assert model.__doc__
    assert [name for name, field in model.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("model", SPECS, ids=lambda m: m.__name__)
def test_no_model_takes_unknown_fields_or_can_be_changed(model: type[BaseModel]) -> None:
    assert model.model_config.get("extra") == "forbid"
    assert model.model_config.get("frozen")


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_schema_is_whole_and_closed(kind: str) -> None:
    schema = json.loads(json.dumps(schema_of(kind)))
    assert schema["$schema"].startswith("https://json-schema.org/draft/")
    assert kind in schema["title"]
    assert {part["$ref"].removeprefix("#/$defs/") for part in subschemas(schema) if "$ref" in part} <= schema.get("$defs", {}).keys()
    objects = [p for p in [schema, *schema.get("$defs", {}).values()] if "properties" in p]
    assert objects
    for part in objects:
        assert part["type"] == "object"
        assert part["additionalProperties"] is False
        assert [name for name, field in part["properties"].items() if not field.get("description")] == []
        for required in (part, *part.get("anyOf", [])):
            assert set(required.get("required", [])) <= part["properties"].keys()


@pytest.mark.parametrize("kind", ["curriculum", "stage"])
def test_a_schema_takes_use_instead_of_what_is_required(kind: str) -> None:
    schema = schema_of(kind)
    stage = schema if kind == "stage" else schema["$defs"]["StageSpec"]
    for part in (schema, stage):
        assert part["properties"]["use"]["type"] == "string"
        assert {"required": ["use"]} in part["anyOf"]
        assert "required" not in part
    assert any({"name", "data", "losses", "train", "gate"} == set(way["required"]) for way in stage["anyOf"])


@pytest.mark.parametrize("kind", ["benchmark", "templates"])
def test_only_curricula_stages_and_catalogs_use_other_files(kind: str) -> None:
    assert "use" not in schema_of(kind)["properties"]


def test_an_unknown_kind_of_schema_names_those_there_are() -> None:
    with pytest.raises(InputError, match=r"'curiculum'.*Did you mean 'curriculum'\? Known: benchmark, catalog, curriculum, stage, templates\."):
        schema_of("curiculum")


def test_something_of_every_kind_ships() -> None:
    assert {kind for kind, _ in SHIPPED} == set(FOLDERS) == set(DOCUMENTS)


@pytest.mark.parametrize(("kind", "name"), SHIPPED, ids=lambda x: str(x))
def test_what_ships_is_valid_and_named_like_its_file(kind: str, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for root in ("RADISIM_REAL", "RADISIM_VOLUMES", "RADISIM_OPEN"):
        monkeypatch.setenv(root, str(tmp_path))
    file = library_file(FOLDERS[kind], name)
    document = READ[kind](name)
    # One that uses another may keep its name, and with it the thresholds that gates hold for it.
    assert document.model_dump()["name"] in {Path(name).name, read(file).plain().get("use")}
    assert set(read(file).plain()) <= schema_of(kind)["properties"].keys()


@pytest.mark.parametrize("name", library_names("curricula"))
def test_a_shipped_curriculum_asks_only_for_what_ships(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for root in ("RADISIM_REAL", "RADISIM_VOLUMES", "RADISIM_OPEN"):
        monkeypatch.setenv(root, str(tmp_path))
    spec = load(name)
    catalog, benchmark = load_catalog(spec.catalog), load_benchmark(spec.benchmark)
    assert {e.source for s in spec.stages for e in s.data.mixture} <= catalog.corpora.keys()
    assert {t for s in spec.stages for t in s.gate.targets} <= benchmark.suites.keys() | {b.id for b in benchmark.subtasks}
    assert catalog.templates is None or {e.captions for s in spec.stages for e in s.data.mixture} - {"own"} <= load_templates(
        catalog.templates).levels.keys()
