from dataclasses import dataclass

import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators import spectra
from gaa_core.aggregators.base import Tolerates, WeightedAggregator


@dataclass(frozen=True)
class CAF(Tolerates, WeightedAggregator):
    """Covariance-bound-agnostic filter: the weighted mean whose covariance had the least top eigenvalue on the way.

    All weights c start at 1. Each round takes the top eigenvector v of the weighted covariance, and lowers c_i by the
    factor 1 - tau_i / max tau with tau_i = <v, V_i - mean>^2, so that at least one c falls to 0; rounds end when sum c
    <= n-2f. Works on the n x n Gram matrix. Needs n >= 2f+1; O(n^2 d) once and O(n^2) to O(n^3) a round. Source:
    Allouah et al. 2025, "Towards trustworthy federated learning with untrusted participants", algorithm 2.
    """

    source = "ours: Allouah et al. 2025, algorithm 2"

    def weigh(self, gradients: Tensor) -> Tensor:  # [n, d] -> [n]
        n = len(gradients)
        gram, _ = kernels.gram(gradients, kernels.probable_centre(gradients))
        credit = torch.ones_like(gram[0])
        best, best_spread = credit, float("inf")
        while float(credit.sum()) > n - 2 * self.f or best_spread == float("inf"):
            spread, along = spectra.top_direction(gram, credit / credit.sum())
            if spread < best_spread:
                best, best_spread = credit, spread
            blame = torch.where(credit > 0.0, along.square(), 0.0)
            if self.f == 0 or float(blame.max()) == 0.0:
                break
            credit = credit * (1.0 - blame / blame.max())
        return (best / best.sum()).to(gradients.dtype)
