"""What the rules that treat every coordinate by itself have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor

from gaa_core.aggregators.base import Aggregator


class ColumnwiseAggregator(Aggregator):
    """A rule that looks at one coordinate at a time, and so can work block by block of columns."""

    notices_not_finite: ClassVar[bool] = True

    @abstractmethod
    def aggregate(self, gradients: Tensor, prepare: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """The update [d] from finite submissions, each block [n, w] of them prepared into [m, w] first."""
