"""Distances, Gram matrices, norms and order statistics against slow float64 twins, on the inputs that break fast
code.
"""

import itertools
import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from gaa_core import kernels
from gaa_core.aggregators import centered_clipping
from gaa_core.kernels import blocks, order

BLOCK = 2**18


def normal(n, d, seed=0, dtype=torch.float32):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def slow_squared_distances(gradients):
    rows = gradients.double()
    return torch.stack([(rows - row).square().sum(dim=1) for row in rows])


def assert_same_distances(gradients, rtol=1e-4):
    found, expected = kernels.squared_distances(gradients), slow_squared_distances(gradients)
    torch.testing.assert_close(found, expected, rtol=rtol, atol=0.0)
    assert torch.equal(found, found.T)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_finite_rows_finds_one_bad_number_and_keeps_a_row_whose_sum_overflows(bad):
    gradients = torch.full((5, 1000), 3e38)
    gradients[2, 777] = bad
    gradients[3, ::2], gradients[3, 1::2] = math.inf, -math.inf  # infinities that cancel to NaN
    assert kernels.finite_rows(gradients).tolist() == [True, True, False, False, True]


def groups():
    """Four groups far apart, the last but one not rounded to one point."""
    rows = torch.cat([normal(4, 200, seed=group) + offset for group, offset in enumerate((0.0, 1e6, -1e12, 1e25))])
    rows[8:12] += 1e6 * normal(4, 200)
    return rows


def one_far(place):
    rows = normal(6, 300)
    rows[place] = 1e30
    return rows


HARD = {
    **{
        f"{dtype}, d={d}": normal(12, d, dtype=dtype)
        for d in (1, 3, 40_000)
        for dtype in (torch.float32, torch.float64)
    },
    "common offset": normal(10, 500) + 1e5,
    **{f"row {place} far away": one_far(place) for place in range(6)},
    **{f"scale {scale}": normal(8, 100) * (scale / 4) for scale in (1e-30, 1e-20, 1e15, 1e19, 1e30, 1e38)},
    "groups far apart": groups(),
    "differences that overflow": torch.cat([torch.full((2, 50), 3e38), torch.full((2, 50), -3e38)]),
}


@pytest.mark.parametrize("name", HARD)
def test_distances_of_hard_rows(name):
    assert_same_distances(HARD[name])


def test_distances_of_equal_rows_are_exactly_zero():
    gradients = normal(1, 5000).repeat(7, 1)
    gradients[4:] = 1e5 * normal(1, 5000, seed=1)
    found = kernels.squared_distances(gradients)
    assert (found[:4, :4] == 0.0).all() and (found[4:, 4:] == 0.0).all() and (found[:4, 4:] > 0.0).all()


def test_distances_beyond_float64_are_far_but_finite():
    gradients = normal(5, 20, dtype=torch.float64)
    gradients[4] = 1e300
    found = kernels.squared_distances(gradients)
    assert found.isfinite().all()
    torch.testing.assert_close(found[:4, :4], slow_squared_distances(gradients[:4]))
    assert (found[4, :4] > 1e250).all()


@given(
    n=st.integers(1, 9),
    d=st.integers(1, 40),
    exponents=st.lists(st.integers(-30, 30), min_size=9, max_size=9),
    offset=st.sampled_from([0.0, 1.0, 1e5, -1e12]),
    seed=st.integers(0, 1000),
)
def test_distances_of_rows_of_any_scales(n, d, exponents, offset, seed):
    scales = torch.tensor([10.0**exponent for exponent in exponents[:n]])
    assert_same_distances(normal(n, d, seed) * scales[:, None] + offset, rtol=1e-3)


@pytest.mark.parametrize("scale", [0.0, 1e-40, 1e-25, 1.0, 1e19, 1e30, 1e38])
def test_norms_at_every_scale(scale):
    gradients = normal(4, 300) * (scale / 4)
    torch.testing.assert_close(kernels.norms(gradients), gradients.double().norm(dim=1), rtol=1e-5, atol=0.0)
    moved = kernels.distances_to(gradients, gradients[1])
    expected = (gradients.double() - gradients[1].double()).norm(dim=1)
    torch.testing.assert_close(moved, expected, rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("d", [1_000_000, pytest.param(30_000_000, marks=pytest.mark.slow)])
def test_norms_of_many_columns_carry_no_float32_sum(d):
    row = torch.rand(1, d, generator=torch.Generator().manual_seed(0))
    exact = float(row.double().norm())
    assert kernels.norms(row).item() == pytest.approx(exact, rel=1e-6)
    assert kernels.distances_to(row, torch.zeros(d)).item() == pytest.approx(exact, rel=1e-6)
    assert kernels.cosines(row, row[0]).item() == pytest.approx(1.0, rel=1e-5)


def test_cosines_at_every_scale():
    gradients = normal(5, 300)
    vector = normal(1, 300, seed=1)[0]
    expected = torch.nn.functional.cosine_similarity(gradients.double(), vector.double()[None])
    scaled = gradients * torch.tensor([1e-30, 1.0, 1e19, 1e30, 1e37])[:, None]
    torch.testing.assert_close(kernels.cosines(scaled, vector), expected, rtol=1e-4, atol=1e-6)
    assert kernels.cosines(torch.zeros(1, 300), vector).item() == 0.0


ODD_WIDTHS = [1, 2, 5, 1000, BLOCK // 5 + 1]  # also one more column than fills a block


@pytest.mark.parametrize("d", ODD_WIDTHS)
@pytest.mark.parametrize(("n", "trim"), [(1, 0), (2, 0), (3, 1), (5, 0), (8, 3), (17, 5), (17, 8), (50, 10), (201, 5)])
def test_order_statistics(n, trim, d):
    """With ties in every second column."""
    gradients = normal(n, min(d, 3000) if n > 17 else d)
    gradients[:, ::2] = (2.0 * gradients[:, ::2]).round()
    ordered = gradients.double().sort(dim=0).values
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    close = ordered.gather(0, (ordered - middle).abs().argsort(dim=0, stable=True)[: n - trim])  # of ties the lesser
    for found, expected in (
        (kernels.median(gradients), middle),
        (kernels.trimmed_mean(gradients, trim), ordered[trim : n - trim].mean(dim=0)),
        (kernels.mean_around_median(gradients.double(), trim), close.mean(dim=0)),
    ):
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", range(1, 11))
def test_network_sorts_whatever_is_zero_or_one(n):
    """A network that sorts every row of zeros and ones sorts everything (Knuth's 0-1 principle)."""
    assert order.comparators(n, frozenset(), frozenset(range(n))) == (), "a mean needs no order"
    rows = torch.tensor(list(itertools.product([0.0, 1.0], repeat=n))).T.contiguous()
    network = order.comparators(n, frozenset(range(n)), frozenset())
    found = order._run(network, rows, torch.empty(n + 1, rows.shape[1]))
    assert torch.equal(torch.stack(found), rows.sort(dim=0).values)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_nothing(threads, monkeypatch):
    monkeypatch.setattr(blocks, "WORTH_THREADS", 1)
    gradients = normal(7, 50_000)
    distances, median = kernels.squared_distances(gradients), kernels.median(gradients)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        torch.testing.assert_close(kernels.squared_distances(gradients), distances, rtol=1e-6, atol=0.0)
        assert torch.equal(kernels.median(gradients), median)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_central_row_is_not_fooled_by_a_deviation_outside_its_sample():
    gradients = normal(9, 5000)
    gradients[3] = gradients[4:].mean(dim=0)  # looks central in every column of the sample
    gradients[3, 1] = 1e4
    row, distances = centered_clipping.central_row(gradients)
    assert row != 3
    expected = (gradients - gradients[row]).double().norm(dim=1)
    torch.testing.assert_close(torch.from_numpy(distances), expected, rtol=1e-4, atol=1e-4)
