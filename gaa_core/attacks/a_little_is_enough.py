"""A little is enough: a shift that hides within the spread of the honest."""

from dataclasses import dataclass
from statistics import NormalDist

from torch import Tensor

from gaa_core.attacks.base import Attack, truth
from gaa_core.errors import GaaError

#: z where nothing bounds it: attackers in a majority need no honest supporter.
UNBOUNDED_Z = 1.5


@dataclass(frozen=True)
class ALittleIsEnough(Attack):
    """mean - z * std, coordinate by coordinate, over the honest gradients (Baruch et al., NeurIPS 2019).

    The standard deviation divides by h, not h - 1. With `z=None` it is the paper's: s = floor(n/2 + 1) - b honest
    supporters are needed for a majority, and z is the normal quantile of (n - b - s) / (n - b). A majority of
    attackers needs none; then z is 1.5 (ours). Without an honest worker, mean and std are of the attackers' own.
    """

    source = "ours (the field's; Baruch et al. 2019)"

    z: float | None = None

    def forge(self, own, honest, generator):
        mean, std = moments(truth(own, honest))
        z = largest_z(len(own) + len(honest), len(own)) if self.z is None else self.z
        return (mean - z * std).expand_as(own)


def moments(gradients: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (dividing by the number of rows) of each coordinate, [d] and [d]."""
    return gradients.mean(dim=0), gradients.std(dim=0, correction=0)


def largest_z(n: int, attackers: int) -> float:
    """The paper's z for n workers of which this many attack, never below 0."""
    if not 0 <= attackers <= n:
        raise GaaError(f"ALittleIsEnough needs 0 to {n} attackers of {n} workers; found {attackers}.")
    honest = n - attackers
    supporters = n // 2 + 1 - attackers
    if supporters <= 0:
        return UNBOUNDED_Z
    share = (honest - supporters) / honest
    return max(0.0, NormalDist().inv_cdf(share)) if share > 0 else 0.0
