from dataclasses import dataclass

import numpy as np

from gaa_core.aggregators.base import DistanceAggregator, Tolerates, check_count
from gaa_core.aggregators.krum import krum_scores


@dataclass(frozen=True, repr=False)
class MultiKrum(Tolerates, DistanceAggregator):
    """The mean of the `select` submissions with the best Krum scores.

    `select=None` is n-f-2; libraries differ here (n-f is common), so the repr shows the value. Scores are computed
    once, not again after each pick (that is Bulyan). Equal scores go by worker number. Needs n >= 2f+3 and n >=
    select+f; O(n^2 d + n^2 log n). Source: Blanchard et al. 2017, "Machine learning with adversaries" (m-Krum).
    """

    select: int | None = None
    source = "paper: Blanchard et al. 2017"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.select is not None:
            check_count(self, "select", self.select, least=1)

    def __repr__(self) -> str:
        return f"MultiKrum(f={self.f}, select={'n-f-2' if self.select is None else self.select})"

    def needs(self) -> int:
        return max(2 * self.f + 3, self.f + (self.select or 1))

    def nearest(self, distances: np.ndarray) -> list[int]:  # [n, n] -> [select]
        select = self.select or len(distances) - self.f - 2
        return krum_scores(distances, self.f).argsort(kind="stable")[:select].tolist()
