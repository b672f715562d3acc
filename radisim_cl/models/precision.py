"""In which numbers a model computes: weights are fp32, passes are autocast. torch is imported when it is asked for, since a plan can do without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16", "fp16"]
_CPU = ("avx512_bf16", "amx_bf16")
"""Instructions by which a CPU computes faster in bf16; others emulate it, at a multiple of the time."""


def resolved(asked: Precision | Literal["auto"]) -> Precision:
    """What `auto` stands for on this machine: bf16 where it has instructions for that, else fp32."""
    if asked != "auto":
        return asked
    import torch

    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if any(torch.cpu.get_capabilities().get(name) for name in _CPU) else "fp32"


def autocast(precision: Precision | Literal["auto"], device: str = "cuda") -> torch.dtype | None:
    """The type of a pass on a kind of device; None: no autocast. fp16 is for accelerators, and fp32 elsewhere."""
    import torch

    how = resolved(precision)
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": None if device == "cpu" else torch.float16}[how]
