"""The compiled kernels against their twins in torch; and that nothing needs numba."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch

from gaa_core import aggregators as a
from gaa_core import compiled, kernels, order_statistics
from gaa_core.agent import gradient_features

WORKERS, PARAMETERS = 13, 3001  # neither a multiple of anything


@pytest.fixture
def with_numba(monkeypatch):
    """Compiled kernels for inputs of any size."""
    pytest.importorskip("numba")
    monkeypatch.setattr(compiled, "WORTH_IT", 0)
    monkeypatch.setattr(compiled, "WORTH_ROUNDING", 0)


@pytest.fixture
def by_both(with_numba, monkeypatch):
    """A function of a function: its result by the compiled kernels and by torch."""

    def run(work):
        monkeypatch.delenv("GAA_COMPILED", raising=False)
        assert compiled.version() is not None
        fast = work()
        monkeypatch.setenv("GAA_COMPILED", "0")
        assert compiled.version() is None
        return fast, work()

    return run


def rows(n=WORKERS, d=PARAMETERS, dtype=torch.float32, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [1, 2, 3, 8, 13, 50, 64])
def test_order_statistics_are_the_same_bits(n, dtype, by_both):
    gradients = rows(n, dtype=dtype)
    gradients[:, 5] = gradients[0, 5]  # ties
    gradients[: n // 2, 7] *= 1e30
    for statistic in (
        order_statistics.median,
        lambda x: order_statistics.trimmed_mean(x, (n - 1) // 3),
        lambda x: order_statistics.mean_around_median(x, (n - 1) // 3),
    ):
        fast, slow = by_both(lambda statistic=statistic: statistic(gradients))
        assert torch.equal(fast, slow)


@pytest.mark.parametrize(
    "rule",
    [
        a.CoordinateMedian(),
        a.TrimmedMean(f=2),
        a.MeanAroundMedian(f=4),
        a.Bulyan(f=2),
        a.NearestNeighbourMixing(f=2) | a.TrimmedMean(f=2),
        a.Bucketing() | a.CoordinateMedian(),
    ],
    ids=repr,
)
def test_rules_by_coordinate_are_the_same_bits_also_where_some_are_not_finite(rule, by_both):
    gradients = rows()
    fast, slow = by_both(lambda: rule(gradients))
    assert torch.equal(fast, slow)
    for bad in (math.nan, math.inf, -math.inf):
        gradients[3, -1] = bad
        fast, slow = by_both(lambda: rule(gradients))
        assert torch.equal(fast, slow) and fast.isfinite().all()


def test_a_submission_that_is_not_finite_is_noticed_in_any_column(with_numba):
    for column in range(0, 300, 7):
        gradients = rows(5, 300)
        gradients[2, column] = math.nan
        with pytest.raises(kernels.NotFinite):
            order_statistics.median(gradients)


def test_two_threads_and_one_are_the_same_bits(with_numba, monkeypatch):
    gradients = rows()
    before = torch.get_num_threads()
    one, features = order_statistics.trimmed_mean(gradients, 3), gradient_features(gradients)
    monkeypatch.setattr(kernels, "_WORTH_THREADS", 0)
    torch.set_num_threads(2)
    try:
        assert torch.equal(order_statistics.trimmed_mean(gradients, 3), one)
        torch.testing.assert_close(gradient_features(gradients), features)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-5, 4.54e-5, 1.0, 1e30])
@pytest.mark.parametrize("d", [1, 255, 3001, 60_000])
def test_features_agree(d, scale, dtype, by_both):
    gradients = scale * rows(4, d, dtype)
    fast, slow = by_both(lambda: gradient_features(gradients))
    exact = gradient_features(gradients.double())
    torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(fast.double(), exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e19, 1e30])
@pytest.mark.parametrize("d", [1, 4096, 9000])
def test_distances_to_a_point_agree(d, scale, dtype, by_both):
    gradients = scale * rows(d=d, dtype=dtype)
    point = gradients[1] + 0.5 * gradients[2]
    fast, slow = by_both(lambda: kernels.distances_to(gradients, point))
    torch.testing.assert_close(fast, slow, rtol=1e-5, atol=0.0)
    gradients[4, 0] = math.nan
    with pytest.raises(kernels.NotFinite):
        kernels.distances_to(gradients, point)


def test_small_inputs_and_strange_layouts_are_left_to_torch():
    pytest.importorskip("numba")
    assert compiled.kernels("networks", torch.zeros(10, 100)) is None
    assert compiled.kernels("networks", torch.zeros(1024, 1024)) is not None
    assert compiled.kernels("networks", torch.zeros(1024, 1024).T[::2]) is None
    assert compiled.kernels("features", torch.zeros(1024, 1024), rounding=True) is None


WITHOUT = """
import sys
sys.modules["numba"] = None
import torch
from gaa_core.aggregators import TrimmedMean
rows = torch.arange(3.0)[:, None].repeat(1, 2**19)
assert torch.equal(TrimmedMean(f=1)(rows), torch.ones(2**19))
print("fine")
"""


def test_nothing_needs_numba_nor_imports_it_early():
    printed = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True).stdout
    assert printed == "fine\n"
    early = "import sys, gaa_core.aggregators; print('numba' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", early], capture_output=True, text=True, check=True).stdout
    assert printed == "False\n"
