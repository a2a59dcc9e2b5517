from dataclasses import dataclass

from torch import Tensor

from gaa_core.aggregators.base import Tolerates
from gaa_core.aggregators.composition import RowScaling


@dataclass(frozen=True)
class ARC(Tolerates, RowScaling):
    """The k = floor(2 (f/n) (n-f)) longest submissions shortened to the norm of the next longest.

    Adaptive robust clipping: the bound comes from the submissions, and clips more than f of them. Needs n >= 2f+1;
    O(nd). Source: Allouah et al. 2025, "Adaptive gradient clipping for robust federated learning".
    """

    source = "ours: Allouah et al. 2025 (ARC)"

    def limit(self, lengths: Tensor) -> Tensor:
        n = len(lengths)
        clipped = 2 * self.f * (n - self.f) // n
        return lengths.sort().values[n - 1 - clipped]
