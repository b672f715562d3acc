"""Fails when forgetting is shown; or, if strict, passes when it is ruled out.

By suite, the paired change of skill since the stage was entered, on the same patients. With k suites each of which could fail the gate wrongly,
each has a k-th of the error rate; strict, all have to pass, which takes no correction (Berger 1982, Technometrics 24:295).
"""

from __future__ import annotations

from radisim_cl.records.evidence import GateEvidence, Verdict
from radisim_cl.specs.gates import RetentionSpec
from radisim_cl.stats import Estimate


def decide(spec: RetentionSpec, evidence: GateEvidence) -> Verdict:
    """Pure: the same spec and evidence give the same verdict."""
    alpha = (1 - spec.confidence) * evidence.share
    if not evidence.learned or not evidence.changes:
        return Verdict(True, "retention: nothing was learned in an earlier stage", alpha)
    changes = {t: evidence.changes[0][t, "skill"] for t in evidence.learned if (t, "skill") in evidence.changes[0] and t not in evidence.undecidable}
    if not changes:
        return Verdict(None, f"retention: undecidable, as all of {', '.join(evidence.learned)} are", alpha)
    told: list[str] = []
    forgotten: list[str] = []
    kept = True
    for target, change in changes.items():
        low, high = change.bounds(alpha if spec.strict else alpha / len(changes))
        if spec.strict:
            kept &= low >= -spec.max_drop
            told.append(f"{target} {change.value:+.3f}, lower bound {low:+.3f}")
        elif high < -spec.max_drop:
            kept, forgotten = False, [*forgotten, target]
            told.append(f"{target} {change.value:+.3f}, upper bound {high:+.3f}: forgotten")
        else:
            told.append(f"{target} {change.value:+.3f} (a drop of {detectable(change, spec.max_drop, alpha / len(changes)):.2f} would have shown)")
    verdict = f"a drop of more than {spec.max_drop:g} is {'not ' * (kept != spec.strict)}{'ruled out' if spec.strict else 'shown'}"
    left = sorted(set(evidence.learned) - changes.keys())
    return Verdict(kept, f"retention since the stage began: {'; '.join(told)}; {verdict}" + f"; undecidable: {', '.join(left)}" * bool(left), alpha,
                   tuple(forgotten))


def detectable(change: Estimate, max_drop: float, alpha: float, power: float = 0.8) -> float:
    """The smallest true drop that would have been shown with a probability of `power`: as far beyond `max_drop` as the upper bounds at both levels
    lie from the estimate together (Lachin 1981, Control Clin Trials 2:93)."""
    return max_drop + sum(change.bounds(level)[1] - change.value for level in (alpha, 1 - power))
