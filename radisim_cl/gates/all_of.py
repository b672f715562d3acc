"""Passes when all of its requirements do; each at its own confidence (Berger 1982, intersection-union test)."""

from __future__ import annotations

from radisim_cl.records.evidence import GateEvidence, Verdict, all_passed
from radisim_cl.registry import plugin
from radisim_cl.specs.gates import AllOfSpec


def decide(spec: AllOfSpec, evidence: GateEvidence) -> Verdict:
    """Pure: the same spec and evidence give the same verdict."""
    verdicts: list[Verdict] = [plugin("radisim_cl.gates", r.kind).decide(r, evidence) for r in spec.requires]
    return Verdict(all_passed(verdicts), "all of: " + " / ".join(v.reason for v in verdicts), max(v.alpha for v in verdicts),
                   tuple(dict.fromkeys(f for v in verdicts for f in v.forgotten)))
