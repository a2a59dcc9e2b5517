"""Attacks on rows that can be forged by hand, what their papers state of them, and what every attack must keep."""

import dataclasses
import math

import pytest
import torch

from gaa_core import attacks as t
from gaa_core.aggregators import CGE, Krum, LinearGAR, Mean, MultiKrum, NearestNeighbourMixing, TrimmedMean
from gaa_core.attacks.a_little_is_enough import largest_z
from gaa_core.attacks.base import Knowledge
from gaa_core.errors import GaaError, UnknownName

HONEST = torch.tensor([[1.0, 2.0], [3.0, 2.0], [5.0, 2.0]])  # mean (3, 2), std (sqrt(8/3), 0)
OWN = torch.tensor([[7.0, 7.0], [9.0, 9.0]])
NO_ROWS = torch.empty(0, 2)
STD = math.sqrt(8 / 3)


def told(step=0, parameters=(0.0, 0.0), **known):
    byzantine = torch.tensor([True, True, False, False])
    return Knowledge(
        **{"step": step, "parameters": torch.tensor(parameters), "byzantine": byzantine, "classes": 2} | known
    )


def forge(attack, own=OWN, honest=HONEST):
    return attack.forge(own, honest, torch.Generator().manual_seed(0))


SPIN = torch.tensor([[2.0, 1.0], [2.0, -1.0]])  # mean (2, 0), std (0, 1)
MOVED = t.RelocatedOrthogonal(mix=0.5).informed(told()).informed(told(parameters=(-1.0, 0.0)))  # along (1, 0)
FIVE = torch.tensor([[3.0, 4.0], [3.0, 4.0]])  # mean (3, 4), of length 5
TO_SERVER = {
    "samples": type("Samples", (), {"inputs": 0, "targets": 0})(),
    "slope": lambda *_: torch.tensor([0.0, 7.0]),
}
BY_HAND = [  # attack, what each attacker submits, benign rows
    (t.SignFlip(), (-3.0, -2.0), HONEST),
    (t.SignFlip(scale=2.0), (-16.0, -16.0), NO_ROWS),
    (t.InnerProductManipulation(epsilon=0.5), (-1.5, -1.0), HONEST),
    (t.ALittleIsEnough(z=1.5), (3 - 1.5 * STD, 2.0), HONEST),
    (t.ALittleIsEnough(), (3 - largest_z(5, 2) * STD, 2.0), HONEST),
    # Farthest pair: 4. Along (-1, 0) from 3 the farthest honest is at 5: 3 - x = 4 - 2, so x = 2 less, at 1.
    (t.MinMax(along="std"), (1.0, 2.0), HONEST),
    # Greatest sum of squares, of an end: 4 + 16 = 20. Of the mean: 8. 3 gamma^2 = 12, gamma = 2.
    (t.MinSum(along="std"), (1.0, 2.0), HONEST),
    (t.MinMax(along="unit"), (1.0, 2.0), HONEST[:1]),
    (t.MinSum(along="unit"), (1.0, 2.0), HONEST[:1].expand(3, 2)),
    (t.Mimic(worker=1), (3.0, 2.0), HONEST),
    (t.Mimic(worker=4), (3.0, 2.0), HONEST),
    (t.NonFinite(float("inf")), (math.inf, math.inf), HONEST),
    (MOVED, (2.0, -2.0), SPIN),  # reference (2, 0), aside (0, -1) of its length
    (t.RelocatedOrthogonal(angle=90.0), (4.0, 0.0), SPIN),
    (t.RelocatedOrthogonal(angle=270.0, z=0.5), (1.0, 0.0), SPIN),
    (t.OptimizedInnerProductManipulation(factors=(0.5, 1.0, 4.0)), (-12.0, -8.0), HONEST),  # more harm with more
    (t.OptimizedALittleIsEnough(factors=(0.5, 2.0)), (3 - 2 * STD, 2.0), HONEST),
    (t.OptimizedALittleIsEnough(rule=TrimmedMean(f=1), factors=(1.0, 2.0)), (3 - 2 * STD, 2.0), HONEST),  # f is not 2
    (t.Blend(), (-3.0, -4.0), FIVE),
    (t.Blend(length=2.0), (-6.0, -8.0), FIVE),
    (t.Blend(mean=0.0, qv=-1.0).informed(told(**TO_SERVER)), (0.0, -5.0), FIVE),
    (t.Blend(mean=0.0, course=1.0).informed(told()).informed(told(parameters=(-2.0, 0.0))), (5.0, 0.0), FIVE),
]  # fmt: skip


@pytest.mark.parametrize(("attack", "values", "honest"), BY_HAND, ids=lambda value: repr(value)[:60])
def test_submission_by_hand(attack, values, honest):
    torch.testing.assert_close(forge(attack, OWN, honest), torch.tensor([values] * 2))


def default(cls):
    return cls(**{each.name: 1 for each in dataclasses.fields(cls) if each.default is dataclasses.MISSING})


REGISTERED = {name: default(cls) for name, cls in t.REGISTRY.items()}
OMNISCIENT = t.SignFlip | t.InnerProductManipulation | t.MinMax | t.MinSum | t.Mimic | t.DirectedDeviation
OMNISCIENT |= t.RelocatedOrthogonal  # and look at no number of workers


@pytest.mark.parametrize("name", sorted(REGISTERED))
def test_every_attack_keeps_shape_and_inputs_and_repeats_itself(name):
    """With any number of benign workers, equal ones, and none: then the attackers' own take their place."""
    attack, finite = REGISTERED[name], name not in ("non_finite",)
    assert attack.source.split()[0].strip(";,:") in ("paper", "reconstruction", "ours") and type(attack).__doc__
    for honest in (HONEST, HONEST[:1], torch.zeros(3, 2), NO_ROWS):
        own, others = OWN.clone(), honest.clone()
        once, twice = forge(attack, own, others), forge(attack, own, others)
        assert once.shape == OWN.shape and once.dtype == OWN.dtype and once.isfinite().all() == finite
        assert torch.equal(once.nan_to_num(), twice.nan_to_num())
        assert torch.equal(own, OWN) and torch.equal(others, honest)
    if isinstance(attack, OMNISCIENT):
        torch.testing.assert_close(forge(attack, OWN, NO_ROWS), forge(attack, OWN, OWN))


@pytest.mark.parametrize(
    ("n", "attackers", "benign", "everyone"),
    [(50, 24, 24 / 26, 48 / 50), (50, 12, 24 / 38, 36 / 50), (10, 3, 4 / 7, 7 / 10), (10, 2, 1 / 2, 6 / 10)],
)  # s = 26 - 24 = 2; 26 - 12 = 14; 6 - 3 = 3; 6 - 2 = 4
def test_z_is_the_quantile_of_either_convention(n, attackers, benign, everyone):
    for share, quantile in (("benign", benign), ("all", everyone)):
        z = largest_z(n, attackers, share)
        assert 0.5 * (1 + math.erf(z / math.sqrt(2))) == pytest.approx(quantile)
    assert largest_z(n, attackers) == largest_z(n, attackers, "all") > largest_z(n, attackers, "benign")
    assert largest_z(10, 7) == 1.5  # a majority needs no supporters
    assert largest_z(10, 0) == 0.0


@pytest.mark.parametrize("along", ["std", "unit", "sign"])
def test_min_max_and_min_sum_reach_their_bounds_exactly(along):
    honest = torch.randn(6, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.3
    distances = torch.cdist(honest, honest, compute_mode="donot_use_mm_for_euclid_dist")
    far = forge(t.MinMax(along), honest[:2], honest)[0]
    assert (far - honest).norm(dim=1).max().item() == pytest.approx(distances.max().item())
    wide = forge(t.MinSum(along), honest[:2], honest)[0]
    assert (wide - honest).square().sum().item() == pytest.approx(distances.square().sum(dim=1).max().item())


def test_label_flip_by_hand():
    inputs, targets = torch.zeros(1, 4, 2), torch.tensor([[0, 1, 8, 9]])
    assert t.LabelFlip(classes=10).poison(inputs, targets)[1].tolist() == [[9, 8, 1, 0]]
    assert t.LabelFlip().informed(told(classes=3)).poison(inputs, targets[:, :2])[1].tolist() == [[2, 1]]


def test_directed_deviation_stays_just_outside_the_honest_values():
    honest = torch.tensor([[1.0, -1.0, -2.0, 2.0], [3.0, 4.0, -4.0, -6.0]])  # means 2, 1.5, -3, -2
    forged = forge(t.DirectedDeviation(stretch=2.0), torch.zeros(500, 4), honest)
    bounds = [(0.5, 1.0), (-2.0, -1.0), (-2.0, -1.0), (2.0, 4.0)]  # beyond min, min, max, max
    for column, (low, high) in zip(forged.T, bounds, strict=True):
        assert low <= column.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < column.max() <= high


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
    found = harm(forge(t.OptimizedALittleIsEnough(rule=rule), own, honest)[0])
    assert found >= 0.95 * max(harm(mean - factor * std) for factor in dense)
    found = harm(forge(t.OptimizedInnerProductManipulation(rule=rule), own, honest)[0])
    assert found >= 0.95 * max(harm(-factor * mean) for factor in dense)


def test_reversion_and_one_coordinate_by_hand():
    assert forge(t.GradientReversion(scale=10.0)).tolist() == (OWN * -10).tolist()
    own = torch.zeros(2, 4)
    torch.testing.assert_close(forge(t.OneCoordinate(), own), torch.tensor([[0.2, 0, 0, 0]] * 2))  # 0.1 * sqrt(4)


def test_random_fault_and_switcher_have_their_statistics():
    large = forge(t.RandomFault(), torch.zeros(3, 20_000))
    assert large.std().item() == pytest.approx(200, rel=0.02) and abs(large.mean().item()) < 3
    shift = forge(t.RandomFault(std=2e-6, offset=0.01), torch.zeros(3, 20_000))
    assert shift.mean().item() == pytest.approx(0.01, rel=1e-4) and shift.std().item() == pytest.approx(2e-6, rel=0.05)
    forged = forge(t.Switcher(), torch.ones(2000, 3))
    reverted = (forged == -1).all(dim=1)
    assert torch.allclose(forged[~reverted], torch.tensor(0.01), atol=1e-4)
    assert reverted.float().mean().item() == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("weights", [None, (0.1, 0.2, 0.3, 0.15, 0.25)])
def test_proposition_one_a_single_worker_steers_any_fixed_linear_rule(weights):
    own, honest = OWN.double(), HONEST.double()
    forged = forge(t.SteerLinear(scale=7.0, weights=weights), own, honest)
    rule = Mean() if weights is None else LinearGAR(weights)
    torch.testing.assert_close(rule(torch.cat([forged, honest])), -7.0 * torch.cat([own[1:], honest]).mean(dim=0))
    assert torch.equal(forged[1:], own[1:]), "one attacker is enough: the other stays honest"


def test_blend_acts_in_its_periods_and_while_it_has_credit():
    attack = t.Blend(start=10, period=20, duty=0.1)
    assert [step for step in range(60) if attack.attacks_at(step)] == [10, 11, 30, 31, 50, 51]
    poor, rich, none = torch.tensor([0.2, 0.2, 0.3, 0.3]), torch.tensor([0.3, 0.2, 0.3, 0.2]), torch.zeros(4)
    for blend, known, acts in (
        (attack, told(step=9), False),
        (attack, told(step=10), True),
        (t.Blend(trust=0.5), told(), True),  # a rule without credits is no reason to wait
        (t.Blend(trust=0.5), told(credits=poor), False),
        (t.Blend(trust=0.5), told(credits=rich), True),
        (t.Blend(trust=0.5), told(credits=none), False),
    ):
        assert torch.equal(forge(blend.informed(known), OWN, FIVE), OWN) != acts
    noisy = forge(t.Blend(jitter=1.0), torch.tensor([[1.0, 2.0], [3.0, 0.0]]), FIVE) - forge(t.Blend(), OWN, FIVE)
    torch.testing.assert_close(noisy, torch.tensor([[-1.0, 1.0], [1.0, -1.0]]))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: t.ALittleIsEnough(share="bening"), "'benign'"),
        (lambda: largest_z(3, 4), "0 to 3 attackers"),
        (lambda: t.MinMax(along="sdt"), "Did you mean 'std'"),
        (lambda: t.LabelFlip().poison(torch.zeros(1, 1, 2), torch.zeros(1, 1)), "number of classes"),
        (lambda: forge(t.OneCoordinate(coordinate=2)), "coordinate below 2"),
        (lambda: forge(t.SteerLinear(weights=(0.0, 0.25, 0.25, 0.25, 0.25))), "first above 0"),
        (lambda: t.Blend(length=0.0), "Blend needs"),
        (lambda: t.Blend(duty=0.0), "Blend needs"),
        (lambda: t.Blend(trust=1.1), "Blend needs"),
        (lambda: t.Blend(period=0), "Blend needs"),
    ],
)
def test_impossible_values_are_refused(wrong, words):
    with pytest.raises((GaaError, UnknownName), match=words):
        wrong()
