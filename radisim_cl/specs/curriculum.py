"""Curriculum, stage, mixture, training, profile: what a researcher writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from radisim_cl.errors import InputError, Problem, SpecError
from radisim_cl.files import library_file
from radisim_cl.registry import hint
from radisim_cl.specs.base import Document, Name, Spec, Where
from radisim_cl.specs.gates import GateSpec
from radisim_cl.specs.losses import LossSpec
from radisim_cl.specs.tree import expand_environment, override, read, resolve_use


class MixtureEntry(Spec):
    """One ingredient of a stage's data."""

    source: str
    """A corpus of the catalog."""
    where: Where = {}
    """Keep only pairs whose column has this value, or one of these: `{modality: [CT, MR]}`."""
    weight: float = Field(1.0, ge=0)
    """Share relative to the other entries of the stage."""
    optional: bool = False
    """Left out, and the plan says so, where the catalog has no such source: an institution's own data."""
    captions: str = "own"
    """`own`: the manifest's caption; else a level of the catalog's template set, which words the labels: `anatomy`."""


class AugmentSpec(Spec):
    """Changes that leave the finding where it is. Every draw is a function of the sample's own key."""

    crop: float = Field(0.8, gt=0, le=1)
    """Smallest share of the image's area that a random crop keeps; 1 turns cropping off."""
    jitter: float = Field(0.2, ge=0, lt=1)
    """Brightness and contrast change by up to this factor."""
    flip: float = Field(0.0, ge=0, le=1)
    """Probability of a horizontal flip; an image whose caption or label names a side is never flipped."""


class DataSpec(Spec):
    """What a stage is trained on."""

    mixture: list[MixtureEntry] = Field(min_length=1)
    """Sources, filters and weights."""
    replay: float = Field(0.0, ge=0, lt=1)
    """Share of every batch drawn from the mixtures of the stages already passed, equally by stage."""
    max_repeats: float = Field(4.0, gt=0)
    """No pair is seen more often than this in the stage, extensions included."""
    on_shortage: Literal["refuse", "redistribute"] = "refuse"
    """When `max_repeats` cannot be kept: refuse the plan, or give the excess to entries that have pairs left."""
    max_corrupt: float = Field(0.001, ge=0, le=1)
    """Share of the pairs drawn whose image or mask may be none, and that another pair of the same entry stands in for. The run stops where chance
    does not explain that there are more."""
    block: int | None = Field(None, ge=1)
    """Pairs that stand together in a manifest and are drawn around the same time, so that disks which seek slowly read in few places; such as 256.
    Nothing: any pair may follow any other."""
    augment: AugmentSpec = AugmentSpec()
    """Random crop, jitter and flip."""

    @field_validator("mixture")
    @classmethod
    def _some_weight(cls, mixture: list[MixtureEntry]) -> list[MixtureEntry]:
        if sum(e.weight for e in mixture) <= 0:
            raise ValueError("all weights are zero; give at least one entry a positive weight")
        return mixture


class TrainSpec(Spec):
    """How a stage is trained. The schedule is linear warm-up, then cosine, over the stage's planned samples."""

    share: float = Field(gt=0, le=1)
    """Part of the curriculum's samples that this stage gets, relative to the other stages' shares."""
    lr: float = Field(gt=0, le=1)
    """Peak learning rate."""
    final_lr: float = Field(0.1, ge=0, le=1)
    """Learning rate at the end of the stage and in its extensions, as a share of `lr`."""
    warmup: float = Field(0.03, ge=0)
    """Warm-up as a share of the stage's steps, below 1."""
    optimizer: Literal["carry", "fresh"] = "carry"
    """What the stage does with the moments of the one before: goes on with them, or begins as a new optimizer would, with none."""
    freeze: list[Literal["image", "text", "logit_scale"]] = []
    """What is not trained in this stage: a tower with its projection, or the temperature with the bias of `siglip`. Neither gradients nor decay nor
    momentum move it, and its batch norms keep the statistics that they have. A later stage that does not name it trains it again."""
    unlocked: dict[Literal["image", "text"], Annotated[int, Field(ge=1)]] = {}
    """Of a frozen tower, how many groups of its last parameters are trained all the same, as open_clip counts them in `lock_image_tower` and
    `lock_text_tower`: `{image: 2}`."""

    @field_validator("warmup")
    @classmethod
    def _inside(cls, warmup: float) -> float:
        if warmup >= 1:
            raise ValueError(f"warm-up is longer than the stage: {warmup:g} of its steps; use a share below 1, such as 0.03")
        return warmup

    @field_validator("freeze")
    @classmethod
    def _something_left(cls, freeze: list[str]) -> list[str]:
        if len(set(freeze)) == 3:
            raise ValueError("nothing is left to train; leave out image, text or logit_scale")
        return freeze

    @field_validator("unlocked")
    @classmethod
    def _of_frozen(cls, unlocked: dict[str, int], info: ValidationInfo) -> dict[str, int]:
        for tower in unlocked.keys() - set(info.data.get("freeze", unlocked)):
            raise ValueError(f"the {tower} tower is trained as a whole, unless `freeze` names it; freeze it, or take it out here")
        return unlocked


class StageSpec(Document):
    """One phase of the curriculum: data, losses, training, and the gate that ends it."""

    name: Name
    """Unique in the curriculum."""
    question: str = ""
    """What the phase teaches, as a question: "Where is it?"."""
    data: DataSpec
    """Mixture, replay, augmentation."""
    losses: list[LossSpec] = Field(min_length=1)
    """Summed with their weights."""
    train: TrainSpec
    """Share of the budget, learning rate."""
    gate: GateSpec
    """When it is over."""


class ModelSpec(Spec):
    """What is trained."""

    arch: str
    """An open_clip model name, `radisim-tiny`, `hf-hub:org/name` or `local-dir:path`."""
    pretrained: str | None = None
    """An open_clip tag or a weights file; nothing starts from random weights."""
    logit_bias: float | None = None
    """Where the bias of the loss `siglip` starts (-10 in SigLIP), also in a model that had none; nothing: the model's own, if it has one."""


class BudgetSpec(Spec):
    """How much a run may train."""

    samples: int = Field(gt=0)
    """Image-text pairs seen in all, repeats counted, reserve included."""
    reserve: float = Field(0.15, ge=0, lt=1)
    """Part of `samples` that only extensions and repairs may use."""
    unspent: Literal["nobody", "last_stage"] = "nobody"
    """Who gets what is left of the reserve when the last stage begins."""


class OptimizerSpec(Spec):
    """One optimizer for the whole curriculum; a stage goes on with its state unless `train.optimizer` says otherwise."""

    kind: Literal["adamw", "sgd"] = "adamw"
    """AdamW (Loshchilov and Hutter 2019), or plain SGD, which exactness tests use."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """AdamW's decay rate of the gradient's first moment; this, `beta2` and `eps` as for CLIP's ViTs (Radford et al. 2021, table 19)."""
    beta2: float = Field(0.98, ge=0, lt=1)
    """AdamW's decay rate of the gradient's second moment."""
    eps: float = Field(1e-6, gt=0)
    """Added to the root of AdamW's second moment."""
    weight_decay: float = Field(0.2, ge=0, le=1)
    """Decoupled decay of matrices, AdamW only; norms, biases and logit_scale have none."""
    grad_clip: float = Field(1.0, ge=0)
    """Largest global gradient norm; 0 turns clipping off."""


class HealthSpec(Spec):
    """When a step is ill, and how much of that a stage may have."""

    max_skipped: int = Field(10, ge=0)
    """Steps in a row whose loss or gradient is not finite, and which change nothing; and, in an attempt, spikes, after each of which the run goes
    back to its newest checkpoint and passes over what led there. One more stops the run."""
    spike: float = Field(0.0, ge=0)
    """A loss is a spike that lies as many robust standard deviations above the median of the last 50; 0 looks for none."""


class ProfileSpec(Spec):
    """Scale: the same curriculum on a laptop or a cluster."""

    model: ModelSpec
    """Architecture and starting weights."""
    budget: BudgetSpec
    """Samples and reserve."""
    global_batch: int = Field(64, ge=2)
    """Pairs a step over all ranks: the number of contrastive candidates."""
    micro_batch: int | None = Field(None, ge=1)
    """Pairs that a rank puts through the towers at a time, where its part of the global batch does not fit into memory; the loss is that of the whole
    batch all the same, and the towers run twice (Gao et al. 2021, arXiv:2101.06983, section 3). Nothing: all at once. `radisim-cl micro-batch` tries
    sizes on a machine."""
    zero: Literal[0, 1, 2, 3] = 0
    """DeepSpeed ZeRO stage."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    """Of the towers' passes, in training and in scoring; weights are fp32. bf16 and fp16 are autocast, fp16 with a loss scale that follows the
    gradients, and on GPUs only. `auto`: bf16 where the machine that plans the run has instructions for it, else fp32; the plan says which."""
    checkpoint_activations: bool = False
    """Keep what goes into each block of the towers and make the rest again in the backward pass: less memory, a forward pass more."""
    compile: bool = False
    """Compile the towers' blocks (torch.compile); takes a C++ compiler, a minute at the start, and ZeRO 0 to 2."""
    lr_scale: float = Field(1.0, gt=0, le=100)
    """Factor of every stage's learning rate: a small model from random weights takes more than a large pretrained one."""
    readers: int = Field(2, ge=0, le=64)
    """Threads a rank that read and decode images; 0 reads in the training thread. Does not change the batches."""
    image_cache: float = Field(1.0, ge=0)
    """GiB of memory a rank that decoded images may fill, so that none is decoded twice; 0 keeps none. Does not change the batches."""
    health: HealthSpec = HealthSpec()
    """What becomes of losses and gradients that are not finite, and of spikes."""
    save_every: int = Field(100, ge=1)
    """Steps between checkpoints inside a stage."""
    patience: float = Field(1800.0, ge=0)
    """Seconds that a step may take before the run ends and names the rank that hangs; 0 waits without end. Scoring does not count."""
    synthetic: Literal["allow", "refuse"] = "allow"
    """Whether a catalog of synthetic images may be trained on at this scale."""
    gates: Literal["enforce", "observe", "off"] | None = None
    """Mode of every gate at this scale; nothing: each stage's own. A scale too small to pass gates observes them."""

    @field_validator("micro_batch", mode="before")
    @classmethod
    def _a_number(cls, micro_batch: object) -> object:
        if micro_batch == "auto":
            raise ValueError("sizes have to be tried, and planning tries nothing; take it out, call `radisim-cl micro-batch` on the machine that "
                             "will train, and write the number that it says")
        return micro_batch


class RuleSpec(Spec):
    """A control that follows from the curriculum alone. Its gates observe, so that it sees as many samples."""

    kind: Literal["joint", "joint_restarts", "reversed", "shuffled", "ungated", "no_replay"]
    """`joint`: everything from the start, in one stage; `joint_restarts`: the same in stages as long as the curriculum's, with their learning rates;
    `reversed`, `shuffled` (by the seed): another order; `ungated`: the gates are off; `no_replay`: nothing of the stages already passed."""


class YokedSpec(Spec):
    """A control as long as a gated run came to be: its stages have that run's lengths, extensions included, and their gates are off."""

    kind: Literal["yoked"]
    """The schedule of another run."""
    run: str
    """Folder of the finished run; `{seed}` in it stands for the control's own seed."""


ControlSpec = Annotated[RuleSpec | YokedSpec, Field(discriminator="kind")]


class CurriculumSpec(Document):
    """An ordered list of stages, a benchmark that gates them, and the scales at which to run it."""

    name: Name
    """Names the run directory."""
    description: str = ""
    """One paragraph for readers."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Of weights, data order and augmentation."""
    benchmark: str
    """A file of `benchmarks/`."""
    catalog: str = "phantom"
    """A file of `catalogs/`: what the source names stand for. `--catalog` replaces it."""
    optimizer: OptimizerSpec = OptimizerSpec()
    """Of all stages."""
    profiles: dict[str, ProfileSpec] = Field(min_length=1)
    """Scales by name; `laptop` is the default."""
    profile: str = "laptop"
    """The profile in use. `--profile` replaces it."""
    stages: list[StageSpec] = Field(min_length=1)
    """In the order of training."""
    control: ControlSpec | None = None
    """What is trained instead of these stages, for comparison with them (docs/design/controls.md)."""
    overlaps_allowed: list[str] = []
    """Sources that may be trained on although the benchmark asks about patients or image files of theirs. Every page with a score then says so."""

    @property
    def scale(self) -> ProfileSpec:
        """The profile in use."""
        return self.profiles[self.profile]

    def gate_mode(self, stage: StageSpec) -> Literal["enforce", "observe", "off"]:
        """The mode in which a stage's gate runs."""
        return self.scale.gates or stage.gate.mode

    def train(self, stage: StageSpec, factor: float = 1.0) -> TrainSpec:
        """How a stage is trained at the scale in use, its learning rate times a factor."""
        return stage.train.model_copy(update={"lr": stage.train.lr * self.scale.lr_scale * factor})

    def cross_checks(self) -> list[Problem]:
        """The profile exists; no two stages have one name."""
        out, first = [], dict[str, int]()
        if self.profile not in self.profiles:
            out.append(self.problem(("profile",), f"no profile {self.profile!r}. {hint(self.profile, self.profiles)}"))
        for i, stage in enumerate(self.stages):
            if stage.name in first:
                out.append(self.problem(("stages", i, "name"), f"duplicate stage name {stage.name!r}, first used by "
                                                               f"stages[{first[stage.name]}]; rename one"))
            first.setdefault(stage.name, i)
        return out


def load(
    path: str | Path, overrides: Sequence[str] = (), profile: str | None = None, catalog: str | None = None
) -> CurriculumSpec:
    """Reads a curriculum: `use:` resolved, `--set` applied, environment expanded, validated.

    Args:
        path: a YAML file, or the name of one in the library's `curricula/`.
        overrides: `a.b=c` assignments, applied in order.
        profile: replaces `profile`.
        catalog: replaces `catalog`.

    Raises:
        SpecError: with every problem, each with file, line, field and what to do.
    """
    try:
        file = library_file("curricula", str(path), Path())
    except InputError as e:
        raise SpecError([Problem(str(path), "", str(e))]) from None
    near = file.resolve().parent
    root = resolve_use(read(file), "curricula", near)
    problems: list[Problem] = []
    stages = root.value.get("stages")
    if stages is not None and isinstance(stages.value, list):
        for i, stage in enumerate(stages.value):
            try:
                stages.value[i] = resolve_use(stage, "stages", near)
            except SpecError as e:
                problems += e.problems
    for text in (*overrides, *([f"profile={profile}"] if profile else []), *([f"catalog={catalog}"] if catalog else [])):
        try:
            override(root, text)
        except SpecError as e:
            problems += e.problems
    problems += expand_environment(root)
    if problems:
        raise SpecError(problems)
    return CurriculumSpec.from_node(root)


def stored(plan: Path, overrides: Sequence[str] = ()) -> CurriculumSpec:
    """The curriculum that a run's `plan.yaml` holds, with `--set` applied.

    Raises:
        SpecError: an assignment does not fit.
    """
    root = read(plan).value["curriculum"]
    for text in overrides:
        override(root, text)
    return CurriculumSpec.from_node(root)
