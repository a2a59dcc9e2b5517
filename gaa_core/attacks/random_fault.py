"""Random fault: noise that has nothing to do with the data."""

from dataclasses import dataclass

import torch

from gaa_core.attacks.base import Attack


@dataclass(frozen=True)
class RandomFault(Attack):
    """offset + std * N(0, I), whatever the honest gradient is.

    The default is the random fault of Blanchard et al. (NeurIPS 2017: variance 200^2), to which the paper
    points. `RandomFault(std=2e-6, offset=0.01)` is the reconstruction's: almost a constant shift.
    """

    source = "paper (named); scale of Blanchard et al. 2017; small scale: reconstruction"

    std: float = 200.0
    offset: float = 0.0

    def forge(self, own, honest, generator):
        noise = torch.randn(own.shape, generator=generator, dtype=own.dtype).to(own.device)  # [b, d]
        return noise.mul_(self.std).add_(self.offset)
