"""Passes when the paired gain over the last looks is shown to be smaller than what would be worth going on for."""

from __future__ import annotations

from radisim_cl.records.evidence import GateEvidence, Verdict
from radisim_cl.specs.gates import PlateauSpec


def decide(spec: PlateauSpec, evidence: GateEvidence) -> Verdict:
    """Pure: the same spec and evidence give the same verdict."""
    alpha, label = (1 - spec.confidence) * evidence.share, f"{spec.target} {spec.metric}"
    if spec.target in evidence.undecidable:
        return Verdict(None, f"{label}: undecidable, {evidence.undecidable[spec.target]}", alpha)
    if len(evidence.changes) < spec.looks:
        return Verdict(False, f"{label}: a plateau over {spec.looks} looks cannot be seen at look {len(evidence.changes)}", alpha)
    gain = evidence.changes[-spec.looks][spec.target, spec.metric]
    _, high = gain.bounds(alpha)
    passed = high < spec.less_than
    sign, n = "<" if passed else ">=", f"{spec.looks} look{'s' * (spec.looks > 1)}"
    return Verdict(passed, f"{label} gained {gain.value:+.3f} in {n}, upper bound {high:+.3f} (one-sided {1 - alpha:.1%}) {sign} {spec.less_than:g}",
                   alpha)
