"""Images that are none are counted, and stop a run where chance does not explain that there are so many; runs with some are in `tests/crash`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from scipy.stats import binom

from radisim_cl.data.loader import Lost
from radisim_cl.errors import InputError
from radisim_cl.runs.unreadable import Unreadable, allowed
from radisim_cl.train.engine import Engine


def ranks(lost: list[list[Lost]]) -> Engine:
    """What an engine says of a step in which the ranks have lost these."""
    return cast(Engine, SimpleNamespace(total=lambda n: sum(map(len, lost)), gather=lambda value: lost))


@pytest.mark.parametrize("share", [0.0, 1e-4, 0.001, 0.02])
def test_what_chance_explains_is_allowed_and_no_more(share: float) -> None:
    """By simulation: a corpus that has just the share never stops a run of 10,000 steps of 64; one with ten times as many soon does."""
    rng = np.random.default_rng(1)
    drawn = 64 * np.arange(1, 10_001)
    limit = np.array([allowed(share, int(n)) for n in drawn])
    assert (np.cumsum(rng.binomial(64, share, len(drawn))) <= limit).all()
    over = np.cumsum(rng.binomial(64, max(10 * share, 0.01), len(drawn))) > limit
    assert over.any()
    assert over.argmax() < max(10, 1 / share / 10 if share else 0)
    assert all(binom.sf(n, d, share) <= 1e-6 for n, d in zip(limit[::500], drawn[::500], strict=True))


def test_the_error_is_the_same_on_every_rank_and_has_counts_and_an_example() -> None:
    lost = [[], [Lost("pmc", i, f"/data/{i}.jpg: cannot be decoded") for i in range(6)]]
    messages = []
    for rank in range(2):
        kept = Unreadable(ranks(lost), 0.01, 64, {"pmc": 2})
        with pytest.raises(InputError, match=r"8 of 64 pairs .* 12\.50%, .* 1\.00%\. Row 0 of 'pmc', for example: /data/0\.jpg") as e:
            kept.add(lost[rank], 1)
        messages.append(str(e.value))
    assert len(set(messages)) == 1


def test_what_is_committed_is_cumulative_by_source_and_new_by_name() -> None:
    step: list[list[Lost]] = [[Lost("b", 2, "")], [Lost("a", 1, ""), Lost("b", 1, "")]]
    kept = Unreadable(ranks(step), 1.0, 4, {"b": 5})
    assert kept.committed() == ({"a": 1, "b": 7}, ["a:1", "b:1", "b:2"])
    step.clear()
    assert kept.committed() == ({"a": 1, "b": 7}, [])
