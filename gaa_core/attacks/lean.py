"""Directions for attackers who must look honest to somebody: against one vector while agreeing with another."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def unit(vector: Tensor) -> Tensor:
    """The direction of a vector [d]; 0 where it has none."""
    norm = vector.norm()
    return vector / norm if norm > torch.finfo(vector.dtype).tiny else torch.zeros_like(vector)


def lean(against: Tensor, witness: Tensor, cosine: float) -> Tensor:
    """The unit vector farthest from `against` among those whose cosine with `witness` is at least `cosine`.

    Where that condition costs nothing it is simply the opposite of `against`; else it lies in the plane of the two,
    on the edge of what is allowed. A witness without a direction forbids nothing. Where the two are parallel no way
    aside is better than another, and what is left is the shorter vector cosine * witness.
    """
    opposite, witness = unit(-against), unit(witness)
    agreement = opposite @ witness
    if not witness.any() or agreement >= cosine:
        return opposite
    aside = unit(opposite - agreement * witness)
    return cosine * witness + (1 - cosine**2) ** 0.5 * aside


@dataclass(frozen=True, eq=False)
class Course:
    """Where the parameters have been going: an exponential average of steps, from the parameters alone."""

    last: Tensor | None = None  # the latest parameters, [d]
    average: Tensor | None = None  # of theta_{t-1} - theta_t, [d]

    def after(self, parameters: Tensor, decay: float) -> Course:
        """The course once these parameters have been seen too; `decay` 0 remembers the last step only."""
        if self.last is None:
            return Course(parameters)
        step = self.last - parameters
        old = torch.zeros_like(step) if self.average is None else self.average
        return Course(parameters, decay * old + (1 - decay) * step)

    @property
    def direction(self) -> Tensor | None:
        """The average as a unit vector [d]; None before the second parameters."""
        return None if self.average is None else unit(self.average)
