"""Subtasks of each protocol: what can be written, and what is refused, at which line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from radisim_cl.errors import SpecError
from radisim_cl.specs.benchmark import BenchmarkSpec, ClassifySubtask, GroundSubtask, OrdinalSubtask, VolumeSubtask, load_benchmark
from radisim_cl.specs.schema import schema_of

HEAD = "name: mine\nversion: '1'\nsubtasks:\n"
VOLUME = """\
  - id: mod.mra
    suite: modality
    modality: MR
    protocol: volume
    items: [{source: internal_mr}]
    column: label
    classes:
      other: {values: [T1, T2, FLAIR], prompts: ["axial T2 brain MRI", "knee MRI"]}
      MRA: {values: [MRA], prompts: ["MR angiography of the head", "MRA"]}
    metric: auc
"""
ORDINAL = """\
  - id: grade.meningioma
    suite: grading
    protocol: ordinal
    items: [{source: internal_meningioma}]
    column: label
    classes:
      "1": {values: [WHO 1], names: [grade 1]}
      "2": {values: [WHO 2], names: [grade 2]}
      "3": {values: [WHO 3], names: [grade 3]}
    metric: quadratic_kappa
"""
GROUND = """\
  - id: loc.amos_ct
    suite: localization
    protocol: ground
    items: [{source: amos, where: {modality: CT}}]
    structures: [liver, spleen]
    vocabulary: {background: [background, air], body: [body, soft tissue], liver: [liver], spleen: [spleen]}
    templates: ["This is a {} image.", "{}"]
    metric: box_iou
"""
CLASSIFY = """\
  - id: dx.mass
    suite: diagnosis
    items: [{source: drawn}]
    column: label
    classes:
      none: {values: [normal], names: [nothing]}
      mass: {values: [mass], names: [mass, tumour]}
    metric: auc
"""


def read(text: str, folder: Path) -> BenchmarkSpec:
    """A benchmark from its text."""
    (folder / "benchmarks").mkdir(exist_ok=True)
    (folder / "benchmarks" / "mine.yaml").write_text(HEAD + text)
    return load_benchmark("mine", folder)


def test_each_protocol_reads_into_its_own_spec(tmp_path: Path) -> None:
    found = read(CLASSIFY + VOLUME + ORDINAL + GROUND, tmp_path)
    assert [type(s) for s in found.subtasks] == [ClassifySubtask, VolumeSubtask, OrdinalSubtask, GroundSubtask]
    assert [s.protocol for s in found.subtasks] == ["classify", "volume", "ordinal", "ground"]
    assert [s.labels for s in found.subtasks] == [["none", "mass"], ["other", "MRA"], ["1", "2", "3"], ["liver", "spleen"]]
    assert BenchmarkSpec.model_validate(yaml.safe_load(yaml.safe_dump(found.model_dump(mode="json")))).subtasks == found.subtasks


def test_prompts_of_each_protocol(tmp_path: Path) -> None:
    classify, volume, ordinal, ground = read(CLASSIFY + VOLUME + ORDINAL + GROUND, tmp_path).subtasks
    assert classify.prompts()["mass"] == ["This is a mass image.", "This is a tumour image."]
    assert volume.prompts() == {"other": ["axial T2 brain MRI", "knee MRI"], "MRA": ["MR angiography of the head", "MRA"]}
    assert ordinal.prompts()["2"] == ["This is a grade 2 image."]
    assert list(ground.prompts()) == ["background", "body", "liver", "spleen"]
    assert ground.prompts()["body"] == ["This is a body image.", "This is a soft tissue image.", "body", "soft tissue"]
    assert len({s.prompts_digest() for s in (classify, volume, ordinal, ground)}) == 4


def test_classify_need_not_be_said(tmp_path: Path) -> None:
    assert read(CLASSIFY, tmp_path).subtasks == read(CLASSIFY.replace("    items", "    protocol: classify\n    items"), tmp_path).subtasks


WRONG: dict[str, tuple[str, str, str, str, tuple[str, ...]]] = {
    "protocol": (VOLUME, "protocol: volume", "protocol: volum  # here", "protocol", ("unknown protocol 'volum'", "Did you mean 'volume'?",
                 "Known: classify, ground, ordinal, volume.")),
    "protocol that is no word": (VOLUME, "protocol: volume", "protocol: [volume]  # here", "protocol", ("unknown protocol",)),
    "names of a volume": (VOLUME, 'prompts: ["MR ang', 'prompts: ["x"], names: ["MR ang', "classes.MRA.names",
                          ("unknown field 'names'", "Known: prompts, values.")),
    "three classes of a volume": (VOLUME, "    classes:\n", "    classes:  # here\n      more: {values: [x], prompts: [x]}\n", "classes",
                                  ("at most 2",)),
    "prompt in two classes": (VOLUME, '"knee MRI"', '"MRA"', "", ("prompt 'MRA' stands in two classes",)),
    "value in two grades": (ORDINAL, "[WHO 2]", "[WHO 1]", "", ("value 'WHO 1' stands in two classes",)),
    "error as the primary metric": (ORDINAL, "metric: quadratic_kappa", "metric: mae", "", (
        "protocol 'ordinal' has no metric 'mae' that skill can be made from", "Known: accuracy, balanced_accuracy, quadratic_kappa.")),
    "metric of another protocol": (GROUND, "metric: box_iou", "metric: auc", "", ("protocol 'ground' has no metric 'auc'", "box_iou_classified")),
    "structure without a prompt": (GROUND, "spleen: [spleen]", "splen: [spleen]", "", ("structure 'spleen' is not in the vocabulary",
                                   "Did you mean 'splen'?")),
    "structure twice": (GROUND, "[liver, spleen]", "[liver, liver]", "", ("structure 'liver' stands in the list twice",)),
    "prompt of two entries": (GROUND, "[body, soft tissue]", "[body, air]", "", ("prompt name 'air' stands in two entries",)),
    "one entry": (GROUND, "    vocabulary: {background: [background, air], body: [body, soft tissue], liver: [liver], spleen: [spleen]}\n",
                  "    vocabulary: {liver: [liver]}  # here\n", "vocabulary", ("at least 2",)),
    "entry without a prompt": (GROUND, "liver: [liver]", "liver: []", "vocabulary.liver", ("at least 1",)),
    "template without a place": (GROUND, '["This is a {} image.", "{}"]', '["This is a {} image.", "this"]  # here', "templates[1]",
                                 ("template 'this' needs exactly one {}",)),
    "field of ground": (GROUND, "    structures:", "    column: label  # here\n    structures:", "column", ("unknown field 'column'", "structures")),
    "missing field of ground": (GROUND, "    structures: [liver, spleen]\n", "", "structures", ("'structures' is required",)),
    "missing field of a volume": (VOLUME, "    column: label\n", "", "column", ("'column' is required",)),
}


@pytest.mark.parametrize(("text", "old", "new", "field", "words"), [pytest.param(*w, id=name) for name, w in WRONG.items()])
def test_one_wrong_value_is_one_located_problem(tmp_path: Path, text: str, old: str, new: str, field: str, words: tuple[str, ...]) -> None:
    assert text.count(old) == 1
    spoilt = HEAD + CLASSIFY + text.replace(old, new)
    with pytest.raises(SpecError) as caught:
        read(spoilt.removeprefix(HEAD), tmp_path)
    [problem] = caught.value.problems
    assert problem.field == "subtasks[1]" + (f".{field}" if field else "")
    changed = [i for i, line in enumerate(spoilt.splitlines(), 1) if "# here" in line or (field and new and new in line)]
    line = changed[0] if changed else len((HEAD + CLASSIFY).splitlines()) + 1
    assert problem.where.endswith(f"mine.yaml:{line}")
    assert all(w in problem.message for w in words), problem.message


def test_a_protocol_is_the_whole_subtask_in_the_schema() -> None:
    """Editors tell the branches apart: only `classify` goes without being named."""
    schema: dict[str, Any] = schema_of("benchmark")
    branches = [schema["$defs"][b["$ref"].rpartition("/")[2]] for b in schema["properties"]["subtasks"]["items"]["oneOf"]]
    assert {b["properties"]["protocol"]["const"]: "protocol" in b["required"] for b in branches} == {
        "classify": False, "ordinal": True, "volume": True, "ground": True}
