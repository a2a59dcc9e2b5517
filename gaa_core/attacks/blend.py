"""Blend: a mixture of all that attackers know, with a schedule of its own; made to be searched over."""

from dataclasses import dataclass

import torch

from gaa_core.attacks.base import Attack, truth
from gaa_core.attacks.lean import Course, unit
from gaa_core.errors import GaaError


@dataclass(frozen=True)
class Blend(Attack):
    """length * |m| * unit(mean * m' + spread * s' + course * c' + qv * g'), and a little of each worker's own noise.

    m' is the direction of the honest mean m, s' that of the honest standard deviations, c' that in which the
    parameters have been going (an average over some `1 / (1 - decay)` steps) and g' that of the gradient on the QV set,
    which the attackers know exactly. `jitter` times (own - mean of the attackers' own) is added, so that attackers
    need not be copies of each other.

    The schedule: honest before step `start`; then, in every `period` steps, an attack in the first `duty` share of
    them. With `trust` above 0 they attack only at steps at which the attackers held at least that share of all credit
    the step before (they see the server's trace), and earn it honestly meanwhile. Where a rule has no credits, `trust`
    asks for nothing. Without an honest worker, m and s are of the attackers' own.
    """

    source = "ours (the space of a search)"

    mean: float = -1.0
    spread: float = 0.0
    course: float = 0.0
    qv: float = 0.0
    length: float = 1.0
    jitter: float = 0.0
    start: int = 0
    period: int = 1
    duty: float = 1.0
    trust: float = 0.0
    decay: float = 0.9
    leak: str = "samples"
    _course = Course()
    _gradient = None
    _active = True

    def __post_init__(self):
        if not (self.length > 0 and self.jitter >= 0 and self.start >= 0 and self.period >= 1):
            raise GaaError(f"Blend needs length > 0, jitter >= 0, start >= 0 and period >= 1; found {self!r}.")
        if not (0 < self.duty <= 1 and 0 <= self.trust <= 1 and 0 <= self.decay < 1):
            raise GaaError(f"Blend needs 0 < duty <= 1, 0 <= trust <= 1 and 0 <= decay < 1; found {self!r}.")

    def informed(self, knowledge):
        gradient = knowledge.qv_gradient() if self.qv else None
        course = self._course.after(knowledge.parameters, self.decay) if self.course else self._course
        active = self.attacks_at(knowledge.step) and self._trusted(knowledge)
        return self.knowing(_course=course, _gradient=gradient, _active=active)

    def attacks_at(self, step: int) -> bool:
        """Whether the schedule has an attack at this step; the first step of every period is one."""
        return step >= self.start and (step - self.start) % self.period < max(1.0, self.duty * self.period)

    def _trusted(self, knowledge) -> bool:
        if self.trust == 0 or knowledge.credits is None:
            return True
        credits = knowledge.credits.nan_to_num(0.0)
        held = credits[knowledge.byzantine.to(credits.device)].sum()
        return bool(held >= self.trust * credits.sum().clamp_min(torch.finfo(credits.dtype).tiny))

    def forge(self, own, honest, generator):
        if not self._active:
            return own
        rows = truth(own, honest)
        mean = rows.mean(dim=0)
        blend = self.mean * unit(mean) + self.spread * unit(rows.std(dim=0, correction=0))
        if self._course.direction is not None:
            blend = blend + self.course * self._course.direction.to(blend)
        if self._gradient is not None:
            blend = blend + self.qv * unit(self._gradient).to(blend)
        noise = self.jitter * (own - own.mean(dim=0))  # [b, d]
        return self.length * mean.norm() * unit(blend) + noise
