"""A YAML document that remembers where every value was written.

YAML 1.2 scalars (`5e-5` is a number, `no` is a word), no duplicate keys, no tags that build objects, no alias bombs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from radisim_cl.errors import InputError, Problem, SpecError
from radisim_cl.files import library_file

MAX_NODES = 100_000
MAX_DEPTH = 40
Path_ = tuple[str | int, ...]


@dataclass
class Node:
    """A value with the file and line that it came from. `value`: a scalar, a list of nodes, or a dict of nodes."""

    value: Any
    file: str
    line: int
    keys: dict[str, int] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """`file:line`; of an override, the override."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def plain(self) -> Any:
        """The value without its positions."""
        if isinstance(self.value, dict):
            return {k: v.plain() for k, v in self.value.items()}
        if isinstance(self.value, list):
            return [v.plain() for v in self.value]
        return self.value

    def locate(self, path: Path_) -> str:
        """`file:line` of a field; of the nearest ancestor where the field itself was not written."""
        here, where = self, self.where
        for step in path:
            if isinstance(here.value, dict) and step in here.value:
                key_line = here.keys.get(str(step))
                here = here.value[step]
                where = f"{here.file}:{key_line}" if key_line else here.where
            elif isinstance(here.value, list) and isinstance(step, int) and step < len(here.value):
                here = here.value[step]
                where = here.where
            else:
                break
        return where


def dotted(path: Sequence[str | int]) -> str:
    """`('stages', 3, 'lr')` as `stages[3].lr`."""
    out = ""
    for step in path:
        out += f"[{step}]" if isinstance(step, int) else f".{step}" if out else step
    return out


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, Any] = {}


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9][0-9_]*$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^(?:[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"),
    list("-+.0123456789"),
)


_TAGS = {f"tag:yaml.org,2002:{t}" for t in ("null", "bool", "int", "float", "str", "seq", "map")}


def _scalar(node: yaml.ScalarNode) -> Any:
    text, kind = node.value, node.tag.rsplit(":", 1)[-1]
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        return int(text.replace("_", ""))
    if kind == "float":
        return float(re.sub(r"^([-+]?)\.(inf|nan)$", r"\1\2", text.lower().replace("_", "")))
    return text


class _Builder:
    def __init__(self, file: str) -> None:
        self.file, self.count, self.problems = file, 0, list[Problem]()

    def build(self, node: yaml.Node, path: Path_ = ()) -> Node:
        line = node.start_mark.line + 1
        self.count += 1
        if self.count > MAX_NODES:
            raise SpecError([Problem(f"{self.file}:{line}", "", f"more than {MAX_NODES:,} values once aliases are "
                                     "expanded; write them out, or fewer")])
        if len(path) > MAX_DEPTH:
            raise SpecError([Problem(f"{self.file}:{line}", "", f"nested more than {MAX_DEPTH} deep, or an alias to itself")])
        if node.tag not in _TAGS:
            self.problems.append(Problem(f"{self.file}:{line}", dotted(path), f"tag {node.tag.removeprefix('tag:yaml.org,2002:')!r} "
                                         "is refused: a spec is plain data; remove the tag"))
            return Node(None, self.file, line)
        if isinstance(node, yaml.ScalarNode):
            try:
                return Node(_scalar(node), self.file, line)
            except ValueError as e:
                self.problems.append(Problem(f"{self.file}:{line}", dotted(path), f"not a value: {e}"))
                return Node(None, self.file, line)
        if isinstance(node, yaml.SequenceNode):
            return Node([self.build(v, (*path, i)) for i, v in enumerate(node.value)], self.file, line)
        assert isinstance(node, yaml.MappingNode)
        out, keys = dict[str, Node](), dict[str, int]()
        for k, v in node.value:
            key, key_line = str(k.value), k.start_mark.line + 1
            if key in keys:
                self.problems.append(Problem(f"{self.file}:{key_line}", dotted((*path, key)),
                                             f"key {key!r} is written twice, at lines {keys[key]} and {key_line}; keep one"))
            keys[key] = key_line
            out[key] = self.build(v, (*path, key))
        return Node(out, self.file, line, keys)


def read(path: Path) -> Node:
    """A YAML file as located nodes.

    Raises:
        SpecError: not UTF-8, empty, a syntax error (line and column), a duplicate key, an unsafe tag, an alias bomb.
    """
    file = os.path.relpath(path) if path.is_absolute() and path.is_relative_to(Path.cwd()) else str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as e:
        line = e.object[: e.start].count(b"\n") + 1
        raise SpecError([Problem(f"{file}:{line}", "", f"not UTF-8 (byte {e.start}); save the file as UTF-8")]) from None
    except OSError as e:
        raise SpecError([Problem(file, "", f"cannot be read: {e.strerror}")]) from None
    try:
        depth = 0
        for event in yaml.parse(text, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise SpecError([Problem(f"{file}:{event.start_mark.line + 1 if event.start_mark else 1}", "", f"nested more than {MAX_DEPTH} deep")])
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        at = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else file
        tab = " (YAML is indented with spaces)" if "\\t" in str(e.problem) else ""
        raise SpecError([Problem(at, "", f"not YAML: {e.problem or e.context}{tab}")]) from None
    except yaml.reader.ReaderError as e:
        line = text[: e.position].count("\n") + 1
        raise SpecError([Problem(f"{file}:{line}", "", "not YAML: a control character is not allowed; remove it")]) from None
    if root is None:
        raise SpecError([Problem(f"{file}:1", "", "the file is empty; `radisim-cl schema` shows what it may hold")])
    builder = _Builder(file)
    node = builder.build(root)
    if builder.problems:
        raise SpecError(builder.problems)
    if not isinstance(node.value, dict):
        raise SpecError([Problem(node.where, "", f"a mapping of fields is expected, not {type(node.value).__name__}")])
    return node


def merge(base: Node, over: Node) -> Node:
    """`over` on top of `base`: mappings merge field by field, anything else replaces."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    value = dict(base.value)
    for k, v in over.value.items():
        value[k] = merge(value[k], v) if k in value else v
    return Node(value, over.file, over.line, base.keys | over.keys)


def resolve_use(node: Node, folder: str, near: Path, chain: tuple[Path, ...] = ()) -> Node:
    """A mapping with `use: name` becomes `<folder>/<name>.yaml` with the mapping's other fields on top.

    Raises:
        SpecError: no such file, or files that use each other in a circle.
    """
    if not isinstance(node.value, dict) or "use" not in node.value:
        return node
    use = node.value["use"]
    try:
        if not isinstance(use.value, str):
            raise SpecError([Problem(use.where, "use", f"the name of a file is expected, not {use.plain()!r}")])
        path = library_file(folder, use.value, near).resolve()
    except InputError as e:
        raise SpecError([Problem(use.where, "use", str(e))]) from None
    if path in chain:
        circle = " -> ".join(p.name for p in (*chain[chain.index(path):], path))
        raise SpecError([Problem(use.where, "use", f"files use each other in a circle: {circle}; break it")])
    base = resolve_use(read(path), folder, path.parent, (*chain, path))
    rest = Node({k: v for k, v in node.value.items() if k != "use"}, node.file, node.line,
                {k: v for k, v in node.keys.items() if k != "use"})
    merged = merge(base, rest)
    # What is missing, is missing in the file that was to bring it.
    return Node(merged.value, base.file, base.line, merged.keys)


def expand_environment(node: Node, path: Path_ = ()) -> list[Problem]:
    """Replaces `${NAME}` in every string, in place; returns a problem for each variable that is not set."""
    if isinstance(node.value, dict):
        return [p for k, v in node.value.items() for p in expand_environment(v, (*path, k))]
    if isinstance(node.value, list):
        return [p for i, v in enumerate(node.value) for p in expand_environment(v, (*path, i))]
    if not isinstance(node.value, str):
        return []
    names = re.findall(r"\$\{(\w+)\}", node.value)
    missing = [n for n in names if n not in os.environ]
    for n in names:
        node.value = node.value.replace(f"${{{n}}}", os.environ.get(n, ""))
    return [Problem(node.where, dotted(path), f"environment variable {n} is not set; `export {n}=...`") for n in missing]


_NOWHERE = yaml.Mark("--set", 0, 0, 0, None, 0)


def override(root: Node, text: str) -> None:
    """Applies one `--set a.b=c` in place. Lists take an index or an item's name: `stages.grading.train.lr=1e-4`.

    Raises:
        SpecError: not of the form `path=value`, or the path leads through something that is not there.
    """
    where = f"--set {text}"
    path, equals, value = text.partition("=")
    steps = re.findall(r"[^.\[\]]+", path)
    if not equals or not steps:
        raise SpecError([Problem(where, "", "expected a.b=value")])
    builder = _Builder(where)
    try:
        parsed = builder.build(yaml.compose(value or "null", Loader=_Loader) or yaml.ScalarNode("tag:yaml.org,2002:str", value, _NOWHERE, _NOWHERE))
    except yaml.YAMLError:
        parsed = Node(value, where, 0)
    if builder.problems:
        raise SpecError([Problem(where, ".".join(filter(None, [path, p.field])), p.message) for p in builder.problems])
    _relabel(parsed, where)
    here = root
    for i, step in enumerate(steps):
        last = i == len(steps) - 1
        if isinstance(here.value, list):
            index = _index(here, step)
            if index is None:
                names = [n for n in (_name(v) for v in here.value) if n]
                raise SpecError([Problem(where, ".".join(steps[: i + 1]),
                                         f"no item {step!r}; there are {len(here.value)}: {', '.join(names)}")])
            if last:
                here.value[index] = parsed
            else:
                here = here.value[index]
        elif isinstance(here.value, dict):
            if last:
                here.value[step] = parsed
                here.keys.pop(step, None)
            else:
                here = here.value.setdefault(step, Node({}, where, 0))
        else:
            raise SpecError([Problem(where, ".".join(steps[:i]), f"is a value ({here.value!r}), not a group of fields")])


def _relabel(node: Node, where: str) -> None:
    node.file, node.line, node.keys = where, 0, {}
    children = node.value.values() if isinstance(node.value, dict) else node.value if isinstance(node.value, list) else ()
    for child in children:
        _relabel(child, where)


def _name(node: Node) -> str | None:
    if not isinstance(node.value, dict):
        return None
    found = next((node.value[k].value for k in ("name", "id", "source", "kind") if k in node.value), None)
    return None if found is None else str(found)


def _index(node: Node, step: str) -> int | None:
    if step.isdigit():
        return int(step) if int(step) < len(node.value) else None
    return next((i for i, v in enumerate(node.value) if _name(v) == step), None)
