"""Tampering algorithms: hand-computed values, and what every registered attack must keep."""

import dataclasses

import pytest
import torch

from gaa_core.aggregators import LinearGAR, Mean
from gaa_core.attacks import REGISTRY, GradientReversion, OneCoordinate, RandomFault, SteerLinear, Switcher
from gaa_core.errors import GaaError

OWN = torch.tensor([[1.0, -2.0, 3.0, 0.5], [0.0, 1.0, -1.0, 2.0]])
HONEST = torch.tensor([[1.0, 1.0, 1.0, 1.0], [3.0, 1.0, 1.0, -1.0], [2.0, 0.0, 1.0, 0.0]])


def generator():
    return torch.Generator().manual_seed(0)


def default(cls):
    return cls(**{each.name: 1 for each in dataclasses.fields(cls) if each.default is dataclasses.MISSING})


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_attack_keeps_shape_and_inputs_and_repeats_itself(name):
    attack = default(REGISTRY[name])
    own, honest = OWN.clone(), HONEST.clone()
    once, twice = attack.forge(own, honest, generator()), attack.forge(own, honest, generator())
    assert once.shape == OWN.shape and once.dtype == OWN.dtype
    assert torch.equal(once, twice) or (once.isnan() == twice.isnan()).all()
    assert torch.equal(own, OWN) and torch.equal(honest, HONEST)


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_attack_says_where_it_comes_from(name):
    assert REGISTRY[name].source.split()[0].strip(";,:") in ("paper", "reconstruction", "ours")
    assert REGISTRY[name].__doc__


def test_reversion_by_hand():
    assert GradientReversion(scale=10.0).forge(OWN, HONEST, generator()).tolist() == (OWN * -10).tolist()


def test_random_fault_has_its_scale_and_offset():
    own = torch.zeros(3, 20_000)
    large = RandomFault().forge(own, HONEST, generator())
    assert large.std().item() == pytest.approx(200, rel=0.02)
    assert abs(large.mean().item()) < 3
    shift = RandomFault(std=2e-6, offset=0.01).forge(own, HONEST, generator())
    assert shift.mean().item() == pytest.approx(0.01, rel=1e-4)
    assert shift.std().item() == pytest.approx(2e-6, rel=0.05)


def test_one_coordinate_by_hand():
    forged = OneCoordinate().forge(OWN, HONEST, generator())
    torch.testing.assert_close(forged - OWN, torch.tensor([[0.2, 0, 0, 0], [0.2, 0, 0, 0]]))  # 0.1 * sqrt(4)
    with pytest.raises(GaaError, match="coordinate below 4"):
        OneCoordinate(coordinate=4).forge(OWN, HONEST, generator())


def test_switcher_submits_one_or_the_other_about_half_the_time():
    own = torch.ones(2000, 3)
    forged = Switcher().forge(own, HONEST, generator())
    reverted = (forged == -1).all(dim=1)
    assert torch.allclose(forged[~reverted], torch.tensor(0.01), atol=1e-4)
    assert reverted.float().mean().item() == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("weights", [None, (0.1, 0.2, 0.3, 0.15, 0.25)])
def test_proposition_one_a_single_worker_steers_any_fixed_linear_rule(weights):
    attack = SteerLinear(scale=7.0, weights=weights)
    forged = attack.forge(OWN.double(), HONEST.double(), generator())
    rule = Mean() if weights is None else LinearGAR(weights)
    target = -7.0 * torch.cat([OWN[1:], HONEST]).double().mean(dim=0)
    torch.testing.assert_close(rule(torch.cat([forged, HONEST.double()])), target)
    assert torch.equal(forged[1:], OWN[1:].double()), "one attacker is enough: the other stays honest"


def test_steering_needs_a_weight_of_its_own():
    with pytest.raises(GaaError, match="first above 0"):
        SteerLinear(weights=(0.0, 0.25, 0.25, 0.25, 0.25)).forge(OWN, HONEST, generator())
