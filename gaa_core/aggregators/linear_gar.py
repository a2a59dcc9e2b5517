from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gaa_core.aggregators.base import WeightedAggregator
from gaa_core.errors import GaaError


@dataclass(frozen=True)
class LinearGAR(WeightedAggregator):
    """sum_i alpha_i V_i with fixed weights on the simplex: steered anywhere by one worker of positive weight.

    `alpha` has one weight a worker; None is uniform, for any n. When submissions are not finite, the weights
    of the others are scaled up to sum to 1. O(nd). Source: Pan et al. 2020, section 2, Proposition 1.
    """

    alpha: tuple[float, ...] | None = None
    source = "paper: Pan et al. 2020, section 2, Proposition 1"
    exempt = dict.fromkeys(("outliers", "outliers far from zero"), "one worker of positive weight steers it") | {
        "row order": "weight alpha_i belongs to worker i"
    }

    def __post_init__(self) -> None:
        if self.alpha is None:
            return
        object.__setattr__(self, "alpha", tuple(float(weight) for weight in self.alpha))
        total = math.fsum(self.alpha)
        if not self.alpha or not min(self.alpha) >= 0.0 or not abs(total - 1.0) <= 1e-6:
            raise GaaError(f"LinearGAR needs weights alpha that are not negative and sum to 1; found {self.alpha}.")

    def check_workers(self, n: int) -> None:
        if self.alpha is not None and n != len(self.alpha):
            raise GaaError(f"{self!r} needs exactly {len(self.alpha)} workers; found {n}.")

    def _admit(self, gradients: Tensor) -> tuple[LinearGAR, Tensor, Tensor]:
        rule, finite, kept = super()._admit(gradients)
        if self.alpha is None:
            return rule, finite, kept
        remaining = [weight for weight, is_finite in zip(self.alpha, finite.tolist(), strict=True) if is_finite]
        total = math.fsum(remaining)
        if len(remaining) < len(self.alpha) and total > 0.0:
            rule = dataclasses.replace(self, alpha=tuple(weight / total for weight in remaining))
        return rule, finite, kept

    def weigh(self, gradients: Tensor) -> Tensor:  # [n, d] -> [n]
        alpha = self.alpha or (1.0 / len(gradients),) * len(gradients)
        if len(alpha) != len(gradients):  # all the weight lay on submissions that are not finite
            return gradients.new_zeros(len(gradients))
        return torch.tensor(alpha, dtype=gradients.dtype, device=gradients.device)
