from dataclasses import dataclass

from torch import Tensor

from gaa_core.aggregators.composition import RowScaling
from gaa_core.errors import GaaError


@dataclass(frozen=True)
class NormClipping(RowScaling):
    """Submissions longer than `bound` shortened to it, directions kept.

    `bound=None` is the median norm (ours), so that no scale must be known. O(nd).
    Source: Sun et al. 2019, "Can you really backdoor federated learning?".
    """

    bound: float | None = None
    source = "ours: Sun et al. 2019"

    def __post_init__(self) -> None:
        if self.bound is not None and not self.bound > 0.0:
            raise GaaError(f"NormClipping needs a bound above 0, or None; found {self.bound!r}.")

    def limit(self, lengths: Tensor) -> Tensor | float:
        return lengths.median() if self.bound is None else self.bound
