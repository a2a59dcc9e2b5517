"""What GAAPlus thinks of a worker before it submits."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: The probability that a worker nothing is known of is honest: who finds no evidence trusts all workers.
START = 0.8

#: The most that one step says against a horizon, in log-odds; roles that change say it again at the next.
A_STEP = 6.0

#: Steps over which it shows that some are thought honest and others not, all the while.
LASTING = 40


class Reputation:
    """The probability that each worker is honest, by one filter for each rate at which roles may change.

    A worker stays what it is but for a chance of 1 / horizon of being resampled (horizon 1: the past says nothing of
    it). Which horizon to believe is learned from how well each foretold the evidence: static Byzantine workers are soon
    known, and under roles that change at every step no worker is held to what was. Late in training evidence is weak:
    what it once said of the horizons has to last longer then, or all count alike again and no worker's past counts for
    much.

    One step adds `step_cap` to what is thought of a worker, at most. Horizons are told apart by evidence up to `cap`:
    were it cut as short, one honest worker in ten, another one at every step, would look like errors about ten
    Byzantine workers. But no step speaks against a horizon by more than `A_STEP`: evidence shares its errors, and where
    it errs about all workers at once, they are no independent witnesses of roles that change.
    """

    def __init__(
        self,
        n: int,
        horizons: tuple[int, ...],
        step_cap: float = 2.0,
        cap: float = 4.0,
        memory: float = 0.98,
    ):
        self.step_cap, self.cap = step_cap, cap
        self.memory = memory  # by which what is known of the horizons fades at every step
        self.rates = 1 / torch.tensor(horizons, dtype=torch.float64)[:, None]
        self.honest = torch.full((len(horizons), n), START, dtype=torch.float64)  # probabilities
        self.base = START  # of a worker that is resampled
        self.scores = torch.zeros(len(horizons), dtype=torch.float64)

    def prior(self) -> Tensor:
        """Log-odds [n] that a worker is honest at the coming step."""
        return torch.logit(self._shares() @ self._ahead(), eps=1e-3)

    def settled(self) -> float:
        """How far some workers are known as honest and others as not, in [0, 1]; next to 0 until it is clear."""
        known = self._known()
        return float((known.max() - known.min()) / 2) ** 4

    def learn(self, odds: Tensor, weights: Tensor) -> None:
        """Take in the log-odds [n] of this step's evidence; each counts for `weights` [n] in what all show."""
        likelihood = odds.clamp(-self.step_cap, self.step_cap).exp()
        before = self._ahead()
        mixed = before * likelihood + 1 - before  # [horizons, n]
        foretold = before * odds.clamp(-self.cap, self.cap).exp() + 1 - before
        gains = foretold.log() @ weights
        self.scores = self.memory * self.scores + (gains - gains.max()).clamp_min(-A_STEP)
        self.honest = before * likelihood / mixed
        if weights.any():
            share = float(self._shares() @ self.honest @ weights / weights.sum())
            self.expect(self.base + 0.05 * (share - self.base))

    def expect(self, share: float) -> None:
        """Take in how many of those that are resampled, and are not detected, are honest."""
        self.base = min(max(share, 0.2), 0.9)

    def forget(self) -> None:
        """What was believed of all workers was wrong."""
        self.honest.fill_(START)
        self.base = START

    def believe(self, odds: Tensor) -> None:
        """Think this of all workers, by log-odds [n] that were found otherwise."""
        self.honest = torch.sigmoid(odds).expand_as(self.honest).clone()

    def lift(self) -> None:
        """Somebody has to be honest: think as much better of all workers, in the same order."""
        odds = math.exp(0.5) * self.honest / (1 - self.honest).clamp_min(1e-9)
        self.honest = odds / (1 + odds)
        self.base += 0.1 * (0.5 - self.base)

    def _known(self) -> Tensor:  # [n], in [-1, 1]
        return torch.tanh(self.prior() / 2)

    def _ahead(self) -> Tensor:  # [horizons, n]
        return (1 - self.rates) * self.honest + self.rates * self.base

    def _shares(self) -> Tensor:  # [horizons]
        return torch.softmax(self.scores, dim=0)
