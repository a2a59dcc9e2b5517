"""No rule takes more memory than 1.25 times its input beside it, and a few blocks."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch

from gaa_core import aggregators as a
from gaa_core import conformance

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
WORKERS, PARAMETERS = 50, 120_000
BLOCKS = 20e6  # some blocks of columns, and what the libraries behind torch and numpy keep

#: Enumeration, and rules that must be asked through a server.
ELSEWHERE = ("SMEA",)
RULES = [
    *(rule for rule in conformance.examples(f=5) if type(rule).__name__ not in ELSEWHERE),
    a.NearestNeighbourMixing(f=5) | a.TrimmedMean(f=5),
    a.NearestNeighbourMixing(f=5) | a.Krum(f=5),
    a.ARC(f=5) | a.CoordinateMedian(),
]


def resident(name: str) -> int:
    """Bytes of VmRSS (now) or VmHWM (the most since the last reset)."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])


@pytest.fixture(scope="module")
def gradients():
    if not (STATUS.exists() and CLEAR.exists()):
        pytest.skip("the peak of memory is read from /proc")
    return torch.randn(WORKERS, PARAMETERS, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("rule", [rule for rule in RULES if not isinstance(rule, a.LearningAggregator)], ids=repr)
def test_peak_memory(rule, gradients):
    rule(gradients)  # libraries load, kernels compile
    gc.collect()
    try:
        CLEAR.write_text("5")
    except OSError:
        pytest.skip("the peak of memory cannot be reset here")
    before = resident("VmRSS")
    rule(gradients)
    taken = resident("VmHWM") - before
    assert taken <= 1.25 * gradients.nbytes + BLOCKS, f"{taken / gradients.nbytes:.2f} times the input"
