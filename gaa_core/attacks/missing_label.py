"""The missing-label attack: please the quasi-validation set, and unlearn what it does not ask about."""

from dataclasses import dataclass

import torch

from gaa_core.attacks.base import Attack
from gaa_core.errors import GaaError


@dataclass(frozen=True)
class MissingLabel(Attack):
    """The gradient of covered * (mean loss on classes in the QV set) - (mean loss on classes that it lacks).

    What the server measures falls, what it does not measure rises. The attacker knows which classes the QV set holds
    (`leak` "labels"); a set that lacks none cannot be attacked so and raises. Variants of the reconstruction: from
    step `start` on (honest before) with covered=2, or `period=1000, last=4`: in the last 4 of every 1000 steps only.
    A batch without samples of one side counts 0 for it.
    """

    source = "reconstruction (weights 10 and 2, variants); losses as means over each side's samples: ours"

    covered: float = 10.0
    start: int = 0
    period: int | None = None
    last: int = 4
    leak: str = "labels"
    _held = None  # bool [classes]: in the QV set
    _active = True

    def __post_init__(self):
        if self.period is not None and not 1 <= self.last <= self.period:
            raise GaaError(f"MissingLabel needs 1 <= last <= period; found last={self.last}, period={self.period}.")

    def informed(self, knowledge):
        if knowledge.composition is None or (knowledge.composition > 0).all():
            raise GaaError(
                f"{self!r} needs a leak of 'labels' or more and a QV set that lacks some classes: "
                "use run(..., qv_source='missing_classes')."
            )
        held = knowledge.composition.to(knowledge.parameters.device) > 0
        return self.knowing(_held=held, _active=self.attacks_at(knowledge.step))

    def attacks_at(self, step: int) -> bool:
        """Whether this step is one of the attack; it is honest at the others."""
        within = self.period is None or step % self.period >= self.period - self.last
        return step >= self.start and within

    def objective(self, losses, targets):
        if not self._active or self._held is None:
            return losses.mean(dim=1)
        held = self._held[targets].to(losses.dtype)  # [b, batch]
        return self.covered * _mean(losses, held) - _mean(losses, 1 - held)


def _mean(losses: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (losses * mask).sum(dim=1) / mask.sum(dim=1).clamp_min(1)  # [b, batch] -> [b]
