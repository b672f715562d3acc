"""The contract that every loss keeps, each loss against a slow plain reference, and two ranks against one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from _spawned import GRADES, LEAVES, SPECS, TEXTS, WORDS, Made, made, value_and_gradients, work
from open_clip.loss import SigLipLoss
from torch import Tensor

from radisim_cl.errors import InputError
from radisim_cl.losses._positives import positives
from radisim_cl.registry import kinds, plugin
from radisim_cl.specs.losses import (
    ClipLossSpec,
    GradeSpec,
    LossSpec,
    MultiPositiveLossSpec,
    OrdinalLossSpec,
    RegionLossSpec,
    RetainLossSpec,
    SiglipLossSpec,
)

VARIANTS: list[LossSpec] = [*SPECS, ClipLossSpec(tile=3), ClipLossSpec(tile=1),
                            MultiPositiveLossSpec(positives="captions"), SiglipLossSpec(positives="captions"),
                            RegionLossSpec(patch_weight=0), RegionLossSpec(patch_weight=1),
                            OrdinalLossSpec(grades=GRADES, temperature=0.3, templates=["{}"])]
every_loss = pytest.mark.parametrize("spec", VARIANTS, ids=[f"{s.kind}{i}" for i, s in enumerate(VARIANTS)])
USES = {"clip": {"image", "text", "logit_scale"}, "multi_positive": {"image", "text", "logit_scale"},
        "siglip": {"image", "text", "logit_scale", "logit_bias"}, "region": {"patches", "prompted", "logit_scale"},
        "ordinal": {"image", "prompted", "logit_scale"}, "retain": {"image", "text"}}
"""What each loss is a function of."""


def loss_of(spec: LossSpec, data: Made) -> Tensor:
    """A loss on one rank."""
    out = plugin("radisim_cl.losses", spec.kind).build(spec, 0, 1)(data, data).value
    assert isinstance(out, Tensor)
    return out


def pairs_of(spec: LossSpec, data: Made) -> int:
    """The pairs that it says it has used."""
    return int(plugin("radisim_cl.losses", spec.kind).build(spec, 0, 1)(data, data).pairs)


def test_every_loss_has_a_spec_and_every_spec_a_loss() -> None:
    assert kinds("radisim_cl.losses") == sorted(s.kind for s in SPECS)


@every_loss
@pytest.mark.parametrize("scale_shape", [(), (1,)], ids=["0-d", "1-d"])
@pytest.mark.parametrize("precision", [torch.float32, torch.float64], ids=str)
def test_contract_scalar_finite_and_differentiable(spec: LossSpec, scale_shape: tuple[int, ...], precision: torch.dtype) -> None:
    whole = made(1)
    whole = whole.with_leaves([x.to(precision) for x in whole.leaves]).part(slice(None))
    whole = replace(whole, logit_scale=whole.logit_scale.detach().reshape(scale_shape).requires_grad_())
    value = loss_of(spec, whole)
    assert value.shape == ()
    assert value.dtype == precision
    assert value.isfinite()
    assert value > 0
    value.backward()  # type: ignore[no-untyped-call]
    for name, leaf in zip(LEAVES, whole.leaves, strict=True):
        assert (leaf.grad is not None) == (name in USES[spec.kind]), name
        if leaf.grad is not None:
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
    shuffled = data.rows(torch.randperm(len(data.image), generator=torch.Generator().manual_seed(0)).tolist())
    torch.testing.assert_close(loss_of(spec, shuffled), loss_of(spec, data), rtol=1e-12, atol=1e-12)
    assert pairs_of(spec, shuffled) == pairs_of(spec, data)


@every_loss
def test_contract_pairs_without_what_it_needs_take_no_part(spec: LossSpec) -> None:
    """They are not counted, and their features change nothing; a batch of none but such pairs costs nothing and moves nothing."""
    data, other = made(8), made(9)
    lacking = [i for i in range(8) if ("mask" in spec.needs and not data.regions[i].any())
               or any(data.labels[i] not in v for v in spec.where.values())]
    assert bool(lacking) == bool(spec.needs)
    assert pairs_of(spec, data) == 8 - len(lacking)
    changed = replace(data, image=data.image.clone(), patches=data.patches.clone())
    changed.image[lacking], changed.patches[lacking] = other.image[lacking], other.patches[lacking]
    torch.testing.assert_close(loss_of(spec, changed), loss_of(spec, data), rtol=0, atol=0)
    if lacking:
        none = data.rows(lacking).part(slice(None))
        assert pairs_of(spec, none) == 0
        assert all(not x.any() for x in value_and_gradients(spec, none))


@every_loss
def test_contract_prompts_are_sentences_by_class(spec: LossSpec) -> None:
    prompts = spec.prompts(WORDS)
    assert bool(prompts) == ("prompted" in USES[spec.kind])
    assert all(texts and all(t.strip() and "{" not in t and "_" not in t for t in texts) for texts in prompts)


@every_loss
def test_contract_gradients_are_those_of_the_value(spec: LossSpec) -> None:
    data = made(4, size=5, width=3).part(slice(None))

    def value(*leaves: Tensor) -> Tensor:
        return loss_of(spec, data.with_leaves(leaves))

    assert torch.autograd.gradcheck(value, data.leaves)


@every_loss
def test_contract_training_on_it_brings_pairs_together(spec: LossSpec) -> None:
    """A step against the gradient of the features lowers the loss."""
    data = made(5).part(slice(None))
    before, *gradients = value_and_gradients(spec, data)
    moved = data.with_leaves([x - 1e-3 * g for x, g in zip(data.leaves, gradients, strict=True)])
    after = loss_of(spec, replace(moved, logit_scale=data.logit_scale))
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
    data = made(seed, size=max(2, size)).rows(range(size))
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


def siglip_reference(data: Made, true: list[list[bool]]) -> float:
    """Equation 1 with a target for every image and text; loops only."""
    scale, bias, total = float(data.logit_scale), float(data.logit_bias), 0.0
    for u, row in zip(data.image.tolist(), true, strict=True):
        for v, said in zip(data.text.tolist(), row, strict=True):
            logit = scale * sum(a * b for a, b in zip(u, v, strict=True)) + bias
            total += math.log1p(math.exp(-logit if said else logit))
    return total / len(true)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("spec", [SiglipLossSpec(), SiglipLossSpec(positives="captions")], ids=lambda s: s.positives)
def test_siglip_is_the_plain_reference(seed: int, spec: SiglipLossSpec) -> None:
    data = made(seed)
    true = [[is_true(data, i, k, spec.positives == "claims") for k in range(8)] for i in range(8)]
    assert sum(map(sum, true)) > 8, "the case has more positives than pairs"
    assert float(loss_of(spec, data)) == pytest.approx(siglip_reference(data, true), abs=1e-12)


def test_siglip_is_open_clips_where_no_text_is_true_of_two_images() -> None:
    data = replace(made(6), claims=torch.zeros(8, 3, dtype=torch.bool), captions=torch.arange(1, 9)).part(slice(None))
    ours = value_and_gradients(SiglipLossSpec(), data)
    value = SigLipLoss()(data.image, data.text, data.logit_scale, data.logit_bias)
    theirs = torch.autograd.grad(value, data.leaves, allow_unused=True, materialize_grads=True)
    for a, b in zip(ours, (value.detach(), *theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_siglip_of_a_text_given_twice_is_no_argument_against_it() -> None:
    """Two pairs of one caption, perfectly embedded: as two pairs of open_clip's loss they would push each other away."""
    one = torch.nn.functional.one_hot(torch.zeros(2, dtype=torch.long), 6).double()
    data = replace(made().rows([0, 1]), image=one, text=one, captions=torch.tensor([5, 5]), logit_scale=torch.tensor(20.0).double(),
                   logit_bias=torch.tensor([-10.0]).double())
    assert float(loss_of(SiglipLossSpec(), data)) < 1e-3
    assert float(SigLipLoss()(data.image, data.text, data.logit_scale, data.logit_bias)) > 9


def test_siglip_of_a_model_without_a_bias_is_refused() -> None:
    with pytest.raises(InputError, match=r"needs a model with a logit_bias.*set logit_bias"):
        loss_of(SiglipLossSpec(), replace(made(), logit_bias=torch.zeros(0)))


@pytest.mark.parametrize("seed", range(5))
def test_retain_is_the_plain_reference(seed: int) -> None:
    """The equation in retain.py, with loops only."""
    data, total = made(seed), 0.0
    scale = float(data.entry.logit_scale)

    def rows(one: Tensor, other: Tensor) -> list[list[float]]:
        return [[scale * sum(a * b for a, b in zip(u, v, strict=True)) for v in other.tolist()] for u in one.tolist()]

    for now, before in ((rows(data.image, data.text), rows(data.entry.image, data.entry.text)),
                        (rows(data.text, data.image), rows(data.entry.text, data.entry.image))):
        for p, q in zip(before, now, strict=True):
            total += sum(math.exp(log_probability(p, k)) * (log_probability(p, k) - log_probability(q, k)) for k in range(8)) / 16
    assert float(loss_of(RetainLossSpec(), data)) == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("how", ["as it was", "turned as a whole", "another temperature"])
def test_retain_is_nothing_for_a_model_that_says_the_same(how: str) -> None:
    data = made(13)
    turn = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).Q if how.startswith("turned") \
        else torch.eye(6, dtype=torch.float64)
    same = replace(data, image=data.entry.image @ turn, text=data.entry.text @ turn).part(slice(None))
    scale = torch.tensor(50.0 if how == "another temperature" else float(data.entry.logit_scale), dtype=torch.float64)
    value, *gradients = value_and_gradients(RetainLossSpec(), replace(same, logit_scale=scale.requires_grad_()))
    assert abs(float(value)) < 1e-12
    assert all(float(g.abs().max()) < 1e-12 for g in gradients)


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


@pytest.mark.parametrize("rows", [slice(0, 4), slice(2, 3), slice(4, 8)], ids=str)
def test_the_truth_of_some_images_is_their_part_of_the_whole(rows: slice) -> None:
    data = made(1)
    assert torch.equal(positives(data.facts, data.claims, data.captions, rows), positives(data.facts, data.claims, data.captions)[rows])


def test_two_ranks_have_the_loss_and_the_gradients_of_one(tmp_path: Path) -> None:
    """The mean over ranks is the loss of the global batch, and gradients averaged over ranks are its gradients."""
    torch.multiprocessing.spawn(work, (2, str(tmp_path), VARIANTS), nprocs=2)  # type: ignore[attr-defined, no-untyped-call]
    ranks = [torch.load(tmp_path / f"{r}.pt") for r in range(2)]
    for n, spec in enumerate(VARIANTS):
        whole = value_and_gradients(spec, made().part(slice(None)))
        for k, (name, expected) in enumerate(zip(("value", *LEAVES), whole, strict=True)):
            parts = [r[n][k] for r in ranks]
            found = torch.cat(parts) / 2 if name in ("image", "text", "patches") else (parts[0] + parts[1]) / 2
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def mean_prompt(data: Made, prompts: Sequence[str]) -> list[float]:
    """The normalized mean of some prompts' embeddings, slowly."""
    rows = [data.prompted[TEXTS.index(t)].tolist() for t in prompts]
    return unit([sum(column) / len(rows) for column in zip(*rows, strict=True)])


def unit(v: Sequence[float]) -> list[float]:
    """Of length one."""
    length = math.sqrt(sum(x * x for x in v))
    return [x / length for x in v]


def logits(data: Made, v: Sequence[float], names: Sequence[Sequence[float]]) -> list[float]:
    """s <v, t_k> for each k."""
    return [float(data.logit_scale) * sum(a * b for a, b in zip(v, t, strict=True)) for t in names]


def region_reference(data: Made, spec: RegionLossSpec) -> float:
    """The equation in region.py, with loops only."""
    names = [mean_prompt(data, [t.format(w.replace("_", " ")) for t in spec.templates]) for w in WORDS]
    regions, patches, area = list[float](), 0.0, 0.0
    for i in range(len(data.image)):
        for k in range(2, len(WORDS)):
            shares = data.regions[i, :, k].tolist()
            if any(shares):
                pooled = unit([sum(a * float(v[d]) for a, v in zip(shares, data.patches[i], strict=True)) for d in range(data.image.shape[1])])
                regions.append(-log_probability(logits(data, pooled, names), k))
        for p in range(data.regions.shape[1]):
            row = logits(data, data.patches[i, p].tolist(), names)
            patches -= sum(float(data.regions[i, p, k]) * log_probability(row, k) for k in range(len(WORDS)))
            area += float(data.regions[i, p].sum())
    return (1 - spec.patch_weight) * sum(regions) / len(regions) + spec.patch_weight * patches / area


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_region_is_the_plain_reference(seed: int, weight: float) -> None:
    spec, data = RegionLossSpec(patch_weight=weight), made(seed)
    assert float(loss_of(spec, data)) == pytest.approx(region_reference(data, spec), abs=1e-6), "areas are single precision"


def test_region_is_low_where_patches_are_what_the_mask_says() -> None:
    """Patches equal to the names of what covers them, against the same ones elsewhere."""
    data = replace(made(10), logit_scale=torch.tensor(50.0, dtype=torch.float64))
    names = torch.tensor([mean_prompt(data, prompts) for prompts in RegionLossSpec().prompts(WORDS)], dtype=torch.float64)
    covered = torch.tensor([0, 1, 2, 4])
    regions = torch.nn.functional.one_hot(covered, len(WORDS)).float().expand(8, -1, -1)
    right, wrong = (replace(data, regions=regions, patches=names[k].expand(8, -1, -1)) for k in (covered, covered.flip(0)))
    assert loss_of(RegionLossSpec(), right) < 0.1 * loss_of(RegionLossSpec(), wrong)


def test_an_unknown_part_of_a_patch_counts_for_nothing() -> None:
    """Half of every area known: the patch term, a mean over what is known, stays."""
    data = made(11)
    halved = replace(data, regions=data.regions / 2)
    torch.testing.assert_close(loss_of(RegionLossSpec(), halved), loss_of(RegionLossSpec(), data))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
def test_ordinal_is_the_plain_reference(seed: int, temperature: float) -> None:
    spec, data = OrdinalLossSpec(grades=GRADES, temperature=temperature), made(seed)
    names = [mean_prompt(data, [t.format(n) for t in spec.templates for n in g.names]) for g in GRADES]
    costs = []
    for u, label in zip(data.image.tolist(), data.labels, strict=True):
        grade = next((k for k, g in enumerate(GRADES) if label in g.values), None)
        if grade is not None:
            weights = [math.exp(-abs(k - grade) / temperature) for k in range(3)]
            costs.append(-sum(w / sum(weights) * log_probability(logits(data, u, names), k) for k, w in enumerate(weights)))
    assert len(costs) in range(1, 8)
    assert float(loss_of(spec, data)) == pytest.approx(sum(costs) / len(costs), abs=1e-12)


def test_a_near_miss_costs_less_than_a_far_one() -> None:
    data = made(12)
    names = torch.tensor([mean_prompt(data, p) for p in OrdinalLossSpec(grades=GRADES).prompts(())], dtype=torch.float64)
    severe = replace(data, labels=["severe"] * 8)
    hit, near, far = (float(loss_of(OrdinalLossSpec(grades=GRADES), replace(severe, image=names[k].expand(8, -1),
                                                                           prompted=severe.prompted))) for k in (2, 1, 0))
    assert hit < min(near, far)
    sharp = OrdinalLossSpec(grades=GRADES, temperature=1e-3)
    index = [2] * 8
    expected = torch.nn.functional.cross_entropy(data.logit_scale * data.image @ names.T, torch.tensor(index))
    torch.testing.assert_close(loss_of(sharp, severe), expected)


@pytest.mark.parametrize(("grades", "said"), [
    ([GradeSpec(values=["a"], names=["a"])], "at least 2"),
    ([GradeSpec(values=["a"], names=["x"]), GradeSpec(values=["a"], names=["y"])], "value 'a' stands twice"),
    ([GradeSpec(values=["a"], names=["x"]), GradeSpec(values=["b"], names=["x"])], "prompt name 'x' stands twice"),
], ids=["one grade", "value twice", "name twice"])
def test_grades_that_cannot_be_told_apart_are_refused(grades: list[GradeSpec], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        OrdinalLossSpec(grades=grades)


@pytest.mark.parametrize("template", ["no place", "{} and {}"])
def test_a_template_has_one_place_for_the_name(template: str) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        RegionLossSpec(templates=[template])
