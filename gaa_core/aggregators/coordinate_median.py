from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import ColumnwiseAggregator


@dataclass(frozen=True)
class CoordinateMedian(ColumnwiseAggregator):
    """The median of each coordinate over the workers.

    For even n the mean of the two middle values, where `torch.median` takes the lower one. O(nd log n).
    Source: Yin et al. 2018, "Byzantine-robust distributed learning".
    """

    source = "ours: Yin et al. 2018"

    def aggregate(self, gradients: Tensor, prepare: Callable | None = None) -> Tensor:  # [n, d] -> [d]
        return kernels.median(gradients, prepare)
