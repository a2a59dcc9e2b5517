import math
from dataclasses import dataclass
from itertools import combinations, islice

import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import SelectingAggregator, Tolerates
from gaa_core.errors import GaaError

_MOST_SUBSETS = 500_000


@dataclass(frozen=True)
class SMEA(Tolerates, SelectingAggregator):
    """The mean of the n-f submissions whose covariance has the least top eigenvalue.

    Every subset is tried, which is what the source asks for and what limits it to few workers: more than half
    a million subsets are refused. Equal eigenvalues go to the first subset. Needs n >= 2f+1; O(n^2 d + C(n,f) n^3).
    Source: Allouah et al. 2023, "On the privacy-robustness-utility trilemma in distributed learning".
    """

    source = "ours: Allouah et al. 2023 (trilemma)"

    def choose(self, gradients: Tensor) -> list[int]:  # [n, d] -> [n - f]
        n, keep = len(gradients), len(gradients) - self.f
        if math.comb(n, keep) > _MOST_SUBSETS:
            raise GaaError(
                f"{self!r} tries every subset and takes at most {_MOST_SUBSETS:,}; "
                f"{n} workers have {math.comb(n, keep):,}. Use CAF(f={self.f}) instead."
            )
        gram, _ = kernels.gram(gradients, kernels.probable_centre(gradients))
        subsets, best, best_spread = combinations(range(n), keep), None, math.inf
        while batch := list(islice(subsets, 4096)):
            spreads = _top_eigenvalues(gram, torch.tensor(batch, device=gram.device))
            least = int(spreads.argmin())
            if best is None or spreads[least] < best_spread:
                best, best_spread = batch[least], float(spreads[least])
        return list(best)


def _top_eigenvalues(gram: Tensor, subsets: Tensor) -> Tensor:  # [n, n], [b, k] -> [b]
    """The top eigenvalue of each subset's covariance, times k."""
    within = gram[subsets[:, :, None], subsets[:, None, :]]  # [b, k, k]
    rows = within.mean(dim=2, keepdim=True)
    centred = within - rows - rows.mT + rows.mean(dim=1, keepdim=True)
    scale = centred.abs().amax(dim=(1, 2)).clamp_min(1e-300)
    return torch.linalg.eigvalsh(centred / scale[:, None, None])[:, -1] * scale
