"""Every bad spec ends in words: the file, the line, the field, what was received and what could have been meant.

A wrong line is marked `# here` in the text that the test writes; the problem must be found on that line.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import World

from radisim_cl.errors import Problem, SpecError
from radisim_cl.runs.planning import plan
from radisim_cl.specs.curriculum import load

CURRICULUM, CATALOG, BENCHMARK, TEMPLATES = "curricula/toy.yaml", "catalogs/toy.yaml", "benchmarks/toy.yaml", "templates/toy.yaml"
MODALITY, ANATOMY = "stages/modality.yaml", "stages/anatomy.yaml"
MASS = "- id: anat.mass\n  suite: anatomy\n  items:\n  - source: drawn\n  column: label\n"
FIRST_LEVEL = "  modality:\n    variants:\n    - '{modality}'"
MIXTURE = "  mixture:\n  - source: drawn\n    captions: anatomy\n    weight: 3\n  - source: drawn\n    captions: own\n"


@pytest.fixture(autouse=True)
def draft(shared_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The small world's YAML files, to be spoiled, in the working directory; data and model stay where they are."""
    root = tmp_path / "draft"
    shutil.copytree(shared_world.root, root, ignore=shutil.ignore_patterns("data", "model", "runs"))
    monkeypatch.chdir(root)
    monkeypatch.delenv("NOT_SET", raising=False)
    return replace(shared_world, root=root)


def problems(*sets: str, profile: str | None = None) -> list[Problem]:
    """What is wrong with the curriculum in the working directory."""
    with pytest.raises(SpecError) as caught:
        plan(load(CURRICULUM, sets, profile), Path("curricula"))
    assert caught.value.exit_code == 2
    assert all(str(p) in str(caught.value) for p in caught.value.problems)
    return list(caught.value.problems)


def only(*sets: str) -> Problem:
    """The one thing that is wrong."""
    found = problems(*sets)
    assert len(found) == 1, found
    return found[0]


def here(file: str, text: str, start: int = 0) -> str:
    """Writes a file; `file:line` of its first `# here` from `start` on."""
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text(text)
    mark = text.find("# here", start)
    return f"{file}:{text.count(chr(10), 0, mark) + 1}" if mark >= 0 else ""


def spoil(file: str, old: str, new: str) -> str:
    """Replaces the first `old`; `file:line` of the mark in `new`."""
    text = Path(file).read_text()
    return here(file, text.replace(old, new, 1), text.index(old))


def check(found: Problem, where: str, field: str, *words: str) -> None:
    """A problem is located and says what is expected of it."""
    assert (found.where, found.field) == (where, field), found
    assert "\n" not in str(found)
    for word in words:
        assert word in found.message


# One wrong value: file, text to replace, its replacement, field, words of the message.
WRONG = {
    # Unknown fields, at every depth.
    "field of a curriculum": (CURRICULUM, "seed: 3", "sead: 3  # here", "sead", "unknown field 'sead'", "Did you mean 'seed'?", "stages."),
    "field of a profile": (CURRICULUM, "    save_every: 4", "    saveevery: 4  # here", "profiles.laptop.saveevery", "'save_every'?", "zero."),
    "field of a stage": (ANATOMY, "data:", "qestion: x  # here\ndata:", "stages[1].qestion", "Did you mean 'question'?",
                         "Known: data, gate,"),
    "field of training": (ANATOMY, "  lr: 0.001", "  lr: 0.001\n  warmupp: 0  # here", "stages[1].train.warmupp", "'warmup'?",
                          "Known: final_lr, freeze, lr,"),
    "field of data": (ANATOMY, "  replay: 0.25", "  reply: 0.25  # here", "stages[1].data.reply", "Did you mean 'replay'?"),
    "field of a mixture": (MODALITY, "    weight: 3", "    wieght: 3  # here", "stages[0].data.mixture[0].wieght", "Did you mean 'weight'?",
                           "Known: captions, optional, source,"),
    "field of a loss": (ANATOMY, "kind: multi_positive", "kind: multi_positive\n  positive: claims  # here", "stages[1].losses[0].positive",
                        "Did you mean 'positives'?", "Known: kind, "),
    "field of a gate": (ANATOMY, "  looks: 2", "  look: 2  # here", "stages[1].gate.look", "Did you mean 'looks'?"),
    "field of a requirement": (ANATOMY, "    suite: anatomy", "    suite: anatomy\n    confidense: 0.9  # here",
                               "stages[1].gate.requires[0].confidense", "Did you mean 'confidence'?"),
    "field without a near name": (ANATOMY, "  looks: 2", "  xyzzy: 2  # here", "stages[1].gate.xyzzy", "unknown field 'xyzzy'. Known: extend_by"),
    "field of a catalog": (CATALOG, "root:", "rot: x  # here\nroot:", "rot", "Did you mean 'root'?"),
    "field of a benchmark": (BENCHMARK, "  metric: auc", "  metric: auc\n  protocoll: classify  # here", "subtasks[2].protocoll", "'protocol'?"),
    "field of templates": (TEMPLATES, "words:", "word: {}  # here\nwords:", "word", "Did you mean 'words'?"),
    # Weights.
    "negative weight": (ANATOMY, "weight: 3", "weight: -3  # here", "stages[1].data.mixture[0].weight", "greater than or equal to 0", "not -3"),
    "weight that is no number": (ANATOMY, "weight: 3", "weight: .nan  # here", "stages[1].data.mixture[0].weight", "finite", "not nan"),
    "infinite weight": (ANATOMY, "weight: 3", "weight: .inf  # here", "stages[1].data.mixture[0].weight", "finite", "not inf"),
    "all weights zero": (ANATOMY, MIXTURE, MIXTURE.replace("mixture:", "mixture:  # here").replace("3", "0") + "    weight: 0\n",
                         "stages[1].data.mixture", "all weights are zero"),
    # Names of things that do not exist.
    "unknown source": (ANATOMY, "source: drawn", "source: drawm  # here", "stages[1].data.mixture[0].source",
                       "unknown source 'drawm' in catalog 'toy'", "Did you mean 'drawn'?", "Known: drawn."),
    "source named like a level": (ANATOMY, "source: drawn", "source: level_two  # here", "stages[1].data.mixture[0].source", "'level_two'"),
    "source named like a column": (ANATOMY, "source: drawn", "source: column_two  # here", "stages[1].data.mixture[0].source", "'column_two'"),
    "unknown caption level": (ANATOMY, "captions: anatomy", "captions: anatmy  # here", "stages[1].data.mixture[0].captions",
                              "'toy' has no level 'anatmy'", "Did you mean 'anatomy'?", "Known: anatomy, modality, own."),
    "allowance for an unknown source": (CURRICULUM, "seed: 3", "seed: 3\noverlaps_allowed: [drawm]  # here", "overlaps_allowed[0]",
                                        "'drawm' is a source of no stage and no subtask", "Did you mean 'drawn'?", "Known: drawn."),
    "allowance that is no list": (CURRICULUM, "seed: 3", "seed: 3\noverlaps_allowed: drawn  # here", "overlaps_allowed", "list"),
    "unknown column": (ANATOMY, "    weight: 3", "    weight: 3\n    where: {modalty: CT}  # here", "stages[1].data.mixture[0].where",
                       "no column 'modalty'", "Did you mean 'modality'?"),
    "filter that keeps nothing": (ANATOMY, "- source: drawn", "- source: drawn  # here\n    where: {modality: PET}", "stages[1].data.mixture[0]",
                                  "'drawn' has no training pair", "PET"),
    "filter value that is no word": (ANATOMY, "    weight: 3", "    weight: 3\n    where: {modality: 3}  # here",
                                     "stages[1].data.mixture[0].where.modality", "3"),
    "unknown loss": (ANATOMY, "kind: multi_positive", "kind: multi_positve  # here", "stages[1].losses[0].kind", "unknown kind 'multi_positve'",
                     "Did you mean 'multi_positive'?", "Known: clip,"),
    "unknown loss, kind not first": (ANATOMY, "- kind: multi_positive", "- weight: 2\n  kind: multi_positve  # here", "stages[1].losses[0].kind",
                                     "Did you mean 'multi_positive'?"),
    "unknown requirement": (ANATOMY, "kind: threshold", "kind: treshold  # here", "stages[1].gate.requires[0].kind", "'treshold'",
                            "Did you mean 'threshold'?"),
    "unknown model": (CURRICULUM, "arch: local-dir:", "arch: radisim-tin  # here ", "profiles.laptop.model.arch", "unknown model 'radisim-tin'",
                      "Did you mean 'radisim-tiny'?"),
    "unknown open_clip model": (CURRICULUM, "arch: local-dir:", "arch: ViT-B32  # here ", "profiles.laptop.model.arch", "Did you mean 'ViT-B-32'?",
                                "ViT-B-16"),
    "folder without a model": (CURRICULUM, "arch: local-dir:", "arch: local-dir:/nowhere  # here ", "profiles.laptop.model.arch",
                               "no open_clip_config.json", "/nowhere"),
    "unknown benchmark": (CURRICULUM, "benchmark: toy", "benchmark: toi  # here", "benchmark", "no benchmark 'toi'", "Did you mean 'toy'?",
                          "Known: "),
    "unknown catalog": (CURRICULUM, "catalog: toy", "catalog: toi  # here", "catalog", "no catalog 'toi'", "Did you mean 'toy'?"),
    "unknown template set": (CATALOG, "templates: toy", "templates: toi  # here", "templates", "'toi'", "Did you mean 'toy'?"),
    "unknown stage file": (CURRICULUM, "- use: anatomy", "- use: anatmy  # here", "use", "no stage 'anatmy'", "Did you mean 'anatomy'?", "modality"),
    "use that is no word": (CURRICULUM, "- use: anatomy", "- use: [anatomy]  # here", "use", "['anatomy']"),
    "unknown suite": (ANATOMY, "suite: anatomy", "suite: anatom  # here", "stages[1].gate.requires[0].suite", "unknown suite 'anatom'",
                      "Did you mean 'anatomy'?", "Known: anatomy, modality."),
    "unknown subtask": (ANATOMY, "suite: anatomy", "subtask: anat.thre  # here", "stages[1].gate.requires[0].subtask", "unknown subtask 'anat.thre'",
                        "Did you mean 'anat.three'?", "Known: anat.mass, anat.three, mod.three."),
    "duplicate stage name": (ANATOMY, "name: anatomy", "name: modality  # here", "stages[1].name", "duplicate stage name 'modality'", "stages[0]"),
    "unknown choice": (ANATOMY, "  replay: 0.25", "  on_shortage: refus  # here", "stages[1].data.on_shortage", "'refus'", "Did you mean 'refuse'?",
                       "Known: redistribute, refuse."),
    # Gates.
    "metric of another subtask": (ANATOMY, "suite: anatomy", "subtask: anat.three\n    metric: macro_f2  # here",
                                  "stages[1].gate.requires[0].metric", "'anat.three' has no metric 'macro_f2'", "Did you mean 'macro_f1'?",
                                  "Known: accuracy, auc,"),
    "metric of a suite": (ANATOMY, "at_least: -1.0", "at_least: 0.5\n    metric: auc  # here", "stages[1].gate.requires[0].metric",
                          "'anatomy' has no metric 'auc'", "Known: skill."),
    "threshold above the range": (ANATOMY, "at_least: -1.0", "at_least: 1.5  # here", "stages[1].gate.requires[0].at_least", "1.5",
                                  "between -1 and 1"),
    "threshold below the range": (ANATOMY, "suite: anatomy\n    at_least: -1.0", "subtask: anat.three\n    metric: auc\n    at_least: -0.1  # here",
                                  "stages[1].gate.requires[0].at_least", "-0.1", "auc", "between 0 and 1"),
    "threshold of one catalog": (ANATOMY, "at_least: -1.0", "at_least: {default: 0.1, toy: 3}  # here", "stages[1].gate.requires[0].at_least",
                                 "toy: 3"),
    "threshold that is no number": (ANATOMY, "at_least: -1.0", "at_least: .nan  # here", "stages[1].gate.requires[0].at_least", "nan"),
    "threshold that is a word": (ANATOMY, "at_least: -1.0", "at_least: high  # here", "stages[1].gate.requires[0].at_least", "'high'"),
    "threshold without default": (ANATOMY, "- kind: threshold\n    suite: anatomy\n    at_least: -1.0",
                                  "- kind: threshold  # here\n    suite: anatomy\n    at_least: {toy: 0.1}", "stages[1].gate.requires[0]",
                                  "'default'"),
    "suite and subtask": (ANATOMY, "- kind: threshold", "- kind: threshold  # here\n    subtask: anat.three", "stages[1].gate.requires[0]",
                          "exactly one of 'suite' and 'subtask'"),
    # Numbers of a stage and of the scale.
    "lr a word": (ANATOMY, "lr: 0.001", "lr: fast  # here", "stages[1].train.lr", "number", "not 'fast'"),
    "lr a truth": (ANATOMY, "lr: 0.001", "lr: true  # here", "stages[1].train.lr", "number", "True"),
    "lr that is no number": (ANATOMY, "lr: 0.001", "lr: .nan  # here", "stages[1].train.lr", "finite", "not nan"),
    "lr zero": (ANATOMY, "lr: 0.001", "lr: 0  # here", "stages[1].train.lr", "greater than 0", "not 0"),
    "lr negative": (ANATOMY, "lr: 0.001", "lr: -1e-4  # here", "stages[1].train.lr", "greater than 0", "not -0.0001"),
    "lr missing": (ANATOMY, "train:\n  share: 0.5\n  lr: 0.001", "train:  # here\n  share: 0.5", "stages[1].train.lr", "'lr' is required"),
    "group that is a value": (ANATOMY, "train:\n  share: 0.5\n  lr: 0.001\n  warmup: 0.1", "train: 3  # here", "stages[1].train", "not 3"),
    "warm-up longer than the stage": (ANATOMY, "warmup: 0.1", "warmup: 30  # here", "stages[1].train.warmup", "longer than the stage", "30"),
    "no step for a stage": (ANATOMY, "share: 0.5", "share: 0.001  # here", "stages[1].train.share", "0 steps", "400 samples", "batch of 16"),
    "no samples": (CURRICULUM, "samples: 400", "samples: 0  # here", "profiles.laptop.budget.samples", "greater than 0", "not 0"),
    "batch a word": (CURRICULUM, "global_batch: 16", "global_batch: sixteen  # here", "profiles.laptop.global_batch", "integer", "not 'sixteen'"),
    "ZeRO 4": (CURRICULUM, "save_every: 4", "zero: 4  # here", "profiles.laptop.zero", "4", "Known: 0, 1, 2 or 3."),
    # Environment variables.
    "variable in a curriculum": (CURRICULUM, "seed: 3", "description: a ${NOT_SET} b  # here", "description", "NOT_SET is not set",
                                 "export NOT_SET="),
    "variable in a stage": (ANATOMY, "data:", "question: ${NOT_SET}?  # here\ndata:", "stages[1].question", "NOT_SET is not set"),
    "variable in a list": (ANATOMY, "captions: own", "captions: ${NOT_SET}  # here", "stages[1].data.mixture[1].captions", "NOT_SET"),
    "variable in a catalog": (CATALOG, "root:", "description: ${NOT_SET}  # here\nroot:", "description", "NOT_SET is not set"),
    "variable in a benchmark": (BENCHMARK, "version: toy-1", "version: ${NOT_SET}-1  # here", "version", "NOT_SET is not set"),
    # The other documents.
    "pattern of patients": (CATALOG, "    manifest: manifest.csv", "    manifest: manifest.csv\n    patient: p(a)(b)  # here",
                            "corpora.drawn.patient", "one group", "2"),
    "pattern that is none": (CATALOG, "    manifest: manifest.csv", "    manifest: manifest.csv\n    patient: p(a  # here", "corpora.drawn.patient",
                             "regular expression"),
    "background as a structure": (CATALOG, "    manifest: manifest.csv", "    manifest: manifest.csv\n    structures: {0: air}  # here",
                                  "corpora.drawn.structures", "can only be called 'background', not 'air'"),
    "structure of a pixel that cannot be": (CATALOG, "    manifest: manifest.csv", "    manifest: manifest.csv\n    structures: {liver: 1}  # here",
                                            "corpora.drawn.structures.liver", "must be a valid integer"),
    "structure with two pixel values": (CATALOG, "    manifest: manifest.csv",
                                        "    manifest: manifest.csv\n    structures: {1: liver, 2: liver}  # here",
                                        "corpora.drawn.structures", "'liver' has two pixel values"),
    "metric of a benchmark": (BENCHMARK, MASS + "  metric: auc", MASS.replace("mass\n", "mass  # here\n", 1) + "  metric: acu", "subtasks[2]",
                              "no metric 'acu'", "Did you mean 'auc'?", "Known: accuracy, auc,"),
    "column of a benchmark": (BENCHMARK, MASS, MASS.replace("mass\n", "mass  # here\n", 1).replace("label", "lable"), "subtasks[2]",
                              "no column 'lable'", "Did you mean 'label'?"),
    "subtask that is there twice": (BENCHMARK, "- id: anat.mass", "- id: anat.three  # here", "subtasks[2].id", "duplicate subtask id 'anat.three'"),
    "official split of our making": (CATALOG, "  drawn:\n    manifest:", "  drawn:  # here\n    official_split: true\n    manifest:", "corpora.drawn",
                                     "official_split needs 'splits' that give one of the set's own splits to report, whole"),
    "shares of a split": (CATALOG, "    splits:\n      '*':\n        train: 0.4", "    splits:  # here\n      '*':\n        train: 0.5",
                          "corpora.drawn.splits", "'*'", "sum to 1, not 1.1"),
    "template without a column": (TEMPLATES, FIRST_LEVEL, FIRST_LEVEL.replace(":\n    -", ":  # here\n    -").replace("{modality}", "an image"),
                                  "levels.modality.variants", "'an image'", "at least one column"),
    "template with an open brace": (TEMPLATES, FIRST_LEVEL, FIRST_LEVEL.replace(":\n    -", ":  # here\n    -").replace("}", ""),
                                    "levels.modality.variants", "{modality"),
}


@pytest.mark.parametrize(("file", "old", "new", "field", "words"), [pytest.param(*w[:4], w[4:], id=name) for name, w in WRONG.items()])
def test_one_wrong_value_is_one_located_problem(file: str, old: str, new: str, field: str, words: tuple[str, ...]) -> None:
    where = spoil(file, old, new)
    check(only(), where, field, *words)


def test_an_incomplete_stage_file_is_named_and_not_the_curriculum_that_uses_it() -> None:
    text = Path(ANATOMY).read_text()
    where = here(ANATOMY, text[: text.index("gate:")].replace("name: anatomy", "name: anatomy  # here"))
    check(only(), where, "stages[1].gate", "'gate' is required")


# A stage file that is not usable at all: its bytes, the position of the error, words.
NOT_YAML = {
    "empty": (b"", ":1", "empty"),
    "only comments": (b"# nothing\n\n", ":1", "empty"),
    "tab": (b"name: x\ndata:\n\treplay: 0.25\n", ":3:1", "not YAML", "indented with spaces"),
    "syntax": (b"name: x\ndata: ]\n", ":2:7", "not YAML", "']'"),
    "open quote": (b'name: "x\n', ":2:1", "not YAML"),
    "unknown alias": (b"name: x\ndata: *other\n", ":2:7", "not YAML", "'other'"),
    "two documents": (b"name: x\n---\nname: y\n", ":2:1", "not YAML", "document"),
    "not UTF-8": (b"name: x\nquestion: caf\xe9\n", ":2", "not UTF-8"),
    "control character": (b"name: x\nquestion: a\0b\n", ":2", "not YAML"),
    "a list": (b"\n- name: x\n", ":2", "a mapping of fields is expected", "list"),
    "a word": (b"name\n", ":1", "a mapping of fields is expected", "str"),
    "deep nesting": (b"name: x\nquestion: " + b"[" * 3000 + b"]" * 3000, ":2"),
    "an endless number": (b"name: x\nquestion: " + b"9" * 5000, ":2"),
    "an alias to itself": (b"name: x\ndata: &a\n  again: *a\n", ":2"),
}


@pytest.mark.parametrize(("content", "position", "words"), [pytest.param(c, at, w, id=name) for name, (c, at, *w) in NOT_YAML.items()])
def test_a_file_that_cannot_be_read_is_one_located_problem(content: bytes, position: str, words: list[str]) -> None:
    Path(ANATOMY).write_bytes(content)
    found = only()
    assert f"{found.where}:".startswith(f"{ANATOMY}{position}:")
    assert "\n" not in str(found)
    assert all(word in found.message for word in words), found


@pytest.mark.parametrize("file", [CURRICULUM, ANATOMY, CATALOG, BENCHMARK, TEMPLATES])
def test_each_kind_of_file_is_named_when_it_is_empty_or_not_yaml(file: str) -> None:
    Path(file).write_text("")
    check(only(), f"{file}:1", "", "empty")
    Path(file).write_text("name: x\ndata: ]\n")
    check(only(), f"{file}:2:7", "", "not YAML")


def test_a_duplicate_key_names_both_lines() -> None:
    where = spoil(ANATOMY, "  lr: 0.001", "  lr: 0.001\n  # in between\n  lr: 0.002  # here")
    second = int(where.rpartition(":")[2])
    check(only(), where, "train.lr", "'lr' is written twice", f"lines {second - 2} and {second}")


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system ['touch pwned']", "!!python/object/new:pathlib.Path [pwned]",
                                 "!!python/name:os.system ''", "!!set {a}", "!!binary aGVsbG8=", "!mine x"])
def test_a_tag_is_refused_and_builds_nothing(tag: str) -> None:
    where = spoil(ANATOMY, "data:", f"question: {tag}  # here\ndata:")
    check(only(), where, "question", "is refused", tag.split()[0].strip("!"))
    assert not Path("pwned").exists()


@pytest.mark.parametrize("laughs", [9, 60])
def test_an_alias_bomb_is_refused_before_it_goes_off(laughs: int) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, laughs))]
    Path(CURRICULUM).write_text("\n".join(lines))
    found = only()  # 9 ** 59 values would never be counted to their end
    assert found.where.startswith(f"{CURRICULUM}:")
    assert "aliases" in found.message


@pytest.mark.parametrize("others", [["first"], ["second", "first"], ["second", "third", "first"]])
def test_files_that_use_each_other_are_named_in_their_order(others: list[str]) -> None:
    spoil(CURRICULUM, "- use: anatomy", "- use: first")
    for name, used in zip(["first", *others], others, strict=False):
        where = here(f"stages/{name}.yaml", f"name: x\nuse: {used}  # here\n")
    check(only(), where, "use", "circle", " -> ".join(f"{n}.yaml" for n in ["first", *others]))


def test_a_curriculum_that_uses_itself_is_refused() -> None:
    Path(CURRICULUM).write_text("use: toy\n")
    check(only(), f"{CURRICULUM}:1", "use", "circle", "toy.yaml")


def test_budget_below_a_batch_leaves_no_stage_a_step() -> None:
    where = [spoil(f, "share: 0.5", "share: 0.5  # here") for f in (MODALITY, ANATOMY)]
    spoil(CURRICULUM, "samples: 400", "samples: 15")
    found = problems()
    assert [(p.where, p.field) for p in found] == [(w, f"stages[{i}].train.share") for i, w in enumerate(where)]
    assert all("0 steps" in p.message and "15 samples" in p.message and "batch of 16" in p.message for p in found)


def test_all_problems_of_all_files_are_told_at_once() -> None:
    wanted = {
        (spoil(CURRICULUM, "seed: 3", "seed: -1  # here"), "seed"),
        (spoil(MODALITY, "share: 0.5", "share: 2  # here"), "stages[0].train.share"),
        (spoil(ANATOMY, "lr: 0.001", "lr: fast  # here"), "stages[1].train.lr"),
        (spoil(ANATOMY, "  looks: 2", "  look: 2  # here"), "stages[1].gate.look"),
    }
    assert {(p.where, p.field) for p in problems()} == wanted


def test_zero_3_cannot_be_compiled() -> None:
    settings = ("profiles.laptop.compile=true", "profiles.laptop.zero=3")
    check(only(*settings), f"--set {settings[0]}", "profiles.laptop.compile", "ZeRO 3", "take zero 0 to 2")


def test_all_problems_of_a_plan_are_told_at_once() -> None:
    wanted = {
        (spoil(CURRICULUM, "arch: local-dir:", "arch: nothing  # here"), "profiles.laptop.model.arch"),
        (spoil(MODALITY, "source: drawn", "source: drawm  # here"), "stages[0].data.mixture[0].source"),
        (spoil(ANATOMY, "suite: anatomy", "suite: anatom  # here"), "stages[1].gate.requires[0].suite"),
    }
    assert {(p.where, p.field) for p in problems()} == wanted


def test_problems_of_two_stage_files_that_cannot_be_read_are_told_at_once() -> None:
    Path(MODALITY).write_text("")
    Path(ANATOMY).write_text("name: [")
    assert [p.where.partition(":")[0] for p in problems()] == [MODALITY, ANATOMY]


@pytest.mark.parametrize(("text", "field", "words"), [
    ("sead=3", "sead", ["unknown field 'sead'", "Did you mean 'seed'?"]),
    ("stages.anatomy.train.lrr=1", "stages[1].train.lrr", ["unknown field 'lrr'", "Did you mean 'lr'?"]),
    ("stages.1.train.lr=fast", "stages[1].train.lr", ["not 'fast'"]),
    ("stages[1].losses.multi_positive.wieght=3", "stages[1].losses[0].wieght", ["Did you mean 'weight'?"]),
    ("stages.anatomy.data.mixture.drawn.source=drawm", "stages[1].data.mixture[0].source", ["unknown source 'drawm'", "Did you mean 'drawn'?"]),
    ("stages.anatmy.train.lr=1", "stages.anatmy", ["'anatmy'", "modality, anatomy"]),
    ("stages.7.train.lr=1", "stages.7", ["'7'", "there are 2"]),
    ("name.first=1", "name", ["'toy'", "not a group of fields"]),
    ("seed", "", ["a.b=value"]),
    ("=3", "", ["a.b=value"]),
    ("seed=!!python/object/apply:os.system ['touch pwned']", "seed", ["tag", "refused"]),
    ("profiles.laptop.budget={samples: 400, samples: 800}", "profiles.laptop.budget.samples", ["twice"]),
])
def test_a_wrong_override_is_located_in_the_override(text: str, field: str, words: list[str]) -> None:
    check(only(text), f"--set {text}", field, *words)
    assert not Path("pwned").exists()


def test_each_wrong_override_is_told() -> None:
    assert [p.where for p in problems("seed", "stages.anatmy.train.lr=1")] == ["--set seed", "--set stages.anatmy.train.lr=1"]


def test_an_unknown_profile_names_those_there_are() -> None:
    (found,) = problems(profile="laptob")
    assert found.field == "profile"
    assert "Did you mean 'laptop'? Known: laptop." in found.message


def test_a_problem_stands_where_its_value_was_written() -> None:
    """A stage that is used and changed: each value has the file and line that it comes from."""
    wanted = {
        (spoil(ANATOMY, "share: 0.5", "share: 2  # here"), "stages[1].train.share"),
        (spoil(CURRICULUM, "- use: anatomy", "- use: anatomy\n  train:\n    lr: fast  # here"), "stages[1].train.lr"),
    }
    assert {(p.where, p.field) for p in problems()} == wanted


@pytest.mark.parametrize("command", [["validate"], ["plan"], ["run", "--out", "out"]])
def test_the_command_line_says_it_in_words(draft: World, command: list[str]) -> None:
    where = spoil(ANATOMY, "lr: 0.001", "lr: fast  # here")
    done = draft.cli(command[0], CURRICULUM, *command[1:])
    assert done.returncode == 2
    assert f"{where}  stages[1].train.lr: " in done.stderr
    assert "not 'fast'" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not Path("out").exists()
