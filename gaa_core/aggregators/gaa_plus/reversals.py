"""When GAAPlus finds that it was wrong: what it takes back, and where it goes from there."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from gaa_core.aggregators.gaa_plus.statistics import Statistics, identical

#: Credits from which on an update is compared with all workers' mean.
COMPARED = 0.3


class Reversals:
    """The part of the state that takes back what was learned from the wrong workers."""

    def copies_beside(self, trust: np.ndarray, alike: np.ndarray) -> tuple[np.ndarray, float]:
        """What copies leave [k] of trust, and how far the trust [k] in a single one shows that they are Byzantine.

        Benign submissions are never copies, since each comes from samples of its own.
        """
        same = identical(alike)
        single = float((trust * (1 - same)).max())
        return 1 - same * max(single, self.copies), float(same.max()) * single

    def follows_all_workers(self, update: Tensor, of_all: Tensor, credits: np.ndarray) -> bool:
        """Whether workers only have unlike data, so that all workers' mean [d] is to be followed."""
        if credits.sum() > COMPARED or self.all_workers.believed:
            self.all_workers.follow(self.server, update, of_all, slope=self.yardstick)
        return self.all_workers.believed

    def admits(self, update: Tensor) -> bool:
        """Whether the watchdog lets an update [d] pass; where not, the server is told, and the trace counts it."""
        server = self.server
        trial = server.qv_loss(server.parameters - server.lr * update.to(server.parameters))
        admitted = self.watchdog.admits(server.qv_loss(), trial)
        if not admitted:
            server.refuse()
        return admitted

    def finds_ascent(self, seen: Statistics, odds: dict[str, np.ndarray]) -> bool:
        """Whether it turns out at this step that QV samples of one class have spoken for Byzantine workers.

        They ask that their class becomes likelier, and so may a worker that drives the model to one class.
        """
        if not self.one_class:
            return False
        if self.beliefs.reputation.settled() > 0.5 and not (odds["length"] >= 0).any():
            odds = {**odds, "length": np.zeros_like(seen.lengths)}  # it is the model that has run away
        trust, first = self.policy.trust(odds), self.watchdog.first
        if not self.predicted.broken(self.server.parameters, seen.gradients, trust, seen.finite, first):
            return False
        self.misled, agreement = True, self.beliefs.agreement  # which says who agrees, not who is benign
        self.reverse()
        self.beliefs.agreement = agreement
        self.beliefs.reputation.believe(self.predicted.log_odds())
        self.momentum.accepted = 1  # what it learned on the way uphill is a first guess
        self.predicted.begin()
        return True

    def reverse(self) -> None:
        """Back to the first parameters; the momentum points the other way, and nothing else stands."""
        self.momentum.turn()
        self.mirror.renew()
        self.beliefs.forget()
        self.all_workers.begin()
        self.watchdog.begin_anew()
        self.server.rollback()
