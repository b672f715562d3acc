"""JSON Schema of what can be written in YAML."""

from __future__ import annotations

from typing import Any

from radisim_cl.errors import InputError
from radisim_cl.registry import hint
from radisim_cl.specs.base import Document
from radisim_cl.specs.benchmark import BenchmarkSpec
from radisim_cl.specs.catalog import CatalogSpec, TemplateSet
from radisim_cl.specs.curriculum import CurriculumSpec, StageSpec

DOCUMENTS: dict[str, type[Document]] = {
    "curriculum": CurriculumSpec, "stage": StageSpec, "benchmark": BenchmarkSpec, "catalog": CatalogSpec, "templates": TemplateSet,
}


def schema_of(kind: str) -> dict[str, Any]:
    """The schema of one kind of file. A curriculum, a stage or a catalog may `use` another, which then gives the required fields.

    Raises:
        InputError: no such kind.
    """
    if kind not in DOCUMENTS:
        raise InputError(f"no schema {kind!r}. {hint(kind, DOCUMENTS)}")
    out = DOCUMENTS[kind].model_json_schema()
    out["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    out["title"] = f"RadiSim-CL {kind}"
    for part in (out, out.get("$defs", {}).get("StageSpec", {})):
        if kind in ("curriculum", "stage", "catalog") and "required" in part:
            part["properties"]["use"] = {"type": "string", "description": "A file whose fields this one starts from."}
            part["anyOf"] = [{"required": part.pop("required")}, {"required": ["use"]}]
    return out
