"""Sign flip: the truth, turned round."""

from dataclasses import dataclass

from gaa_core.attacks.base import Attack, truth


@dataclass(frozen=True)
class SignFlip(Attack):
    """-scale * mean of the honest gradients, the same from every attacker.

    GradientReversion turns each worker's own estimate; this one, which is omniscient, turns the best estimate
    there is. Without an honest worker the mean is that of the attackers' own.
    """

    source = "ours (the field's; Li et al. 2019 (RSA), of the mean)"

    scale: float = 1.0

    def forge(self, own, honest, generator):
        return (truth(own, honest).mean(dim=0) * -self.scale).expand_as(own)
