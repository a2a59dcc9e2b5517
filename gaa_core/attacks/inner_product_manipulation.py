"""Inner-product manipulation: small, and against the truth."""

from dataclasses import dataclass

from gaa_core.attacks.base import Attack, truth


@dataclass(frozen=True)
class InnerProductManipulation(Attack):
    """-epsilon * mean of the honest gradients (Xie et al., UAI 2019).

    With a small epsilon it is near every honest gradient in distance, yet enough of them turn the inner product of
    the aggregate with the truth negative; with epsilon above 1 it is a sign flip. Without an honest worker the mean is
    that of the attackers' own.
    """

    source = "ours (the field's; Xie et al. 2019)"

    epsilon: float = 0.5

    def forge(self, own, honest, generator):
        return (truth(own, honest).mean(dim=0) * -self.epsilon).expand_as(own)
