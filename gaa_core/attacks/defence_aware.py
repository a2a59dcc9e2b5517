"""An attacker who knows that the server looks at the quasi-validation gradient, and shows it what it wants to see."""

from dataclasses import dataclass

from gaa_core.attacks.base import Attack, truth
from gaa_core.attacks.lean import lean
from gaa_core.errors import GaaError, one_of

LEVELS = ("labels", "distribution", "samples")


@dataclass(frozen=True)
class DefenceAware(Attack):
    """The most harmful submission whose inner product with the QV gradient is not negative.

    Of the vectors as long as `scale` times the honest mean m, the one with the least inner product with m subject to
    cos(v, g) >= `cosine`, g being the gradient on the QV set: -m where that is allowed, else m's opposite turned onto
    the edge of what is. A defence that only asks whether a submission agrees with g, and bounds its length, lets it in.

    `leak` says how well g is known: "samples" exactly, "distribution" from as many other samples of the same kind,
    "labels" from the attackers' own batches, weighted to the QV set's classes. Without an honest worker, m is the mean
    of the attackers' own gradients.
    """

    source = "ours"

    scale: float = 1.0
    cosine: float = 0.0
    leak: str = "samples"
    _gradient = None
    _composition = None

    def __post_init__(self):
        if not 0 <= self.cosine < 1:
            raise GaaError(f"DefenceAware needs 0 <= cosine < 1; found {self.cosine}.")
        one_of("leak of DefenceAware", self.leak, LEVELS)

    def informed(self, knowledge):
        if self.leak == "labels":
            return self.knowing(_composition=knowledge.composition.to(knowledge.parameters))
        return self.knowing(_gradient=knowledge.qv_gradient())

    def objective(self, losses, targets):
        if self._composition is None:
            return losses.mean(dim=1)
        weights = self._composition[targets]  # [b, batch]
        return (losses * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1)

    def forge(self, own, honest, generator):
        witness = own.mean(dim=0) if self._gradient is None else self._gradient
        mean = truth(own, honest).mean(dim=0)
        return (self.scale * mean.norm() * lean(mean, witness, self.cosine)).expand_as(own)
