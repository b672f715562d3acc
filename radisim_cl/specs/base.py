"""The base of every spec, and how pydantic's complaints become located problems."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, PrivateAttr, StringConstraints, ValidationError

from radisim_cl.errors import Problem, SpecError
from radisim_cl.registry import hint
from radisim_cl.specs.tree import Node, dotted

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=60)]
Where = dict[str, str | list[str]]


class Spec(BaseModel):
    """Plain, frozen data; an unknown key is refused; a docstring under a field is its description."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True, validate_default=True
    )


S = TypeVar("S", bound="Document")


class Document(Spec):
    """A spec that is a file of its own, and so can say where each of its fields was written."""

    _node: Node | None = PrivateAttr(default=None)

    @classmethod
    def from_node(cls, node: Node) -> Self:
        """Validates a located tree.

        Raises:
            SpecError: with every problem found, each at its file and line.
        """
        try:
            out = cls.model_validate(node.plain())
        except ValidationError as e:
            raise SpecError(_problems(cls, node, e)) from None
        out._node = node
        if problems := out.cross_checks():
            raise SpecError(problems)
        return out

    def cross_checks(self) -> list[Problem]:
        """What is wrong between fields rather than within one."""
        return []

    def problem(self, path: tuple[str | int, ...], message: str) -> Problem:
        """A problem at one of this document's fields."""
        where = self._node.locate(path) if self._node is not None else type(self).__name__
        return Problem(where, dotted(path), message)


def _problems(cls: type[BaseModel], node: Node, error: ValidationError) -> list[Problem]:
    words: dict[tuple[str | int, ...], list[str]] = {}
    for e in error.errors():
        path = _in_document(node, e["loc"])
        if e["type"] == "missing":
            path = (*path, e["loc"][-1])
        elif e["type"] == "union_tag_invalid":
            path = (*path, _discriminator(e))
        words.setdefault(path, []).append(_words(cls, e, path))
    # What fails every branch of a union is one problem.
    return [Problem(node.locate(path), dotted(path), " or ".join(dict.fromkeys(told))) for path, told in words.items()]


def _discriminator(e: Any) -> str:
    """The field that says which branch of a union is meant: pydantic gives `'kind'`, or `protocol()` for a function of that name."""
    return re.sub(r"\W", "", e["ctx"]["discriminator"])


def _in_document(node: Node, loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """A pydantic location without what is not of the document: the branches of unions."""
    here, path = node, list[str | int]()
    for step in loc:
        if (isinstance(here.value, dict) and step in here.value) or (
            isinstance(here.value, list) and isinstance(step, int) and step < len(here.value)
        ):
            here = here.value[step]  # type: ignore[index]  # a list here has been asked for an int
            path.append(step)
    return tuple(path)


def _words(cls: type[BaseModel], e: Any, path: tuple[str | int, ...]) -> str:
    kind, got = e["type"], e.get("input")
    context = e.get("ctx", {})
    shown = "" if isinstance(got, dict | list) else f", not {got!r}"
    if kind == "extra_forbidden":
        return f"unknown field {path[-1]!r}. {hint(str(path[-1]), _fields_at(cls, e['loc'][:-1]))}"
    if kind == "missing":
        return f"{path[-1]!r} is required"
    if kind == "union_tag_invalid":
        known = re.findall(r"'([^']+)'", context["expected_tags"])
        return f"unknown {_discriminator(e)} {context['tag']!r}. {hint(str(context['tag']), known)}"
    if kind == "union_tag_not_found":
        return "'kind' is required"
    if kind == "literal_error":
        known = re.findall(r"'([^']+)'", context["expected"]) or [context["expected"]]
        return f"unknown value{shown[5:] and ' ' + shown[6:]}. {hint(str(got), known)}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "finite_number":
        return f"must be a finite number{shown}"
    message = e["msg"].replace("Input should be", "must be").removesuffix(", unable to parse string as a number")
    return f"{message[0].lower()}{message[1:]}{shown}"


def _fields_at(cls: type[BaseModel], loc: Iterable[str | int]) -> list[str]:
    """The fields that exist where an unknown one was written: follows annotations, unions by their tag."""
    here: Any = cls
    for step in loc:
        models = _models(here)
        tagged = [m for m in models if any(f in m.model_fields and get_args(m.model_fields[f].annotation) == (step,) for f in ("kind", "protocol"))]
        if tagged:
            here = tagged[0]
            continue
        found = [m.model_fields[str(step)].annotation for m in models if str(step) in m.model_fields]
        here = found[0] if found else here
    return [n for m in _models(here) for n in m.model_fields]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for a in getattr(annotation, "__args__", ()) for m in _models(a)]
