"""Attacks of the field: hand-computed values, and what their papers state of them."""

import math

import pytest
import torch

from gaa_core.aggregators import CGE, CoordinateMedian, Krum, Mean, MultiKrum, NearestNeighbourMixing, TrimmedMean
from gaa_core.attacks import (
    ALittleIsEnough,
    DirectedDeviation,
    InnerProductManipulation,
    LabelFlip,
    Mimic,
    MinMax,
    MinSum,
    NonFinite,
    OptimizedALittleIsEnough,
    OptimizedInnerProductManipulation,
    RelocatedOrthogonal,
    SignFlip,
)
from gaa_core.attacks.a_little_is_enough import largest_z
from gaa_core.attacks.base import Knowledge
from gaa_core.errors import GaaError, UnknownName

HONEST = torch.tensor([[1.0, 2.0], [3.0, 2.0], [5.0, 2.0]])  # mean (3, 2), std (sqrt(8/3), 0)
OWN = torch.tensor([[7.0, 7.0], [9.0, 9.0]])
NO_ROWS = torch.empty(0, 2)
STD = math.sqrt(8 / 3)

OMNISCIENT = [
    SignFlip(),
    ALittleIsEnough(),
    InnerProductManipulation(),
    MinMax(),
    MinSum(),
    Mimic(),
    DirectedDeviation(),
    RelocatedOrthogonal(),
    OptimizedALittleIsEnough(),
    OptimizedInnerProductManipulation(),
]


def forge(attack, own=OWN, honest=HONEST):
    return attack.forge(own, honest, torch.Generator().manual_seed(0))


def expect(attack, *values, own=OWN, honest=HONEST):
    """Every attacker submits these values."""
    torch.testing.assert_close(forge(attack, own, honest), torch.tensor([values] * len(own)))


def test_sign_flip_by_hand():
    expect(SignFlip(), -3.0, -2.0)
    expect(SignFlip(scale=2.0), -16.0, -16.0, honest=NO_ROWS)


def test_inner_product_manipulation_by_hand():
    expect(InnerProductManipulation(epsilon=0.5), -1.5, -1.0)


def test_enough_small_inner_products_turn_the_mean_round():
    own = torch.zeros(7, 2)
    result = Mean()(torch.cat([forge(InnerProductManipulation(epsilon=0.5), own), HONEST]))
    assert result @ HONEST.mean(dim=0) < 0


def test_a_little_is_enough_by_hand():
    expect(ALittleIsEnough(z=1.5), 3 - 1.5 * STD, 2.0)


@pytest.mark.parametrize(
    ("n", "attackers", "benign", "everyone"),
    [(50, 24, 24 / 26, 48 / 50), (50, 12, 24 / 38, 36 / 50), (10, 3, 4 / 7, 7 / 10), (10, 2, 1 / 2, 6 / 10)],
)  # s = 26 - 24 = 2; 26 - 12 = 14; 6 - 3 = 3; 6 - 2 = 4
def test_z_is_the_quantile_of_either_convention(n, attackers, benign, everyone):
    for share, quantile in (("benign", benign), ("all", everyone)):
        z = largest_z(n, attackers, share)
        assert 0.5 * (1 + math.erf(z / math.sqrt(2))) == pytest.approx(quantile)
    assert largest_z(n, attackers) == largest_z(n, attackers, "all") > largest_z(n, attackers, "benign")


def test_z_where_the_quantile_decides_nothing():
    assert largest_z(10, 7) == 1.5  # a majority needs no supporters
    assert largest_z(10, 0) == 0.0
    with pytest.raises(UnknownName, match="'benign'"):
        ALittleIsEnough(share="bening")
    with pytest.raises(GaaError, match="0 to 3 attackers"):
        largest_z(3, 4)


def test_a_little_is_enough_computes_z_from_who_is_there():
    z = largest_z(5, 2)
    expect(ALittleIsEnough(), 3 - z * STD, 2.0)


def test_min_max_by_hand():
    # Farthest pair: 4. Along (-1, 0) from 3 the farthest honest is at 5: 3 - x = 4 - 2, so x = 2 less, at 1.
    expect(MinMax(along="std"), 1.0, 2.0)


def test_min_sum_by_hand():
    # Greatest sum of squares, of an end: 4 + 16 = 20. Of the mean: 8. 3 gamma^2 = 12, gamma = 2.
    expect(MinSum(along="std"), 1.0, 2.0)


@pytest.mark.parametrize("along", ["std", "unit", "sign"])
def test_min_max_and_min_sum_reach_their_bounds_exactly(along):
    honest = torch.randn(6, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.3
    distances = torch.cdist(honest, honest, compute_mode="donot_use_mm_for_euclid_dist")
    far = forge(MinMax(along), honest[:2], honest)[0]
    assert (far - honest).norm(dim=1).max().item() == pytest.approx(distances.max().item())
    wide = forge(MinSum(along), honest[:2], honest)[0]
    assert (wide - honest).square().sum().item() == pytest.approx(distances.square().sum(dim=1).max().item())


@pytest.mark.parametrize("attack", [MinMax(along="unit"), MinSum(along="unit")])
def test_one_honest_worker_or_equal_ones_leave_no_room(attack):
    expect(attack, 1.0, 2.0, honest=HONEST[:1])
    expect(attack, 1.0, 2.0, honest=HONEST[:1].expand(3, 2))


def test_min_max_refuses_an_unknown_direction():
    with pytest.raises(UnknownName, match="Did you mean 'std'"):
        MinMax(along="sdt")


def test_mimic_copies_one_honest_worker():
    expect(Mimic(worker=1), 3.0, 2.0)
    expect(Mimic(worker=4), 3.0, 2.0)


def test_label_flip_by_hand():
    inputs, targets = torch.zeros(1, 4, 2), torch.tensor([[0, 1, 8, 9]])
    assert LabelFlip(classes=10).poison(inputs, targets)[1].tolist() == [[9, 8, 1, 0]]
    told = LabelFlip().informed(Knowledge(step=0, parameters=OWN[0], byzantine=torch.ones(1).bool(), classes=3))
    assert told.poison(inputs, targets[:, :2])[1].tolist() == [[2, 1]]
    with pytest.raises(GaaError, match="number of classes"):
        LabelFlip().poison(inputs, targets)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_non_finite_fills_the_row(value):
    torch.testing.assert_close(forge(NonFinite(value)), torch.full((2, 2), value), equal_nan=True)


def test_directed_deviation_stays_just_outside_the_honest_values():
    own = torch.zeros(500, 4)
    honest = torch.tensor([[1.0, -1.0, -2.0, 2.0], [3.0, 4.0, -4.0, -6.0]])  # means 2, 1.5, -3, -2
    forged = forge(DirectedDeviation(stretch=2.0), own, honest)
    bounds = [(0.5, 1.0), (-2.0, -1.0), (-2.0, -1.0), (2.0, 4.0)]  # beyond min, min, max, max
    for column, (low, high) in zip(forged.T, bounds, strict=True):
        assert low <= column.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < column.max() <= high


@pytest.mark.parametrize("rule", [CoordinateMedian(), TrimmedMean(f=4)], ids=repr)
def test_directed_deviation_pushes_robust_statistics_against_the_truth(rule):
    generator = torch.Generator().manual_seed(2)
    honest = torch.randn(6, 200, generator=generator) + 0.2
    attacked = rule(torch.cat([forge(DirectedDeviation(), honest[:4], honest), honest]))
    mean = honest.mean(dim=0)
    assert ((attacked - mean) * mean.sign() < 0).float().mean() > 0.8


def test_relocated_orthogonal_by_hand():
    honest = torch.tensor([[2.0, 1.0], [2.0, -1.0]])  # mean (2, 0), std (0, 1)
    told = RelocatedOrthogonal(mix=0.5)
    for theta in ([0.0, 0.0], [-1.0, 0.0]):  # the parameters went along (+1, 0) in gradients
        told = told.informed(
            Knowledge(step=0, parameters=torch.tensor(theta), byzantine=torch.ones(1).bool(), classes=2)
        )
    expect(told, 2.0, -2.0, honest=honest)  # reference (2, 0), aside (0, -1) of its length
    expect(RelocatedOrthogonal(angle=90.0), 4.0, 0.0, honest=honest)
    expect(RelocatedOrthogonal(angle=270.0, z=0.5), 1.0, 0.0, honest=honest)


def test_optimised_factor_is_the_largest_where_harm_grows_with_it():
    expect(OptimizedInnerProductManipulation(factors=(0.5, 1.0, 4.0)), -12.0, -8.0)
    expect(OptimizedALittleIsEnough(factors=(0.5, 2.0)), 3 - 2 * STD, 2.0)


SEARCHED = [Krum(f=2), MultiKrum(f=2), TrimmedMean(f=2), CGE(f=2), NearestNeighbourMixing(f=2) | TrimmedMean(f=2)]


@pytest.mark.parametrize("rule", SEARCHED, ids=repr)
@pytest.mark.parametrize("seed", range(2))
def test_line_search_misses_no_more_than_a_twentieth_of_the_harm(rule, seed):
    """Against a dense grid of factors; other libraries search with some twenty trials, too."""
    honest = torch.randn(8, 50, generator=torch.Generator().manual_seed(seed)) * 0.3 + 0.1
    own, mean, std = honest[:2], honest.mean(dim=0), honest.std(dim=0, correction=0)

    def harm(row):
        return float((rule(torch.cat([row.expand(2, 50), honest])) - mean).norm())

    dense = [0.1 * 1.04**step for step in range(170)]
    found = harm(forge(OptimizedALittleIsEnough(rule=rule), own, honest)[0])
    assert found >= 0.95 * max(harm(mean - factor * std) for factor in dense)
    found = harm(forge(OptimizedInnerProductManipulation(rule=rule), own, honest)[0])
    assert found >= 0.95 * max(harm(-factor * mean) for factor in dense)


def test_what_the_rule_declares_and_how_many_attack_are_different_numbers():
    own = torch.zeros(5, 2)  # five attackers against a rule that expects one
    forged = forge(OptimizedALittleIsEnough(rule=TrimmedMean(f=1), factors=(1.0, 2.0)), own)
    torch.testing.assert_close(forged, torch.tensor([[3 - 2 * STD, 2.0]] * 5))


@pytest.mark.parametrize("attack", OMNISCIENT, ids=lambda attack: type(attack).__name__)
def test_without_an_honest_worker_the_attackers_own_take_their_place(attack):
    forged = forge(attack, OWN, NO_ROWS)
    assert forged.shape == OWN.shape and forged.isfinite().all()
    if not isinstance(attack, ALittleIsEnough | OptimizedALittleIsEnough | OptimizedInnerProductManipulation):
        torch.testing.assert_close(forged, forge(attack, OWN, OWN))  # the others do not look at n


@pytest.mark.parametrize("attack", OMNISCIENT, ids=lambda attack: type(attack).__name__)
def test_one_honest_worker_is_enough_for_finite_numbers(attack):
    assert forge(attack, OWN, HONEST[:1]).isfinite().all()
    assert forge(attack, OWN, torch.zeros(3, 2)).isfinite().all()
