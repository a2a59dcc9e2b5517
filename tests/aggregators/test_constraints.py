"""How many workers each rule asks for, and what it says when there are fewer."""

import math

import pytest
import torch

from gaa_core import aggregators as a
from gaa_core.errors import GaaError, TooFewWorkers

TWO_F_AND_ONE = (a.BruteForce, a.MDA, a.TrimmedMean, a.MeanAroundMedian, a.MoNNA, a.CGE, a.CAF, a.SMEA, a.DnC)
BOUNDS = dict.fromkeys(TWO_F_AND_ONE, 7) | {a.Krum: 9, a.MultiKrum: 9, a.Bulyan: 15}  # of their papers, for f = 3
BOUND_ROWS = [*((cls(f=3), bound) for cls, bound in BOUNDS.items()), (a.MultiKrum(f=3, select=8), 11)]
PIPES = [
    (a.NearestNeighbourMixing(f=3) | a.TrimmedMean(f=2), 7),
    (a.NearestNeighbourMixing(f=1) | a.TrimmedMean(f=3), 7),
    (a.Bucketing(size=2) | a.Krum(f=3), 17),  # nine groups: eight of two and one of one
    (a.Bucketing(size=2) | a.ARC(f=2) | a.Mean(), 9),
]


@pytest.mark.parametrize(("rule", "bound"), BOUND_ROWS + PIPES, ids=repr)
def test_boundary(rule, bound):
    rows = torch.randn(bound, 5, generator=torch.Generator().manual_seed(0))
    assert rule.needs() == bound
    assert rule(rows).isfinite().all()
    with pytest.raises(TooFewWorkers) as error:
        rule(rows[:-1])
    assert str(error.value) == f"{rule!r} needs at least {bound} workers; found {bound - 1}."


@pytest.mark.parametrize("cls", [*BOUNDS, a.Zeno, a.NearestNeighbourMixing, a.ARC], ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("f", [-1, 1.5, "2", True, None], ids=repr)
def test_f_must_be_a_whole_number(cls, f):
    with pytest.raises(GaaError) as error:
        cls(f=f)
    assert str(error.value) == f"{cls.__name__} needs f to be a whole number, 0 or more; found f={f!r}."


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: a.MultiKrum(f=1, select=0),
        lambda: a.GeometricMedian(tolerance=0.0),
        lambda: a.CenteredClipping(radius=-1.0),
        lambda: a.CenteredClipping(iterations=0),
        lambda: a.DnC(f=1, strength=0.0),
        lambda: a.DnC(f=1, rounds=0),
        lambda: a.SignGuard(lower=2.0),
        lambda: a.MoNNA(f=1, pivot=-1),
        lambda: a.Zeno(f=1, rho=-1.0),
        lambda: a.ZenoPlusPlus(epsilon=-1.0),
        lambda: a.ByGARS(rate=0.0),
        lambda: a.Bucketing(size=0),
        lambda: a.NormClipping(bound=0.0),
        lambda: a.LinearGAR((0.5, 0.6)),
        lambda: a.LinearGAR((1.5, -0.5)),
        lambda: a.LinearGAR((math.nan, 1.0)),
        lambda: a.LinearGAR((0.5, 0.5))(torch.zeros(5, 2)),
        lambda: a.SMEA(f=10)(torch.zeros(50, 2)),  # too many subsets
    ],
)
def test_other_parameters_are_checked_at_once(wrong):
    with pytest.raises(GaaError, match=r"needs .*; found |sum to 1|CAF"):
        wrong()


@pytest.mark.parametrize(
    "rule", [a.Krum(f=2), a.TrimmedMean(f=2), a.NearestNeighbourMixing(f=2) | a.Krum(f=2)], ids=repr
)
def test_a_submission_that_is_not_finite_uses_up_one_f(rule):
    rows = torch.randn(9, 20, generator=torch.Generator().manual_seed(0))
    spoilt = torch.cat([rows, torch.full((2, 20), torch.nan)])
    assert torch.equal(rule(spoilt), rule.without(2)(rows))


@pytest.mark.parametrize("rule", [a.Mean(), a.CoordinateMedian(), a.GeometricMedian()], ids=repr)
def test_no_finite_row_means_no_update(rule):
    assert torch.equal(rule(torch.full((4, 3), torch.inf)), torch.zeros(3))
