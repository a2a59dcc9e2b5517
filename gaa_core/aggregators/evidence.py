"""What GAAPlus holds against a submission or for it: directions that past updates and the QV set bear out.

Everything here is a handful of numbers a worker, from a handful of d-vectors; nothing is learned from rewards here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gaa_core import kernels


class DirectionMemory:
    """Where accepted updates have been going, and how much each coordinate varies in what is submitted.

    The witness is average / (second moment + a share of its mean): coordinates that swing to and fro, as along a stiff
    direction of the loss, say nothing about who is honest, and the plain average of updates is wrong there.
    """

    def __init__(self, d: int, horizon: int, damping: float):
        self.horizon, self.damping = horizon, damping
        self.average = torch.zeros(d)
        self.square = torch.zeros(d)
        self.updates = 0
        self.seen = 0

    def witness(self) -> Tensor | None:
        """[d]; None before the first update."""
        if self.updates == 0:
            return None
        return self.average / (self.square + self.damping * self.square.mean()).clamp_min(1e-30)

    def accept(self, update: Tensor) -> None:
        self.updates += 1
        share = max(1 / self.horizon, 1 / self.updates)
        self.average.lerp_(update.to(self.average), share)

    def note(self, gradients: Tensor, scales: Tensor) -> None:
        """The second moment of submissions [n, d], each times its scale [n]."""
        self.seen += 1
        share = max(1 / self.horizon, 1 / self.seen)
        used = scales > 0
        rows, weights = gradients[used], scales[used].square() / max(1, int(used.sum()))
        for block in kernels.column_blocks(gradients):
            moment = weights.to(rows.dtype) @ rows[:, block].square()
            self.square[block].lerp_(moment.to(self.square), share)

    def forget(self) -> None:
        self.average.zero_()
        self.updates = 0


class Calibration:
    """How a kind of evidence looks among the trusted and among the others, from which a number becomes a log-odds.

    Two normal distributions. Until the distrusted are known, theirs is as wide as that of the trusted, and about 0.
    To the right of the trusted, and to the left of the distrusted, evidence says at least and at most what it says at
    their means: what was never seen before is judged by its sign.
    """

    def __init__(self, horizon: int, cap: float, floor: float = 0.0):
        self.horizon, self.cap, self.floor = horizon, cap, floor
        self.mean = self.variance = 0.0
        self.other_mean = self.other_variance = 0.0
        self.steps = 0
        self.known = 0.0  # weight of what has been seen of the distrusted

    def log_odds(self, values: Tensor) -> Tensor:
        if self.steps == 0:
            self._begin(values)
        mean = max(self.mean, self.floor * self.variance**0.5)
        if mean <= 0:
            return torch.zeros_like(values)
        spread = max(self.variance, (0.1 * mean) ** 2)
        other_mean, other_spread = self.other(spread)
        middle = mean / 3
        simple = 2 * mean / spread * (values - middle)
        if self.known < 1:
            return simple.clamp(-self.cap, self.cap)

        def ratio(x):
            return (
                0.5 * (x - other_mean) ** 2 / other_spread
                - 0.5 * (x - mean) ** 2 / spread
                + 0.5 * math.log(other_spread / spread)
            )

        odds = ratio(values)
        if other_mean < mean:
            odds = torch.where(values > mean, odds.clamp_min(ratio(mean)), odds)
            odds = torch.where(values < other_mean, torch.minimum(odds, simple), odds)
        return odds.clamp(-self.cap, self.cap)

    def other(self, spread: float) -> tuple[float, float]:
        """Mean and variance of the distrusted; a few imagined ones about 0 count with those that were seen."""
        seen = self.known / (self.known + 3.0)
        mean = seen * self.other_mean
        variance = seen * self.other_variance + (1 - seen) * spread + seen * (1 - seen) * self.other_mean**2
        return mean, max(variance, (0.03 * self.mean) ** 2)

    def learn(self, values: Tensor, trust: Tensor, distrust: Tensor) -> None:
        """Take in the evidence [n] of workers trusted and distrusted this much [n]."""
        raw, total = values, float(trust.sum())
        reach = 3 * self.variance**0.5
        if total > 0.1:
            values = values.clamp(self.mean - reach, self.mean + reach) if self.steps > 5 else values
            share = max(1 / self.horizon, 1 / (self.steps + 1)) * min(1.0, total)
            self.mean, self.variance = _moved(self.mean, self.variance, values, trust / total, share)
            self.steps += 1
        values, total = raw, float(distrust.sum())
        if total > 0.1:
            share = max(1 / self.horizon, total / (self.known + total)) * min(1.0, total)
            self.other_mean, self.other_variance = _moved(
                self.other_mean, self.other_variance, values, distrust / total, share
            )
        self.known += (total - self.known) / self.horizon if self.known > self.horizon else total

    def relax(self) -> None:
        """Nobody has been trusted for a while: expect less."""
        self.mean *= 0.95
        self.other_mean *= 0.95
        self.known *= 0.9

    def _begin(self, values: Tensor) -> None:
        self.mean = 0.7 * float(values.abs().max())
        self.variance = (0.4 * self.mean) ** 2
        self.steps = 1


def _moved(mean: float, variance: float, values: Tensor, weights: Tensor, share: float) -> tuple[float, float]:
    """A running mean and variance after weighted values [n], whose weights sum to 1."""
    deviation = float(weights @ (values - mean).square())
    return mean + share * (float(weights @ values) - mean), variance + share * (deviation - variance)


def cosines(gram: Tensor) -> Tensor:  # [n, n] -> [n, n]
    """Cosines between submissions from their Gram matrix; 0 where one is zero; 1 on the diagonal."""
    lengths = gram.diagonal().clamp_min(0).sqrt()
    scale = lengths[:, None] * lengths[None, :]
    return torch.where(scale > 0, gram / scale.clamp_min(1e-300), 0.0).clamp(-1, 1).fill_diagonal_(1.0)


def multiplicity(cosine: Tensor, start: float, stop: float) -> Tensor:  # [n, n] -> [n]
    """How many submissions are the same as each, itself included: others count from `start` on, fully at `stop`."""
    return ((cosine - start) / (stop - start)).clamp(0, 1).sum(dim=1)


def weighted_median(values: Tensor, weights: Tensor) -> float:
    """The least value at which half the weight is reached; infinite without any weight."""
    total = weights.sum()
    if total <= 0:
        return math.inf
    order = values.argsort()
    reached = weights[order].cumsum(0) >= 0.5 * total
    return float(values[order][int(reached.nonzero()[0])])


class Reputation:
    """What is thought of each worker before it submits: one filter for each rate at which roles may change.

    A worker that is honest with probability p stays what it is but for a chance of 1 / horizon of being drawn anew.
    Which horizon to believe is learned from how well each foretells the evidence.
    """

    def __init__(self, n: int, horizons: tuple[int, ...], memory: float = 0.98):
        self.memory = memory
        self.rates = 1 / torch.tensor(horizons, dtype=torch.float64)[:, None]
        self.honest = torch.full((len(horizons), n), 0.5, dtype=torch.float64)  # probabilities, [horizons, n]
        self.base = 0.5
        self.scores = torch.zeros(len(horizons), dtype=torch.float64)

    def ahead(self) -> Tensor:
        return (1 - self.rates) * self.honest + self.rates * self.base  # [horizons, n]

    def shares(self) -> Tensor:
        return torch.softmax(self.scores, dim=0)

    def prior(self) -> Tensor:
        """Log-odds [n]."""
        return torch.logit(self.shares() @ self.ahead(), eps=1e-3)

    def learn(self, odds: Tensor, finite: Tensor, weights: Tensor) -> None:
        """Evidence of this step: log-odds of those who sent finite numbers; the others gave themselves away."""
        likelihood = torch.full_like(self.honest[0], math.exp(-6))
        likelihood[finite] = odds.exp()
        before = self.ahead()
        mixed = before * likelihood + 1 - before
        counted = torch.ones_like(likelihood)
        counted[finite] = weights
        self.scores = self.memory * self.scores + mixed.log() @ counted
        self.honest = before * likelihood / mixed
        posterior = self.shares() @ self.honest
        self.base += 0.05 * (float(posterior.mean()) - self.base)
        self.base = min(max(self.base, 0.2), 0.8)

    def relax(self) -> None:
        """Nobody has been trusted for a while: think a little less ill of everybody."""
        self.honest += 0.1 * (0.5 - self.honest)
        self.base += 0.1 * (0.5 - self.base)


class Watchdog:
    """Watches f_B: what is usual, and what is not.

    An update whose trial raises f_B far beyond the usual level is refused; when f_B itself stands there, whoever was
    trusted lately was not worth it, and the server goes back to a healthy state.
    """

    def __init__(self, horizon: int = 30, alarm: float = 5.0, every: int = 10):
        self.horizon, self.alarm, self.every = horizon, alarm, every
        self.level = self.spread = 0.0
        self.steps = self.since = self.refusals = 0

    def healthy(self, server) -> bool:
        """Once every few steps, when f_B is at its usual level or below: time to keep what there is."""
        loss = server.qv_loss()
        self.since += 1
        fine = math.isfinite(loss) and (self.steps == 0 or loss <= self.level + 1.5 * self.spread)
        if self.steps == 0 or (fine and self.since >= self.every):
            self.since = 0
            return True
        return False

    def judge(self, server, update) -> str:
        loss = server.qv_loss()
        trial = server.qv_loss(server.parameters - server.lr * update.to(server.parameters))
        if self.steps == 0:
            self.level, self.spread = loss, 0.1 * loss
        limit = self.level + self.alarm * self.spread + 0.05
        self.steps += 1
        if not math.isfinite(trial) or trial > max(limit, loss):
            self.refusals += 1
            if (not math.isfinite(loss) or loss > limit) and self.refusals >= 3:
                self.refusals = 0
                return "rollback"
            self.level += 0.02 * (min(max(loss, 0), limit) - self.level) if math.isfinite(loss) else 0
            return "refuse"
        self.refusals = 0
        share = max(1 / self.horizon, 1 / (self.steps + 1))
        self.level += share * (min(trial, limit) - self.level)
        self.spread += share * (min(abs(trial - self.level), 3 * self.spread + 0.02) - self.spread)
        return "accept"
