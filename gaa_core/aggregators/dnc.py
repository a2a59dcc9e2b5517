from dataclasses import dataclass

import torch
from torch import Tensor

from gaa_core import kernels, seeding
from gaa_core.aggregators import spectra
from gaa_core.aggregators.base import Tolerates, WeightedAggregator, check_count
from gaa_core.errors import GaaError


@dataclass(frozen=True, repr=False)
class DnC(Tolerates, WeightedAggregator):
    """Divide and conquer: the mean of the submissions that stand out along no principal direction.

    Each of `rounds` draws that many random `coordinates`, scores workers by their squared projection on the top
    singular vector of the centred sample and drops the `strength * f` greatest; a worker must survive every round. The
    draws depend on `seed` alone, so that the same submissions give the same answer. When rounds leave none, the
    update is the mean of the last round's survivors. Needs n >= 2f+1; O(n^2 d) at most. Source: Shejwalkar and
    Houmansadr 2021, "Manipulating the Byzantine".
    """

    rounds: int = 1
    coordinates: int = 10_000
    strength: float = 1.0
    seed: int = 0
    source = "ours: Shejwalkar and Houmansadr 2021"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self, "rounds", self.rounds, least=1)
        check_count(self, "coordinates", self.coordinates, least=1)
        if not 0.0 < self.strength <= 2.0:
            raise GaaError(f"DnC needs a strength above 0 and at most 2; found {self.strength!r}.")

    def weigh(self, gradients: Tensor) -> Tensor:  # [n, d] -> [n]
        n, d = gradients.shape
        keep = n - int(self.strength * self.f)
        generator = seeding.generator(self.seed, "dnc")
        good = torch.ones(n, dtype=torch.bool, device=gradients.device)
        for _ in range(self.rounds):
            drawn = torch.randperm(d, generator=generator)[: self.coordinates].to(gradients.device)
            sample = gradients[:, drawn]
            gram, _ = kernels.gram(sample, kernels.probable_centre(sample), torch.float64)
            _, along = spectra.top_direction(gram, torch.full_like(gram[0], 1.0 / n))
            survivors = along.square().argsort(stable=True)[:keep]
            passed = torch.zeros_like(good).index_fill_(0, survivors, True)
            good = good & passed if (good & passed).any() else passed
        return good.to(gradients.dtype) / good.sum()
