from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import ColumnwiseAggregator, Tolerates


@dataclass(frozen=True)
class TrimmedMean(Tolerates, ColumnwiseAggregator):
    """The mean of each coordinate without its f least and f greatest values.

    f are dropped at *each* end, 2f in all. Needs n >= 2f+1; O(nd log n).
    Source: Yin et al. 2018, "Byzantine-robust distributed learning".
    """

    source = "ours: Yin et al. 2018"

    def aggregate(self, gradients: Tensor, prepare: Callable | None = None) -> Tensor:  # [n, d] -> [d]
        return kernels.trimmed_mean(gradients, self.f, prepare)
