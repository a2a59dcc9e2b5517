from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import WeightedAggregator, check_count
from gaa_core.aggregators.krum import krum_scores


@dataclass(frozen=True, repr=False)
class MultiKrum(WeightedAggregator):
    """The mean of the `select` submissions with the best Krum scores.

    `select=None` is n-f-2; libraries differ here (n-f is common), so the repr shows the value. Scores are computed
    once, not anew after each pick (that is Bulyan). Equal scores go by worker number. Needs n >= 2f+3 and n >=
    select+f; O(n^2 d + n^2 log n). Source: Blanchard et al. 2017, "Machine learning with adversaries"
    (m-Krum).
    """

    f: int
    select: int | None = None
    source: ClassVar[str] = "paper: Blanchard et al. 2017"
    notices_not_finite: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count(self, "f", self.f)
        if self.select is not None:
            check_count(self, "select", self.select, least=1)

    def __repr__(self) -> str:
        return f"MultiKrum(f={self.f}, select={'n-f-2' if self.select is None else self.select})"

    def needs(self) -> int:
        return max(2 * self.f + 3, self.f + (self.select or 1))

    def weigh(self, gradients: Tensor) -> Tensor:  # [n, d] -> [n]
        select = self.select or len(gradients) - self.f - 2
        scores = krum_scores(kernels.squared_distances(gradients), self.f)
        weights = gradients.new_zeros(len(gradients))
        weights[scores.argsort(stable=True)[:select]] = 1.0 / select
        return weights
