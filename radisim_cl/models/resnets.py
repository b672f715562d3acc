"""The size of timm's ResNets, from their layout (He et al. 2016, arXiv:1512.03385) and without building them."""

from __future__ import annotations

from dataclasses import dataclass

BASIC, BOTTLENECK = (3, 3), (1, 3, 1)
"""Kernels of a block's convolutions. The first 3 x 3 of a stage's first block halves the picture, but in the first stage."""
NARROW = (64, 128, 256, 512)


@dataclass(frozen=True)
class Layout:
    """A ResNet as timm names it.

    Attributes:
        blocks: kernels of the blocks, by stage.
        layers: how many of them, by stage.
        channels: of the 3 x 3 convolutions, by stage; what leaves a bottleneck has four times as many.
        stem: kernel and channels of the first convolutions, of which the first one halves the picture; a pooling halves it again.
    """

    blocks: tuple[tuple[int, ...], ...]
    layers: tuple[int, ...]
    channels: tuple[int, ...] = NARROW
    stem: tuple[tuple[int, int], ...] = ((7, 64),)


LAYOUTS = {
    "resnet18": Layout((BASIC,) * 4, (2, 2, 2, 2)),
    "resnet26": Layout((BOTTLENECK,) * 4, (2, 2, 2, 2)),
    "resnet34": Layout((BASIC,) * 4, (3, 4, 6, 3)),
    "resnet50": Layout((BOTTLENECK,) * 4, (3, 4, 6, 3)),
    "resnet101": Layout((BOTTLENECK,) * 4, (3, 4, 23, 3)),
    "resnet152": Layout((BOTTLENECK,) * 4, (3, 8, 36, 3)),
    "test_resnet": Layout((BASIC, BASIC, BOTTLENECK, BASIC), (1, 1, 1, 1), (32, 48, 48, 96), ((3, 16), (3, 16), (3, 32))),
}
"""By timm's name, those that are known here."""


def size(layout: Layout, image: int) -> tuple[int, float, float, int]:
    """Parameters, multiply-adds of one image, numbers that its convolutions give, and channels at the end, without a head.

    Args:
        layout: of `LAYOUTS`.
        image: pixels of a side.
    """
    parameters, macs, given, channels, side = 0, 0.0, 0.0, 3, image

    def convolution(kernel: int, before: int, after: int) -> None:
        nonlocal parameters, macs, given
        parameters += kernel**2 * before * after + 2 * after  # with its batch norm
        macs += kernel**2 * before * after * side**2
        given += after * side**2

    for i, (kernel, after) in enumerate(layout.stem):
        side = -(-side // 2) if i == 0 else side
        convolution(kernel, channels, after)
        channels = after
    side = -(-side // 2)
    for stage, (block, layers, width) in enumerate(zip(layout.blocks, layout.layers, layout.channels, strict=True)):
        leaving = 4 * width if block == BOTTLENECK else width
        for layer in range(layers):
            halved = stage > 0 and layer == 0
            inside = channels
            for i, kernel in enumerate(block):
                if halved and i == block.index(3):
                    side = -(-side // 2)
                after = leaving if i == len(block) - 1 else width
                convolution(kernel, inside, after)
                inside = after
            if halved or channels != leaving:
                convolution(1, channels, leaving)
            channels = leaving
    return parameters, macs, given, channels
