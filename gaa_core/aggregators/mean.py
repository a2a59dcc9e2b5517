from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import WeightedAggregator


@dataclass(frozen=True)
class Mean(WeightedAggregator):
    """The mean of the submissions, sum_i V_i / n: the classical rule, which one Byzantine worker can steer anywhere.

    O(nd). Source: Pan et al. 2020, section 2.
    """

    source: ClassVar[str] = "paper: Pan et al. 2020, section 2 (the classical GAR)"

    notices_not_finite: ClassVar[bool] = True

    def weigh(self, gradients: Tensor) -> Tensor:  # [n, d] -> [n]
        n = len(gradients)
        return torch.full((n,), 1.0 / n, dtype=gradients.dtype, device=gradients.device)

    def combine(self, weights: Tensor, gradients: Tensor) -> Tensor:
        mean = weights @ gradients
        if not mean.sum().isfinite() and not mean.isfinite().all():  # a NaN or an infinity always reaches the mean
            raise kernels.NotFinite
        return mean

    def weights(self, gradients: Tensor) -> Tensor:
        return self.decide(gradients)[1]
