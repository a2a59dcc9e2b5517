from dataclasses import dataclass

import numpy as np
from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import Aggregator, Tolerates


@dataclass(frozen=True)
class Bulyan(Tolerates, Aggregator):
    """Per coordinate, the mean of the n-4f values closest to the median of n-2f submissions that Krum picked.

    Krum picks one submission at a time, and scores are computed again on the r that remain, each with its r-f-2
    nearest. With f <= 2 the last picks tie, since r-f-2 falls to 1 (two mutual nearest) or 0 (all of them). The source
    leaves ties open. Here the tied submission with the nearest next neighbour wins, then that of the one after, so
    that an outlier never wins for its small number; only equal distance profiles go by worker number (ours).
    Needs n >= 4f+3; O(n^2 d + n^3). Source: El Mhamdi et al. 2018, "The hidden vulnerability of distributed learning".
    """

    source = "paper: Table 1; El Mhamdi et al. 2018; ties: ours"

    def needs(self) -> int:
        return 4 * self.f + 3

    def aggregate(self, gradients: Tensor) -> Tensor:  # [n, d] -> [d]
        chosen = self.select(kernels.squared_distances(gradients))
        return kernels.mean_around_median(gradients, 2 * self.f, lambda block: block[chosen])

    def select(self, distances: Tensor) -> list[int]:  # [n, n] -> [n - 2f]
        """The workers that repeated Krum picks, in ascending order."""
        n, f = len(distances), self.f
        if f == 0:
            return list(range(n))
        distances = distances.cpu().numpy().copy()
        np.fill_diagonal(distances, -1.0)  # each worker's own place comes first, and is cut off
        others = np.argsort(distances, axis=1, kind="stable")[:, 1:]  # [r, r - 1], nearest first
        nearest = np.take_along_axis(distances, others, axis=1)
        left, picked = np.arange(n), []
        while len(picked) < n - 2 * f:
            best = _least(nearest, max(0, len(left) - f - 2))
            picked.append(int(left[best]))
            others, nearest = np.delete(others, best, axis=0), np.delete(nearest, best, axis=0)
            stays = others != left[best]
            left = np.delete(left, best)
            others, nearest = (part[stays].reshape(len(left), -1) for part in (others, nearest))
        return sorted(picked)


def _least(nearest: np.ndarray, neighbours: int) -> int:  # [r, r - 1], nearest first
    """The row with the least sum of its first `neighbours`; of equal ones, that with the least next, and so on."""
    scores = nearest[:, :neighbours].sum(axis=1)
    tied = np.flatnonzero(scores == scores.min())
    return int(tied[np.lexsort(nearest[tied, neighbours:].T[::-1])[0]])  # numpy takes the last key first
