from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gaa_core import order_statistics
from gaa_core.aggregators.base import Aggregator


@dataclass(frozen=True)
class CoordinateMedian(Aggregator):
    """The median of each coordinate over the workers.

    For even n the mean of the two middle values, where `torch.median` takes the lower one. O(nd log n).
    Source: Yin et al. 2018, "Byzantine-robust distributed learning", definition 1.
    """

    source: ClassVar[str] = "ours: Yin et al. 2018, definition 1"

    def aggregate(self, gradients: Tensor) -> Tensor:  # [n, d] -> [d]
        return order_statistics.median(gradients)
