"""Lesson 3, beyond one half: credits, reward, and an agent small enough to be written in one sitting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pictures
import torch
from checking import NotYet, check_guess, compare, guessed, judge, made, right, shown, tensor
from checking import call as ask
from torch import Tensor

from gaa_core import plots
from gaa_core.aggregators.base import LearningAggregator
from gaa_core.seeding import generator

__all__ = ["check_guess", "guessed"]

ROUNDS, HELD = 60, 0.2  # of a walk in the valley; the most credit that seven attackers may hold after it


@dataclass
class Valley:
    """A server for trying agents: f_B(theta) = |theta - goal|^2 / 2, in `d` dimensions."""

    lr: float = 0.1
    d: int = 20
    seed: int = 0
    step: int = 0

    def __post_init__(self):
        self.goal = torch.randn(self.d, generator=generator(self.seed, "lesson valley"))
        self.parameters = torch.zeros(self.d)

    def qv_loss(self, parameters: Tensor | None = None) -> float:
        """f_B at theta, or at other parameters."""
        return float(self.qv_gradient(parameters).square().sum() / 2)

    def qv_gradient(self, parameters: Tensor | None = None) -> Tensor:
        """The gradient of f_B, [d]."""
        return (self.parameters if parameters is None else parameters) - self.goal

    def submissions(self, n: int, attackers: int) -> Tensor:
        """Noisy gradients [n, d], of which the first `attackers` are reversed."""
        noise = torch.randn(n, self.d, generator=generator(self.seed, "lesson valley", self.step))
        rows = self.qv_gradient() + 0.3 * noise
        rows[:attackers] *= -1
        return rows

    def update(self, aggregate: Tensor) -> None:
        """theta <- theta - lr * F."""
        self.parameters = self.parameters - self.lr * aggregate
        self.step += 1


def play(agent: LearningAggregator, *, n: int = 10, attackers: int = 7, rounds: int = ROUNDS, seed: int = 0):
    """A walk in the valley that an agent leads: (losses [rounds + 1], credits [rounds, n])."""
    valley, losses, given = Valley(seed=seed), [], []
    agent.reset(n, valley.d, generator(seed, "lesson agent"))
    for _ in range(rounds):
        agent.observe(valley)
        losses.append(valley.qv_loss())
        update, credits = agent.decide(valley.submissions(n, attackers))
        given.append(torch.as_tensor(credits).detach())
        valley.update(update)
    agent.observe(valley)
    return torch.tensor([*losses, valley.qv_loss()]), torch.stack(given)


def check_reward(reward: Callable) -> None:
    """`reward(loss_before, loss_after) -> float`: how far the QV loss fell."""
    plain = "The paper's reward is a plain difference, without a division."
    judge(
        reward,
        (2.0, 1.5),
        truth=lambda before, after: before - after,
        mistakes={
            "A fall from 2.0 to 1.5 is good news: the reward must be positive.": lambda before, after: after - before,
            f"That is the share that is left. {plain}": lambda before, after: after / before,
            f"That divides by the loss. {plain}": lambda before, after: (before - after) / before,
            "That is the loss after the step, which says nothing of what the step did.": lambda before, after: after,
        },
    )
    right("Positive when the loss on the server's own samples fell.")


def check_credits(credits: Callable) -> None:
    """`credits(scores [n]) -> [n]`: the softmax."""
    for scores in (torch.zeros(4), torch.tensor([1.0, -2.0, 0.5]), torch.tensor([1000.0, 999.0])):
        hint = "Large scores overflow in exp: subtract the largest first, or call torch.softmax."
        found = tensor(ask(credits, scores), scores.shape, "credits", hint if scores.max() > 99 else "")
        _simplex(found, f"for scores {shown(scores)}")
        hint = "They are positive and add up to 1; but the softmax is exp(score) over the sum of all exp(score)."
        compare(found, torch.softmax(scores, 0), "credits", {}, hint)
    right("Any scores become credits: none negative, together 1.")


def _simplex(credits: Tensor, where: str) -> None:
    if (credits < 0).any() or abs(float(credits.sum()) - 1) > 1e-4:
        total = f"{shown(credits)}, which add up to {float(credits.sum()):.3g}"
        raise NotYet(f"Credits must not be negative and add up to 1; {where} yours are {total}.")


def check_slopes(slopes: Callable) -> None:
    """`slopes(submissions [n, d], qv_gradient [d], lr) -> [n]`: d f_B(theta - lr sum alpha_i V_i) / d alpha_i."""
    valley, more = Valley(lr=0.2, seed=2), 1e-3
    rows, g = valley.submissions(6, 3), valley.qv_gradient()
    judge(
        slopes,
        (rows, g, valley.lr),
        truth=lambda rows, g, lr: -lr * rows @ g,
        mistakes={
            "The sign: theta moves *against* the submission, so agreement with g makes the loss fall.": (
                lambda rows, g, lr: lr * rows @ g
            ),
            "The step size lr is missing: theta moves by lr * alpha_i * V_i.": lambda rows, g, lr: -rows @ g,
            "The step size lr is missing, and the sign is wrong too.": lambda rows, g, lr: rows @ g,
            "Divided by n? The credits are the weights already.": lambda rows, g, lr: -lr * rows @ g / len(rows),
            "You took cosines. The chain rule gives the plain products V_i @ g.": (
                lambda rows, g, lr: -lr * torch.cosine_similarity(rows, g[None])
            ),
        },
        hint="One number a worker: V @ g.",
    )
    start = valley.parameters
    measured = (valley.qv_loss(start - valley.lr * more * rows[5]) - valley.qv_loss(start)) / more
    told = f"{float(slopes(rows, g, valley.lr)[5]):.2f}"
    right(f"A little more credit for worker 5 changes the loss at the rate {measured:.2f}; your slope says {told}.")


def check_agent(agent: LearningAggregator) -> None:
    """An agent with reset, observe and decide: it must learn, find the three honest of ten, and forget."""
    made(agent, LearningAggregator, "agent")
    valley, n = Valley(seed=5), 10
    ask(agent.reset, n, valley.d, generator(0, "lesson agent"), name="agent.reset", nothing=True)
    ask(agent.observe, valley, name="agent.observe", nothing=True)
    rows = valley.submissions(n, 7)
    answer = ask(agent.decide, rows, name="agent.decide")
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise NotYet("`decide` must give two things: return update, credits.")
    for part, name in zip(answer, ("The update", "The credits"), strict=True):
        if isinstance(part, Tensor) and part.requires_grad:
            raise NotYet(f"{name} of `decide` still has a graph, which would grow with every step: use .detach().")
    credits = tensor(answer[1], (n,), "credits of decide")
    _simplex(credits, "from decide")
    hint = "It is the sum of the rows, each times its credit: credits @ gradients."
    update = tensor(answer[0], (valley.d,), "update of decide", hint)
    compare(update, credits @ rows.double(), "update of decide", {}, hint)
    valley.update(update.float())
    ask(agent.observe, valley, name="agent.observe", nothing=True)
    _check_learning(agent)


def _check_learning(agent: LearningAggregator) -> None:
    losses, credits = ask(play, agent, name="walk")
    if torch.allclose(credits[0], credits[-1], atol=1e-5):
        kept = "Does `decide` keep the submissions, and does `observe` change the scores (backward, then a step)?"
        raise NotYet(f"After {ROUNDS} rounds the credits are what they were. {kept}")
    held = float(credits[-1, :7].sum())
    if held > HELD:
        why = "Does every `observe` take one step, and is the step size 0.1?"
        if held > 0.7:
            why = "It learns the wrong way: workers with a *negative* slope help, and an optimizer minimises."
        raise NotYet(f"After {ROUNDS} rounds the seven attackers hold {held:.0%} of the credit. {why}")
    if not torch.allclose(credits, play(agent)[1]):
        raise NotYet("A second run differs: `reset` must forget the scores, the optimizer and the submissions.")
    fell = f"f_B fell from {losses[0]:.2f} to {losses[-1]:.2f}"
    right(f"Seven attackers of ten hold {held:.1%} of the credit after {ROUNDS} rounds; {fell}.")


def expected(agent: LearningAggregator) -> None:
    """The picture of a walk in the valley that an agent of the package leads."""
    losses, given = play(agent)
    _, (left, right) = plots.panels(2, height=3.0)
    pictures.curve(losses, ax=left, ylabel="f_B", title="expected: the loss")
    pictures.credit_curves(given.numpy(), ax=right, title="expected: credits", smooth=1)
