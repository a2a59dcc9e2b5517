"""Min-sum: as far out as the honest worker with the most distant others."""

from dataclasses import dataclass

from gaa_core.attacks.base import Attack, truth
from gaa_core.attacks.min_max import PERTURBATIONS, perturbation, squared_distances
from gaa_core.errors import one_of


@dataclass(frozen=True)
class MinSum(Attack):
    """mean + gamma * p with the largest gamma whose summed squared distance is no greater than an honest worker's.

    sum_i |v - v_i|^2 <= max_i sum_j |v_i - v_j|^2 (Shejwalkar and Houmansadr, NDSS 2021). The offsets
    from the mean add up to 0, so that gamma^2 = (bound - sum_i |mean - v_i|^2) / (h |p|^2), exactly. `along` is as in
    MinMax. Without an honest worker the attackers' own gradients take their place.
    """

    source = "ours (the field's; Shejwalkar and Houmansadr 2021)"

    along: str = "std"

    def __post_init__(self):
        one_of("perturbation", self.along, PERTURBATIONS)

    def forge(self, own, honest, generator):
        rows = truth(own, honest).double()
        mean, direction = rows.mean(dim=0), perturbation(rows, self.along)
        square = direction @ direction
        if square == 0:
            return mean.to(own).expand_as(own)
        slack = squared_distances(rows).sum(dim=1).max() - (rows - mean).square().sum()
        gamma = (slack.clamp_min(0) / (len(rows) * square)).sqrt()
        return (mean + gamma * direction).to(own).expand_as(own)
