"""Mimic, then turn: earn trust by saying what the most trusted says, then spend it."""

from dataclasses import dataclass

from gaa_core.attacks.base import Attack, truth


@dataclass(frozen=True)
class MimicThenTurn(Attack):
    """A copy of the most credited honest submission before step `until`; -scale * the honest mean from then on.

    The attackers see last step's credits (the strongest assumption: a server that publishes its trace). Of a rule
    without credits, and at the first step, they copy the first honest worker. Unlike `pretense` they do not compute
    honest gradients of their own meanwhile: they are as like the trusted one as can be. Without an honest worker
    the attackers' own gradients take their place.
    """

    source = "ours"

    until: int = 100
    scale: float = 1.0
    _step = 0
    _favourite = 0  # place of the most credited worker among the honest

    def informed(self, knowledge):
        favourite = 0
        if knowledge.credits is not None and not knowledge.byzantine.all():
            favourite = int(knowledge.credits[~knowledge.byzantine.to(knowledge.credits.device)].argmax())
        return self.knowing(_step=knowledge.step, _favourite=favourite)

    def forge(self, own, honest, generator):
        rows = truth(own, honest)
        if self._step < self.until:
            return rows[self._favourite % len(rows)].expand_as(own)
        return (rows.mean(dim=0) * -self.scale).expand_as(own)
