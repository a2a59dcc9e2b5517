"""Submissions that are the same: honest ones never are, since each comes from samples of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from gaa_core.aggregators.sight import identical


@dataclass
class Copies:
    """What is known of identical submissions. `alike` [k] says how many are the same as each."""

    horizon: int  # steps over which it is learned

    known: float = 0.0  # how far it is known that they are liars'
    of_liars: float = 0.0  # the share of the distrusted that they are
    credited: float = 0.0  # the share of late credits that they got

    def doubt(self, trust: Tensor, alike: Tensor) -> tuple[Tensor, float]:
        """Identical submissions count as far as no single one is trusted.

        Trust [k] after that, and how far this step shows that identical ones are liars': once that is known, they are
        doubted also where there is no single one.
        """
        same = identical(alike)
        single = (trust * (1 - same)).max()
        return trust * (1 - same * single.clamp(min=self.known)), float(same.max() * single)

    def log_odds(self, alike: Tensor) -> Tensor:
        """[k]: where liars give themselves away as copies, being the only one of its kind speaks for a worker."""
        return -math.log(1 - 0.95 * self.of_liars) * (1 - identical(alike))

    def hidden(self, alike: Tensor) -> Tensor:
        """How far each [k] has not given itself away as a copy."""
        return 1 - identical(alike) * self.known

    def deceived(self, beside: float) -> bool:
        """Whether credits went to copies, and now there are, in [0, 1], some `beside` a single one: they are liars'."""
        return self.credited > 0.5 and beside > 0.5

    def expose(self, shown: float, rate: float) -> None:
        """Take in how far a step showed that copies are liars'."""
        self.known += rate * max(0.0, shown - self.known)

    def learn(self, trust: Tensor, alike: Tensor) -> None:
        """Take in how many of the distrusted are copies."""
        distrust = 1 - trust
        total = float(distrust.sum())
        if total > 0.1:
            share = float(distrust @ identical(alike)) / total
            self.of_liars += (share - self.of_liars) * min(1.0, total) / self.horizon

    def credit(self, credits: Tensor, alike: Tensor) -> None:
        """Take in who got credit [k]."""
        self.credited += (float(credits @ identical(alike)) - self.credited) / self.horizon
