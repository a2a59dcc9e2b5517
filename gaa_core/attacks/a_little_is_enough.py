"""A little is enough: a shift that hides within the spread of the benign gradients."""

from dataclasses import dataclass
from statistics import NormalDist

from torch import Tensor

from gaa_core.attacks.base import Attack, truth
from gaa_core.errors import GaaError, one_of

#: z where nothing bounds it: attackers in a majority need no benign supporter.
UNBOUNDED_Z = 1.5


#: Whose share the normal quantile is taken of.
SHARES = ("all", "benign")


@dataclass(frozen=True)
class ALittleIsEnough(Attack):
    """mean - z * std, coordinate by coordinate, over the benign gradients (Baruch et al., NeurIPS 2019).

    The standard deviation divides by h, not h - 1. With `z=None`, s = floor(n/2 + 1) - b benign supporters are needed
    for a majority, and z is a normal quantile, for which two conventions are in use: (n - s) / n with share="all", as
    in the libraries krum and byzpy, and (n - b - s) / (n - b) with share="benign". The first is never the smaller, and
    so the default: by the second two of ten attackers submit the mean itself. A majority of attackers needs no
    supporter; then z is 1.5 (ours). Without a benign worker, mean and std are of the attackers' own.
    """

    source = "ours (the field's; Baruch et al. 2019)"

    z: float | None = None
    share: str = "all"

    def __post_init__(self):
        one_of("share of ALittleIsEnough", self.share, SHARES)

    def forge(self, own, honest, generator):
        mean, std = moments(truth(own, honest))
        z = largest_z(len(own) + len(honest), len(own), self.share) if self.z is None else self.z
        return (mean - z * std).expand_as(own)


def moments(gradients: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (dividing by the number of rows) of each coordinate, [d] and [d]."""
    return gradients.mean(dim=0), gradients.std(dim=0, correction=0)


def largest_z(n: int, attackers: int, share: str = "all") -> float:
    """z for n workers of which this many attack, never below 0."""
    if not 0 <= attackers <= n:
        raise GaaError(f"ALittleIsEnough needs 0 to {n} attackers of {n} workers; found {attackers}.")
    supporters = n // 2 + 1 - attackers
    if supporters <= 0:
        return UNBOUNDED_Z
    of = n if share == "all" else n - attackers
    quantile = (of - supporters) / of
    return max(0.0, NormalDist().inv_cdf(quantile)) if quantile > 0 else 0.0
