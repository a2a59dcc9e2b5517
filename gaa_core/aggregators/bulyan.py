from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gaa_core import kernels, order_statistics
from gaa_core.aggregators.base import Aggregator, check_count
from gaa_core.aggregators.krum import krum_scores


@dataclass(frozen=True)
class Bulyan(Aggregator):
    """Per coordinate, the mean of the n-4f values closest to the median of n-2f submissions that Krum picked.

    Krum picks one submission at a time, and scores are computed anew on the r that remain, each with its r-f-2 nearest.
    Ties go to the smallest worker number as in Krum, and with f <= 2 the last picks do tie: r-f-2 has come down to 1
    (two mutual nearest) or 0 (everybody). Needs n >= 4f+3; O(n^2 d + n^3 log n).
    Source: El Mhamdi et al. 2018, "The hidden vulnerability of distributed learning in Byzantium".
    """

    f: int
    source: ClassVar[str] = "paper: Table 1; El Mhamdi et al. 2018"
    notices_not_finite: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count(self, "f", self.f)

    def needs(self) -> int:
        return 4 * self.f + 3

    def aggregate(self, gradients: Tensor) -> Tensor:  # [n, d] -> [d]
        chosen = self.select(kernels.squared_distances(gradients))
        return order_statistics.mean_around_median(gradients, 2 * self.f, lambda block: block[chosen])

    def select(self, distances: Tensor) -> Tensor:  # [n, n] -> [n - 2f]
        """The workers that repeated Krum picks, in ascending order."""
        n = len(distances)
        remaining = torch.arange(n, device=distances.device)
        for _ in range(n - 2 * self.f if self.f else 0):
            best = krum_scores(distances[remaining][:, remaining], self.f).argmin()
            remaining = torch.cat([remaining[:best], remaining[best + 1 :]])
        left = torch.ones(n, dtype=torch.bool, device=distances.device)
        left[remaining] = self.f == 0
        return torch.nonzero(left).flatten()
