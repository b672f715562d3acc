"""The metrics that a protocol yields and the values they can take."""

from __future__ import annotations

RANGES: dict[str, tuple[float, float]] = {
    "skill": (-1.0, 1.0),
    "accuracy": (0.0, 1.0),
    "balanced_accuracy": (0.0, 1.0),
    "macro_f1": (0.0, 1.0),
    "auc": (0.0, 1.0),
}
"""Lowest and highest value of each metric."""

BY_PROTOCOL: dict[str, tuple[str, ...]] = {"classify": ("accuracy", "balanced_accuracy", "macro_f1", "auc")}
"""The metrics of each protocol. `auc` is one-against-rest, averaged over classes; binary: of the positive class."""
