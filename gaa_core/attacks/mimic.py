"""Mimic: all attackers submit what one benign worker submits."""

from dataclasses import dataclass

from gaa_core.attacks.base import Attack, truth


@dataclass(frozen=True)
class Mimic(Attack):
    """A copy of one honest gradient, always of the same worker (Karimireddy et al., ICLR 2022).

    Harmless where workers are alike; where they are not, one of them is over-represented. The paper picks the worker
    that varies most in a warm-up phase; here it is given: number `worker` of the benign workers, modulo their number.
    Without an honest worker it is one of the attackers.
    """

    source = "ours (the field's; Karimireddy et al. 2022)"

    worker: int = 0

    def forge(self, own, honest, generator):
        rows = truth(own, honest)
        return rows[self.worker % len(rows)].expand_as(own)
