from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gaa_core import order_statistics
from gaa_core.aggregators.base import check_count
from gaa_core.aggregators.columnwise import ColumnwiseAggregator


@dataclass(frozen=True)
class MeanAroundMedian(ColumnwiseAggregator):
    """Per coordinate, the mean of the n-f values closest to the median.

    Of two values equally far from the median the lesser is kept; the median of an even number is the mean of the
    middle two. Drops f values in all, at either end, where `TrimmedMean` drops f at each. Needs n >= 2f+1; O(nd log n).
    Source: Xie et al. 2018, "Generalized Byzantine-tolerant SGD" (phocas and mean around median).
    """

    f: int
    source: ClassVar[str] = "ours: Xie et al. 2018"

    def __post_init__(self) -> None:
        check_count(self, "f", self.f)

    def needs(self) -> int:
        return 2 * self.f + 1

    def aggregate(self, gradients: Tensor, prepare: Callable | None = None) -> Tensor:  # [n, d] -> [d]
        return order_statistics.mean_around_median(gradients, self.f, prepare)
