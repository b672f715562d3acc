"""A corpus with written captions: what is sent and what is not, what is kept when killed, what is refused, what the card says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from _endpoint import Body, Reply, Stub, facts, failed, said, sentence
from conftest import World
from PIL import Image

from radisim_cl.corpus.corpora import open_corpus
from radisim_cl.specs.catalog import CatalogSpec, CorpusSpec, load_catalog

KEY, NATIVE, REPORT = "sk-canary-of-a-key", "CanaryDoe", "CanaryReport of a smoker"
LABELS = ("pneumonia@left", "pneumonia@left|pleural effusion@left", "normal", "")
ROWS = 24
SPEED = ("--per-minute", "1000000")


@pytest.fixture
def site(tmp_path: Path) -> World:
    """A corpus of 24 rows and five different facts, whose native ids and reports must not leave; every other row has a mask."""
    data, rows = tmp_path / "data" / "site", list[dict[str, str]]()
    (data / "images").mkdir(parents=True)
    for i in range(ROWS):
        Image.fromarray(np.full((8, 8), i, dtype=np.uint8)).save(data / "images" / f"{i}.png")
        mask = np.zeros((8, 8), dtype=np.uint8)
        mask[2:4] = 1
        mask[4:, :] = 3
        Image.fromarray(mask).save(data / "images" / f"{i}-mask.png")
        rows.append({"id": f"{NATIVE}-{i}", "who": f"{NATIVE}{i // 2}", "image": f"images/{i}.png", "mask": f"images/{i}-mask.png" * (i % 8 == 0),
                     "report": f"{REPORT} {i}", "modality": "DR", "anatomy": "chest", "plane": "", "licence": "CC0",
                     "labels": LABELS[i % 4] if i < 12 else "|".join(reversed(LABELS[i % 4].split("|"))),
                     "level": "modality", "note": f"n{i}"})
    pd.DataFrame(rows).to_csv(data / "manifest.csv", index=False)
    (data / "card.yaml").write_text(yaml.safe_dump({"name": "site", "title": "A site", "url": "https://example.org", "licences": ["CC0"]}))
    for name, content in {
        "catalogs/site.yaml": {"name": "site", "root": str(tmp_path / "data"), "templates": "site", "corpora": {"site": {
            "manifest": "site/manifest.csv", "columns": {"patient": "who", "caption": "report"},
            "structures": {0: "background", 1: "heart", 2: "liver"}}}},
        "templates/site.yaml": {"name": "site", "words": {"label": {"normal": ["no abnormality"]}}, "levels": {
            "modality": {"variants": ["{modality}"]}, "diagnosis": {"variants": ["{modality} with {label}"]}}},
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(yaml.safe_dump(content, sort_keys=False))
    return World(tmp_path)


@pytest.fixture
def stub() -> Iterator[Stub]:
    """An endpoint that answers well."""
    with Stub() as running:
        yield running


def call(site: World, stub: Stub | str, *options: str, out: str = "out") -> subprocess.CompletedProcess[str]:
    """`corpus caption` of the site's corpus."""
    url = stub if isinstance(stub, str) else stub.url
    return site.cli("corpus", "caption", "site", "--catalog", "site", "--out", out, "--endpoint", url, "--model", "m-1", *SPEED, *options,
                    RADISIM_API_KEY=KEY)


def done(site: World, stub: Stub, *options: str, out: str = "out") -> tuple[pd.DataFrame, dict[str, Any]]:
    """The manifest and the card of a call that went well."""
    ended = call(site, stub, *options, out=out)
    assert ended.returncode == 0, ended.stderr
    return pd.read_parquet(site.root / out / "manifest.parquet"), yaml.safe_load((site.root / out / "card.yaml").read_text())


def made(site: World, out: str = "out") -> dict[str, bytes]:
    """What a corpus is made of."""
    return {name: (site.root / out / name).read_bytes() for name in ("manifest.parquet", "card.yaml")}


def test_captions_say_what_the_labels_say_and_everything_else_stays(site: World, stub: Stub) -> None:
    frame, card = done(site, stub)
    before = pd.read_csv(site.root / "data/site/manifest.csv", dtype=str, keep_default_na=False)
    same = ["id", "who", "modality", "anatomy", "plane", "labels", "licence", "note"]
    pd.testing.assert_frame_equal(frame[same], before[same], check_dtype=False)
    assert set(frame["caption_from"]) == {"model"}
    for caption, labels, level in zip(frame["report"], frame["labels"], frame["level"], strict=True):
        assert all(label.partition("@")[0] in caption for label in labels.split("|"))
        assert level == ("diagnosis" if labels else "anatomy")
    assert 1 < frame.loc[frame["labels"] == "normal", "report"].nunique() <= 3
    assert card["captions"]["rows"] == {"model": ROWS, "template": 0, "none": 0}
    assert {k: card["captions"][k] for k in ("model", "endpoint", "temperature", "rejected")} == {
        "model": "m-1", "endpoint": "127.0.0.1", "temperature": 0.7, "rejected": {}}
    assert card["captions"]["prompt"].startswith("You write captions of radiology images.")
    assert card["captions"]["tokens"] == {"requests": 20 * len(stub.bodies), "answers": 5 * len(stub.bodies)}
    assert card["captions"]["dates"]["first"] <= card["captions"]["dates"]["last"]
    assert (card["title"], card["url"], card["licences"]) == ("A site", "https://example.org", ["CC0"])


def test_the_new_manifest_is_a_corpus_of_the_same_images(site: World, stub: Stub) -> None:
    _, card = done(site, stub)
    entry = CorpusSpec.model_validate(card["catalog"])
    new = open_corpus(CatalogSpec(name="c", root=str(site.root), corpora={"new": entry}), "new", "v")
    old = open_corpus(load_catalog("site", site.root), "site", "v")
    assert new.structures == old.structures
    for row in range(ROWS):
        mask, there = new.mask(row), old.mask(row)
        assert new.image(row).read_bytes() == old.image(row).read_bytes()
        assert (mask and mask.read_bytes()) == (there and there.read_bytes())
    assert new.frame["split"].tolist() == old.frame["split"].tolist()


def test_a_request_holds_facts_alone_and_none_is_made_twice(site: World, stub: Stub) -> None:
    done(site, stub, "--temperature", "0.2", "--json")
    assert len({json.dumps(b) for b in stub.bodies}) == len(stub.bodies) <= 5 * 3
    for body in stub.bodies:
        assert set(body) == {"model", "temperature", "seed", "messages", "max_completion_tokens"}
        assert (body["model"], body["temperature"]) == ("m-1", 0.2)
        assert set(facts(body)) <= {"modality", "anatomy", "findings", "structures in view"}
    told = {json.dumps(facts(b)) for b in stub.bodies}
    assert told == {json.dumps({"modality": "DR", "anatomy": "chest"} | some) for some in (
        {}, {"findings": "pneumonia (left)"}, {"findings": "pleural effusion (left); pneumonia (left)"}, {"findings": "normal"},
        {"findings": "pneumonia (left)", "structures in view": "heart"})}


def test_neither_key_nor_native_id_nor_report_is_sent_written_or_said(site: World, stub: Stub) -> None:
    stub.answer = lambda body, n: failed(500, retry_after="0.001") if n == 0 else said(sentence(body) if n % 3 else "Pneumothorax?")
    ended = [call(site, stub), call(site, stub, "--json"), call(site, stub, "--dry-run", "--wordings", "9")]
    assert [e.returncode for e in ended] == [0, 0, 0]
    written = b"".join(p.read_bytes() for p in (site.root / "out").iterdir() if p.name != "manifest.parquet")
    frame = pd.read_parquet(site.root / "out" / "manifest.parquet")
    columns = " ".join(frame.drop(columns=["id", "who"]).to_csv().split())
    said_ = "".join(e.stdout + e.stderr for e in ended)
    for canary in (NATIVE, REPORT):
        assert canary.encode() not in written + stub.sent
        assert canary not in columns + said_
    assert KEY.encode() in stub.sent
    assert KEY not in columns + said_ + frame.to_csv()
    assert KEY.encode() not in written + (site.root / "out/manifest.parquet").read_bytes()


def test_a_second_call_asks_nothing_and_more_wordings_only_for_the_new_ones(site: World, stub: Stub) -> None:
    done(site, stub, "--wordings", "1")
    first, before = made(site), len(stub.bodies)
    assert before == 5
    done(site, stub, "--wordings", "1")
    assert (made(site), len(stub.bodies)) == (first, before)
    with Stub() as elsewhere:
        done(site, elsewhere, "--wordings", "1")
        assert (made(site), elsewhere.bodies) == (first, [])
    done(site, stub, "--wordings", "3")
    assert {b["seed"] for b in stub.bodies[before:]} <= {2, 4}
    done(site, stub, "--wordings", "1")
    assert made(site) == first


def test_the_corpus_does_not_depend_on_how_many_requests_wait_at_once(site: World, stub: Stub) -> None:
    done(site, stub, "--jobs", "1", out="a/out")
    done(site, stub, "--jobs", "8", out="b/out")
    assert made(site, "a/out") == made(site, "b/out")


def test_killed_and_called_again_it_asks_for_the_rest_and_writes_the_same(site: World, stub: Stub) -> None:
    done(site, stub, out="whole/out")
    expected, all_of_it = made(site, "whole/out"), len(stub.bodies)
    stub.bodies.clear()
    running: list[subprocess.Popen[bytes]] = []

    def deadly(body: Body, n: int) -> Reply:
        if n == 6:
            os.kill(running[0].pid, signal.SIGKILL)
        return said(sentence(body))

    stub.answer = deadly
    command = [sys.executable, "-m", "radisim_cl", "corpus", "caption", "site", "--catalog", "site", "--out", "out", "--endpoint", stub.url,
               "--model", "m-1", *SPEED, "--jobs", "1"]
    running.append(subprocess.Popen(command, cwd=site.root))
    assert running[0].wait(120) == -signal.SIGKILL
    assert not (site.root / "out" / "card.yaml").exists()
    kept = (site.root / "out" / "answers.jsonl").read_bytes()
    assert kept.count(b"\n") == 6
    (site.root / "out" / "answers.jsonl").write_bytes(kept[:-20])  # the last line is torn
    stub.answer = lambda body, n: said(sentence(body))
    done(site, stub)
    assert made(site) == expected
    assert len(stub.bodies) == 7 + all_of_it - 5


def test_an_endpoint_that_fails_in_the_middle_ends_in_words_and_what_was_had_is_kept(site: World, stub: Stub) -> None:
    stub.answer = lambda body, n: failed(401, "who are you") if n >= 4 else said(sentence(body))
    ended = call(site, stub, "--jobs", "1")
    assert ended.returncode == 2
    assert "127.0.0.1: refuses the request" in ended.stderr
    asked = len(stub.bodies)
    stub.answer = lambda body, n: said(sentence(body))
    done(site, stub)
    assert len({json.dumps(b) for b in stub.bodies}) == len(stub.bodies) - (asked - 4)


def test_a_contradiction_is_told_once_then_the_template_words_the_row_and_the_card_counts(site: World, stub: Stub) -> None:
    def stubborn(body: Body, n: int) -> Reply:
        if "pleural" in facts(body).get("findings", ""):
            return said("Right pneumonia with a pleural effusion.")
        if facts(body).get("findings") == "normal" and len(body["messages"]) == 2:
            return said("\"Chest radiograph with pneumonia.\"")
        return said("A chest radiograph that goes on and", "length") if "findings" not in facts(body) else said(f"\"{sentence(body)}\"")

    stub.answer = stubborn
    frame, card = done(site, stub, "--wordings", "1")
    by = frame.groupby(frame["labels"].map(lambda labels: "|".join(sorted(labels.split("|")))))
    assert by["caption_from"].unique().map(list).to_dict() == {
        "": ["template"], "normal": ["model"], "pneumonia@left": ["model"], "pleural effusion@left|pneumonia@left": ["template"]}
    assert by["report"].first()["pleural effusion@left|pneumonia@left"] == "DR with pneumonia and pleural effusion"
    assert by["report"].first()[""] == "DR"
    assert not frame["report"].str.contains("\"").any()
    again = [b["messages"][2:] for b in stub.bodies if len(b["messages"]) == 4]
    assert {tuple(m["role"] for m in more) for more in again} == {("assistant", "user")}
    assert any("it says 'pneumonia', which is not among the findings" in told["content"] for _, told in again)
    assert card["captions"]["rejected"] == {"is cut off": 2, "names a finding that the labels do not have": 1, "names another side": 2}
    assert card["captions"]["templates_because_the_last_answer"] == {"is cut off": ROWS // 4, "names another side": ROWS // 4}
    assert card["captions"]["rows"] == {"model": ROWS // 2, "template": ROWS // 2, "none": 0}


def test_rows_of_which_nothing_is_known_are_left_without_a_caption_and_counted(site: World, stub: Stub) -> None:
    path = site.root / "data/site/manifest.csv"
    before = pd.read_csv(path, dtype=str, keep_default_na=False)
    before.loc[0, ["modality", "anatomy", "labels", "mask"]] = ""
    before.to_csv(path, index=False)
    frame, card = done(site, stub)
    assert frame.iloc[0][["report", "caption_from", "level"]].tolist() == ["", "", ""]
    assert card["captions"]["rows"] == {"model": ROWS - 1, "template": 0, "none": 1}


def test_a_dry_run_says_what_would_be_sent_and_sends_and_writes_nothing(site: World, stub: Stub) -> None:
    ended = call(site, stub, "--dry-run", "--wordings", "1", "--json")
    told = json.loads(ended.stdout)
    assert (told["rows"], told["different facts"], told["requests"]) == (ROWS, 5, 5)
    assert stub.bodies == []
    assert not (site.root / "out").exists()
    words = call(site, stub, "--dry-run", "--wordings", "1").stdout
    assert "requests: 5" in words
    assert words.count("example ") == 3
    done(site, stub, "--wordings", "1")
    assert all(e in stub.bodies for e in told["examples"])
    characters = sum(len(m["content"]) for b in stub.bodies for m in b["messages"])
    assert told["tokens of requests, about"] == pytest.approx(characters / 4, abs=1)
    assert json.loads(call(site, stub, "--dry-run", "--wordings", "1", "--json").stdout)["requests"] == 0


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_corpus_under_an_agreement_goes_to_no_other_machine(site: World, stub: Stub, options: tuple[str, ...]) -> None:
    card = site.root / "data/site/card.yaml"
    card.write_text(yaml.safe_dump({"name": "site", "agreement": "the site's data-use agreement"}))
    ended = call(site, "http://192.0.2.7:8000/v1", *options)
    assert ended.returncode == 2
    assert "is had under an agreement (the site's data-use agreement)" in ended.stderr
    assert "serve a model here" in ended.stderr
    assert not (site.root / "out").exists()
    _, new = done(site, stub)
    assert new["agreement"] == "the site's data-use agreement"
    catalog = {"name": "new", "root": ".", "templates": "site", "corpora": {"new": {"manifest": "out/manifest.parquet"}}}
    (site.root / "catalogs/new.yaml").write_text(yaml.safe_dump(catalog | {"root": str(site.root)}))
    assert site.cli("corpus", "pack", "new", "--catalog", "new", "--out", "packed").returncode == 0
    assert yaml.safe_load((site.root / "packed/card.yaml").read_text())["agreement"] == "the site's data-use agreement"
    indexed = site.cli("corpus", "index", "packed/shards", "--out", "indexed", RADISIM_SALT="a secret of the tests")
    assert indexed.returncode == 0, indexed.stderr
    assert yaml.safe_load((site.root / "indexed/card.yaml").read_text())["agreement"] == "the site's data-use agreement"


@pytest.mark.parametrize(("change", "message"), [
    ({"card": "- a list\n"}, "is no card"),
    ({"licence": ""}, r"no card\.yaml beside its manifest"),
    ({"labels": f"seen by {NATIVE}0"}, "hold what its column 'patient' says"),
    ({"mask": "manifest.csv"}, "row 1 of 'site': its mask cannot be read as an image"),
])
def test_a_corpus_that_cannot_be_sent_is_refused(site: World, change: dict[str, str], message: str) -> None:
    card, path = site.root / "data/site/card.yaml", site.root / "data/site/manifest.csv"
    if "card" in change:
        card.write_text(change["card"])
    else:
        if "licence" in change:
            card.unlink()
        pd.read_csv(path, dtype=str, keep_default_na=False).assign(**change).to_csv(path, index=False)
    ended = call(site, "http://192.0.2.7:8000/v1")
    assert ended.returncode == 2
    assert message.replace("\\", "") in ended.stderr
    assert NATIVE not in ended.stderr


def test_options_and_folders_that_are_none_are_refused(site: World, stub: Stub) -> None:
    (site.root / "empty.txt").write_text(" \n")
    (site.root / "latin.txt").write_bytes(b"\xe9")
    (site.root / "full").mkdir()
    (site.root / "full" / "a").touch()
    for options, out, message in [
        (("--prompt", "none.txt"), "out", "--prompt none.txt: cannot be read"), (("--prompt", "latin.txt"), "out", "as a file in UTF-8"),
        (("--prompt", "empty.txt"), "out", "--prompt empty.txt: is empty"), ((), "full", "is not empty and not of this command"),
        ((), "data/site", "is the corpus itself"), (("--endpoint", "localhost"), "out", "is no URL"),
    ]:
        ended = call(site, stub, *options, out=out)
        assert ended.returncode == 2, options
        assert message in ended.stderr
    site.edit("catalogs/site.yaml", templates=None)
    assert "names no template set" in call(site, stub).stderr
    assert stub.bodies == []


def test_a_prompt_of_ones_own_is_sent_and_recorded(site: World, stub: Stub) -> None:
    (site.root / "mine.txt").write_text("Write as a poet.\n")
    _, card = done(site, stub, "--prompt", "mine.txt")
    assert {b["messages"][0]["content"] for b in stub.bodies} == {card["captions"]["prompt"]} == {"Write as a poet."}


def test_an_answer_that_somebody_has_spoilt_is_named(site: World, stub: Stub) -> None:
    done(site, stub)
    kept = site.root / "out" / "answers.jsonl"
    kept.write_bytes(b"{}\n" + kept.read_bytes())
    ended = call(site, stub)
    assert ended.returncode == 2
    assert "answers.jsonl:1: is no answer" in ended.stderr
