"""The agent: its features, its policy gradient against finite differences, and the two traps of the public
reconstruction.
"""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch

from gaa_core import run
from gaa_core.agent import Agent, gradient_features
from gaa_core.aggregators import GAA
from gaa_core.cases import MNIST
from gaa_core.errors import GaaError


def test_features_of_hand_computed_numbers():
    gradients = torch.tensor([[1.0, -1.0], [0.0, math.exp(-11.0)]])
    large = math.log(1 + 1e-6) / 10
    expected = torch.tensor([[large, 0.0], [-1.0, 0.5 * math.exp(-1.0)]])  # [n, 2]
    torch.testing.assert_close(gradient_features(gradients), expected, rtol=1e-5, atol=1e-7)


def test_features_do_not_depend_on_the_block_size():
    gradients = torch.randn(7, 501, generator=torch.Generator().manual_seed(0)) * 1e-4
    torch.testing.assert_close(gradient_features(gradients), gradient_features(gradients, block=64))


def test_credits_are_on_the_simplex_and_absent_workers_get_none():
    agent = Agent(4, lr=0.01, clamp=1.0, generator=torch.Generator().manual_seed(0))
    assert sum(parameter.numel() for parameter in agent.policy.parameters()) == (3 * 4 + 2) * 4 + 4
    present = torch.tensor([True, False, True, True])
    credits = agent.act(torch.randn(4, 2), torch.tensor(0.1), torch.tensor(2.0), present)
    assert credits[1] == 0
    assert credits.sum().item() == pytest.approx(1)
    assert (credits >= 0).all()


def test_a_diverged_loss_leaves_the_policy_finite():
    agent = Agent(3, lr=0.01, clamp=1.0, generator=torch.Generator().manual_seed(0))
    everyone = torch.ones(3, dtype=torch.bool)
    credits = agent.act(torch.randn(3, 2), torch.tensor(float("nan")), torch.tensor(float("inf")), everyone)
    agent.learn(torch.tensor([[1e9, -1e9, 1.0]]))
    assert agent.moments[0][0].abs().max() <= 0.1 + 1e-6, "a clamped gradient, of which it keeps a tenth"
    agent.act(torch.randn(3, 2), torch.tensor(float("nan")), torch.tensor(float("inf")), everyone)
    agent.learn(torch.full((1, 3), float("nan")))
    assert credits.isfinite().all()
    assert all(parameter.isfinite().all() for parameter in agent.policy.parameters())


class QuadraticServer:
    """f_B(theta) = 1/2 sum c (theta - m)^2, whose gradient is known by hand."""

    lr = 0.3

    def __init__(self, d: int):
        generator = torch.Generator().manual_seed(5)
        self.curvature = torch.rand(d, generator=generator, dtype=torch.float64) + 0.5
        self.minimum = torch.randn(d, generator=generator, dtype=torch.float64)
        self.parameters = torch.zeros(d, dtype=torch.float64)
        self.step = 0

    def qv_loss(self, parameters=None):
        theta = self.parameters if parameters is None else parameters
        return float(0.5 * (self.curvature * (theta - self.minimum) ** 2).sum())

    def qv_gradient(self, parameters=None):
        theta = self.parameters if parameters is None else parameters
        return self.curvature * (theta - self.minimum)


def segment(submissions: torch.Tensor, credits: torch.Tensor, d: int) -> float:
    """The sum of f_B after each update of a segment with these credits [T, n]: the function that the agent lowers."""
    server = QuadraticServer(d)
    total = 0.0
    for given, trusted in zip(submissions, credits, strict=True):
        server.parameters = server.parameters - server.lr * trusted @ given
        total += server.qv_loss()
    return total


def run_segment(rule: GAA, submissions: torch.Tensor) -> tuple[QuadraticServer, torch.Tensor]:
    """Drive a rule through one segment by hand; (server after it, credits [T, n])."""
    _, n, d = submissions.shape
    server = QuadraticServer(d)
    rule.reset(n, d, torch.Generator().manual_seed(1))
    rule._state.agent.policy.double()
    rule._state.agent.previous = rule._state.agent.previous.double()
    credits = []
    for given in submissions:
        rule.observe(server)
        update, trusted = rule.decide(given)
        server.parameters = server.parameters - server.lr * update
        credits.append(trusted)
    return server, torch.stack(credits)


def test_slopes_equal_finite_differences_and_the_last_credits_get_theirs():
    submissions = torch.randn(5, 4, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    rule = GAA(horizon=6)  # one longer, so that the segment stays open for inspection
    server, credits = run_segment(rule, submissions)
    rule.observe(server)  # f_B after the last update
    slopes = rule.slopes()  # [T, n]
    assert slopes.shape == (5, 4)
    assert (slopes.abs() > 1e-9).all(), "every credit of a segment, the last one too, must have a gradient"
    for s in range(5):
        for i in range(4):
            nudge = torch.zeros_like(credits)
            nudge[s, i] = 1e-5
            high, low = segment(submissions, credits + nudge, 6), segment(submissions, credits - nudge, 6)
            assert slopes[s, i].item() == pytest.approx((high - low) / 2e-5, rel=1e-6)


def test_policy_gradient_equals_finite_differences_through_the_previous_credits():
    submissions = torch.randn(3, 3, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    rule = GAA(horizon=4)
    server, _ = run_segment(rule, submissions)
    rule.observe(server)
    agent = rule._state.agent
    analytic = agent.gradients(rule.slopes())[0]

    states = []  # the inputs that the policy saw, held constant as the method says
    fresh = GAA(horizon=4)
    fresh.reset(3, 4, torch.Generator().manual_seed(1))
    original = type(agent).act

    def spy(self, features, mean, loss, present):
        states.append((features, mean, loss))
        return original(self, features, mean, loss, present)

    type(agent).act = spy
    try:
        run_segment(fresh, submissions)
    finally:
        type(agent).act = original

    def loss_with(weight: torch.Tensor) -> float:
        previous, credits = torch.full((3,), 1 / 3, dtype=torch.float64), []
        for features, mean, qv_loss in states:
            inputs = torch.cat([features.reshape(-1), torch.stack([mean, qv_loss]), previous])
            previous = torch.softmax(weight @ inputs + agent.policy.bias.detach(), dim=0)
            credits.append(previous)
        return segment(submissions, torch.stack(credits), 4)

    weight = agent.policy.weight.detach()
    for row, column in [(0, 0), (1, 4), (2, 7), (0, 8), (1, 10)]:  # features, f_B and previous credits
        nudge = torch.zeros_like(weight)
        nudge[row, column] = 1e-5
        numeric = (loss_with(weight + nudge) - loss_with(weight - nudge)) / 2e-5
        assert analytic[row, column].item() == pytest.approx(numeric, rel=1e-4, abs=1e-9)


def test_the_policy_changes_after_a_segment_and_only_then():
    rule = GAA(horizon=2)
    server = QuadraticServer(3)
    rule.reset(2, 3, torch.Generator().manual_seed(0))
    rule._state.agent.policy.double()
    rule._state.agent.previous = rule._state.agent.previous.double()
    before = rule._state.agent.policy.weight.detach().clone()
    for step in range(3):
        rule.observe(server)
        assert torch.equal(rule._state.agent.policy.weight, before) == (step < 2)
        update, _ = rule.decide(torch.randn(2, 3, dtype=torch.float64))
        server.parameters = server.parameters - server.lr * update


@pytest.mark.parametrize(("field", "value"), [("norm_bound", 0.0), ("policy_lr", 0.0), ("horizon", 0)])
def test_impossible_hyper_parameters_are_refused_with_the_value(field, value):
    with pytest.raises(GaaError, match=f"{field}.*found {value}"):
        dataclasses.replace(GAA(), **{field: value})
    with pytest.raises(GaaError, match="call reset and observe first"):
        GAA()(torch.ones(3, 4))


@pytest.mark.parametrize("rule", [GAA(), GAA(norm_bound=2.0)], ids=repr)
def test_a_model_that_has_diverged_leaves_credits_and_update_finite(rule):
    server = QuadraticServer(4)
    rule.reset(3, 4, torch.Generator().manual_seed(0))
    for _ in range(7):
        server.parameters = torch.full((4,), float("nan"), dtype=torch.float64)
        rule.observe(server)
        update, credits = rule.decide(torch.randn(3, 4, dtype=torch.float64))
        assert update.isfinite().all() and credits.isfinite().all() and (credits >= 0).all()
    server.parameters = torch.zeros(4, dtype=torch.float64)
    rule.observe(server)
    assert rule.decide(torch.randn(3, 4, dtype=torch.float64))[1].sum().item() == pytest.approx(1), (
        "it trusts again once there is a loss"
    )


def test_a_rule_that_has_run_can_be_copied():
    """In the middle of a segment its credits have a graph, which torch does not copy."""
    rule = GAA()
    before = run(MNIST, rule, n=4, steps=7, batch_size=4)
    np.testing.assert_array_equal(run(MNIST, copy.deepcopy(rule), n=4, steps=7, batch_size=4).credits, before.credits)
