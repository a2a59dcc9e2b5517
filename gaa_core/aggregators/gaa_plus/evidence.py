"""Log-odds of being benign from one kind of evidence each, by laws that are learned as training goes on."""

from __future__ import annotations

import math

import numpy as np

from gaa_core.aggregators.gaa_plus.statistics import TINY, weighted_median

#: The most that one kind of evidence says, in log-odds.
CAP = 4.0
#: Steps over which a law follows.
HORIZON = 10
#: Byzantine submissions that are imagined about 0 beside those that were seen.
IMAGINED = 3.0
#: Of the benign mean, what is reckoned with: benign agreement wanes as training goes on.
WANING = 0.85
#: Steps of a run after which an axis is not followed any more: late in training benign gradients agree with nothing.
YOUNG = 150
#: Submissions in the moments of a mirrored law.
WINDOW = 100.0
#: Standard deviations of a normal law in its median absolute deviation.
SIGMAS = 1.48
#: What a fading law keeps at a step in which no worker is trusted.
RELAXED = 0.95


class Calibration:
    """Two normal laws of one cosine, benign and Byzantine, that turn it into log-odds.

    Until Byzantine submissions are known, their law is as wide as the benign one, about 0. Beyond the two means a
    cosine says what it says there: what was never seen is judged by its sign. `floor`: spreads that the benign mean is
    taken to be above 0 at least. `apart`: spreads between the laws under which they may be one kind, cut in two.
    `robust`: the benign law is one of medians, so that it is not that of one worker which stands far from the others.
    """

    def __init__(self, floor: float = 0.0, apart: float | None = None, robust: bool = False):
        self.floor, self.apart, self.robust = floor, apart, robust
        self.mean = self.variance = self.other_mean = self.other_variance = 0.0  # benign, and Byzantine
        self.steps = 0
        self.known = 0.0  # Byzantine submissions seen

    def log_odds(self, values: np.ndarray) -> np.ndarray:
        """[k] -> [k], within CAP."""
        if self.steps == 0:  # as the first step's cosines are, most of them benign
            self.mean, self.steps = 0.7 * float(np.abs(values).max()), 1
            self.variance = (0.4 * self.mean) ** 2
        mean = WANING * max(self.mean, self.floor * self.variance**0.5)
        if mean <= 0:
            return np.zeros_like(values)
        spread = self.variance + (0.2 * mean) ** 2
        simple = 2 * mean / spread * (values - mean / 3)
        if self.known < 1:
            return simple.clip(-CAP, CAP)
        seen = self.known / (self.known + IMAGINED)
        other_mean = seen * self.other_mean
        other_spread = seen * self.other_variance + (1 - seen) * spread + seen * (1 - seen) * self.other_mean**2
        other_spread = max(other_spread, (0.03 * mean) ** 2)

        def ratio(x):
            distances = (x - other_mean) ** 2 / other_spread - (x - mean) ** 2 / spread
            return 0.5 * (distances + math.log(other_spread / spread))

        odds = ratio(values)
        if other_mean < mean:
            odds = np.where(values > mean, odds.clip(ratio(mean)), odds)
            odds = np.where(values < other_mean, np.minimum(odds, simple), odds)
        return (odds * self._faith()).clip(-CAP, CAP)

    def _faith(self) -> float:
        """How far two kinds of workers are believed in, in [0, 1]: one kind, cut in two, is some 2.7 spreads apart."""
        if self.apart is None:
            return 1.0
        both = max(0.5 * (self.variance + self.other_variance), TINY) ** 0.5
        gap = min(max(0.0, (self.mean - self.other_mean) / both / self.apart), 1.0)
        return 1 - self.known / (self.known + IMAGINED) * (1 - gap**2)

    def learn(self, values: np.ndarray, benign: np.ndarray, byzantine: np.ndarray) -> None:
        """Take in cosines [k] of submissions that are each kind's with these weights [k]."""
        total = float(benign.sum())
        if total > 0.1:
            reach = 3 * self.variance**0.5
            near = values.clip(self.mean - reach, self.mean + reach) if self.steps > 5 else values
            share = max(1 / HORIZON, 1 / (self.steps + 1)) * min(1.0, total)
            moved = _moved_robustly if self.robust else _moved
            self.mean, self.variance = moved(self.mean, self.variance, near, benign / total, share)
            self.steps += 1
        total = float(byzantine.sum())
        if total > 0.1:
            share = max(1 / HORIZON, total / (self.known + total)) * min(1.0, total)
            law = self.other_mean, self.other_variance
            self.other_mean, self.other_variance = _moved(*law, values, byzantine / total, share)
        self.known += total if self.known < HORIZON else (total - self.known) / HORIZON

    def relax(self) -> None:
        """No worker has been trusted for a while: expect less."""
        self.mean *= RELAXED
        self.other_mean *= RELAXED
        self.known *= 0.9


class Mirror:
    """The law of a cosine whose sign tells two kinds apart: x = +-m + s e with e normal.

    The moments tell m without a sign, m^4 = (3 E[x^2]^2 - E[x^4]) / 2, so that no worker has to be trusted before. It
    is worn once the kinds were apart and are no more, or the run is no longer young.
    """

    def __init__(self, window: float = WINDOW):
        self.window = window  # submissions
        self.second = self.fourth = 0.0
        self.mean, self.variance = 0.0, 1.0
        self.seen = 0.0  # submissions, at most the window
        self.steps = 0
        self.was_apart = self.worn = False

    def learn(self, values: np.ndarray, counts: np.ndarray) -> None:
        """Take in cosines [k], each counted as often as `counts` [k] says."""
        total = float(counts.sum())
        if total < 0.1:
            return
        self.seen = min(self.seen + total, self.window)
        share = min(1.0, total / self.seen)
        self.second += share * (float(counts @ values**2) / total - self.second)
        self.fourth += share * (float(counts @ values**4) / total - self.fourth)
        self.mean = max(0.0, (3 * self.second**2 - self.fourth) / 2) ** 0.25
        self.variance = max(self.second - self.mean**2, (0.3 * self.mean) ** 2, TINY)
        self.steps += 1
        self.was_apart |= self.apart() > 1.5
        self.worn |= self.was_apart and (self.apart() < 1 or self.steps > YOUNG)

    def log_odds(self, values: np.ndarray) -> np.ndarray:
        """[k] -> [k], within CAP; less as long as few were seen."""
        gain = 2 * self.mean / self.variance * self.seen / (self.seen + HORIZON)
        return (gain * values).clip(-CAP, CAP)

    def leaning(self, values: np.ndarray) -> np.ndarray:
        """The log-odds where the two kinds are apart; else the values over their usual size."""
        if not self.second > 0:
            return np.zeros_like(values)
        return self.log_odds(values) if self.apart() > 1 else values / self.second**0.5

    def renew(self) -> None:
        """What it measures was reversed or found in warm-up: it goes on with the usual window, and is not worn."""
        self.window = WINDOW
        self.was_apart = self.worn = False

    def apart(self) -> float:
        """Spreads between each kind and 0."""
        return self.mean / self.variance**0.5


def _moved(mean: float, variance: float, values: np.ndarray, weights: np.ndarray, share: float) -> tuple[float, float]:
    """A running mean and variance after weighted values [k], whose weights sum to 1."""
    deviation = float(weights @ (values - mean) ** 2)
    return mean + share * (float(weights @ values) - mean), variance + share * (deviation - variance)


def _moved_robustly(
    mean: float, variance: float, values: np.ndarray, weights: np.ndarray, share: float
) -> tuple[float, float]:
    """`_moved` by the weighted medians of values [k] and of their distances from the mean."""
    spread = SIGMAS * weighted_median(np.abs(values - mean), weights)
    return mean + share * (weighted_median(values, weights) - mean), variance + share * (spread**2 - variance)
