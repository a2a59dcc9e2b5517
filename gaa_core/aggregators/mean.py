from dataclasses import dataclass

from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import WeightedAggregator


@dataclass(frozen=True)
class Mean(WeightedAggregator):
    """The mean of the submissions, sum_i V_i / n: the classical rule, which one Byzantine worker can steer anywhere.

    A sum of products by 1/n: the mean of equal rows is that row within a rounding or two, not to the last bit.
    O(nd). Source: Pan et al. 2020, section 2.
    """

    source = "paper: Pan et al. 2020, section 2 (the classical GAR)"
    exempt = dict.fromkeys(("outliers", "outliers far from zero"), "one worker steers it")

    def _at_once(self, gradients: Tensor) -> tuple[Tensor, Tensor] | None:
        update, weights = self._decide(gradients)  # a NaN or an infinity anywhere reaches it, since no weight is 0
        return (update, weights) if kernels.all_finite(update) else None

    def weigh(self, gradients: Tensor) -> Tensor:  # [n, d] -> [n]
        return gradients.new_full((len(gradients),), 1.0 / len(gradients))
