from dataclasses import dataclass

import numpy as np

from gaa_core.aggregators.base import DistanceAggregator, Tolerates


def krum_scores(distances: np.ndarray, f: int) -> np.ndarray:  # [n, n] -> [n]
    """Sum of *squared* distances to the n-f-2 nearest others; a worker is no neighbour of itself."""
    nearest = np.sort(distances, axis=1)[:, : max(1, len(distances) - f - 1)]
    return nearest.sum(axis=1)  # its own distance, which is 0, is always among them


@dataclass(frozen=True)
class Krum(Tolerates, DistanceAggregator):
    """The submission with the least sum of squared distances to its n-f-2 nearest others.

    Squared distances, and the submission itself is not among its nearest. Of equal scores the smallest worker number
    wins, as the source says. Needs n >= 2f+3; O(n^2 d + n^2 log n).
    Source: Blanchard et al. 2017, "Machine learning with adversaries".
    """

    source = "paper: Table 1; Blanchard et al. 2017"

    def needs(self) -> int:
        return 2 * self.f + 3

    def nearest(self, distances: np.ndarray) -> list[int]:  # [n, n] -> [1]
        return [int(krum_scores(distances, self.f).argmin())]
