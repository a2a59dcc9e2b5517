from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import WeightedAggregator, check_count


@dataclass(frozen=True)
class CGE(WeightedAggregator):
    """Comparative gradient elimination: the mean of the n-f submissions with the least norms.

    The source adds them up; dividing by n-f only rescales the step size. Sees lengths alone: a reversed gradient of
    honest length passes. Equal norms go by worker number. Needs n >= 2f+1; O(nd).
    Source: Gupta et al. 2021, "Byzantine fault-tolerance in distributed optimization under 2f-redundancy".
    """

    f: int
    source: ClassVar[str] = "ours: Gupta et al. 2021"

    def __post_init__(self) -> None:
        check_count(self, "f", self.f)

    def needs(self) -> int:
        return 2 * self.f + 1

    def weigh(self, gradients: Tensor) -> Tensor:  # [n, d] -> [n]
        keep = len(gradients) - self.f
        shortest = kernels.norms(gradients).argsort(stable=True)[:keep]
        weights = gradients.new_zeros(len(gradients))
        weights[shortest] = 1.0 / keep
        return weights
