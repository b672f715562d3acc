"""DeepSpeed, and the only file that knows it.

What it settles (docs/design/engine.md has the measurements): gloo on CPU without the shared-memory op, which would need a C++
compiler; gradient clipping always set, because absent means 1.0; fused AdamW from torch; learning rates written by us, so that
the schedule is a function of the step and not a state; NaN losses skipped by all ranks together before the backward pass.
"""

from __future__ import annotations

import copy
import ctypes
import itertools
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from radisim_cl.errors import InputError, RadisimError
from radisim_cl.models.blocks import checkpoint_activations, compile_blocks, normalizes_over_batch
from radisim_cl.models.build import NOTHING, Built, Embedded, Features, Towers, Wanted
from radisim_cl.models.precision import autocast
from radisim_cl.specs.curriculum import OptimizerSpec, ProfileSpec
from radisim_cl.train.health import Ailment
from radisim_cl.train.optimizer import build_optimizer, groups
from radisim_cl.train.scaling import LossScale

if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
import deepspeed

T = TypeVar("T")
_CLIENT = "radisim"
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
"""Of mallopt(3)."""


def init_distributed() -> tuple[int, int]:
    """Joins the process group that torchrun or deepspeed described, or makes one of a single process; (rank, world size)."""
    if not dist.is_initialized():
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        else:
            # Training does not use this op, and building it takes a C++ compiler and 45 s.
            from deepspeed.ops import __compatible_ops__

            __compatible_ops__["deepspeed_shm_comm"] = False
            keep_memory()
        # Ranks wait for rank 0 while it scores; that may take longer than the 30 minutes of the default.
        backend, patience = "nccl" if cuda else "gloo", timedelta(hours=12)
        if "RANK" in os.environ:
            dist.init_process_group(backend, timeout=patience)
        else:
            os.environ.setdefault("LOCAL_RANK", "0")
            dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1, timeout=patience)  # type: ignore[attr-defined]
        deepspeed.init_distributed(dist_backend=backend, auto_mpi_discovery=False, verbose=False)
    return dist.get_rank(), dist.get_world_size()


def keep_memory() -> None:
    """Tells glibc to keep what is freed: activations are too large for its heap by default, so that every step would fault their pages in anew.

    Results do not depend on it; what it gains is in `perf/step.py`. Elsewhere than on glibc it does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for parameter, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 2**28)):
            mallopt(parameter, value)


_Inputs = tuple[Tensor, Tensor, bool]


@dataclass(frozen=True)
class _Piece:
    """What went through the towers at a time, what they said, and the random state before."""

    inputs: _Inputs
    outputs: tuple[Tensor, ...]
    before: dict[str, Any]


class Engine:
    """A model, its optimizer and the ranks that train it."""

    def __init__(self, built: Built, profile: ProfileSpec, optimizer: OptimizerSpec, freezes: Iterable[frozenset[str]] = ()) -> None:
        """
        Args:
            built: the model with its starting weights.
            profile: batch, ZeRO stage, precision.
            optimizer: AdamW or SGD.
            freezes: every set of the model's parameters that `freeze` may be given.
        """
        self.rank, self.world = init_distributed()
        self.device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
        self.local_batch = profile.global_batch // self.world
        self.pieces = self.local_batch // (profile.micro_batch or self.local_batch)
        if self.pieces > 1 and normalizes_over_batch(built.model):
            raise InputError(f"{profile.model.arch!r} normalizes over the batch, and pieces of micro_batch {profile.micro_batch} would be normalized "
                             "apart; take micro_batch out, or another model")
        if profile.checkpoint_activations:
            checkpoint_activations(built.model, profile.model.arch)
        if profile.compile:
            compile_blocks(built.model)
        towers = Towers(built.model, built.preprocess, autocast(profile.precision))
        self._scale = LossScale(towers) if profile.precision == "fp16" else None
        self._sums: list[Tensor] = []
        for parameter in towers.parameters():
            parameter.register_hook(lambda gradient: self._sums.append(gradient.sum()))  # type: ignore[no-untyped-call]
        config: dict[str, Any] = {
            "train_micro_batch_size_per_gpu": self.local_batch // self.pieces,
            "gradient_accumulation_steps": self.pieces,
            "gradient_clipping": optimizer.grad_clip,
            "zero_optimization": {"stage": profile.zero},
            "zero_allow_untested_optimizer": True,
            "steps_per_print": 2**31,
        }
        self._trainable = {n for n, p in built.model.named_parameters() if p.requires_grad}
        self._groups = groups(built.model, list(freezes))
        self._optimizer = build_optimizer(built.model, optimizer, self._groups)
        self._engine, *_ = deepspeed.initialize(model=towers, optimizer=self._optimizer, config=config, dist_init_required=False)
        self._cached: list[_Piece] = []
        self.freeze(frozenset())

    def freeze(self, names: frozenset[str]) -> None:
        """Leaves these parameters of the model, their moments and the statistics of their batch norms as they are from now on; trains the others."""
        for name, parameter in self._engine.module.clip.named_parameters():
            parameter.requires_grad_(name in self._trainable and name not in names)
        self._frozen = [group.names <= names for group in self._groups]
        if hasattr(self._engine.optimizer, "parameter_offload"):  # ZeRO 3 expects the order of modules of the steps before
            order = self._engine.optimizer.parameter_offload.get_param_coordinator()
            if not order.is_invalid_trace():
                order._invalidate_trace()
        norms = (m for m in self._engine.module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
        self._still = [m for m in norms if not any(p.requires_grad for p in m.parameters())]

    def forget(self) -> None:
        """Makes the optimizer as new: no moments, no steps."""
        for state in self._optimizer.state.values():
            for value in state.values():
                value.zero_()

    @property
    def slots(self) -> slice:
        """This rank's part of every global batch."""
        return slice(self.rank * self.local_batch, (self.rank + 1) * self.local_batch)

    def features(self, images: Tensor, tokens: Tensor, wanted: Wanted = NOTHING) -> Features:
        """(b, 3, S, S) uint8 and (b, length) ids on this device, to embeddings that can be trained; and to those of `wanted.entry`, which cannot.

        Prompts share the captions' pass, and patches the images': ZeRO 3 gathers each weight once, and every rank embeds all prompts.
        """
        self._engine.train()
        for norm in self._still:
            norm.eval()
        prompts = [t[None, : tokens.shape[1]] for t in wanted.tokens.values()]
        texts = list(tokens.chunk(self.pieces))
        n = len(texts[0])
        texts[0] = torch.cat([texts[0], *prompts])
        inputs = [(pixels, ids, wanted.patches) for pixels, ids in zip(images.chunk(self.pieces), texts, strict=True)]
        outputs = [self._engine(*inputs[0])] if self.pieces == 1 else self._without_gradients(inputs)
        first = outputs[0]
        image, text = torch.cat([o[0] for o in outputs]), torch.cat([first[1][:n], *(o[1] for o in outputs[1:])])
        patches = torch.cat([o[3] for o in outputs]) if wanted.patches else image.new_zeros(len(image), 0, image.shape[1])
        bias = first[-1] if len(first) > 3 + wanted.patches else image.new_zeros(0)
        prompted = dict(zip(wanted.tokens, first[1][n:].unbind(), strict=True))
        return Features(image, text, first[2], bias, patches, prompted, self._said(wanted.entry, images, tokens) if wanted.entry else None)

    def _without_gradients(self, inputs: Sequence[_Inputs]) -> list[tuple[Tensor, ...]]:
        """What the towers say of each piece, as leaves of a graph; `step` runs the pieces again, for the gradients."""
        self._cached = []
        for piece in inputs:
            before = _random_state()
            with torch.no_grad():
                outputs = self._engine(*piece)
            self._cached.append(_Piece(piece, tuple(o.detach().requires_grad_() for o in outputs), before))
        return [piece.outputs for piece in self._cached]

    def _parts(self, loss: Tensor) -> Iterator[Tensor]:
        """Scalars whose gradients add up to those of a loss of `features`: itself, or, of cached ones, one a piece by the chain rule."""
        if self.pieces == 1:
            yield loss
            return
        leaves = [o for piece in self._cached for o in piece.outputs]
        slopes = iter(torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True))
        for piece in self._cached:
            _set_random_state(piece.before)
            outputs = self._engine(*piece.inputs)
            yield torch.stack([(o * s).sum() for o, s in zip(outputs, itertools.islice(slopes, len(outputs)), strict=True)]).sum()

    @torch.no_grad()
    def _said(self, towers: Towers, images: Tensor, tokens: Tensor) -> Embedded:
        said = [towers(*piece) for piece in zip(images.chunk(self.pieces), tokens.chunk(self.pieces), strict=True)]
        return Embedded(torch.cat([s[0] for s in said]), torch.cat([s[1] for s in said]), said[0][2])

    def frozen(self, built: Built, weights: Mapping[str, Tensor]) -> Towers:
        """A copy of a model on this device with weights from `weights`, that is never trained and whose dropout is off.

        Args:
            built: a model that no engine has; it stays as it is.
            weights: of an open_clip model of its kind.
        """
        model = copy.deepcopy(built.model)
        model.load_state_dict(weights)
        module: Towers = self._engine.module
        return Towers(model, built.preprocess, module.autocast).eval().requires_grad_(False).to(self.device)

    def step(self, loss: Tensor, lr: float) -> Ailment | None:
        """One optimizer step; or what was wrong, and no update on any rank, when the loss or a gradient is not finite on one of them."""
        if not self.all_true(bool(torch.isfinite(loss.detach()))):
            self._engine.optimizer.zero_grad()
            return "loss not finite"
        finite = True
        for part in self._parts(loss):
            self._engine.backward(part * self._scale.factor if self._scale else part, scale_wrt_gas=False)
            finite &= self._gradients_finite()
            for group, frozen in zip(self._optimizer.param_groups, self._frozen, strict=True):
                group.update(lr=lr, frozen=frozen or not finite)
            self._engine.step()
        if self._scale:
            self._scale.update(finite)
        return None if finite else "gradient not finite"

    def _gradients_finite(self) -> bool:
        """Whether every gradient since the last call was finite on every rank, before ZeRO sums or clips it: then the sum over each is."""
        sums = torch.stack([s.float() for s in self._sums]) if self._sums else torch.zeros(1)
        self._sums.clear()
        return self.all_true(bool(torch.isfinite(sums).all()))

    def mean(self, value: Tensor) -> float:
        """The mean of a scalar over the ranks."""
        out = value.detach().float().reshape(1).clone()
        dist.all_reduce(out)
        return float(out) / self.world

    def total(self, count: int) -> int:
        """The sum of a count over the ranks."""
        out = torch.tensor([count], device=self.device)
        dist.all_reduce(out)
        return int(out)

    def all_true(self, flag: bool) -> bool:
        """Whether a flag holds on every rank."""
        out = torch.tensor([float(flag)], device=self.device)
        dist.all_reduce(out, dist.ReduceOp.MIN)
        return bool(out)

    def broadcast(self, value: T) -> T:
        """Rank 0's value, on every rank."""
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def gather(self, value: T) -> list[T]:
        """Every rank's value, on every rank."""
        out: list[Any] = [None] * self.world
        dist.all_gather_object(out, value)
        return out

    def barrier(self) -> None:
        """Waits for every rank."""
        dist.barrier()

    def weights(self) -> dict[str, Tensor]:
        """The open_clip model's weights in float32, gathered; complete on every rank."""
        module: Towers = self._engine.module
        parameters = list(module.parameters())
        partitioned = [p for p in parameters if hasattr(p, "ds_id")]
        with deepspeed.zero.GatheredParameters(partitioned, enabled=bool(partitioned)):
            return {k: v.detach().cpu().clone() for k, v in module.clip.state_dict().items()}

    def save(self, folder: Path, tag: str) -> None:
        """Writes `folder/tag`: weights, optimizer and every rank's random state. Called by all ranks."""
        client = {_CLIENT: {"world": self.world, "rngs": self.gather(_random_state()), "scale": self._scale and self._scale.state()}}
        self._engine.save_checkpoint(str(folder), tag=tag, client_state=client, save_latest=False)

    def load(self, folder: Path, tag: str, world: int) -> None:
        """Reads what `save` wrote; the caller has verified the digests.

        Of another number of ranks, ZeRO's partitions are merged first (DeepSpeed's universal checkpoints), and rank r takes the random state of
        rank r modulo that number.

        Args:
            folder: of the checkpoints.
            tag: of the one wanted.
            world: ranks that wrote it.

        Raises:
            RadisimError: it cannot be converted.
        """
        config, merged = self._engine._config, folder / f".{tag}.universal"
        config.load_universal_checkpoint = world != self.world and self._engine.zero_optimization_stage() > 0
        if config.load_universal_checkpoint:
            problem = self.broadcast(_merge(folder / tag, merged / tag) if self.rank == 0 else "")
            if problem:
                raise RadisimError(f"{folder / tag}: written by {world} ranks, and it cannot be converted for {self.world}: {problem}; resume with "
                                   f"--nproc {world}")
        groups = [{k: v for k, v in g.items() if k != "params"} for g in self._engine.optimizer.param_groups]
        found, client = self._engine.load_checkpoint(str(merged if config.load_universal_checkpoint else folder), tag=tag)
        if found is None:
            raise RadisimError(f"{folder / tag}: DeepSpeed found no checkpoint there")
        if config.load_universal_checkpoint:
            for group, own in zip(self._engine.optimizer.param_groups, groups, strict=True):  # ZeRO 3 gives all the first one's
                group.update(own)
            for state in self._engine.optimizer.optimizer.state.values():  # and one counter of steps, which each of them would advance
                state["step"] = state["step"].clone()
            self.barrier()
            if self.rank == 0:
                shutil.rmtree(merged)
        kept = client[_CLIENT]
        if self._scale:
            self._scale.restore(kept["scale"])
        _set_random_state(kept["rngs"][self.rank % len(kept["rngs"])])


def _merge(checkpoint: Path, merged: Path) -> str:
    """Writes a checkpoint of any number of ranks as one; what was wrong, or nothing."""
    shutil.rmtree(merged.parent, ignore_errors=True)
    merged.parent.mkdir(parents=True)
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--input_folder", str(checkpoint), "--output_folder", str(merged),
               "--inject_missing_state", "--num_extract_workers", "1", "--num_merge_workers", "1"]
    alone = {k: v for k, v in os.environ.items() if k not in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")}
    done = subprocess.run(command, capture_output=True, text=True, env=alone)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no word of why"])[-1]


def _random_state() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {"torch": torch.get_rng_state(), "cuda": cuda, "numpy": np.random.get_state(), "python": random.getstate()}


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    np.random.set_state(state["numpy"])
    random.setstate(state["python"])
