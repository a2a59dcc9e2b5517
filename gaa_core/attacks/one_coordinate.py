"""One coordinate: a large error hidden in one place of many."""

from dataclasses import dataclass

from gaa_core.attacks.base import Attack
from gaa_core.errors import GaaError


@dataclass(frozen=True)
class OneCoordinate(Attack):
    """The worker's own gradient, plus scale * sqrt(d) on one coordinate.

    Small beside the norm of d honest noises, yet all of it in one direction (compare El Mhamdi et al., ICML 2018).
    """

    source = "reconstruction (scale 0.1)"
    colludes = False

    scale: float = 0.1
    coordinate: int = 0

    def forge(self, own, honest, generator):
        d = own.shape[1]
        if not -d <= self.coordinate < d:
            raise GaaError(f"{self!r} needs a coordinate below {d}, the number of parameters.")
        forged = own.clone()
        forged[:, self.coordinate] += self.scale * d**0.5
        return forged
