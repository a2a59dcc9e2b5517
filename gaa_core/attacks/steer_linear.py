"""Proposition 1 of the paper, as an attack: one worker decides what a fixed linear rule returns."""

from dataclasses import dataclass

import torch

from gaa_core.attacks.base import Attack
from gaa_core.errors import GaaError


@dataclass(frozen=True)
class SteerLinear(Attack):
    """Makes F = sum_i alpha_i V_i equal -scale times the mean of the honest gradients, exactly.

    The first Byzantine worker knows the fixed alpha and the other submissions, and solves the one linear equation for
    its own: V_0 = (target - sum_{i>0} alpha_i V_i) / alpha_0. The other Byzantine workers stay honest: one is enough.
    `weights` are in the order Byzantine workers first; None is the plain mean.
    """

    source = "paper (Proposition 1, after Blanchard et al. 2017, Lemma 1)"

    scale: float = 1.0
    weights: tuple[float, ...] | None = None

    def forge(self, own, honest, generator):
        others = torch.cat([own[1:], honest])  # [n-1, d]
        n = len(others) + 1
        weights = torch.full((n,), 1 / n) if self.weights is None else torch.tensor(self.weights)
        if len(weights) != n or not weights[0] > 0:
            raise GaaError(f"SteerLinear needs {n} weights, the first above 0, for {n} workers; found {self.weights}.")
        weights = weights.to(own)
        target = -self.scale * others.mean(dim=0)  # [d]
        forged = own.clone()
        forged[0] = (target - weights[1:] @ others) / weights[0]
        return forged
