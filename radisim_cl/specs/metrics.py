"""The metrics that a protocol yields and the values they can take."""

from __future__ import annotations

RANGES: dict[str, tuple[float, float]] = {
    "skill": (-1.0, 1.0),
    "accuracy": (0.0, 1.0),
    "balanced_accuracy": (0.0, 1.0),
    "macro_f1": (0.0, 1.0),
    "auc": (0.0, 1.0),
    "quadratic_kappa": (-1.0, 1.0),
    "box_iou": (0.0, 1.0),
    "recall_50": (0.0, 1.0),
    "dice": (0.0, 1.0),
    "pointing": (0.0, 1.0),
    "box_iou_classified": (0.0, 1.0),
    "recall_50_classified": (0.0, 1.0),
    "dice_classified": (0.0, 1.0),
    "pointing_classified": (0.0, 1.0),
    "i2t_top_1_percent": (0.0, 1.0),
    "i2t_recall_1": (0.0, 1.0),
    "i2t_recall_5": (0.0, 1.0),
    "i2t_recall_10": (0.0, 1.0),
    "t2i_top_1_percent": (0.0, 1.0),
    "t2i_recall_1": (0.0, 1.0),
    "t2i_recall_5": (0.0, 1.0),
    "t2i_recall_10": (0.0, 1.0),
}
"""Lowest and highest value of each metric of which more is better."""

BY_PROTOCOL: dict[str, tuple[str, ...]] = {
    "classify": ("accuracy", "balanced_accuracy", "macro_f1", "auc"),
    "volume": ("auc", "accuracy", "balanced_accuracy", "macro_f1"),
    "ordinal": ("accuracy", "balanced_accuracy", "quadratic_kappa", "mae"),
    "ground": ("box_iou", "recall_50", "dice", "pointing",
               "box_iou_classified", "recall_50_classified", "dice_classified", "pointing_classified"),
    "retrieve": ("i2t_top_1_percent", "i2t_average_rank", "i2t_recall_1", "i2t_recall_5", "i2t_recall_10",
                 "t2i_top_1_percent", "t2i_average_rank", "t2i_recall_1", "t2i_recall_5", "t2i_recall_10"),
}
"""The metrics of each protocol, the same name meaning the same everywhere.

`auc` is one-against-rest, averaged over classes; binary: of the positive class. `mae` is in grades. Metrics of `ground` are means over
images of what the structures of an image reach: overlap of boxes, boxes that overlap by half, Dice of the label map, and whether the
highest pixel hits; first with the structures that the mask shows as candidates, then (`_classified`) with those that the image's
classification names. Metrics of `retrieve` are means over captions, from image to text (`i2t`) and from text to image (`t2i`): whether the
answer is among the best hundredth of the candidates, rounded up; its rank, from 1; whether it is among the first 1, 5 or 10.
"""


def rising(protocol: str) -> tuple[str, ...]:
    """The metrics of a protocol of which more is better: those that a skill or a gate can rest on."""
    return tuple(m for m in BY_PROTOCOL[protocol] if m in RANGES)
