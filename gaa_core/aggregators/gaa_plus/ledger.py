"""What following each worker would have earned of f_B, which GAAPlus keeps late in training."""

from __future__ import annotations

import torch
from torch import Tensor


class Ledger:
    """How much faster f_B would have fallen for following each worker, summed over many steps.

    Late in training the samples are fitted, and for most steps their gradient agrees with the honest and with Byzantine
    workers by chance. What is believed may turn into its opposite then, and no cosine says so: by now they look alike
    on both sides. But an agent that follows Byzantine workers leaves the optimum, and there gradients are long and grad
    f_B tells them apart. A cosine weighs such steps like any other; a slope (the product of cosine and both lengths)
    weighs them by what is at stake. In a sum of slopes they outweigh the rest, and the model cannot be led far away
    without being called back.

    It counts against a worker that its own sum and its sum beside the others' are both below zero, or for it that both
    are above; by spreads, as in Student's t. Where roles change at every step the sums are noise: unless they are more
    than that over all workers, they say nothing.
    """

    def __init__(self, n: int, horizon: int = 100):
        self.keep = 1 - 1 / horizon
        self.steps = 0
        self.sums = torch.zeros(2, n, dtype=torch.float64)  # of slopes, and of slopes less the mean of all
        self.squares = torch.zeros(2, n, dtype=torch.float64)

    def learn(self, slopes: Tensor, counts: Tensor, finite: Tensor) -> None:
        """Take in the slopes [k] of f_B along the submissions of the `finite` [n] workers; each counts `counts` [k]."""
        self.steps += 1
        if self.steps <= 5:
            return
        beside = slopes - float(slopes @ counts) / max(float(counts.sum()), 1e-9)
        both = torch.zeros_like(self.sums)
        both[:, finite] = torch.stack([slopes, beside]).to(both)
        self.sums = self.keep * self.sums + both
        self.squares = self.keep * self.squares + both.square()

    def log_odds(self, cap: float) -> Tensor:
        """[n] that each is honest, within the cap."""
        spreads = self.sums / self.squares.sqrt().clamp_min(1e-150)
        sign = spreads.sign()
        told = spreads.abs().amin(dim=0).square() * (sign[0] == sign[1])  # 1 by chance, or less
        faith = min(1.0, max(0.0, (float(told.mean()) - 1) / 2))
        return faith * sign[0] * (told / 2 - 1).clamp(0, cap)
