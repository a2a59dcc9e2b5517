"""How long the rules take. `make bench`; never part of a test run, since timings pass no judgement.

`python -m gaa_core bench --against byzfl` prints the same rules beside another library's.
"""

from __future__ import annotations

import pytest
import torch

from gaa_core import bench

SIZES = {"n50-d1M": (50, 1_000_000, 10), "n10-d62k": (10, 62_006, 2), "n1000-d100k": (1000, 100_000, 100)}
SLOW_FOR_MANY = {"bulyan", "mda"}  # more than quadratic in n


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=SIZES)
def sized(request):
    n, d, f = SIZES[request.param]
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0)), f


def test_read_pass(benchmark, sized):
    """The yardstick: one sum over all submissions."""
    benchmark(sized[0].sum)


@pytest.mark.parametrize("name", bench.OURS)
def test_rule(benchmark, sized, name):
    gradients, f = sized
    if len(gradients) > 500 and name in SLOW_FOR_MANY:
        pytest.skip("more than quadratic in the number of workers")
    if name == "mda" and gradients.shape[1] > 100_000:
        gradients = gradients[:, :10_000].contiguous()
    benchmark.pedantic(bench.OURS[name](f), args=(gradients,), rounds=3, warmup_rounds=1)
