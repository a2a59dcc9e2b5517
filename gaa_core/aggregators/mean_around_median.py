from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import ColumnwiseAggregator, Tolerates


@dataclass(frozen=True)
class MeanAroundMedian(Tolerates, ColumnwiseAggregator):
    """Per coordinate, the mean of the n-f values closest to the median.

    Of two values equally far from the median the lesser is kept; the median of an even number is the mean of the
    middle two. Drops f values in all, at either end, where `TrimmedMean` drops f at each. Needs n >= 2f+1; O(nd log n).
    Source: Xie et al. 2018, "Generalized Byzantine-tolerant SGD" (phocas and mean around median).
    """

    source = "ours: Xie et al. 2018"

    def aggregate(self, gradients: Tensor, prepare: Callable | None = None) -> Tensor:  # [n, d] -> [d]
        return kernels.mean_around_median(gradients, self.f, prepare)
