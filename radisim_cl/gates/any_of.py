"""Passes when one of its requirements does; they share the error rate (Bonferroni), for each is another chance to pass wrongly."""

from __future__ import annotations

from dataclasses import replace

from radisim_cl.records.evidence import GateEvidence, Verdict
from radisim_cl.registry import plugin
from radisim_cl.specs.gates import AnyOfSpec


def decide(spec: AnyOfSpec, evidence: GateEvidence) -> Verdict:
    """Pure: the same spec and evidence give the same verdict."""
    part = replace(evidence, share=evidence.share / len(spec.requires))
    verdicts: list[Verdict] = [plugin("radisim_cl.gates", r.kind).decide(r, part) for r in spec.requires]
    passed = True if any(v.passed for v in verdicts) else None if any(v.passed is None for v in verdicts) else False
    return Verdict(passed, "any of: " + " / ".join(v.reason for v in verdicts), sum(v.alpha for v in verdicts),
                   () if passed else tuple(dict.fromkeys(f for v in verdicts for f in v.forgotten)))
