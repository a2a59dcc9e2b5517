from dataclasses import dataclass

from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import SelectingAggregator, Tolerates


def krum_scores(distances: Tensor, f: int) -> Tensor:  # [n, n] -> [n]
    """Sum of *squared* distances to the n-f-2 nearest others; a worker is no neighbour of itself."""
    neighbours = max(0, len(distances) - f - 2)
    nearest = distances.topk(min(neighbours + 1, len(distances)), dim=1, largest=False).values
    return nearest.sum(dim=1)  # its own distance, which is 0, is always among them


@dataclass(frozen=True)
class Krum(Tolerates, SelectingAggregator):
    """The submission with the least sum of squared distances to its n-f-2 nearest others.

    Squared distances, and the submission itself is not among its nearest. Of equal scores the smallest worker number
    wins, as the source says. Needs n >= 2f+3; O(n^2 d + n^2 log n).
    Source: Blanchard et al. 2017, "Machine learning with adversaries".
    """

    source = "paper: Table 1; Blanchard et al. 2017"

    def needs(self) -> int:
        return 2 * self.f + 3

    def choose(self, gradients: Tensor) -> list[int]:  # [n, d] -> [1]
        return [int(krum_scores(kernels.squared_distances(gradients), self.f).argmin())]
