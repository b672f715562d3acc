"""Plugins by file name, and the hint that comes with an unknown word."""

from __future__ import annotations

from types import ModuleType

import pytest

from radisim_cl.errors import InputError
from radisim_cl.registry import hint, kinds, plugin
from radisim_cl.specs.schema import schema_of


@pytest.mark.parametrize(("word", "known", "said"), [
    ("clp", ["region", "clip"], "Did you mean 'clip'? Known: clip, region."),
    ("clip", ["clip"], "Did you mean 'clip'? Known: clip."),
    ("zzz", ["region", "clip", "clip"], "Known: clip, region."),
    ("zzz", [], "Known: none."),
    ("a17", [f"a{i:02d}" for i in range(30)], "Did you mean 'a17'? Known: " + ", ".join(f"a{i:02d}" for i in range(30)) + "."),
])
def test_a_hint_has_the_nearest_name_and_all_names(word: str, known: list[str], said: str) -> None:
    assert hint(word, known) == said


def test_a_hint_of_many_names_keeps_the_nearest() -> None:
    said = hint("model-007x", [f"model-{i:03d}" for i in range(200)] + ["other"])
    assert said.startswith("Did you mean 'model-007'? Known: model-007, ")
    assert said.endswith("... 201 in all.")
    assert "other" not in said
    assert len(said) < 200


def test_a_hint_of_many_names_without_a_near_one_says_how_many() -> None:
    assert hint("zzz", [f"model-{i:03d}" for i in range(200)]) == "Known: ... 200 in all."


def test_there_is_a_plugin_for_every_kind_of_a_spec_and_no_other() -> None:
    written = {name: part["properties"]["kind"]["const"] for name, part in schema_of("stage")["$defs"].items()
               if "const" in part["properties"].get("kind", {})}
    assert set(kinds("radisim_cl.losses")) == {kind for name, kind in written.items() if name.endswith("LossSpec")}
    assert set(kinds("radisim_cl.gates")) == {kind for name, kind in written.items() if not name.endswith("LossSpec")}


def test_a_plugin_is_the_module_of_its_name() -> None:
    found = plugin("radisim_cl.gates", "threshold")
    assert isinstance(found, ModuleType)
    assert found.__name__ == "radisim_cl.gates.threshold"


@pytest.mark.parametrize("kind", ["treshold", "_base", "os", "threshold.x", ""])
def test_an_unknown_plugin_is_refused_by_name(kind: str) -> None:
    with pytest.raises(InputError, match=r"unknown .*kind .*Known: .*threshold"):
        plugin("radisim_cl.gates", kind)
