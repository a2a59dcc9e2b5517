"""Blend: each ingredient by hand, its schedule, and that it stays honest where it says so."""

import pytest
import torch

from gaa_core.attacks import Blend, SignFlip
from gaa_core.attacks.base import Knowledge
from gaa_core.errors import GaaError

OWN = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
HONEST = torch.tensor([[3.0, 4.0], [3.0, 4.0]])


def knowledge(step=0, parameters=(0.0, 0.0), credits=None):
    return Knowledge(
        step=step,
        parameters=torch.tensor(parameters),
        byzantine=torch.tensor([True, True, False, False]),
        classes=2,
        credits=credits,
        samples=type("Samples", (), {"inputs": None, "targets": None})(),
        slope=lambda *_: torch.tensor([0.0, 7.0]),
    )


def forged(attack):
    return attack.forge(OWN, HONEST, torch.Generator())


def test_by_default_it_is_a_sign_flip():
    torch.testing.assert_close(forged(Blend()), forged(SignFlip()))


def test_each_direction_by_hand():
    torch.testing.assert_close(forged(Blend(length=2.0)), torch.tensor([[-6.0, -8.0]] * 2))
    towards = Blend(mean=0.0, qv=-1.0).informed(knowledge())
    torch.testing.assert_close(forged(towards), torch.tensor([[0.0, -5.0]] * 2))  # |m| = 5
    moving = Blend(mean=0.0, course=1.0).informed(knowledge()).informed(knowledge(parameters=(-2.0, 0.0)))
    torch.testing.assert_close(forged(moving), torch.tensor([[5.0, 0.0]] * 2))
    noisy = forged(Blend(jitter=1.0)) - forged(Blend())
    torch.testing.assert_close(noisy, torch.tensor([[-1.0, 1.0], [1.0, -1.0]]))


def test_schedule():
    attack = Blend(start=10, period=20, duty=0.1)
    assert [step for step in range(60) if attack.attacks_at(step)] == [10, 11, 30, 31, 50, 51]
    assert torch.equal(forged(attack.informed(knowledge(step=9))), OWN)
    assert not torch.equal(forged(attack.informed(knowledge(step=10))), OWN)


def test_it_waits_until_it_is_trusted():
    attack = Blend(trust=0.5)
    assert not torch.equal(forged(attack.informed(knowledge())), OWN), "a rule without credits is no reason to wait"
    poor, rich = torch.tensor([0.2, 0.2, 0.3, 0.3]), torch.tensor([0.3, 0.2, 0.3, 0.2])
    assert torch.equal(forged(attack.informed(knowledge(credits=poor))), OWN)
    assert not torch.equal(forged(attack.informed(knowledge(credits=rich))), OWN)
    assert torch.equal(forged(attack.informed(knowledge(credits=torch.zeros(4)))), OWN), "no worker has credit"


@pytest.mark.parametrize("wrong", [{"length": 0.0}, {"duty": 0.0}, {"trust": 1.1}, {"period": 0}])
def test_impossible_values_are_refused(wrong):
    with pytest.raises(GaaError, match="Blend needs"):
        Blend(**wrong)
