"""The stream of pairs: a function of seed, stage, attempt and slot, with the shares asked for."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radisim_cl.corpus.corpora import Corpora
from radisim_cl.data.mixture import Mixture, Pair, candidates, excess, exposures, held_together, passes
from radisim_cl.errors import InputError
from radisim_cl.specs.catalog import CatalogSpec, CorpusSpec, Shares, TemplateSet
from radisim_cl.specs.curriculum import MixtureEntry
from radisim_cl.specs.plan import EntryPlan

GROUPS, BATCH = 20, 8
TEMPLATES = TemplateSet.model_validate({
    "name": "words", "words": {"modality": {"MR": ["MR", "MRI", "magnetic resonance"]}},
    "levels": {"modality": {"variants": ["{modality}", "{modality} image"]}, "place": {"variants": ["{place}"]}},
})
ALL: dict[str, Shares] = {"*": {"train": 1.0}}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Corpora:
    """`many` has 20 groups of 3, 4, ... 22 rows, `few` has 5 rows; all for training but for `held`."""
    root = tmp_path_factory.mktemp("corpora")
    groups = [g for g in range(GROUPS) for _ in range(3 + g)]
    tables = {"many": pd.DataFrame({"id": [f"m{i}" for i in range(len(groups))], "level": [f"g{g}" for g in groups]}),
              "few": pd.DataFrame({"id": [f"f{i}" for i in range(5)]})}
    for name, table in tables.items():
        table.assign(image="none.png", caption=table["id"], modality=["CT", "MR", "DR"] * (len(table) // 3) + ["MR"] * (len(table) % 3)).to_csv(
            root / f"{name}.csv", index=False)
    held: dict[str, Shares] = {"*": {"train": 0.0, "gate": 1.0}}
    specs = {"many": CorpusSpec(manifest="many.csv", splits=ALL), "few": CorpusSpec(manifest="few.csv", splits=ALL),
             "held": CorpusSpec(manifest="few.csv", splits=held)}
    return Corpora(CatalogSpec(name="many", root=str(root), corpora=specs), "v1")


def entry(share: float, source: str = "many", captions: str = "own", **where: str | list[str]) -> EntryPlan:
    """An ingredient with a share."""
    return EntryPlan(entry=MixtureEntry(source=source, captions=captions, where=where), stage="s", share=share, available=0, requested=0, repeats=0.0)


def groups(shares: list[float]) -> list[EntryPlan]:
    """One ingredient a group of `many`."""
    return [entry(share, level=f"g{i}") for i, share in enumerate(shares)]


def three() -> list[EntryPlan]:
    """A usual mixture: two sources, two ways to word captions."""
    return [entry(0.5, captions="modality"), entry(0.2, source="few"), entry(0.3, captions="own", level=["g1", "g2"])]


def mixture(corpora: Corpora, entries: list[EntryPlan], batch: int = BATCH, seed: int = 1, stage: str = "s", attempt: int = 0) -> Mixture:
    """A fresh stream."""
    return Mixture(entries, corpora, TEMPLATES, batch, seed, stage, attempt)


def told(pairs: list[Pair]) -> list[tuple[str, int, int, str, int]]:
    """Everything that makes a slot what it is."""
    return [(p.corpus.name, p.row, p.entry, p.caption.text, p.key) for p in pairs]


@settings(max_examples=25)
@given(order=st.lists(st.integers(0, 60), min_size=1, max_size=6))
def test_a_batch_does_not_depend_on_what_was_read_before(corpora: Corpora, order: list[int]) -> None:
    used = mixture(corpora, three())
    for n in order:
        assert told(used.batch(n)) == told(mixture(corpora, three()).batch(n))


@pytest.mark.parametrize("n", [0, 1, 999_999, 10**9])
def test_seeking_far_in_gives_what_walking_gives(corpora: Corpora, n: int) -> None:
    walked = mixture(corpora, three())
    walked.batch(n)
    assert told(walked.batch(n + 1)) == told(mixture(corpora, three()).batch(n + 1))


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_ranks_share_the_same_global_batch(corpora: Corpora, ranks: int) -> None:
    local, whole = BATCH // ranks, mixture(corpora, three())
    parts = [mixture(corpora, three()) for _ in range(ranks)]
    for n in (0, 1, 2, 7):
        found = [x for r, part in enumerate(parts) for x in told(part.batch(n, slice(r * local, (r + 1) * local)))]
        assert found == told(whole.batch(n))


def test_keys_of_samples_are_unique(corpora: Corpora) -> None:
    stream = mixture(corpora, three())
    keys = [p.key for n in range(40) for p in stream.batch(n)]
    assert len(set(keys)) == len(keys)


@settings(max_examples=15)
@given(weights=st.lists(st.floats(1e-4, 1), min_size=1, max_size=8), batches=st.integers(0, 40), seed=st.integers(0, 2**32 - 1))
def test_drawn_is_what_counting_gives(corpora: Corpora, weights: list[float], batches: int, seed: int) -> None:
    entries = groups([w / sum(weights) for w in weights])
    stream = mixture(corpora, entries, batch=5, seed=seed)
    counted = Counter(p.entry for n in range(batches) for p in stream.batch(n))
    assert stream.drawn(batches).tolist() == [counted[e] for e in range(len(entries))]


def test_asked_by_source_and_modality_is_what_whole_passes_give(corpora: Corpora) -> None:
    """Group g0 is a CT, an MR and a DR; `few` is 2 MR of 5, with a CT and a DR."""
    entries = [entry(0.75, level="g0"), entry(0.25, source="few")]
    stream, batches = mixture(corpora, entries), 60
    asked = stream.asked(batches)
    total = batches * BATCH
    expected = {f"many/{m}": 0.75 * total / 3 for m in ("CT", "MR", "DR")}
    few = [corpora["few"].record(i)["modality"] for i in range(5)]
    expected |= {f"few/{m}": 0.25 * total * few.count(m) / 5 for m in set(few)}
    assert asked == pytest.approx(expected, abs=0.1)
    counted = Counter(f"{p.corpus.name}/{p.record['modality']}" for n in range(batches) for p in stream.batch(n))
    assert set(counted) == set(asked)
    assert all(abs(counted[k] - asked[k]) <= 4 for k in asked)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("count", [3, 12, 20])
def test_shares_hold_at_every_prefix(corpora: Corpora, count: int, seed: int) -> None:
    shares = np.random.default_rng(seed).dirichlet(np.full(count, 0.7))
    stream = mixture(corpora, groups(shares.tolist()), batch=2000, seed=seed)
    chosen = np.array([p.entry for p in stream.batch(0)])
    counts = np.cumsum(chosen[:, None] == np.arange(count), axis=0)
    asked = shares * np.arange(1, 2001)[:, None]
    assert np.abs(counts - asked).max() <= 4


@pytest.mark.parametrize("seed", range(5))
def test_twelve_entries_with_tiny_shares(corpora: Corpora, seed: int) -> None:
    """A rare ingredient comes as often as asked; what it is off by grows with the logarithm of the slots."""
    shares = [1e-3 * (1 + i / 10) for i in range(11)]
    shares.append(1 - sum(shares))
    stream = mixture(corpora, groups(shares), seed=seed)
    for batches, off in {0: 0, 25: 3, 250: 3, 12_500: 6, 10**6: 9}.items():
        np.testing.assert_allclose(stream.drawn(batches), np.array(shares) * batches * BATCH, atol=off)


@pytest.mark.parametrize("zero", [0, 1, 2])
def test_an_entry_without_share_is_never_drawn(corpora: Corpora, zero: int) -> None:
    shares = [0.5, 0.5]
    shares.insert(zero, 0.0)
    stream = mixture(corpora, groups(shares))
    assert zero not in {p.entry for n in range(50) for p in stream.batch(n)}
    assert stream.drawn(10**6)[zero] == 0


def test_every_pass_of_an_entry_holds_each_pair_once(corpora: Corpora) -> None:
    stream, entries = mixture(corpora, three()), three()
    rows: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for n in range(200):
        for p in stream.batch(n):
            rows[p.entry].append(p.row)
    for e, seen in rows.items():
        available = candidates(corpora, entries[e].entry, TEMPLATES).tolist()
        passes = [seen[i : i + len(available)] for i in range(0, len(seen) - len(available) + 1, len(available))]
        assert len(passes) >= 2
        assert all(sorted(p) == available for p in passes)
        assert len({tuple(p) for p in passes}) > 1, "each pass has an order of its own"


@pytest.mark.parametrize("change", [{"seed": 2}, {"stage": "t"}, {"attempt": 1}])
def test_seed_stage_and_attempt_change_the_stream(corpora: Corpora, change: dict[str, int | str]) -> None:
    def rows(m: Mixture) -> list[tuple[int, int]]:
        return [(p.entry, p.row) for n in range(5) for p in m.batch(n)]

    first = mixture(corpora, three())
    other = mixture(corpora, three(), **change)  # type: ignore[arg-type]
    assert rows(first) == rows(mixture(corpora, three()))
    assert rows(first) != rows(other)
    assert not {p.key for p in first.batch(0)} & {p.key for p in other.batch(0)}


def test_captions_are_worded_anew_each_time_and_stay_true(corpora: Corpora) -> None:
    stream = mixture(corpora, [entry(1.0, captions="modality", level="g0")])
    texts: dict[int, set[str]] = {}
    for n in range(60):
        for p in stream.batch(n):
            assert p.caption.claims == {"modality": p.record["modality"]}
            texts.setdefault(p.row, set()).add(p.caption.text)
    words = {"CT": {"CT", "CT image"}, "DR": {"DR", "DR image"},
             "MR": {f"{w}{i}" for w in ("MR", "MRI", "magnetic resonance") for i in ("", " image")}}
    assert all(found == words[corpora["many"].record(row)["modality"]] for row, found in texts.items())


@pytest.mark.parametrize(("ingredient", "expected"), [
    (entry(1.0, level="g0"), [0, 1, 2]), (entry(1.0, level=["g0", "g1"], modality="CT"), [0, 3, 6]), (entry(1.0, source="held"), []),
    (entry(1.0, source="few", captions="place"), []), (entry(1.0, source="few"), [0, 1, 2, 3, 4]),
])
def test_candidates(corpora: Corpora, ingredient: EntryPlan, expected: list[int]) -> None:
    """Of the train split, that the filter keeps, and that can have the caption asked for."""
    assert candidates(corpora, ingredient.entry, TEMPLATES).tolist() == expected


@pytest.mark.parametrize(("ingredient", "said"), [
    (entry(1.0, source="fewer"), "unknown source 'fewer'.*few"), (entry(1.0, colour="red"), "no column 'colour'"),
    (entry(1.0, captions="modalty"), "no level 'modalty'.*modality"),
])
def test_candidates_that_cannot_be_found(corpora: Corpora, ingredient: EntryPlan, said: str) -> None:
    with pytest.raises(InputError, match=said):
        candidates(corpora, ingredient.entry, TEMPLATES)


@pytest.mark.parametrize("batches", [25, 250, 25_000, 10**6, 10**7])
def test_no_entry_is_drawn_more_often_than_the_plan_allows_for(corpora: Corpora, batches: int) -> None:
    """Taken at its sharpest, an entry of one pair: the passes that the plan counts are at least those of the stream, however long it is."""
    for seed in range(50):
        shares = np.random.default_rng(seed).dirichlet(np.full(5, 2.0))
        drawn = mixture(corpora, groups(shares.tolist()), seed=seed).drawn(batches)
        assert all(count <= passes(share, batches * BATCH, 1) for count, share in zip(drawn, shares, strict=True))


def test_exposures_bound_what_is_seen(corpora: Corpora) -> None:
    """No pair is seen more often than the plan says, nor the one seen most less by more than the passes that were begun and not finished."""
    entries = [entry(0.5, level="g0"), entry(0.5, level=["g0", "g1"]), entry(0.0, level="none")]
    rows = [candidates(corpora, e.entry, TEMPLATES) for e in entries[:2]] + [np.empty(0, dtype=np.int64)]
    begun = np.array([passes(e.share, 42 * BATCH, len(r)) for e, r in zip(entries[:2], rows[:2], strict=True)] + [0])
    told_ = exposures(held_together(entries, rows), begun)
    stream = mixture(corpora, entries[:2])
    seen = Counter(p.row for n in range(42) for p in stream.batch(n))
    assert told_.tolist() == [begun.sum(), begun.sum(), 0]
    for most, own in zip(told_, rows[:2], strict=False):
        assert 0 <= most - max(seen[r] for r in own.tolist()) <= len(entries) * (1 + excess(42 * BATCH) / min(len(r) for r in rows[:2]))


def test_what_is_held_together_is_each_set_of_entries_once() -> None:
    entries = [entry(0.2, source="a"), entry(0.2, source="a"), entry(0.2, source="b"), entry(0.4, source="a")]
    rows = [np.array([0, 1, 2]), np.array([2, 3]), np.array([0, 1, 2]), np.array([5, 2])]
    found = {tuple(np.flatnonzero(s).tolist()) for s in held_together(entries, rows)}
    assert found == {(), (0,), (1,), (2,), (3,), (0, 1, 3)}
    assert exposures(held_together(entries, rows), np.array([1, 10, 100, 1000])).tolist() == [1011, 1011, 100, 1011]


def test_a_stream_in_blocks_is_a_stream(corpora: Corpora) -> None:
    """Whole passes, the same slots for every way to get there, and pairs that lie together drawn around the same time."""
    def made() -> Mixture:
        return Mixture(three(), corpora, TEMPLATES, BATCH, 1, "s", 0, block=2)

    stream, walked = made(), [told(made().batch(n)) for n in range(60)]
    assert [told(stream.batch(n)) for n in range(60)] == walked
    assert [told(stream.batch(n)) for n in (59, 3, 4, 0)] == [walked[n] for n in (59, 3, 4, 0)]
    available = candidates(corpora, three()[1].entry, TEMPLATES).tolist()
    seen = [p.row for n in range(60) for p in made().batch(n) if p.entry == 1]
    assert all(sorted(seen[i:i + 5]) == available for i in range(0, len(seen) - 4, 5))
    assert [p.key for p in made().batch(3)] == [p.key for p in mixture(corpora, three()).batch(3)]


def test_one_window_of_blocks_is_read_at_a_time(tmp_path_factory: pytest.TempPathFactory) -> None:
    """20,000 pairs in blocks of 4: what 256 slots draw lies in at most two windows' blocks, and not in all of the manifest."""
    root = tmp_path_factory.mktemp("long")
    pd.DataFrame({"id": [str(i) for i in range(20_000)], "image": "none.png", "caption": "c"}).to_csv(root / "long.csv", index=False)
    found = Corpora(CatalogSpec(name="long", root=str(root), corpora={"long": CorpusSpec(manifest="long.csv", splits=ALL)}), "v1")
    for block, most in ((4, 129), (None, 256)):
        stream = Mixture([entry(1.0, source="long")], found, None, 256, 0, "s", 0, block)
        counts = [len({p.row // 4 for p in stream.batch(n)}) for n in (0, 17, 70)]
        assert max(counts) <= most
        assert block or min(counts) > 230


def test_sixty_entries_more_than_an_integer_has_bits() -> None:
    entries = [entry(0.01, source="a") for _ in range(100)]
    rows = [np.array([i, 100]) for i in range(100)]
    assert len(held_together(entries, rows)) == 102
