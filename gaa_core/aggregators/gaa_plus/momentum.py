"""Where submissions have been pointing, and how much each coordinate varies in what is submitted."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.gaa_plus.statistics import MANY

#: Steps in the momentum and in the second moment.
HORIZON = 50
#: Of the second moment's mean, added before dividing by it.
DAMPING = 0.3
#: The most that speaks for the momentum's sign, where it is reversed, and what a full vote of grad f_B is worth.
STANDING, REVERSED, VOTE = 5.0, -2.0, 1.15
#: The shortest submission whose inverse length is finite in float32.
SHORTEST = 1e-37


class Momentum:
    """The average direction of the contrast between two kinds of workers, and its sign's log-odds.

    Byzantine submissions that are the opposite of something tell of it, too. Its witness is preconditioned: coordinates
    that swing to and fro, as along a stiff direction of the loss, say nothing of who is benign.
    """

    def __init__(self, d: int):
        self.average = torch.zeros(d)
        self.square = torch.zeros(d)
        self.damped = torch.ones(d)  # what directions are divided by: the second moment with a part of its mean
        self.accepted = self.seen = 0
        self.standing = 0.0  # log-odds that the average points the right way, by the votes of the QV gradient

    def calm(self, vector: Tensor) -> Tensor:
        """A direction [d] divided by the damped second moment of submissions."""
        return vector / self.damped

    def whitened(self, gradients: Tensor, columns: slice | Tensor = slice(None)) -> Tensor:
        """Submissions [n, c] at some columns, each column divided by its usual size, as peers are compared."""
        return gradients * self.damped[columns].rsqrt().to(gradients.dtype)

    def accept(self, contrast: Tensor) -> None:
        """Follow a direction [d], not its length, by which one wild step would outweigh many."""
        length = float(kernels.norms(contrast[None]))
        if length == 0.0:
            return
        self.accepted += 1
        self.average.lerp_((contrast / length).to(self.average), max(1 / HORIZON, 1 / self.accepted))

    def note(self, gradients: Tensor, lengths: np.ndarray) -> None:
        """The second moment of submissions [n, d] of all workers, each at length 1; of many coordinates a part."""
        present = lengths > 0
        if not present.any():
            return
        parts = 1 if self.seen == 0 or len(self.square) <= MANY else 4
        scales = np.where(present, 1 / np.maximum(lengths, SHORTEST), 0.0)[:, None]
        scales = torch.from_numpy(scales).to(gradients.dtype)
        count = int(present.sum())
        share = max(1 / HORIZON, 1 / (self.seen + 1)) if parts == 1 else min(1.0, parts / HORIZON)
        for place, block in enumerate(kernels.column_blocks(gradients)):
            if place % parts == self.seen % parts:
                units = gradients[:, block] * scales
                moment = torch.linalg.vecdot(units, units, dim=0) / count
                self.square[block].lerp_(moment.to(self.square), share)
        self.damped = (self.square + DAMPING * self.square.mean()).clamp_min(torch.finfo(self.square.dtype).tiny)
        self.seen += 1

    def vote(self, own: np.ndarray, judge: np.ndarray, counts: np.ndarray, worth: float = 1.0) -> bool:
        """Compare its own cosines [k] with the QV gradient's: one vote a step. True when it has been reversed.

        A QV gradient errs for all submissions of a step at once, and rightly or wrongly the momentum confirms itself:
        what speaks for it is the votes alone. Copies have one voice, by `counts` [k], and a vote counts for `worth`.
        """
        scale = math.sqrt((counts @ own**2) * (counts @ judge**2))
        if scale > 0:
            agreement = float(counts @ (own * judge) / scale)
            weight = VOTE * worth * min(1.0, float(counts.sum()))
            self.standing = min(self.standing + weight * agreement * abs(agreement), STANDING)
        if self.standing > REVERSED:
            return False
        self.turn()
        return True

    def adopt(self, average: Tensor, accepted: int, standing: float) -> None:
        """Begin with a direction [d] that was learned elsewhere from so many steps, and what speaks for its sign."""
        self.average, self.accepted, self.standing = average.to(self.average), accepted, standing

    def turn(self) -> None:
        """It has pointed the wrong way."""
        self.standing = max(abs(self.standing), -REVERSED)
        self.average.neg_()

    def credibility(self) -> float:
        """How far its cosines speak, in [0, 1]."""
        return max(0.0, math.tanh(self.standing / 2))
