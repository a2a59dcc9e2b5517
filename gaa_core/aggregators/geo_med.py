from dataclasses import dataclass

import numpy as np

from gaa_core.aggregators.base import DistanceAggregator


@dataclass(frozen=True)
class GeoMed(DistanceAggregator):
    """The medoid: the submission with the least sum of distances to the others.

    *Unsquared* distances, and one of the submissions: the point of the space with the least sum is `GeometricMedian`.
    Of equal sums the smallest worker number wins. Takes no f (its guarantee asks for n >= 2f+1); O(n^2 d).
    Source: Pan et al. 2020, section 2 and Table 1 (GeoMed).
    """

    source = "paper: Table 1"

    def nearest(self, distances: np.ndarray) -> list[int]:  # [n, n] -> [1]
        return [int(np.sqrt(distances).sum(axis=1).argmin())]
