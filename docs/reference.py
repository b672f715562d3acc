"""Prints docs/reference.md: every field that a YAML file can have, in the words of the specs. `make reference` writes it."""

from __future__ import annotations

import json
import re
from typing import Any

from radisim_cl.specs.schema import DOCUMENTS, schema_of

Schema = dict[str, Any]
_BOUNDS = {"exclusiveMinimum": "> {}", "minimum": ">= {}", "exclusiveMaximum": "< {}", "maximum": "<= {}", "multipleOf": "a multiple of {}",
           "minItems": "at least {}", "maxItems": "at most {}", "minProperties": "at least {}", "maxProperties": "at most {}"}
_HEAD = """# Reference

Every field of every file, with its type, its default and what it means. This page is made of the specs in `radisim_cl/specs/`: `make reference`
writes it anew. `radisim-cl schema KIND` prints the same as JSON Schema, for editors. A file has no other fields: an unknown one is refused,
at its line.

A curriculum, each of its stages, and a catalog may begin with `use: NAME`: the fields of that file, with those written here on top. In any text
of a curriculum, a benchmark or a catalog, `${NAME}` is an environment variable. `--set a.b=c` changes any field of a curriculum; lists take an
index or the item's name.
"""


def page() -> str:
    """The page: a section a kind of file, and in it a table a group of fields, in the order in which a reader meets them."""
    out, shown = [_HEAD], {model.__name__ for model in DOCUMENTS.values()}
    for kind, model in DOCUMENTS.items():
        schema = schema_of(kind)
        out += [f"## {_plain(model.__name__)}\n", f"{_line(schema['description'])}\n", _table(schema)]
        waiting = _named(schema["properties"])
        while waiting:
            name = waiting.pop(0)
            if name not in shown:
                shown.add(name)
                part = schema["$defs"][name]
                out += [f"### {_plain(name)}\n", f"{_line(part['description'])}\n", _table(part)]
                waiting = [*_named(part["properties"]), *waiting]
    return "\n".join(out)


def _plain(name: str) -> str:
    """`ClipLossSpec` as `Clip loss`."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name.removesuffix("Spec")).capitalize()


def _named(schema: Any) -> list[str]:
    """The groups of fields that a schema refers to, in its order."""
    if isinstance(schema, list):
        return [n for part in schema for n in _named(part)]
    if not isinstance(schema, dict):
        return []
    own = [_target(schema)] if "$ref" in schema else []
    return own + [n for key, part in schema.items() if key not in ("default", "discriminator") for n in _named(part)]


def _target(schema: Schema) -> str:
    return str(schema["$ref"]).rsplit("/", 1)[-1]


def _table(schema: Schema) -> str:
    required = {*schema.get("required", ()), *next((part["required"] for part in schema.get("anyOf", ())), ())}
    rows = [f"| `{name}` | {_type(field)} | {_default(field, name in required)} | {_line(field.get('description', ''))} |"
            for name, field in schema["properties"].items() if name != "use"]
    return "\n".join(["| field | type | default | |", "|-|-|-|-|", *rows]) + "\n"


def _type(field: Schema) -> str:
    if "$ref" in field:
        name = _plain(_target(field))
        return f"[{name}](#{name.lower().replace(' ', '-')})"
    if parts := field.get("anyOf") or field.get("oneOf"):
        return " or ".join(_type(part) for part in parts)
    if "const" in field or "enum" in field:
        return " or ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    bounds = ", ".join(words.format(f"{field[key]:g}" if isinstance(field[key], float) else field[key])
                       for key, words in _BOUNDS.items() if key in field)
    match field["type"]:
        case "array" if "prefixItems" in field:
            what = "list of " + ", ".join(_type(part) for part in field["prefixItems"])
            bounds = ""
        case "array":
            what = f"list of {_type(field['items'])}"
        case "object":
            keys = _type({"type": "string"} | field["propertyNames"]) if "propertyNames" in field else "name"
            what = f"{keys} to {_type(field['additionalProperties'])}"
        case "string":
            what = "name" if "pattern" in field else "text"
        case other:
            what = {"integer": "whole number", "number": "number", "boolean": "true or false", "null": "nothing"}[other]
    return f"{what} ({bounds})" if bounds else what


def _default(field: Schema, required: bool) -> str:
    if required:
        return "**required**"
    default = field["default"]
    if "$ref" in field:
        return "its own defaults"
    return "nothing" if default is None else "empty" if default in ("", [], {}) else f"`{json.dumps(default, ensure_ascii=False)}`"


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")
