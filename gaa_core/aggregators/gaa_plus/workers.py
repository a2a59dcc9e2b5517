"""What is known of each worker from earlier steps: role filters, and a ledger of slopes of f_B."""

from __future__ import annotations

import math

import numpy as np

from gaa_core.agent import sigmoid
from gaa_core.aggregators.gaa_plus.evidence import CAP

#: P(benign) of a worker nothing is known of: without evidence all are trusted.
START = 0.8
#: Steps between changes of roles that the filters reckon with.
RATES = (1, 10, 100, 10_000)
#: The most that one step adds to a worker's log-odds, and says against a rate: evidence shares its errors.
STEP_CAP, RATE_CAP = 2.0, 6.0
#: Log-odds that say nothing: small errors that all steps share would add up.
FAINT = 0.1
#: What a step full of evidence leaves of earlier evidence on rates.
FADING = 0.98


class Reputation:
    """P(benign) of each worker, by one filter for each rate at which roles may change.

    A worker keeps its role but for a chance of 1 / rate of a new one. The rates are weighted by how well each predicted
    the evidence: static Byzantine workers are soon known, and under roles that change at every step the past says
    nothing of a worker.
    """

    def __init__(self, n: int):
        self.rates = 1 / np.array(RATES)[:, None]
        self.benign = np.full((len(RATES), n), START)
        self.base = START  # of a new role
        self.scores = np.zeros(len(RATES))

    def prior(self) -> np.ndarray:
        """Log-odds [n] that a worker is benign at the coming step."""
        chance = (self._shares() @ self._ahead()).clip(1e-3, 1 - 1e-3)
        return np.log(chance / (1 - chance))

    def settled(self) -> float:
        """How far some workers are known as benign and others as not, in [0, 1]; next to 0 until it is clear."""
        known = np.tanh(self.prior() / 2)
        return float((known.max() - known.min()) / 2) ** 4

    def learn(self, odds: np.ndarray, weights: np.ndarray) -> None:
        """Take in this step's log-odds [n]; each counts for `weights` [n] where rates and new roles are judged."""
        odds = np.sign(odds) * np.maximum(np.abs(odds) - FAINT, 0.0)
        likelihood = np.exp(odds.clip(-STEP_CAP, STEP_CAP))
        before = self._ahead()
        predicted = before * np.exp(odds.clip(-CAP, CAP)) + 1 - before  # [rates, n]
        gains = np.log(predicted) @ weights
        told = float(np.tanh(np.abs(odds) / 2) @ weights) / max(float(weights.sum()), 1e-9)
        self.scores = (1 - (1 - FADING) * told) * self.scores + (gains - gains.max()).clip(-RATE_CAP)
        self.benign = before * likelihood / (before * likelihood + 1 - before)
        if weights.any():
            share = float(self._shares() @ self.benign @ weights / weights.sum())
            self.expect(self.base + 0.05 * (share - self.base))

    def expect(self, share: float) -> None:
        """Take in which share of new roles are benign."""
        self.base = min(max(share, 0.2), 0.9)

    def forget(self) -> None:
        """What was known of all workers was wrong."""
        self.benign[:] = START
        self.base = START

    def believe(self, odds: np.ndarray) -> None:
        """Begin with log-odds [n] that were found otherwise."""
        self.benign[:] = sigmoid(odds)

    def lift(self) -> None:
        """No worker was trusted for a while: raise the odds of all alike."""
        odds = math.exp(0.5) * self.benign / (1 - self.benign).clip(1e-9)
        self.benign = odds / (1 + odds)
        self.base += 0.1 * (0.5 - self.base)

    def _ahead(self) -> np.ndarray:  # [rates, n]
        return (1 - self.rates) * self.benign + self.rates * self.base

    def _shares(self) -> np.ndarray:  # [rates]
        shares = np.exp(self.scores - self.scores.max())
        return shares / shares.sum()


class Ledger:
    """How much faster f_B would have fallen for following each worker, summed over many steps.

    A cosine weighs all steps alike; a slope (the cosine times both lengths) weighs them by what is at stake, in the
    metric in which the update acts. It speaks where a worker's own sum and its sum beside the others' have one sign, by
    their spreads, as Student's t. Where roles change the sums are noise: unless they are more over all workers, they
    say nothing.
    """

    horizon, silent = 100, 5  # steps of a sum, and before the first

    def __init__(self, n: int):
        self.steps = 0
        self.sums = np.zeros((2, n))  # of slopes, and of slopes less the mean of all
        self.squares = np.zeros((2, n))

    def learn(self, slopes: np.ndarray, counts: np.ndarray, finite: np.ndarray) -> None:
        """Take in the slopes [k] of f_B along the submissions of the `finite` [n] workers; each counts `counts` [k]."""
        self.steps += 1
        if self.steps <= self.silent:
            return
        beside = slopes - float(slopes @ counts) / max(float(counts.sum()), 1e-9)
        both = np.zeros_like(self.sums)
        both[:, finite] = slopes, beside
        keep = 1 - 1 / self.horizon
        self.sums = keep * self.sums + both
        self.squares = keep * self.squares + both**2

    def log_odds(self) -> np.ndarray:
        """[n], within CAP."""
        spreads = self.sums / np.sqrt(self.squares).clip(1e-150)
        sign = np.sign(spreads)
        told = np.abs(spreads).min(axis=0) ** 2 * (sign[0] == sign[1])  # 1 by chance, or less
        faith = min(1.0, max(0.0, (float(told.mean()) - 1) / 2))
        return faith * sign[0] * (told / 2 - 1).clip(0, CAP)
