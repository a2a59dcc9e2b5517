from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gaa_core.aggregators.base import check_count
from gaa_core.aggregators.norm_clipping import RowScaling


@dataclass(frozen=True)
class ARC(RowScaling):
    """The k = floor(2 (f/n) (n-f)) longest submissions shortened to the norm of the next longest.

    Adaptive robust clipping: the bound comes from the submissions, and clips more than f of them. Needs n >= 2f+1;
    O(nd). Source: Allouah et al. 2025, "Adaptive gradient clipping for robust federated learning".
    """

    f: int
    source: ClassVar[str] = "ours: Allouah et al. 2025 (ARC)"

    def __post_init__(self) -> None:
        check_count(self, "f", self.f)

    def needs(self) -> int:
        return 2 * self.f + 1

    def limit(self, lengths: Tensor) -> Tensor:
        n = len(lengths)
        clipped = 2 * self.f * (n - self.f) // n
        return lengths.sort().values[n - 1 - clipped]
