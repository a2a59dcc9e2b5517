"""Slow drift: agree with where the model has been going, and turn it a little every time."""

from dataclasses import dataclass

from gaa_core.attacks.base import Attack, truth
from gaa_core.attacks.lean import Course, lean
from gaa_core.errors import GaaError


@dataclass(frozen=True)
class SlowDrift(Attack):
    """Against a defence that trusts agreement with a memory of past updates: agreement, and all else against the truth.

    The memory is an exponential average of past updates, which anybody can follow in the parameters that the server
    sends. Of the vectors as long as `scale` times the honest mean m, the attackers submit the one with the least
    inner product with m whose cosine with the memory is at least `cosine`. Each accepted one turns the memory itself
    towards the attack. Before the second step there is no memory and they are honest. Without an honest worker, m is
    the mean of their own gradients.
    """

    source = "ours"

    cosine: float = 0.3
    decay: float = 0.9
    scale: float = 1.0
    _course = Course()

    def __post_init__(self):
        if not (0 <= self.cosine < 1 and 0 <= self.decay < 1):
            raise GaaError(f"SlowDrift needs 0 <= cosine < 1 and 0 <= decay < 1; found {self.cosine}, {self.decay}.")

    def informed(self, knowledge):
        return self.knowing(_course=self._course.after(knowledge.parameters, self.decay))

    def forge(self, own, honest, generator):
        memory = self._course.direction
        if memory is None:
            return own
        mean = truth(own, honest).mean(dim=0)
        return (self.scale * mean.norm() * lean(mean, memory, self.cosine)).expand_as(own)
