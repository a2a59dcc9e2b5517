"""Switcher: one of two tampering algorithms, chosen by a coin."""

from dataclasses import dataclass

import torch

from gaa_core.attacks.base import Attack


@dataclass(frozen=True)
class Switcher(Attack):
    """Each submission is, with probability 1/2, a gradient reversion, else a random fault.

    The coin is tossed per submission, not per step: at one step some of the attackers do one, some the other. The
    default fault is the reconstruction's (almost a constant shift).
    """

    source = "reconstruction"

    scale: float = 1.0  # of the reversion
    std: float = 2e-6  # of the random fault
    offset: float = 0.01

    def forge(self, own, honest, generator):
        reverted = own * -self.scale
        noise = torch.randn(own.shape, generator=generator, dtype=own.dtype).to(own.device)
        fault = noise.mul_(self.std).add_(self.offset)
        coins = torch.rand(len(own), 1, generator=generator).to(own.device)  # [b, 1]
        return torch.where(coins < 0.5, reverted, fault)
