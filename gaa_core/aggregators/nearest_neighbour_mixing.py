from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import check_count
from gaa_core.aggregators.composition import PreAggregator


@dataclass(frozen=True)
class NearestNeighbourMixing(PreAggregator):
    """Each submission replaced by the mean of its n-f nearest, itself among them (NNM).

    Makes most rules optimally robust to heterogeneous data. Equal distances go by worker number. Needs n >= 2f+1;
    O(n^2 d). Source: Allouah et al. 2023, "Fixing by mixing".
    """

    f: int
    source: ClassVar[str] = "ours: Allouah et al. 2023"
    notices_not_finite: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count(self, "f", self.f)

    def needs(self) -> int:
        return 2 * self.f + 1

    def mixing(self, gradients: Tensor) -> Tensor:  # [n, d] -> [n, n]
        n = len(gradients)
        distances = kernels.squared_distances(gradients).fill_diagonal_(-1.0)  # oneself first
        nearest = distances.argsort(dim=1, stable=True)[:, : n - self.f]
        return torch.zeros_like(distances).scatter_(1, nearest, 1.0 / (n - self.f)).to(gradients.dtype)
