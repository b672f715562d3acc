"""Freed memory is kept where glibc would give it back."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CODE = """
import resource, sys
import torch
from radisim_cl.train.engine import keep_memory
if sys.argv[1] == "keep":
    keep_memory()
torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_pages_of_freed_tensors_are_used_again() -> None:
    """Four times 64 MiB: faulted in each time by default, once when they are kept."""
    faults = {how: int(subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, text=True, check=True).stdout)
              for how in ("keep", "default")}
    assert faults["keep"] < faults["default"] / 4
