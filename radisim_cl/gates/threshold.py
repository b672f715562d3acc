"""Passes when the lower confidence bound of a score reaches a value.

A stage looks at most L times at the same items, and passes at the first look that shows the skill. By Bonferroni the chance
that any of L looks passes without the skill is at most L times that of one, so each look spends (1 - confidence) / L.
"""

from __future__ import annotations

from radisim_cl.records.evidence import GateEvidence, Verdict
from radisim_cl.specs.gates import ThresholdSpec


def decide(spec: ThresholdSpec, evidence: GateEvidence) -> Verdict:
    """Pure: the same spec and evidence give the same verdict."""
    target = spec.suite or spec.subtask or ""
    need, alpha = spec.value_for(evidence.catalog), (1 - spec.confidence) / evidence.looks
    label = f"{target} {spec.metric}"
    if target in evidence.undecidable:
        return Verdict(None, f"{label}: undecidable, {evidence.undecidable[target]}", alpha)
    estimate = evidence.estimates[target, spec.metric]
    low, _ = estimate.bounds(alpha)
    passed = low >= need
    sign = ">=" if passed else "<"
    reason = f"{label} {estimate.value:.3f}, lower bound {low:.3f} (one-sided {1 - alpha:.1%}) {sign} {need:g}"
    return Verdict(passed, reason, alpha)
