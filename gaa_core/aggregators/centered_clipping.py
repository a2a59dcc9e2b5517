from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import WeightedAggregator, check_count
from gaa_core.errors import GaaError


@dataclass(frozen=True)
class CenteredClipping(WeightedAggregator):
    """v + sum_i (V_i - v) min(1, radius / |V_i - v|) / n: the mean of submissions clipped to a ball about v.

    The source takes v from the step before. Here nothing outlives a call: v is the submission in the middle of a
    random sketch, and each of `iterations` moves v to the result. `radius=None` is the median distance to v (ours), so
    that no scale must be known. Takes no f. O(nd) an iteration. Source: Karimireddy et al. 2021, "Learning from
    history", section 4.
    """

    radius: float | None = None
    iterations: int = 1
    source: ClassVar[str] = "ours: Karimireddy et al. 2021, section 4 (without its memory)"
    notices_not_finite: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count(self, "iterations", self.iterations, least=1)
        if self.radius is not None and not self.radius > 0.0:
            raise GaaError(f"CenteredClipping needs a radius above 0, or None; found {self.radius!r}.")

    def weigh(self, gradients: Tensor) -> Tensor:  # [n, d] -> [n]
        weights = gradients.new_zeros(len(gradients))
        start, distances = kernels.central_row(gradients)
        weights[start] = 1.0
        for iteration in range(self.iterations):
            if iteration > 0:
                distances = kernels.distances_to(gradients, weights @ gradients)
            radius = float(distances.median()) if self.radius is None else self.radius
            share = torch.where(distances > radius, radius / distances, 1.0) / len(gradients)
            weights = share.to(gradients.dtype) + (1.0 - float(share.sum())) * weights
        return weights
