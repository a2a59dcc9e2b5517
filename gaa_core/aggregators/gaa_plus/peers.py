"""Log-odds of being benign from a submission's length, and from its agreement with peers."""

from __future__ import annotations

import math

import numpy as np

from gaa_core.aggregators.gaa_plus.evidence import CAP
from gaa_core.aggregators.gaa_plus.statistics import LEAST


class Lengths:
    """What a submission's length says against it: up to three times the length of the trusted is ordinary.

    An ordinary length says nothing for a worker, and no other evidence outweighs a gross one.
    """

    def __init__(self):
        self.usual = 0.0  # of the trusted
        self.fits = False  # whether any submission has been of an ordinary length

    def log_odds(self, lengths: np.ndarray, yardstick: float) -> np.ndarray:
        """[k] -> [k]; the yardstick |grad f_B| stands in for the usual length until workers have been trusted."""
        usual = self.usual or yardstick
        if not usual > 0:
            return np.zeros_like(lengths)
        longest, shortest = (3.0, 4.0) if self.usual else (2.0, 5.0)  # a mean of more samples is shorter
        ratio = np.log(np.maximum(lengths, LEAST) / usual)
        excess = np.maximum(ratio - math.log(longest), -ratio - math.log(shortest))
        self.fits |= bool((excess <= 0).any())
        if not self.usual and not self.fits:
            return np.zeros_like(lengths)
        return -(25.0 * excess).clip(0.0, 8 * CAP)

    def follow(self, usual: float, yardstick: float) -> float:
        """Take in the median length of the credited, and return it: at most twice what was usual."""
        if self.usual or self.fits:
            usual = min(usual, 2 * self.usual or yardstick)
        self.usual += (usual - self.usual) * (0.1 if self.usual else 1.0)
        return usual

    def relax(self, yardstick: float) -> None:
        """No worker has been trusted for a while: what seemed usual may have been a Byzantine length."""
        if self.usual and yardstick > 0:
            self.usual *= (2 / 3 * yardstick / self.usual) ** 0.1


class Agreement:
    """How much the trusted agree with one another: mean and spread of the cosines of pairs."""

    horizon = 20  # steps

    def __init__(self):
        self.mean = self.variance = 0.0

    def log_odds(self, cosine: np.ndarray, lean: np.ndarray) -> np.ndarray:
        """What the others' leanings [k] (1 benign, -1 not) say of each, by its cosines with them [k, k].

        A pair counts for one unit at most, so that a few who agree closely are no more than a few.
        """
        if self.variance <= 0 or self.mean <= 0:
            return np.zeros_like(lean)
        pairs = (2 * self.mean / self.variance * cosine).clip(-1, 1)
        votes = pairs @ lean - pairs.diagonal() * lean
        return (votes - min(votes.max(), 0.0)).clip(-CAP, CAP)  # all against all says nothing of any

    def learn(self, cosine: np.ndarray, trust: np.ndarray) -> None:
        """Take in the cosines [k, k] of submissions trusted this much [k]."""
        pair = trust[:, None] * trust
        np.fill_diagonal(pair, 0.0)
        total = float(pair.sum())
        if total < 0.5:
            return
        mean = float((pair * cosine).sum()) / total
        variance = max(float((pair * (cosine - mean) ** 2).sum()) / total, (0.3 * mean) ** 2)
        share = 1 / self.horizon if self.variance else 1.0
        self.mean += share * (mean - self.mean)
        self.variance += share * (variance - self.variance)
