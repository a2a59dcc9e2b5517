from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import WeightedAggregator


@dataclass(frozen=True)
class GeoMed(WeightedAggregator):
    """The medoid: the submission with the least sum of distances to the others.

    *Unsquared* distances, and one of the submissions: the point of the space with the least sum is `GeometricMedian`.
    Of equal sums the smallest worker number wins. Takes no f (its guarantee asks for n >= 2f+1); O(n^2 d).
    Source: Pan et al. 2020, section 2 and Table 1 (GeoMed).
    """

    source: ClassVar[str] = "paper: Table 1"
    notices_not_finite: ClassVar[bool] = True

    def weigh(self, gradients: Tensor) -> Tensor:  # [n, d] -> [n]
        sums = kernels.squared_distances(gradients).sqrt().sum(dim=1)
        weights = gradients.new_zeros(len(gradients))
        weights[sums.argmin()] = 1.0
        return weights

    def combine(self, weights: Tensor, gradients: Tensor) -> Tensor:
        return gradients[weights.argmax()].clone()
