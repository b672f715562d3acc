"""The contract that every loss keeps, each loss against a slow plain reference, and two ranks against one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from _spawned import Made, made, value_and_gradients, work
from torch import Tensor

from radisim_cl.losses.multi_positive import positives
from radisim_cl.registry import kinds, plugin
from radisim_cl.specs.losses import ClipLossSpec, LossSpec, MultiPositiveLossSpec

SPECS: list[LossSpec] = [model() for model in get_args(get_args(LossSpec)[0])]
VARIANTS: list[LossSpec] = [*SPECS, MultiPositiveLossSpec(positives="captions")]
every_loss = pytest.mark.parametrize("spec", VARIANTS, ids=lambda s: s.kind + getattr(s, "positives", ""))


def loss_of(spec: LossSpec, data: Made) -> Tensor:
    """A loss on one rank."""
    out = plugin("radisim_cl.losses", spec.kind).build(spec, 0, 1)(data, data)
    assert isinstance(out, Tensor)
    return out


def test_every_loss_has_a_spec_and_every_spec_a_loss() -> None:
    assert kinds("radisim_cl.losses") == sorted(s.kind for s in SPECS)


@every_loss
@pytest.mark.parametrize("scale_shape", [(), (1,)], ids=["0-d", "1-d"])
@pytest.mark.parametrize("precision", [torch.float32, torch.float64], ids=str)
def test_contract_scalar_finite_and_differentiable(spec: LossSpec, scale_shape: tuple[int, ...], precision: torch.dtype) -> None:
    whole = made(1).part(slice(None))
    leaves = [x.detach().to(precision).reshape(s).requires_grad_() for x, s in
              zip((whole.image, whole.text, whole.logit_scale), (whole.image.shape, whole.text.shape, scale_shape), strict=True)]
    value = loss_of(spec, replace(whole, image=leaves[0], text=leaves[1], logit_scale=leaves[2]))
    assert value.shape == ()
    assert value.dtype == precision
    assert value.isfinite()
    assert value > 0
    value.backward()  # type: ignore[no-untyped-call]
    for leaf in leaves:
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
        assert leaf.grad.abs().sum() > 0


@every_loss
@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_contract_finite_at_the_ends_of_the_scale(spec: LossSpec, scale: float) -> None:
    data = replace(made(2), logit_scale=torch.tensor(scale, dtype=torch.float64)).part(slice(None))
    assert all(x.isfinite().all() for x in value_and_gradients(spec, data))


@every_loss
def test_contract_the_order_of_the_batch_does_not_matter(spec: LossSpec) -> None:
    data = made(3)
    order = torch.randperm(len(data.image), generator=torch.Generator().manual_seed(0))
    shuffled = replace(data, **{f: getattr(data, f)[order] for f in ("image", "text", "facts", "claims", "captions")})
    torch.testing.assert_close(loss_of(spec, shuffled), loss_of(spec, data), rtol=1e-12, atol=1e-12)


@every_loss
def test_contract_gradients_are_those_of_the_value(spec: LossSpec) -> None:
    data = made(4, size=5, width=3).part(slice(None))

    def value(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
        return loss_of(spec, replace(data, image=image, text=text, logit_scale=scale))

    assert torch.autograd.gradcheck(value, (data.image, data.text, data.logit_scale))


@every_loss
def test_contract_training_on_it_brings_pairs_together(spec: LossSpec) -> None:
    """A step against the gradient of the features lowers the loss."""
    data = made(5).part(slice(None))
    before, image, text, _ = value_and_gradients(spec, data)
    after = loss_of(spec, replace(data, image=data.image - 1e-3 * image, text=data.text - 1e-3 * text))
    assert after < before


def log_probability(row: Sequence[float], k: int) -> float:
    """log softmax(row)[k], slowly."""
    return row[k] - math.log(sum(math.exp(x) for x in row))


def reference(data: Made, true: list[list[bool]]) -> float:
    """-1/B sum_i 1/|P(i)| sum_{k in P(i)} log p(k | i), image to text and text to image, averaged; loops only."""
    size, scale = len(true), float(data.logit_scale.detach())
    similarity = [[scale * sum(float(a) * float(b) for a, b in zip(u, v, strict=True)) for v in data.text] for u in data.image]
    total = 0.0
    for rows, targets in ((similarity, true), ([list(c) for c in zip(*similarity, strict=True)], [list(c) for c in zip(*true, strict=True)])):
        for row, target in zip(rows, targets, strict=True):
            wanted = [k for k in range(size) if target[k]]
            total -= sum(log_probability(row, k) for k in wanted) / len(wanted) / size
    return total / 2


def is_true(data: Made, i: int, k: int, claims: bool) -> bool:
    """Whether text k may be said of image i, in words: its own, the same words, or all that it states is known of i and equal."""
    if i == k or int(data.captions[i]) == int(data.captions[k]):
        return True
    stated = [c for c in range(data.facts.shape[1]) if claims and data.claims[k, c]]
    return bool(stated) and all(int(data.facts[i, c]) == int(data.facts[k, c]) != 0 for c in stated)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [1, 2, 7])
def test_clip_is_the_plain_reference(seed: int, size: int) -> None:
    data = made(seed, size=max(2, size))
    data = replace(data, **{f: getattr(data, f)[:size] for f in ("image", "text", "facts", "claims", "captions")})
    expected = reference(data, [[i == k for k in range(size)] for i in range(size)])
    assert float(loss_of(ClipLossSpec(), data)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("spec", [MultiPositiveLossSpec(), MultiPositiveLossSpec(positives="captions")], ids=lambda s: s.positives)
def test_multi_positive_is_the_plain_reference(seed: int, spec: MultiPositiveLossSpec) -> None:
    data = made(seed)
    true = [[is_true(data, i, k, spec.positives == "claims") for k in range(8)] for i in range(8)]
    assert sum(map(sum, true)) > 8, "the case has more positives than pairs"
    assert float(loss_of(spec, data)) == pytest.approx(reference(data, true), abs=1e-12)


def test_multi_positive_is_clip_when_captions_differ_and_claim_nothing() -> None:
    data = replace(made(6), claims=torch.zeros(8, 3, dtype=torch.bool), captions=torch.arange(1, 9))
    torch.testing.assert_close(loss_of(MultiPositiveLossSpec(), data), loss_of(ClipLossSpec(), data))


def test_multi_positive_by_captions_does_not_look_at_claims() -> None:
    data = replace(made(7), captions=torch.arange(1, 9))
    torch.testing.assert_close(loss_of(MultiPositiveLossSpec(positives="captions"), data), loss_of(ClipLossSpec(), data))
    assert abs(float(loss_of(MultiPositiveLossSpec(), data) - loss_of(ClipLossSpec(), data))) > 1e-3


CT, MR, ABDOMEN, HEAD = 11, 12, 21, 22


def table(*pairs: tuple[int, int, str, int]) -> list[list[int]]:
    """Who is true of whom, for pairs of (modality, anatomy, claimed columns as letters, caption)."""
    facts = torch.tensor([[m, a] for m, a, *_ in pairs])
    claims = torch.tensor([["m" in c, "a" in c] for *_, c, _ in pairs])
    return positives(facts, claims, torch.tensor([c for *_, c in pairs])).int().tolist()


def test_truth_goes_from_the_general_to_the_special() -> None:
    """0 "CT" of a CT abdomen, 1 "CT of the abdomen", 2 "CT of the head", 3 "MR of the abdomen", 4 "abdomen" of an MR abdomen."""
    assert table((CT, ABDOMEN, "m", 1), (CT, ABDOMEN, "ma", 2), (CT, HEAD, "ma", 3), (MR, ABDOMEN, "ma", 4), (MR, ABDOMEN, "a", 5)) == [
        [1, 1, 0, 0, 1],
        [1, 1, 0, 0, 1],
        [1, 0, 1, 0, 0],
        [0, 0, 0, 1, 1],
        [0, 0, 0, 1, 1],
    ]


def test_what_is_unknown_of_an_image_is_not_said_of_it() -> None:
    """0 "CT" of a CT of unknown anatomy, 1 "CT of the abdomen": "CT" is true of both, the other only of its own image."""
    assert table((CT, 0, "m", 1), (CT, ABDOMEN, "ma", 2)) == [[1, 0], [1, 1]]


def test_two_unknown_values_are_not_equal() -> None:
    assert table((CT, 0, "ma", 1), (CT, 0, "ma", 2)) == [[1, 0], [0, 1]]


def test_captions_that_claim_nothing_are_true_of_their_own_and_of_equal_ones() -> None:
    """0 and 1 share a caption of the corpus; 2 has its own; 3 says "CT", which is true of all."""
    assert table((CT, ABDOMEN, "", 7), (CT, HEAD, "", 7), (CT, ABDOMEN, "", 8), (CT, HEAD, "m", 9)) == [
        [1, 1, 0, 1],
        [1, 1, 0, 1],
        [0, 0, 1, 1],
        [0, 0, 0, 1],
    ]


def test_every_text_is_true_of_its_own_image() -> None:
    for seed in range(20):
        data = made(seed)
        assert positives(data.facts, data.claims, data.captions).diagonal().all()


def test_two_ranks_have_the_loss_and_the_gradients_of_one(tmp_path: Path) -> None:
    """The mean over ranks is the loss of the global batch, and gradients averaged over ranks are its gradients."""
    torch.multiprocessing.spawn(work, (2, str(tmp_path), VARIANTS), nprocs=2)  # type: ignore[attr-defined, no-untyped-call]
    ranks = [torch.load(tmp_path / f"{r}.pt") for r in range(2)]
    for n, spec in enumerate(VARIANTS):
        value, image, text, scale = value_and_gradients(spec, made().part(slice(None)))
        torch.testing.assert_close((ranks[0][n][0] + ranks[1][n][0]) / 2, value, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(torch.cat([r[n][1] for r in ranks]) / 2, image, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(torch.cat([r[n][2] for r in ranks]) / 2, text, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close((ranks[0][n][3] + ranks[1][n][3]) / 2, scale, rtol=1e-6, atol=1e-6)
