"""The distribution of attacks: every draw is code, every primitive occurs, nothing it forges breaks arithmetic."""

import math

import pytest
import torch

from gaa_core import roles
from gaa_core.attacks.base import Knowledge
from gaa_core.attacks.sampled import PRIMITIVES, ROLES, ComposedAttack, sample
from gaa_core.cases.base import Split
from gaa_core.errors import GaaError

DRAWS = [sample(seed) for seed in range(200)]


def informed(attack, step, credits=None, d=12, **kwargs):
    samples = Split(torch.zeros(3, 2), torch.zeros(3, dtype=torch.long))
    theta = torch.arange(float(d)) * step
    slope = lambda theta, inputs, targets: torch.linspace(-1, 1, len(theta))  # noqa: E731
    known = Knowledge(
        step, theta, torch.arange(10) < 7, classes=5, credits=credits, samples=samples, slope=slope, **kwargs
    )
    return attack.informed(known)


def test_a_seed_is_an_attack_and_its_repr_is_its_code():
    for seed, (attack, kind, params) in enumerate(DRAWS):
        assert sample(seed) == (attack, kind, params)
        assert eval(repr(attack)) == attack
    assert len({repr(attack) for attack, _, _ in DRAWS}) == len(DRAWS)


def test_every_primitive_occurs():
    for name, values in PRIMITIVES.items():
        field = "poison_by" if name == "poison" else name
        assert {getattr(attack, field) for attack, _, _ in DRAWS} == set(values)
    assert {kind for _, kind, _ in DRAWS} == set(ROLES)
    assert {math.copysign(1, attack.scale) for attack, _, _ in DRAWS} == {1, -1}
    assert min(abs(attack.scale) for attack, _, _ in DRAWS) < 1e-2 and max(a.scale for a, _, _ in DRAWS) > 10
    counts = {params["byzantine"] for _, _, params in DRAWS if "byzantine" in params}
    assert counts == set(range(1, 10))
    assert all(getattr(roles, kind)(10, **params)(0).shape == (10,) for _, kind, params in DRAWS)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e18, 1e38])
@pytest.mark.parametrize(("workers", "d"), [((3, 4), 12), ((1, 0), 1), ((4, 1), 2)])
def test_forging_keeps_the_shape_and_what_is_finite_finite(size, workers, d):
    own, honest = (size * torch.linspace(-1, 1, rows * d).reshape(rows, d) for rows in workers)
    for attack, _, _ in DRAWS[:60]:
        for step in (0, 1, 40):
            attack = informed(attack, step, d=d)
            forged = attack.forge(own, honest, torch.Generator().manual_seed(step))
            assert forged.shape == own.shape and forged.dtype == own.dtype and forged.isfinite().all(), attack


def test_what_is_forged_by_hand():
    own, honest = torch.tensor([[1.0, -4.0, 2.0, 0.0], [2.0, 0.0, 0.0, 0.0]]), torch.tensor([[0.0, 3.0, 0.0, 4.0]])
    draw = torch.Generator()
    assert ComposedAttack(scale=-2.0).forge(own, honest, draw).tolist() == (-2 * own).tolist()
    top = ComposedAttack(scale=-5.0, coordinates="top", share=0.25).forge(own, honest, draw)
    assert top.tolist() == [[1.0, 20.0, 2.0, 0.0], [-10.0, 0.0, 0.0, 0.0]]
    rivals = ComposedAttack(direction="benign mean", scale=1.0, collusion="rival groups").forge(own, honest, draw)
    expected = own.mean(dim=0).norm() * honest[0] / 5
    torch.testing.assert_close(rivals, torch.stack([expected, -expected]))
    copies = ComposedAttack(collusion="copies").forge(own, honest, draw)
    assert copies.tolist() == [(-own[0]).tolist()] * 2
    rolled = ComposedAttack(direction="other layer", scale=1.0).forge(own, honest, draw)
    assert rolled[0].tolist() == [2.0, 0.0, 1.0, -4.0]


def test_timing_and_credit_decide_who_attacks_when():
    assert [ComposedAttack(timing="from start", start=2).attacks_at(step) for step in range(4)] == [0, 0, 1, 1]
    assert [ComposedAttack(timing="bursts", period=4, duty=0.5).attacks_at(step) for step in range(6)] == [
        1, 1, 0, 0, 1, 1,
    ]  # fmt: skip
    share = sum(ComposedAttack(timing="at random", duty=0.3).attacks_at(step) for step in range(400)) / 400
    assert share == pytest.approx(0.3, abs=0.08)
    own, attack = torch.ones(7, 12), ComposedAttack(timing="while credited")
    rich, poor = torch.full((10,), 0.1), torch.tensor([0.05] * 7 + [0.2] * 3)
    forged = [informed(attack, 3, credits).forge(own, own[:3], None)[0, 0] for credits in (None, rich, poor)]
    assert forged == [-1, -1, 1]


def test_poison_changes_labels_of_active_steps_only():
    attack = informed(ComposedAttack(poison_by="permuted labels", timing="from start", start=5), 5)
    targets = torch.tensor([[0, 4]])
    assert attack.poison(None, targets)[1].tolist() == [[1, 0]]
    assert informed(attack, 4).poison(None, targets)[1] is targets
    assert informed(ComposedAttack(poison_by="one class"), 0).poison(None, targets)[1].tolist() == [[0, 0]]


def test_what_cannot_be_composed_is_said():
    with pytest.raises(GaaError, match="direction of ComposedAttack"):
        ComposedAttack(direction="benign meen")
    with pytest.raises(GaaError, match="leak='samples'"):
        ComposedAttack(direction="qv gradient")
    with pytest.raises(GaaError, match="share, duty"):
        ComposedAttack(share=0.0)
