from dataclasses import dataclass

from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import SelectingAggregator


@dataclass(frozen=True)
class GeoMed(SelectingAggregator):
    """The medoid: the submission with the least sum of distances to the others.

    *Unsquared* distances, and one of the submissions: the point of the space with the least sum is `GeometricMedian`.
    Of equal sums the smallest worker number wins. Takes no f (its guarantee asks for n >= 2f+1); O(n^2 d).
    Source: Pan et al. 2020, section 2 and Table 1 (GeoMed).
    """

    source = "paper: Table 1"

    def choose(self, gradients: Tensor) -> list[int]:  # [n, d] -> [1]
        return [int(kernels.squared_distances(gradients).sqrt().sum(dim=1).argmin())]
