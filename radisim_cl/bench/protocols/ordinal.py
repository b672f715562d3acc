"""Zero-shot grading: scored as `classify`, and judged by how far an answer is from the grade.

The classes are the grades in ascending order. Quadratic weighted kappa (Cohen 1968) and the mean absolute error in grades use the
grade that is answered, the one with the largest cosine.
"""

from __future__ import annotations

from radisim_cl.bench.protocols.classify import NEEDS, lacking, queries, read, score

__all__ = ["NEEDS", "lacking", "queries", "read", "score"]
