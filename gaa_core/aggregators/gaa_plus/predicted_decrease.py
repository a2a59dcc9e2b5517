"""Whether the credited predict a greater decrease than a loss can have: then it rises, and they are Byzantine."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from gaa_core.aggregators.gaa_plus.evidence import CAP

#: First values of the loss whose predicted fall is too much, and what one step counts for at most.
TOO_MUCH, AT_ONCE = 1.25, 0.25
#: What the predictions of a worker say against it, in log-odds per first value of the loss.
AGAINST = 3.0


class PredictedDecrease:
    """How far the loss has fallen by what the submissions say of the way that the model has gone.

    A gradient at the end of a step predicts how the loss has changed along it; where the loss is convex, never too
    great a fall. The cross-entropy is not below 0, so that no more can be predicted than its first value. A worker that
    reverses its gradient predicts a fall where the loss rises, and that has no bound. Source: ours.
    """

    def __init__(self, n: int):
        self.own = np.zeros(n)  # what each worker has predicted, in first values of the loss
        self.begin()

    def begin(self) -> None:
        """Forget all predictions."""
        self.before: Tensor | None = None  # [d], the parameters that the step before began with
        self.total = 0.0  # what the trusted have predicted
        self.own[:] = 0.0

    def broken(
        self, parameters: Tensor, gradients: Tensor, trust: np.ndarray, finite: np.ndarray, first: float
    ) -> bool:
        """Take in a step; whether the trusted predicted more than a loss can fall by that was `first` at first.

        parameters [d] that it begins with; submissions [k, d] of the `finite` [n] workers, trusted so far [k].
        """
        before, self.before = self.before, parameters.clone()
        if before is None:
            return False
        fall = (gradients @ (before - parameters).to(gradients.dtype)).double().numpy() / max(first, 1e-12)  # [k]
        fall = np.nan_to_num(fall, posinf=0.0, neginf=0.0).clip(-AT_ONCE, AT_ONCE)
        self.own[finite] += fall
        if trust.sum() > 0.3:
            self.total = max(0.0, self.total + float(fall @ trust / trust.sum()))
        return self.total > TOO_MUCH

    def log_odds(self) -> np.ndarray:
        """[n] of being benign, by each worker's own predictions."""
        return (-AGAINST * self.own).clip(-CAP, CAP)
