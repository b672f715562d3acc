"""Stand-ins: for every training source and benchmark set that the curricula name, a corpus with the same columns, labels and habits."""

from radisim_cl.phantom.sources import benchmark, training
from radisim_cl.phantom.sources._base import Source

SOURCES: dict[str, Source] = {s.name: s for s in (*training.SOURCES, *benchmark.SOURCES)}
"""By the name that curricula, benchmarks and catalogs use."""
