"""What stands beside a manifest: `card.yaml`, which says whose the corpus is and under which licence or agreement it may be used."""

from __future__ import annotations

from pathlib import Path

import yaml

from radisim_cl.errors import InputError

CARD = "card.yaml"
ORIGIN = ("title", "url", "agreement", "stands_for", "notice")
"""What is true of every corpus that is made of another one."""


def card_in(folder: Path) -> dict[str, object]:
    """The card of the corpus whose manifest is in a folder; empty where there is none.

    Raises:
        InputError: it is no mapping of YAML.
    """
    path = folder / CARD
    if not path.is_file():
        return {}
    try:
        card = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError):
        card = None
    if not isinstance(card, dict):
        raise InputError(f"{path}: is no card: it must be a mapping in YAML; correct it")
    return card


def origin(folder: Path) -> dict[str, object]:
    """What of its card goes with whatever is made of a corpus."""
    card = card_in(folder)
    return {k: card[k] for k in ORIGIN if card.get(k)}
