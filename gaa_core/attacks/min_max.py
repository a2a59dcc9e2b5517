"""Min-max: as far out as no farther than two honest workers are from each other."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gaa_core.attacks.base import Attack, truth
from gaa_core.errors import one_of

PERTURBATIONS = ("std", "unit", "sign")


@dataclass(frozen=True)
class MinMax(Attack):
    """mean + gamma * p with the largest gamma that is no farther from a benign gradient than two of these are apart.

    max_i |v - v_i| <= max_ij |v_i - v_j| (Shejwalkar and Houmansadr, NDSS 2021). The paper searches
    gamma by halving; each constraint is a quadratic in gamma, and the least of their greater roots is exact. `along`
    is p: "std" (minus the standard deviation of each coordinate), "unit" (minus the mean's direction) or "sign" (minus
    the mean's signs). With one honest worker gamma is 0; without one the attackers' own take their place.
    """

    source = "ours (the field's; Shejwalkar and Houmansadr 2021)"

    along: str = "std"

    def __post_init__(self):
        one_of("perturbation", self.along, PERTURBATIONS)

    def forge(self, own, honest, generator):
        rows = truth(own, honest).double()
        mean, direction = rows.mean(dim=0), perturbation(rows, self.along)
        offsets = mean - rows  # [h, d]
        square = direction @ direction
        if square == 0:
            return mean.to(own).expand_as(own)
        half = offsets @ direction  # [h]
        slack = squared_distances(rows).max() - offsets.square().sum(dim=1)  # [h], never negative
        roots = (-half + (half.square() + square * slack.clamp_min(0)).sqrt()) / square
        return (mean + roots.min().clamp_min(0) * direction).to(own).expand_as(own)


def perturbation(rows: Tensor, along: str) -> Tensor:
    """The direction of the attack, [d], from the honest gradients [h, d]."""
    mean = rows.mean(dim=0)
    if along == "std":
        return -rows.std(dim=0, correction=0)
    if along == "sign":
        return -mean.sign()
    return -mean / mean.norm().clamp_min(torch.finfo(mean.dtype).tiny)


def squared_distances(rows: Tensor) -> Tensor:
    """Squared distances [h, h], from the centred rows."""
    centred = rows - rows.mean(dim=0)
    gram = centred @ centred.T
    squares = gram.diagonal()
    return (squares[:, None] + squares[None, :] - 2 * gram).clamp_min(0)
