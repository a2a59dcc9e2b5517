from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gaa_core import order_statistics
from gaa_core.aggregators.base import check_count
from gaa_core.aggregators.columnwise import ColumnwiseAggregator


@dataclass(frozen=True)
class TrimmedMean(ColumnwiseAggregator):
    """The mean of each coordinate without its f least and f greatest values.

    f are dropped at *each* end, 2f in all. Needs n >= 2f+1; O(nd log n).
    Source: Yin et al. 2018, "Byzantine-robust distributed learning".
    """

    f: int
    source: ClassVar[str] = "ours: Yin et al. 2018"

    def __post_init__(self) -> None:
        check_count(self, "f", self.f)

    def needs(self) -> int:
        return 2 * self.f + 1

    def aggregate(self, gradients: Tensor, prepare: Callable | None = None) -> Tensor:  # [n, d] -> [d]
        return order_statistics.trimmed_mean(gradients, self.f, prepare)
