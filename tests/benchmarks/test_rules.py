"""How long the rules take. `make bench`; never part of a test run, since timings pass no judgement.

`python -m gaa_core bench` prints what the rules are to reach and do, `--against byzfl` another library beside them.
"""

from __future__ import annotations

import pytest
import torch

from gaa_core import bench, growth

WORKERS, PARAMETERS = (10, 50, 200), (10_000, 1_000_000, 11_000_000)
SIZES = [(n, d) for n in WORKERS for d in PARAMETERS] + [(1000, 100_000)]
MOST_MEMORY = 3e9  # bytes of submissions; GAA keeps five times as many


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=SIZES, ids=lambda size: f"n{size[0]}-d{size[1]}")
def sized(request):
    n, d = request.param
    if 4 * n * d > MOST_MEMORY:
        pytest.skip(f"{n} x {d:,} numbers do not fit")
    return growth.submissions(n, d), min(n // 5, (n - 3) // 4)  # what Bulyan admits too


def test_read_pass(benchmark, sized):
    """The yardstick: one sum over all submissions."""
    benchmark(sized[0].sum)


@pytest.mark.parametrize("name", bench.OURS)
def test_rule(benchmark, sized, name):
    gradients, f = sized
    n, d = gradients.shape
    if n > bench.MOST_WORKERS.get(name, n):
        pytest.skip("more than quadratic in the number of workers")
    if name == "gaa" and 5 * gradients.nbytes > MOST_MEMORY:
        pytest.skip("it keeps five steps' submissions")
    gradients = gradients[:, : bench.MOST_PARAMETERS.get(name, d)].contiguous()
    call, steps = growth.one_round(bench.OURS[name](f), gradients)
    benchmark.extra_info["steps a call"] = steps
    benchmark.pedantic(call, rounds=3, warmup_rounds=1)
