"""Relocated orthogonal perturbation: beside the reference of the server, at a right angle to its way."""

import math
from dataclasses import dataclass

import torch

from gaa_core.attacks.base import Attack, truth
from gaa_core.attacks.lean import Course, unit
from gaa_core.errors import GaaError


@dataclass(frozen=True)
class RelocatedOrthogonal(Attack):
    """reference + z * (cos(angle) * o + sin(angle) * r), after Ozfatura et al. (TIFS 2024).

    The reference is where a rule with a memory looks first: mix * mean of the honest gradients + (1 - mix) * the way
    that the parameters went last, scaled to the mean's length. r is the reference; o is the attackers' perturbation,
    minus the honest standard deviation of each coordinate, freed of its part along the reference and brought to the
    reference's length. So angle 90 lengthens the reference, 0 is at a right angle to it, 270 shortens it.

    It needs no momentum of its own: the way comes from the parameters that the server sends. Before the second step,
    and without an honest worker, the reference is the mean of the gradients at hand.
    """

    source = "ours (after Ozfatura et al. 2024; their attack adds momentum, ours reads the parameters)"

    z: float = 1.0
    angle: float = 0.0  # degrees
    mix: float = 0.5
    _course = Course()

    def __post_init__(self):
        if not 0 <= self.mix <= 1:
            raise GaaError(f"RelocatedOrthogonal needs 0 <= mix <= 1; found {self.mix}.")

    def informed(self, knowledge):
        return self.knowing(_course=self._course.after(knowledge.parameters, decay=0.0))

    def forge(self, own, honest, generator):
        rows = truth(own, honest)
        mean, spread = rows.mean(dim=0), rows.std(dim=0, correction=0)
        way = self._course.direction
        reference = mean if way is None else self.mix * mean + (1 - self.mix) * mean.norm() * way
        along = unit(reference)
        aside = unit(-spread + (spread @ along) * along) * reference.norm()
        turn = math.radians(self.angle)
        return torch.add(reference, math.cos(turn) * aside + math.sin(turn) * reference, alpha=self.z).expand_as(own)
