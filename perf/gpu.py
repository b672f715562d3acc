"""One GPU: images a second and FLOPs' use beside open_clip's own trainer, and peak memory by ZeRO stage, with synthetic data that lies on the device.

    make perf        # says so and measures nothing where there is no GPU
    python perf/gpu.py --device cpu --arch radisim-tiny --precision fp32 --batch 8 --steps 1      # every line, on any machine
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

from _open_clip import Batches, arguments, data
from rich.console import Console
from rich.table import Table

from radisim_cl.models.arch import size

ARCHS, PRECISIONS, STAGES, BATCH, STEPS, WARM = ("ViT-B-32", "ViT-B-16"), ("bf16", "fp16"), (0, 1, 2, 3), 512, 20, 5
"""Models; precisions; ZeRO stages; pairs a step; timed steps of a process, after WARM that warm up."""
LR, DECAY, CLIP = 1e-4, 0.2, 1.0
PEAKS = {"H100": 989e12, "H200": 989e12, "GH200": 989e12, "A100": 312e12, "L40S": 362e12, "V100": 125e12}
"""Dense 16-bit FLOP/s by the vendors' data sheets; of other devices, what a large matrix product reaches."""
AMP = {"fp32": "fp32", "bf16": "amp_bf16", "fp16": "amp"}
"""open_clip_train's words."""


def ours(ask: dict[str, Any]) -> float:
    """Seconds of the timed steps of the engine that trains stages."""
    import torch

    from radisim_cl.losses.clip import build as clip_loss
    from radisim_cl.models.build import build
    from radisim_cl.specs.curriculum import ModelSpec, OptimizerSpec, ProfileSpec
    from radisim_cl.specs.losses import ClipLossSpec
    from radisim_cl.train.engine import Engine

    built = build(ModelSpec(arch=ask["arch"]), 0)
    profile = ProfileSpec.model_validate({"model": {"arch": ask["arch"]}, "budget": {"samples": 1}, "global_batch": ask["batch"], "zero": ask["zero"],
                                          "precision": ask["precision"]})
    engine = Engine(built, profile, OptimizerSpec(weight_decay=DECAY, grad_clip=CLIP))
    loss = clip_loss(ClipLossSpec(), 0, 1)
    side = built.preprocess.size
    images = torch.randint(0, 256, (ask["batch"], 3, side, side), dtype=torch.uint8, device=engine.device)
    tokens = built.tokenizer(["opacity " * 75] * ask["batch"]).to(engine.device)

    def step() -> None:
        features: Any = engine.features(images, tokens)
        engine.step(loss(features, features).value, LR)

    for _ in range(WARM):
        step()
    return timed(lambda: [step() for _ in range(ask["steps"])], ask["device"])


def theirs(ask: dict[str, Any]) -> float:
    """Seconds of as many steps of `open_clip_train.train.train_one_epoch`."""
    import open_clip
    import torch
    from open_clip_train.train import train_one_epoch

    from radisim_cl.models.arch import CONFIGS

    open_clip.add_model_config(CONFIGS)
    model = open_clip.create_model(ask["arch"], output_dict=True, device=ask["device"])
    decayed, plain = ([p for p in model.parameters() if (p.ndim >= 2) == matrix] for matrix in (True, False))
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": plain}]
    optimizer = torch.optim.AdamW(groups, lr=LR, weight_decay=0.0, fused=True)
    scaler = torch.amp.GradScaler(ask["device"]) if ask["precision"] == "fp16" else None
    args = arguments(ask["batch"], device=ask["device"], precision=AMP[ask["precision"]], grad_clip_norm=CLIP)
    side = model.visual.image_size[0]
    images = torch.randn(ask["batch"], 3, side, side, device=ask["device"])
    tokens = open_clip.get_tokenizer(ask["arch"])(["opacity " * 75] * ask["batch"]).to(ask["device"])

    def epoch(n: int) -> None:
        batches = Batches(n, ask["batch"], lambda: (images, tokens))
        train_one_epoch(model, data(batches), open_clip.ClipLoss(), 0, optimizer, scaler, None, None, args)

    epoch(WARM)
    return timed(lambda: epoch(ask["steps"]), ask["device"])


def timed(work: Any, device: str) -> float:
    """Seconds, with all that the device was given done."""
    import torch

    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def peak(device: str, precision: str) -> float:
    """FLOP/s of the device: the vendor's, or a matrix product's."""
    import torch

    name = torch.cuda.get_device_name() if device == "cuda" else ""
    known = [flops for part, flops in PEAKS.items() if part in name and precision != "fp32"]
    if known:
        return known[0]
    n, dtype = (8192 if device == "cuda" else 1024), {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    a = torch.ones(n, n, device=device, dtype=dtype)
    torch.mm(a, a)
    return 2 * n**3 / min(timed(lambda: torch.mm(a, a), device) for _ in range(5))


def one(ask: dict[str, Any]) -> dict[str, float]:
    """Of a process: samples a second, GiB at the most, and the share of the device's FLOP/s."""
    import torch

    seconds = ours(ask) if ask["zero"] is not None else theirs(ask)
    on_cpu = ask["device"] == "cpu"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20 if on_cpu else torch.cuda.max_memory_allocated() / 2**30
    _, image, text, _ = size(ask["arch"])
    rate = ask["steps"] * ask["batch"] / seconds
    return {"rate": rate, "memory": memory, "used": rate * 6 * (image + text) / peak(ask["device"], ask["precision"])}  # 2 a multiply-add, 3 passes


def main(args: argparse.Namespace) -> None:
    """Prints a table for each model and precision."""
    for arch in args.arch:
        for precision in args.precision:
            table = Table(title=f"{arch}, batch {args.batch}, {precision}, {args.device}: a process each", title_justify="left")
            for column in ("", "images/s", "of open_clip_train", "of the device's FLOP/s", "peak GiB"):
                table.add_column(column, justify="right" if column else "left")
            first = 0.0
            for zero in (None, *STAGES):
                ask = {"arch": arch, "precision": precision, "zero": zero, "batch": args.batch, "steps": args.steps, "device": args.device}
                done = subprocess.run([sys.executable, __file__, "--one", json.dumps(ask)], capture_output=True, text=True)
                who = "open_clip_train" if zero is None else f"ours, ZeRO {zero}"
                if done.returncode:
                    table.add_row(who, (done.stderr.strip().splitlines() or [str(done.returncode)])[-1])
                    continue
                found = json.loads(done.stdout.splitlines()[-1])
                first = first or found["rate"]
                table.add_row(who, f"{found['rate']:.1f}", f"{found['rate'] / first:.2f}x", f"{found['used']:.0%}", f"{found['memory']:.2f}")
            Console(width=120).print(table)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    options.add_argument("--arch", nargs="+", default=ARCHS)
    options.add_argument("--precision", nargs="+", default=PRECISIONS, choices=list(AMP))
    options.add_argument("--batch", type=int, default=BATCH)
    options.add_argument("--steps", type=int, default=STEPS)
    options.add_argument("--one", help=argparse.SUPPRESS)
    given = options.parse_args()
    import torch

    if given.one:
        print(json.dumps(one(json.loads(given.one))))
    elif given.device == "cuda" and not torch.cuda.is_available():
        print("no GPU that torch can use: nothing measured")
    else:
        main(given)
