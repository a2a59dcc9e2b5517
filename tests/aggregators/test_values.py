"""Every rule's answer on a few rows that can be checked by hand: three benign rows, a Byzantine one, a tie."""

import math

import pytest
import torch

from gaa_core import aggregators as a
from gaa_core import kernels

# On the line, squared distances from 0, 1, 3, 4, 100 can be done in the head.
LINE = torch.tensor([[0.0], [1.0], [3.0], [4.0], [100.0]])

# One Byzantine row far away: five honest rows around (1, 1).
CROSS = torch.tensor([[1.0, 1.0], [0.0, 1.0], [2.0, 1.0], [1.0, 0.0], [1.0, 2.0], [50.0, -70.0]])

# Seven on a line for Bulyan(f=1), which needs them.
SEVEN = torch.tensor([[0.0], [1.0], [2.0], [4.0], [7.0], [11.0], [1000.0]])

VALUES = [
    (a.Mean(), LINE, [21.6]),
    (a.LinearGAR(), LINE, [21.6]),
    (a.LinearGAR((0.5, 0.0, 0.25, 0.25, 0.0)), LINE, [1.75]),
    (a.CoordinateMedian(), LINE, [3.0]),
    (a.CoordinateMedian(), LINE[:4], [2.0]),  # even n: the mean of 1 and 3
    (a.TrimmedMean(f=1), LINE, [8 / 3]),
    (a.TrimmedMean(f=2), LINE, [3.0]),
    (a.TrimmedMean(f=0), LINE, [21.6]),
    (a.MeanAroundMedian(f=1), LINE, [2.0]),  # the 4 closest to 3
    (a.MeanAroundMedian(f=2), LINE, [8 / 3]),  # 1, 3, 4: 1 is closer to 3 than 0
    (a.MeanAroundMedian(f=1), LINE[[0, 1, 2]] * 1.0, [0.5]),  # median 1: 0 before 3
    (a.MeanAroundMedian(f=1), torch.tensor([[0.0], [1.0], [2.0]]), [0.5]),  # 0 and 2 tie: the lesser is kept
    # Krum: sums of squared distances to the n-f-2 = 2 nearest: 0: 1+9, 1: 1+4, 3: 1+4, 4: 1+9. 1 and 3 tie: first.
    (a.Krum(f=1), LINE, [1.0]),
    (a.Krum(f=0), LINE, [1.0]),  # 3 nearest: 0: 26, 1: 1+4+9, 3: 4+1+9; a tie again
    (a.Krum(f=1), CROSS, [1.0, 1.0]),
    (a.MultiKrum(f=1), LINE, [2.0]),  # the 2 best: 1 and 3
    (a.MultiKrum(f=1, select=3), LINE, [4 / 3]),  # 1, 3, then 0 (a tie with 4)
    (a.MultiKrum(f=1, select=1), LINE, [1.0]),
    # GeoMed, unsquared: 0: 108, 1: 105, 3: 103, 4: 104, 100: 392.
    (a.GeoMed(), LINE, [3.0]),
    (a.GeoMed(), CROSS, [1.0, 1.0]),
    (a.GeoMed(), LINE[:4], [1.0]),  # 1 and 3 tie: first
    (a.GeometricMedian(), LINE, [3.0]),  # on the line it is the median
    (a.GeometricMedian(), torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]]), [1.0, 1.0]),
    (
        a.GeometricMedian(),
        torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]]),
        [0.5, 0.75**0.5 / 3],
    ),  # Fermat's point
    (a.BruteForce(f=1), LINE, [2.0]),
    (a.BruteForce(f=2), LINE, [4 / 3]),  # {0,1,3} and {1,3,4} have diameter 3 and the same sum of distances: the first
    (a.BruteForce(f=1), CROSS, [1.0, 1.0]),
    (a.MDA(f=1), LINE, [2.0]),
    (a.SMEA(f=1), LINE, [2.0]),
    (a.SMEA(f=1), CROSS, [1.0, 1.0]),
    (a.CGE(f=1), LINE, [2.0]),
    (a.CGE(f=2), -LINE, [-4 / 3]),
    (a.MoNNA(f=2), LINE, [4 / 3]),  # nearest to 0: 0, 1, 3
    (a.MoNNA(f=2, pivot=4), LINE, [107 / 3]),
    (a.DnC(f=1), LINE, [2.0]),
    (a.DnC(f=1), CROSS, [1.0, 1.0]),
    (a.CenteredClipping(radius=1.0), LINE, [3.0]),  # about the medoid 3: -1 -1 +0 +1 +1
    (a.CenteredClipping(radius=2.0), LINE, [3 + (-2 - 2 + 0 + 1 + 2) / 5]),
    (a.CenteredClipping(), LINE, [3 + (-2 - 2 + 0 + 1 + 2) / 5]),  # distances 3 2 0 1 97: median 2
    # Bulyan, n=7, f=1: see test_bulyan_by_hand.
    (a.NormClipping(bound=2.0) | a.Mean(), LINE, [(0 + 1 + 2 + 2 + 2) / 5]),
    (a.NormClipping() | a.Mean(), LINE, [(0 + 1 + 3 + 3 + 3) / 5]),
    (a.ARC(f=1) | a.Mean(), LINE, [(0 + 1 + 3 + 4 + 4) / 5]),  # floor(2/5*4) = 1 is clipped
    (a.ARC(f=2) | a.Mean(), LINE, [(0 + 1 + 3 + 3 + 3) / 5]),  # floor(4/5*3) = 2
    # Each row becomes the mean of its 4 nearest: four times 2, and (1+3+4+100)/4 = 27.
    (a.NearestNeighbourMixing(f=1) | a.Mean(), LINE, [(4 * 2 + 27) / 5]),
    (a.NearestNeighbourMixing(f=1) | a.TrimmedMean(f=1), LINE, [2.0]),
    (a.Bucketing(size=5) | a.CoordinateMedian(), LINE, [21.6]),
    (a.Bucketing(size=1) | a.CoordinateMedian(), LINE, [3.0]),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("rule", "rows", "expected"), VALUES, ids=[f"{v[0]!r}-{len(v[1])}" for v in VALUES])
def test_value_by_hand(rule, rows, expected, dtype):
    torch.testing.assert_close(rule(rows.to(dtype)), torch.tensor(expected, dtype=dtype), rtol=1e-5, atol=1e-6)


def test_bulyan_by_hand():
    """n=7, f=1, on 0 1 2 4 7 11 1000.

    Krum with 4 neighbours: 0: 1+4+16+49=70, 1: 1+1+9+36=47, 2: 1+4+4+25=34, 4: 4+9+9+16=38. 2 goes first.
    On 0 1 4 7 11 1000, 3 neighbours: 1: 1+9+36=46, 4: 9+9+16=34. 4 goes. On 0 1 7 11 1000, 2 neighbours: 0: 50,
    1: 37, 7: 16+36=52. 1 goes. On 0 7 11 1000, 1 neighbour: 7 and 11 have 16, and the next neighbour of 7 is closer.
    On 0 11 1000, no neighbour: all tie, 0 and 11 are closest, and of these 11 to 1000. Selected: 1 2 4 7 11, median 4;
    the n-4f = 3 closest are 4, 2 and then 1 and 7, which tie: the lesser.
    """
    bulyan = a.Bulyan(f=1)
    assert bulyan.select((SEVEN - SEVEN.T).double().square()) == [1, 2, 3, 4, 5]
    torch.testing.assert_close(bulyan(SEVEN), torch.tensor([7 / 3]))


def test_bulyan_keeps_no_outlier_for_its_small_number():
    """With f=1 the last picks tie, and role schedules number attackers first."""
    rows = torch.randn(10, 40, generator=torch.Generator().manual_seed(0))
    rows[0] += 1000.0
    for place in range(10):
        moved = torch.cat([rows[1 : place + 1], rows[:1], rows[place + 1 :]])
        assert place not in a.Bulyan(f=1).select(kernels.squared_distances(moved))
        torch.testing.assert_close(a.Bulyan(f=1)(moved), a.Bulyan(f=1)(rows))


def test_brute_force_of_equal_diameters_takes_the_more_compact():
    rows = torch.tensor([[0.0], [1.0], [2.0], [3.0], [3.1]])  # {0..3} has diameter 3, {1..3.1} less
    torch.testing.assert_close(a.BruteForce(f=1)(rows), torch.tensor([2.275]))
    # Workers 0 and 1 are far from each other only. Either can go; with 0 the rest is more compact.
    rows = torch.tensor([[0.0, 0.0], [4.0, 0.0], [2.0, 0.0], [2.1, 0.0], [2.2, 0.0]])
    assert a.BruteForce(f=1).weights(rows)[0] == 0.0
    assert a.BruteForce(f=1).weights(rows.flip(0))[4] == 0.0


def test_geometric_median_at_a_submission_is_exact_wherever_it_starts(monkeypatch):
    obtuse = torch.tensor([[0.0, 0.0], [10.0, 1.0], [-10.0, 1.0]])  # the angle at 0 exceeds 120 degrees
    for start in range(3):
        monkeypatch.setattr(kernels, "product_centre", lambda _, start=start: start)
        assert torch.equal(a.GeometricMedian()(obtuse), obtuse[0])
    rows = torch.randn(6, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    rows[0], rows[1:3] = 0.01 * rows[0], 3.0 * rows[1:3]  # Weiszfeld alone only creeps up to the minimiser
    assert sorted(a.GeometricMedian().weights(rows).tolist()) == [0.0] * 5 + [1.0]


def test_sign_guard_drops_short_long_and_reversed_submissions():
    honest = 1.0 + torch.randn(12, 400, generator=torch.Generator().manual_seed(0))
    rows = torch.cat([honest, 0.01 * honest[:1], 9.0 * honest[1:2], -honest[2:4]])
    weights = a.SignGuard().weights(rows)
    assert (weights[:12] > 0.0).all() and (weights[12:] == 0.0).all()


def test_flame_drops_other_directions_and_clips_long_ones():
    honest = 1.0 + 0.3 * torch.randn(9, 400, generator=torch.Generator().manual_seed(0))
    rows = torch.cat([honest, 3.0 * honest[:1], -honest[1:4]])
    weights = a.FLAME().weights(rows)
    assert (weights[10:] == 0.0).all()
    assert (weights[:9] > 0.0).sum() >= 5
    assert 0.0 < weights[9] < 0.5 * weights.max()  # the long one counts for its direction only


def test_bucketing_averages_every_worker_once():
    mixing = a.Bucketing(size=3).mixing(torch.zeros(8, 1))
    assert mixing.shape == (3, 8)
    torch.testing.assert_close(mixing.sum(dim=1), torch.ones(3))
    assert sorted((mixing > 0).sum(dim=1).tolist()) == [2, 3, 3] and ((mixing > 0).sum(dim=0) == 1).all()


def test_linear_gar_without_a_submission_that_is_not_finite():
    rows = LINE.clone()
    rows[0] = math.nan
    torch.testing.assert_close(
        a.LinearGAR((0.5, 0.1, 0.1, 0.2, 0.1))(rows), torch.tensor([(0.1 + 0.3 + 0.8 + 10) / 0.5])
    )
    assert a.LinearGAR((1.0, 0.0, 0.0, 0.0, 0.0))(rows).tolist() == [0.0]
