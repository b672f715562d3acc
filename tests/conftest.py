"""A small world for the tests: a corpus of drawn images, with catalog, benchmark, templates, curriculum and a micro model."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import settings
from PIL import Image

REAL = os.environ.get("RADISIM_REAL")
real = pytest.mark.skipif(not REAL or not Path(REAL).is_dir(), reason="RADISIM_REAL does not name the open sample's folder")

settings.register_profile("untimed", deadline=None)  # no test asserts on a clock
settings.load_profile("untimed")

MODEL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@dataclass(frozen=True)
class World:
    """Where the small world lies, and how to run the command line in it."""

    root: Path

    @property
    def curriculum(self) -> Path:
        return self.root / "curricula" / "toy.yaml"

    def cli(self, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`radisim-cl ARGS` in the world's folder, in this process: one that imports torch first would take most of a test's time.

        Runs write no page unless `--report` is among the arguments.
        """
        from radisim_cl.cli import main

        said, complained, code = io.StringIO(), io.StringIO(), 0
        handlers = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
        with pytest.MonkeyPatch.context() as patched, redirect_stdout(said), redirect_stderr(complained):
            patched.chdir(self.root)
            silent = ["--no-report"] * (args[0] in ("run", "resume") and "--report" not in args)
            patched.setattr(sys, "argv", ["radisim-cl", *args, *silent])
            for name, value in environment.items():
                patched.setenv(name, value)
            try:
                main()
            except SystemExit as e:
                code = int(e.code or 0)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        return subprocess.CompletedProcess(args, code, said.getvalue(), complained.getvalue())

    def process(self, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The same in a process of its own."""
        env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
        return subprocess.run([sys.executable, "-m", "radisim_cl", *args], cwd=self.root, env=env, capture_output=True, text=True, timeout=600)

    def edit(self, file: str, **changes: object) -> None:
        """Replaces top-level fields of one of the world's YAML files."""
        path = self.root / file
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes, sort_keys=False))


def draw(modality: str, anatomy: str, label: str, rng: np.random.Generator) -> Image.Image:
    """A 40 x 36 grey picture whose modality is its texture, whose anatomy is its shape, and whose mass is a bright spot."""
    y, x = np.mgrid[-1:1:40j, -1:1:36j]
    shape = {"head": x**2 + y**2 < 0.6, "chest": (abs(x) < 0.8) & (abs(y) < 0.5), "knee": abs(x) < 0.25}[anatomy]
    picture = np.where(shape, {"CT": 90.0, "MR": 150.0, "DR": 210.0}[modality], 20.0)
    picture += {"CT": 0.0, "MR": 25.0, "DR": 5.0}[modality] * np.sin(20 * x)
    if label == "mass":
        cx, cy = rng.uniform(-0.1, 0.1, 2)
        picture[(x - cx) ** 2 + (y - cy) ** 2 < 0.03] = 255
    return Image.fromarray(np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8))


def make_world(root: Path, patients: int = 90) -> World:
    """Writes the small world; the same bytes each time."""
    rng = np.random.default_rng(0)
    images = root / "data" / "images"
    images.mkdir(parents=True)
    rows = []
    for p in range(patients):
        modality, anatomy = ("CT", "MR", "DR")[p % 3], ("head", "chest", "knee")[(p // 3) % 3]
        for s in range(2):
            label = "mass" if (p + s) % 2 else "normal"
            name = f"patient{p:03d}-{s}"
            draw(modality, anatomy, label, rng).save(images / f"{name}.png")
            rows.append({"id": name, "patient": f"patient{p:03d}", "image": f"images/{name}.png", "modality": modality, "anatomy": anatomy,
                         "labels": label, "caption": f"{modality} of the {anatomy}, {label}", "licence": "CC0"})
    pd.DataFrame(rows).to_csv(root / "data" / "manifest.csv", index=False)
    (root / "model").mkdir()
    (root / "model" / "open_clip_config.json").write_text(json.dumps({"model_cfg": MODEL, "preprocess_cfg": {"resize_mode": "squash"}}))

    def subtask(name: str, suite: str, column: str, values: list[str], metric: str) -> dict[str, object]:
        return {"id": name, "suite": suite, "items": [{"source": "drawn"}], "column": column, "metric": metric,
                "classes": {v: {"values": [v], "names": [v]} for v in values}, "templates": ["this is a {} image", "{}"]}

    def stage(name: str, share: float, replay: float, need: float) -> dict[str, object]:
        return {"name": name, "data": {"mixture": [{"source": "drawn", "captions": name, "weight": 3}, {"source": "drawn", "captions": "own"}],
                                       "replay": replay, "max_repeats": 1000},
                "losses": [{"kind": "multi_positive"}], "train": {"share": share, "lr": 1e-3, "warmup": 0.1},
                "gate": {"requires": [{"kind": "threshold", "suite": name, "at_least": need}], "looks": 2}}

    files: dict[str, dict[str, object]] = {
        "catalogs/toy.yaml": {"name": "toy", "root": str(root / "data"), "templates": "toy", "corpora": {"drawn": {
            "manifest": "manifest.csv", "splits": {"*": {"train": 0.4, "tune": 0.1, "gate": 0.25, "report": 0.25}}}}},
        "templates/toy.yaml": {"name": "toy", "words": {"modality": {"MR": ["MR", "MRI"]}}, "levels": {
            "modality": {"variants": ["{modality}", "{modality} image"]}, "anatomy": {"variants": ["{anatomy}", "{modality} of the {anatomy}"]}}},
        "benchmarks/toy.yaml": {"name": "toy", "version": "toy-1", "subtasks": [
            subtask("mod.three", "modality", "modality", ["CT", "MR", "DR"], "balanced_accuracy"),
            subtask("anat.three", "anatomy", "anatomy", ["head", "chest", "knee"], "macro_f1"),
            subtask("anat.mass", "anatomy", "label", ["normal", "mass"], "auc")]},
        "stages/modality.yaml": stage("modality", 0.5, 0.0, -1.0),
        "stages/anatomy.yaml": stage("anatomy", 0.5, 0.25, -1.0),
        "curricula/toy.yaml": {"name": "toy", "seed": 3, "benchmark": "toy", "catalog": "toy", "profiles": {"laptop": {
            "model": {"arch": f"local-dir:{root / 'model'}"}, "budget": {"samples": 400, "reserve": 0.2}, "global_batch": 16, "save_every": 4}},
            "stages": [{"use": "modality"}, {"use": "anatomy"}]},
    }
    for name, content in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(yaml.safe_dump(content, sort_keys=False))
    return World(root)


@pytest.fixture(autouse=True, scope="session")
def kept_apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the tests' images leave in the cache goes with the tests."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RADISIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A small world of the test's own."""
    return make_world(tmp_path / "world")


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A small world that no test may change."""
    return make_world(tmp_path_factory.mktemp("shared") / "world")
