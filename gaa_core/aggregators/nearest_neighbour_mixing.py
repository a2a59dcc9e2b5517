from dataclasses import dataclass

import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import Tolerates
from gaa_core.aggregators.composition import PreAggregator


@dataclass(frozen=True)
class NearestNeighbourMixing(Tolerates, PreAggregator):
    """Each submission replaced by the mean of its n-f nearest, itself among them (NNM).

    Makes most rules optimally robust to heterogeneous data. Equal distances go by worker number. Needs n >= 2f+1;
    O(n^2 d). Source: Allouah et al. 2023, "Fixing by mixing".
    """

    source = "ours: Allouah et al. 2023"

    def mixing(self, gradients: Tensor) -> Tensor:  # [n, d] -> [n, n]
        keep = len(gradients) - self.f
        distances = kernels.squared_distances(gradients).fill_diagonal_(-1.0)  # oneself first
        nearest = distances.argsort(dim=1, stable=True)[:, :keep]
        return torch.zeros_like(distances).scatter_(1, nearest, 1.0 / keep).to(gradients.dtype)
