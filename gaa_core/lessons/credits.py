"""Lesson 3, beyond one half: credits, reward, and an agent small enough to be written in one sitting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gaa_core.aggregators.base import LearningAggregator
from gaa_core.lessons import checking
from gaa_core.lessons.checking import NotYet, check_guess, compare, guessed, right, tensor
from gaa_core.seeding import generator

__all__ = ["Valley", "check_agent", "check_credits", "check_guess", "check_reward", "check_slopes", "guessed", "play"]


@dataclass
class Valley:
    """A world to try agents in, a `Server` to learning rules: f_B(theta) = |theta - goal|^2 / 2."""

    lr: float = 0.1
    d: int = 20
    seed: int = 0
    step: int = 0

    def __post_init__(self):
        self.goal = torch.randn(self.d, generator=generator(self.seed, "lesson valley"))
        self.parameters = torch.zeros(self.d)

    def qv_loss(self, parameters: Tensor | None = None) -> float:
        """f_B at theta, or at other parameters."""
        return float((self._at(parameters) - self.goal).square().sum() / 2)

    def qv_gradient(self, parameters: Tensor | None = None) -> Tensor:
        """The gradient of f_B, [d]."""
        return self._at(parameters) - self.goal

    def submissions(self, n: int, liars: int) -> Tensor:
        """Noisy gradients [n, d], of which the first `liars` are reversed."""
        noise = torch.randn(n, self.d, generator=generator(self.seed, "lesson valley", self.step))
        rows = self.qv_gradient() + 0.3 * noise
        rows[:liars] *= -1
        return rows

    def update(self, aggregate: Tensor) -> None:
        """theta <- theta - lr * F."""
        self.parameters = self.parameters - self.lr * aggregate
        self.step += 1

    def _at(self, parameters: Tensor | None) -> Tensor:
        return self.parameters if parameters is None else parameters


def play(agent: LearningAggregator, *, n: int = 10, liars: int = 7, rounds: int = 60, seed: int = 0):
    """Let an agent lead a walk in the valley: (losses [rounds + 1], credits [rounds, n])."""
    valley, losses, given = Valley(seed=seed), [], []
    agent.reset(n, valley.d, generator(seed, "lesson agent"))
    for _ in range(rounds):
        agent.observe(valley)
        losses.append(valley.qv_loss())
        update, credits = agent.decide(valley.submissions(n, liars))
        given.append(torch.as_tensor(credits).detach())
        valley.update(update)
    agent.observe(valley)
    return torch.tensor([*losses, valley.qv_loss()]), torch.stack(given)


def check_reward(reward: Callable) -> None:
    """`reward(loss_before, loss_after) -> float`: how far the QV loss fell."""
    found = tensor(checking.call(reward, "reward", 2.0, 1.5), (), "reward")
    mistakes = {
        "A fall from 2.0 to 1.5 is good news: the reward must be positive.": torch.tensor(-0.5),
        "That is the share that is left. The paper's reward is a plain difference, without a division.": torch.tensor(
            0.75
        ),
        "That divides by the loss. The paper's reward is a plain difference, without a division.": torch.tensor(0.25),
        "That is the loss after the step, which says nothing of what the step did.": torch.tensor(1.5),
    }
    compare(found, torch.tensor(0.5), "reward", mistakes)
    right("Positive when the loss on the server's own samples fell.")


def check_credits(credits: Callable) -> None:
    """`credits(scores [n]) -> [n]`: the softmax."""
    for scores in (torch.tensor([0.0, 0.0, 0.0, 0.0]), torch.tensor([1.0, -2.0, 0.5]), torch.tensor([1000.0, 999.0])):
        answer = checking.call(credits, "credits", scores)
        big = (
            "Large scores overflow in exp: subtract the largest score first, or call torch.softmax."
            if scores.max() > 99
            else ""
        )
        found = tensor(answer, scores.shape, "credits", big)
        if (found < 0).any():
            raise NotYet(
                f"Credits must not be negative; for scores {checking.shown(scores)} yours are {checking.shown(found)}."
            )
        total = float(found.sum())
        if abs(total - 1) > 1e-4:
            raise NotYet(f"Credits must add up to 1; for scores {checking.shown(scores)} yours add up to {total:.3g}.")
        hint = "They are positive and add up to 1; but the softmax is exp(score) over the sum of all exp(score)."
        compare(found, torch.softmax(scores, 0), "credits", {}, hint)
    right("Any scores become credits: none negative, together 1.")


def check_slopes(slopes: Callable) -> None:
    """`slopes(submissions [n, d], qv_gradient [d], lr) -> [n]`: d f_B(theta - lr sum alpha_i V_i) / d alpha_i."""
    valley = Valley(lr=0.2, seed=2)
    rows = valley.submissions(6, 3)
    g = valley.qv_gradient()
    found = tensor(checking.call(slopes, "slopes", rows, g, valley.lr), (6,), "slopes", "One number a worker: V @ g.")
    expected = -valley.lr * rows @ g
    mistakes = {
        "The sign: theta moves *against* the submission, so a worker that agrees with g makes the loss "
        "fall.": -expected,
        "The step size lr is missing: theta moves by lr * alpha_i * V_i.": -rows @ g,
        "The step size lr is missing, and the sign is wrong too.": rows @ g,
        "Divided by n? The credits are the weights already.": expected / len(rows),
        "You took cosines. The chain rule gives the plain products V_i @ g.": (
            -valley.lr * rows @ g / (rows.norm(dim=1) * g.norm())
        ),
    }
    compare(found, expected, "slopes", mistakes)
    nudge, alpha = 1e-3, torch.full((6,), 1 / 6)
    more = alpha + nudge * torch.eye(6)[5]
    start, lr = valley.parameters, valley.lr
    measured = (valley.qv_loss(start - lr * nudge * rows[5]) - valley.qv_loss(start)) / nudge
    right(
        f"Try it out: {nudge} more credit for worker 5 ({more[5]:.3f} instead of {alpha[5]:.3f}) changes "
        "the loss at the rate "
        f"{measured:.2f}; your slope says {float(found[5]):.2f}."
    )


def check_agent(agent: LearningAggregator) -> None:
    """An agent with reset, observe and decide: it must listen, learn, find the three honest of ten, and forget."""
    checking.require(agent, "agent")
    if isinstance(agent, type):
        raise NotYet(f"Make one first: check_agent({agent.__name__}()), with the brackets.")
    if not isinstance(agent, LearningAggregator):
        raise NotYet("The agent's class must build on LearningAggregator: class MyAgent(LearningAggregator).")
    valley, n = Valley(seed=5), 10
    checking.call(_reset(agent, n, valley), "agent.reset")
    checking.call(_observed(agent.observe), "agent.observe", valley)
    answer = checking.call(agent.decide, "agent.decide", valley.submissions(n, 7))
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise NotYet("`decide` must give two things: return update, credits.")
    for part, name in zip(answer, ("the update", "the credits"), strict=True):
        if isinstance(part, Tensor) and part.requires_grad:
            raise NotYet(f"{name} of `decide` still carries a graph, which would grow with every step: use .detach().")
    first = tensor(answer[1], (n,), "credits of decide")
    if abs(float(first.sum()) - 1) > 1e-4 or (first < 0).any():
        raise NotYet(f"Credits must not be negative and add up to 1; yours are {checking.shown(first)}.")
    update = tensor(answer[0], (valley.d,), "update of decide", "It is credits @ gradients.")
    hint = "It is the sum of the rows, each times its credit: credits @ gradients."
    compare(update, first.float() @ valley.submissions(n, 7), "update of decide", {}, hint)
    valley.update(update.float())
    checking.call(_observed(agent.observe), "agent.observe", valley)
    _check_learning(agent)


def _check_learning(agent: LearningAggregator) -> None:
    try:
        losses, credits = play(agent)
    except Exception as error:
        raise NotYet(f"In the second round the agent raised {type(error).__name__}: {error}") from error
    liars = float(credits[-1, :7].sum())
    if torch.allclose(credits[0], credits[-1], atol=1e-5):
        raise NotYet(
            "After 60 rounds the credits are what they were. Does `decide` keep the submissions for "
            "`observe`, and does "
            "`observe` change the scores (optimizer.step() after backward())?"
        )
    if liars > 0.7:
        raise NotYet(
            f"After 60 rounds the seven liars hold {liars:.0%} of the credit: the agent learns the wrong "
            "way round. Workers "
            "with a *negative* slope make the loss fall; an optimizer minimises the sum of credits times slopes."
        )
    if liars > 0.2:
        raise NotYet(
            f"After 60 rounds the seven liars still hold {liars:.0%} of the credit; under 20 % is expected. "
            "Does every `observe` take one step, and is the step size 0.1?"
        )
    again = play(agent)[1]
    if not torch.allclose(credits, again):
        raise NotYet(
            "A second run differs from the first: `reset` must forget the scores, the optimizer and the submissions."
        )
    right(
        f"Seven liars of ten hold {liars:.1%} of the credit after 60 rounds; f_B fell from {losses[0]:.2f} "
        f"to {losses[-1]:.2f}."
    )


def _reset(agent: LearningAggregator, n: int, valley: Valley) -> Callable:
    def reset():
        agent.reset(n, valley.d, generator(0, "lesson agent"))
        return True

    return reset


def _observed(observe: Callable) -> Callable:
    """observe gives nothing back by design; three dots mean that it was not written."""

    def observed(server):
        return ... if observe(server) is ... else True

    return observed
