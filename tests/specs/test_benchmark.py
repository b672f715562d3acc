"""Subtasks of each protocol: what can be written, and what is refused, at which line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from radisim_cl.errors import SpecError
from radisim_cl.specs.benchmark import (
    BenchmarkSpec,
    ClassifySubtask,
    GroundSubtask,
    OrdinalSubtask,
    RetrieveSubtask,
    VolumeSubtask,
    load_benchmark,
)
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
RETRIEVE = """\
  - id: ret.pubmed_mr
    suite: retrieval
    modality: MR
    protocol: retrieve
    items: [{source: pubmed_oa_test, where: {modality: MR}}]
    metric: i2t_top_1_percent
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
    """A benchmark from the text of its subtasks."""
    return read_whole(HEAD + text, folder)


def read_whole(text: str, folder: Path) -> BenchmarkSpec:
    """A benchmark from its text."""
    (folder / "benchmarks").mkdir(exist_ok=True)
    (folder / "benchmarks" / "mine.yaml").write_text(text)
    return load_benchmark("mine", folder)


def test_each_protocol_reads_into_its_own_spec(tmp_path: Path) -> None:
    found = read(CLASSIFY + VOLUME + ORDINAL + GROUND + RETRIEVE, tmp_path)
    assert [type(s) for s in found.subtasks] == [ClassifySubtask, VolumeSubtask, OrdinalSubtask, GroundSubtask, RetrieveSubtask]
    assert [s.protocol for s in found.subtasks] == ["classify", "volume", "ordinal", "ground", "retrieve"]
    assert [s.labels for s in found.subtasks] == [["none", "mass"], ["other", "MRA"], ["1", "2", "3"], ["liver", "spleen"], []]
    assert found.subtasks[-1].prompts() == {}
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
                 "Known: classify, ground, ordinal, retrieve, volume.")),
    "protocol that is no word": (VOLUME, "protocol: volume", "protocol: [volume]  # here", "protocol", ("unknown protocol",)),
    "names of a volume": (VOLUME, 'prompts: ["MR ang', 'prompts: ["x"], names: ["MR ang', "classes.MRA.names",
                          ("unknown field 'names'", "Known: prompts, values.")),
    "three classes of a volume": (VOLUME, "    classes:\n", "    classes:  # here\n      more: {values: [x], prompts: [x]}\n", "classes",
                                  ("at most 2",)),
    "prompt in two classes": (VOLUME, '"knee MRI"', '"MRA"', "", ("prompt 'MRA' stands in two classes",)),
    "prompt in two cases": (VOLUME, '"knee MRI"', '" mra"', "", ("prompt 'MRA' is asked for 'other' and for 'MRA'",)),
    "name in two cases": (ORDINAL, "[grade 1]", "[Grade  2]", "", ("prompt 'This is a grade 2 image.' is asked for '1' and for '2'",)),
    "prompt of two templates": (GROUND, "[body, soft tissue]", "[body, this is a liver image.]", "", (
        "prompt 'This is a liver image.' is asked for 'body' and for 'liver'",)),
    "entry in two cases": (GROUND, "[body, soft tissue]", "[body, AIR]", "", ("prompt 'This is a AIR image.' is asked for 'background' and",)),
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
    "rank as the primary metric": (RETRIEVE, "metric: i2t_top_1_percent", "metric: i2t_average_rank", "", (
        "protocol 'retrieve' has no metric 'i2t_average_rank' that skill can be made from", "i2t_recall_10", "t2i_top_1_percent")),
    "templates of captions": (RETRIEVE, "    metric:", "    templates: ['{}']  # here\n    metric:", "templates", ("unknown field 'templates'",)),
    "published without a source": (RETRIEVE, "    metric:", "    published: [{model: CLIP, value: 0.5}]  # here\n    metric:",
                                   "published[0].source", ("'source' is required",)),
    "published figure that is none": (RETRIEVE, "    metric:", "    published: [{model: CLIP, value: .nan, source: x}]  # here\n    metric:",
                                      "published[0].value", ("must be a finite number",)),
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
        "classify": False, "ordinal": True, "volume": True, "ground": True, "retrieve": True}


DATASETS = """\
datasets:
  drawn: {title: Drawn, url: https://example.org/drawn, licence: CC0, access: open}
  internal_mr: {title: MR of ours, licence: none, access: internal, substitute: IXI, note: not verified}
"""


def with_datasets(text: str, folder: Path, subtasks: str = CLASSIFY + VOLUME) -> BenchmarkSpec:
    """A benchmark that says where its data come from."""
    return read_whole(HEAD.replace("subtasks:\n", text + "subtasks:\n") + subtasks, folder)


def test_datasets_say_where_to_get_them(tmp_path: Path) -> None:
    found = with_datasets(DATASETS, tmp_path).datasets
    assert found["drawn"].where == "Drawn, access: open, https://example.org/drawn"
    assert found["internal_mr"].where == "MR of ours, access: internal, not public; or instead IXI"


@pytest.mark.parametrize(("old", "new", "field", "at", "words"), [
    ("internal_mr: {title", "internal_mri: {title", "subtasks[1].items[0].source", "items: [{source: internal_mr}]",
     ("source 'internal_mr' has no entry under 'datasets'", "Did you mean 'internal_mri'?", "Known: drawn, internal_mri.")),
    ("internal_mr: {title", "internal_mri: {title", "datasets.internal_mri", "internal_mri: {title",
     ("no subtask uses source 'internal_mri'; remove the entry", "Did you mean 'internal_mr'?")),
    (", substitute: IXI", "", "datasets.internal_mr", "internal_mr: {title", ("needs a url or a citation; or a substitute",)),
    (", licence: CC0", "", "datasets.drawn.licence", "drawn: {title", ("'licence' is required",)),
    ("access: open", "acess: open", "datasets.drawn.acess", "drawn: {title", ("unknown field 'acess'. Did you mean 'access'?",)),
], ids=["no entry", "no subtask", "not to be found", "no licence", "unknown field"])
def test_a_wrong_entry_of_datasets_is_located(tmp_path: Path, old: str, new: str, field: str, at: str, words: tuple[str, ...]) -> None:
    spoilt = DATASETS.replace(old, new)
    assert spoilt != DATASETS
    with pytest.raises(SpecError) as caught:
        with_datasets(spoilt, tmp_path)
    text = HEAD.replace("subtasks:\n", spoilt + "subtasks:\n") + CLASSIFY + VOLUME
    problem = next(p for p in caught.value.problems if p.field == field)
    assert problem.where.endswith(f"mine.yaml:{next(i for i, line in enumerate(text.splitlines(), 1) if at in line)}")
    assert all(w in problem.message for w in words), problem.message


def test_a_benchmark_may_say_nothing_of_its_data(tmp_path: Path) -> None:
    assert read(CLASSIFY, tmp_path).datasets == {}


@pytest.mark.parametrize("name", ["radiologist-24", "radisimclip-16"])
def test_a_shipped_benchmark_says_where_its_data_come_from_and_what_was_published(name: str) -> None:
    found = load_benchmark(name)
    assert len(found.subtasks) == int(name.rpartition("-")[2])
    assert {p.source for s in found.subtasks for p in s.items} == set(found.datasets)
    for source, facts in found.datasets.items():
        assert not source.startswith("internal") or (facts.access == "internal" and facts.substitute)
        assert facts.licence != "not verified" or "verified" in facts.note, source
    table = [s for s in found.subtasks if s.protocol in ("classify", "volume") and len(s.published) > 1]
    assert len(table) == 11
    for s in table:
        assert [p.model for p in s.published] == ["CLIP", "MedCLIP", "PubMedCLIP", "PMC-CLIP", "BiomedCLIP", "RadiSimCLIP"]
        assert {p.metric for p in s.published} == {"unstated"}
        assert all(0 <= p.value <= 1 for p in s.published)


def test_the_two_benchmarks_agree_on_what_they_share() -> None:
    """Prompts, figures and facts are written in both files."""
    one, other = load_benchmark("radiologist-24"), load_benchmark("radisimclip-16")
    ours = {s.id: s for s in one.subtasks}
    shared = [s for s in other.subtasks if s.id in ours]
    assert len(shared) == 13
    assert [ours[s.id] for s in shared] == shared
    assert {k: v for k, v in one.datasets.items() if k in other.datasets} == {k: v for k, v in other.datasets.items() if k in one.datasets}
