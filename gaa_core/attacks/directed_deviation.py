"""Directed deviation: every coordinate pushed just past the benign values, against their sign."""

from dataclasses import dataclass

import torch

from gaa_core.attacks.base import Attack, truth
from gaa_core.errors import GaaError


@dataclass(frozen=True)
class DirectedDeviation(Attack):
    """Fang et al.'s attack on mean, median and trimmed mean (USENIX Security 2020).

    Where the honest mean of a coordinate is positive, a value drawn evenly between the honest minimum and what lies a
    factor `stretch` below it (min / stretch if the minimum is positive, else min * stretch); elsewhere the mirror
    image above the maximum. Drawn for every attacker by itself. Without an honest worker the attackers' own gradients
    give minimum and maximum.
    """

    source = "ours (the field's; Fang et al. 2020)"

    stretch: float = 2.0

    def __post_init__(self):
        if not self.stretch > 1:
            raise GaaError(f"DirectedDeviation needs stretch > 1; found {self.stretch}.")

    def forge(self, own, honest, generator):
        rows = truth(own, honest)
        rising = rows.mean(dim=0) > 0  # [d]
        edge = torch.where(rising, rows.amin(dim=0), rows.amax(dim=0))
        outward = torch.where((edge > 0) == rising, 1 / self.stretch, self.stretch)  # away from the honest values
        draws = torch.rand(own.shape, generator=generator, dtype=own.dtype).to(own.device)  # [b, d]
        return edge * (1 + draws * (outward - 1))
