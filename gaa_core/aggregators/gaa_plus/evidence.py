"""What speaks for and against a submission: how each kind of evidence has looked so far."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Steps for which a run is young: what was learned of the evidence may be wrong, and silence, too.
YOUNG = 150


class Calibration:
    """How one kind of evidence looks among the trusted and among the distrusted, which turns a number into log-odds.

    Two normal distributions. Until the distrusted are known, theirs is as wide as that of the trusted, and about 0.
    To the right of the trusted, and to the left of the distrusted, evidence says at least and at most what it says at
    their means: what was never seen before is judged by its sign.
    """

    def __init__(self, horizon: int, cap: float, floor: float = 0.0, apart: float | None = None):
        self.horizon, self.cap, self.floor, self.apart = horizon, cap, floor, apart
        self.mean = self.variance = 0.0  # of the trusted
        self.other_mean = self.other_variance = 0.0
        self.steps = 0
        self.known = 0.0  # distrusted submissions that were seen

    def log_odds(self, values: Tensor) -> Tensor:
        """[n] -> [n], within the cap."""
        if self.steps == 0:
            self._begin(values)
        mean = 0.85 * max(self.mean, self.floor * self.variance**0.5)  # honest agreement wanes as training goes on
        if mean <= 0:
            return torch.zeros_like(values)
        spread = self.variance + (0.2 * mean) ** 2
        simple = 2 * mean / spread * (values - mean / 3)
        if self.known < 1:
            return simple.clamp(-self.cap, self.cap)
        other_mean, other_spread = self._other(mean, spread)

        def ratio(x):
            distances = (x - other_mean) ** 2 / other_spread - (x - mean) ** 2 / spread
            return 0.5 * (distances + math.log(other_spread / spread))

        odds = ratio(values)
        if other_mean < mean:
            odds = torch.where(values > mean, odds.clamp_min(ratio(mean)), odds)
            odds = torch.where(values < other_mean, torch.minimum(odds, simple), odds)
        return (odds * self._faith()).clamp(-self.cap, self.cap)

    def learn(self, values: Tensor, trust: Tensor, distrust: Tensor) -> None:
        """Take in the evidence [n] of workers trusted and distrusted this much [n]."""
        total = float(trust.sum())
        if total > 0.1:
            reach = 3 * self.variance**0.5
            near = values.clamp(self.mean - reach, self.mean + reach) if self.steps > 5 else values
            share = max(1 / self.horizon, 1 / (self.steps + 1)) * min(1.0, total)
            self.mean, self.variance = _moved(self.mean, self.variance, near, trust / total, share)
            self.steps += 1
        total = float(distrust.sum())
        if total > 0.1:
            share = max(1 / self.horizon, total / (self.known + total)) * min(1.0, total)
            self.other_mean, self.other_variance = _moved(
                self.other_mean, self.other_variance, values, distrust / total, share
            )
        self.known += total if self.known < self.horizon else (total - self.known) / self.horizon

    def relax(self) -> None:
        """No worker has been trusted for a while: expect less."""
        self.mean *= 0.95
        self.other_mean *= 0.95
        self.known *= 0.9

    def _other(self, mean: float, spread: float) -> tuple[float, float]:
        """Mean and variance of the distrusted; a few imagined ones about 0 count with those that were seen."""
        seen = self.known / (self.known + 3.0)
        variance = seen * self.other_variance + (1 - seen) * spread + seen * (1 - seen) * self.other_mean**2
        return seen * self.other_mean, max(variance, (0.03 * mean) ** 2)

    def _faith(self) -> float:
        """How far two kinds of workers are believed in, in [0, 1].

        A worker that cuts one kind in two by its own noise sees a gap of about 2.7 spreads, and less where the cut is
        soft.
        """
        if self.apart is None:
            return 1.0
        both = max(0.5 * (self.variance + self.other_variance), 1e-24) ** 0.5
        gap = min(max(0.0, (self.mean - self.other_mean) / both / self.apart), 1.0)
        return 1 - self.known / (self.known + 3.0) * (1 - gap**2)

    def _begin(self, values: Tensor) -> None:
        self.mean = 0.7 * float(values.abs().max())
        self.variance = (0.4 * self.mean) ** 2
        self.steps = 1


class MirroredCalibration:
    """How a cosine looks whose sign tells two kinds of workers apart: about +m for the one, about -m for the other.

    The moments tell the kinds (`two_kinds`) and need no sign, so no worker has to be trusted before it knows. They are
    taken over a number of submissions. It is worn once the kinds were apart and are no more, and after `YOUNG` steps in
    any case: late in training honest gradients agree with nothing, and what it would find then are kinds of its own
    making.
    """

    def __init__(self, cap: float, window: float = 100.0):
        self.cap, self.window = cap, window
        self.second = self.fourth = 0.0
        self.mean, self.variance = 0.0, 1.0
        self.seen = 0.0  # submissions, at most the window
        self.steps = 0
        self.was_apart = self.worn = False

    def learn(self, values: Tensor, counts: Tensor) -> None:
        """Take in cosines [n], each counted as often as `counts` [n] says."""
        total = float(counts.sum())
        if total < 0.1:
            return
        self.seen = min(self.seen + total, self.window)
        share = min(1.0, total / self.seen)
        self.second += share * (float(counts @ values**2) / total - self.second)
        self.fourth += share * (float(counts @ values**4) / total - self.fourth)
        self.mean, self.variance = two_kinds(self.second, self.fourth)
        self.steps += 1
        self.was_apart |= self.apart() > 1.5
        self.worn |= self.was_apart and (self.apart() < 1 or self.steps > YOUNG)

    def log_odds(self, values: Tensor) -> Tensor:
        """[n] -> [n], within the cap; less as long as few were seen."""
        gain = 2 * self.mean / self.variance * self.seen / (self.seen + 10)
        return (gain * values).clamp(-self.cap, self.cap)

    def leaning(self, values: Tensor) -> Tensor:
        """The log-odds where the two kinds are apart; else, knowing no better, the values over their usual size."""
        if not self.second > 0:
            return torch.zeros_like(values)
        return self.log_odds(values) if self.apart() > 1 else values / self.second**0.5

    def renewed(self, window: float) -> MirroredCalibration:
        """The same, with a window of its own, and nothing worn."""
        self.window = window
        self.was_apart = self.worn = False
        return self

    def apart(self) -> float:
        """Spreads between each kind and 0."""
        return self.mean / self.variance**0.5


class Lengths:
    """What the length of a submission says: no benign worker's is many times longer or shorter than is usual.

    How many times is learned from how the lengths of the trusted scatter. Where the distrusted are detected
    so, an ordinary length speaks for a worker, too.
    """

    def __init__(self, horizon: int, cap: float):
        self.horizon, self.cap = horizon, cap
        self.usual = 0.0  # of the trusted
        self.fits = False  # whether anybody has been of an ordinary length
        self.variance, self.looks = 0.0, 0  # of their logarithms about the usual one

    def log_odds(self, lengths: Tensor, yardstick: float) -> Tensor:
        """[n]; the yardstick stands in for what is usual as long as no worker has been trusted, where it fits
        anybody.
        """
        usual = self.usual or yardstick
        if not usual > 0:
            return torch.zeros_like(lengths)
        longest, shortest = (self.longest(), 4.0) if self.usual else (2.0, 5.0)  # a mean of more samples is shorter
        ratio = (lengths.clamp_min(1e-300) / usual).log()
        excess = torch.maximum(ratio - math.log(longest), -ratio - math.log(shortest))
        self.fits |= bool((excess <= 0).any())
        if not self.usual and not self.fits:
            return torch.zeros_like(lengths)
        against = -(25.0 * excess).clamp(0.0, 8 * self.cap)  # no other evidence outweighs a gross one
        return torch.where(excess <= 0, 0.0, against)

    def longest(self) -> float:
        """How many times the usual length is still ordinary: four spreads, but 2 to 3 times."""
        return min(max(2.0, math.exp(4 * self.variance**0.5)), 3.0)

    def learn(self, lengths: Tensor, trust: Tensor) -> None:
        """Take in how the trusted [n] scatter."""
        total = float(trust.sum())
        if total > 0.1 and self.usual:
            spread = 1.48 * weighted_median((lengths.clamp_min(1e-300) / self.usual).log().abs(), trust)
            self.looks += 1
            self.variance += (spread**2 - self.variance) * max(1 / self.looks, min(1.0, total) / self.horizon)

    def follow(self, usual: float, yardstick: float) -> float:
        """Take in the median length of the credited, and return it: at most twice what was usual."""
        if self.usual or self.fits:
            usual = min(usual, 2 * self.usual or yardstick)
        self.usual += (usual - self.usual) * (0.1 if self.usual else 1.0)
        return usual

    def relax(self, yardstick: float) -> None:
        """No worker has been trusted for a while: what seemed usual may have been a Byzantine worker's."""
        if self.usual and yardstick > 0:
            self.usual *= (2 / 3 * yardstick / self.usual) ** 0.1


class Agreement:
    """How much the trusted agree with one another: mean and spread of the cosines of pairs."""

    def __init__(self, horizon: int, cap: float):
        self.horizon, self.cap = horizon, cap
        self.mean = self.variance = 0.0

    def log_odds(self, cosine: Tensor, lean: Tensor) -> Tensor:
        """What the others' leanings [n] (1 honest, -1 not) say of each, by its cosines with them [n, n].

        No pair counts for more than one unit, so that a few who agree closely are no more than a few.
        """
        if self.variance <= 0 or self.mean <= 0:
            return torch.zeros_like(lean)
        pairs = (2 * self.mean / self.variance * cosine).clamp(-1, 1).fill_diagonal_(0.0)
        votes = pairs @ lean
        return (votes - votes.max().clamp_max(0)).clamp(-self.cap, self.cap)  # all against all says nothing of any

    def learn(self, cosine: Tensor, trust: Tensor) -> None:
        """Take in the cosines [n, n] of workers trusted this much [n]."""
        pair = (trust[:, None] * trust[None, :]).fill_diagonal_(0.0)
        total = float(pair.sum())
        if total < 0.5:
            return
        mean = float((pair * cosine).sum()) / total
        variance = max(float((pair * (cosine - mean).square()).sum()) / total, (0.3 * mean) ** 2)
        share = 1 / self.horizon if self.variance else 1.0
        self.mean += share * (mean - self.mean)
        self.variance += share * (variance - self.variance)


def cosines(gram: Tensor) -> Tensor:  # [n, n] -> [n, n]
    """Cosines between submissions from their Gram matrix; 0 where one is zero, 1 on the diagonal."""
    lengths = gram.diagonal().clamp_min(0).sqrt()
    scale = lengths[:, None] * lengths[None, :]
    return torch.where(scale > 0, gram / scale.clamp_min(1e-300), 0.0).clamp(-1, 1).fill_diagonal_(1.0)


def multiplicity(cosine: Tensor, start: float = 0.9, stop: float = 0.99) -> Tensor:  # [n, n] -> [n]
    """How many submissions are the same as each, itself included: others count from `start` on, fully at `stop`."""
    return ((cosine - start) / (stop - start)).clamp(0, 1).sum(dim=1)


def two_kinds(second: float, fourth: float) -> tuple[float, float]:
    """(m, s^2) from the moments E[x^2] and E[x^4] of x = +-m + s e, e normal: m^4 = (3 E[x^2]^2 - E[x^4]) / 2."""
    mean = max(0.0, (3 * second**2 - fourth) / 2) ** 0.25
    return mean, max(second - mean**2, (0.3 * mean) ** 2, 1e-24)


def weighted_median(values: Tensor, weights: Tensor) -> float:
    """The least value at which half the weight is reached; infinite without any weight."""
    total = weights.sum()
    if total <= 0:
        return math.inf
    order = values.argsort()
    reached = weights[order].cumsum(0) >= 0.5 * total
    return float(values[order][int(reached.nonzero()[0])])


def _moved(mean: float, variance: float, values: Tensor, weights: Tensor, share: float) -> tuple[float, float]:
    """A running mean and variance after weighted values [n], whose weights sum to 1."""
    deviation = float(weights @ (values - mean).square())
    return mean + share * (float(weights @ values) - mean), variance + share * (deviation - variance)
