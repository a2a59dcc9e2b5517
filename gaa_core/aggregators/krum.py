from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import WeightedAggregator, check_count


def krum_scores(distances: Tensor, f: int) -> Tensor:  # [n, n] -> [n]
    """Sum of *squared* distances to the n-f-2 nearest others; a worker is no neighbour of itself."""
    neighbours = max(0, len(distances) - f - 2)
    others = distances.clone().fill_diagonal_(float("inf"))
    return others.topk(neighbours, dim=1, largest=False).values.sum(dim=1)


@dataclass(frozen=True)
class Krum(WeightedAggregator):
    """The submission with the least sum of squared distances to its n-f-2 nearest others.

    Squared distances, and the submission itself is not among its nearest. Of equal scores the smallest
    worker number wins, as the source says. Needs n >= 2f+3; O(n^2 d + n^2 log n).
    Source: Blanchard et al. 2017, "Machine learning with adversaries".
    """

    f: int
    source: ClassVar[str] = "paper: Table 1; Blanchard et al. 2017"
    notices_not_finite: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count(self, "f", self.f)

    def needs(self) -> int:
        return 2 * self.f + 3

    def weigh(self, gradients: Tensor) -> Tensor:  # [n, d] -> [n]
        scores = krum_scores(kernels.squared_distances(gradients), self.f)
        weights = gradients.new_zeros(len(gradients))
        weights[scores.argmin()] = 1.0
        return weights

    def combine(self, weights: Tensor, gradients: Tensor) -> Tensor:
        return gradients[weights.argmax()].clone()
