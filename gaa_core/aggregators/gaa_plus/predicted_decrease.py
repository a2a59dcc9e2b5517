"""Whether the credited predict a greater decrease than a loss can have: then it rises, and they are Byzantine."""

from __future__ import annotations

import torch
from torch import Tensor


class PredictedDecrease:
    """How far the loss has fallen by what workers say of the way that the model has gone.

    A gradient at the end of a step says how the loss has changed along that step: its noise is not that of the step's
    own, and where the loss is convex it never says too much of a fall. The cross-entropy is not below 0, so from any
    step on no more can be predicted than there is left of it, which is about its first value at most. A worker that
    says the opposite of a gradient predicts what the loss rises by, and that has no bound: where it leads,
    gradients get longer and longer. This asks the QV samples for nothing but the scale. Source: ours.
    """

    bound = 1.25  # first values of the loss, which are too much
    at_once = 0.25  # of them, which a step counts for at most: one step may be a single Byzantine worker's

    def __init__(self, n: int):
        self.own = torch.zeros(n, dtype=torch.float64)  # what each worker has predicted, in first values of the loss
        self.begin()

    def begin(self) -> None:
        """From here on, with nothing predicted."""
        self.before: Tensor | None = None  # [d], the parameters that the step before began with
        self.total = 0.0  # what the trusted have predicted
        self.own.zero_()

    def broken(self, parameters: Tensor, gradients: Tensor, trust: Tensor, finite: Tensor, first: float) -> bool:
        """Take in a step; whether the trusted predicted more than a loss can fall by that was `first` at first.

        parameters [d] that it begins with; submissions [k, d] of the `finite` [n] workers, trusted so far [k].
        """
        before, self.before = self.before, parameters.clone()
        if before is None:
            return False
        fall = (gradients @ (before - parameters).to(gradients.dtype)).double() / max(first, 1e-12)  # [k]
        fall = fall.nan_to_num(0.0).clamp(-self.at_once, self.at_once)
        self.own[finite] += fall
        if trust.sum() > 0.3:
            self.total = max(0.0, self.total + float(fall @ trust / trust.sum()))
        return self.total > self.bound

    def log_odds(self, cap: float) -> Tensor:
        """[n] that each is honest, now that predicted decreases were broken, by its own."""
        return (-3.0 * self.own).clamp(-cap, cap)
