"""Passes when the lower confidence bound of a score reaches a value."""

from __future__ import annotations

from radisim_cl.records.evidence import GateEvidence, Verdict
from radisim_cl.specs.gates import ThresholdSpec


def decide(spec: ThresholdSpec, evidence: GateEvidence) -> Verdict:
    """Pure: the same spec and evidence give the same verdict."""
    need, alpha = spec.value_for(evidence.catalog), (1 - spec.confidence) * evidence.share
    label = f"{spec.target} {spec.metric}"
    if spec.target in evidence.undecidable:
        return Verdict(None, f"{label}: undecidable, {evidence.undecidable[spec.target]}", alpha)
    estimate = evidence.estimates[spec.target, spec.metric]
    low, _ = estimate.bounds(alpha)
    passed = low >= need
    sign = ">=" if passed else "<"
    return Verdict(passed, f"{label} {estimate.value:.3f}, lower bound {low:.3f} (one-sided {1 - alpha:.1%}) {sign} {need:g}", alpha)
