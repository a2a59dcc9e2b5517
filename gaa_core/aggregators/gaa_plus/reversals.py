"""When GAAPlus finds that it was wrong: what it takes back, and where it goes from there."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from gaa_core.aggregators.gaa_plus.statistics import Statistics, identical, unit

#: Credits from which on an update is compared with all workers' mean.
COMPARED = 0.3
#: Of its first value, above which f_B has not fallen enough for attackers to have fitted it.
FALLEN = 0.8
#: Alarms after which the QV samples are asked again: they were not what attackers knew.
ALARMS = 3
#: Log-odds of the momentum that points against what was exposed.
AGAINST_EXPOSED = 2.0


class Reversals:
    """The part of the state that takes back what was learned from the wrong workers."""

    def doubt(self, trust: np.ndarray, alike: np.ndarray) -> tuple[np.ndarray, float]:
        """Trust [k], but in copies as far as a single submission is trusted, or they are known to be Byzantine.

        Benign submissions are never copies, since each comes from samples of its own. Also how far this step shows it.
        """
        same = identical(alike)
        single = (trust * (1 - same)).max()
        return trust * (1 - same * max(single, self.copies)), float(same.max() * single)

    def follows_all_workers(self, update: Tensor, of_all: Tensor, credits: np.ndarray) -> bool:
        """Whether workers only have unlike data, so that all workers' mean [d] is to be followed."""
        if self.leakage.known:
            return False  # a fall of f_B is what Byzantine workers offer
        compared = credits.sum() > COMPARED or self.all_workers.believed
        if compared and self.all_workers.follow(self.server, update, of_all, slope=self.yardstick):
            self.kept.roll_back(self.server, self.momentum, self.beliefs)
        return self.all_workers.believed

    def admits(self, update: Tensor, credits: np.ndarray, usual: float) -> bool:
        """Whether the watchdog lets an update pass; where not, the server is told, and the trace counts it.

        `usual` was the usual length before this step: what is refused does not become usual.
        """
        if not self.watched() or not credits.any():
            return True
        server = self.server
        trial = server.qv_loss(server.parameters - server.lr * update.to(server.parameters))
        verdict = self.watchdog.judge(server.qv_loss(), trial)
        if verdict == "refuse":
            server.refuse()
        elif verdict == "roll back":
            server.rollback()
            self.momentum, self.beliefs = self.kept.restore(self.momentum.standing)
        if verdict != "accept":
            self.beliefs.lengths.usual = min(usual, self.beliefs.lengths.usual)
        return verdict == "accept"

    def finds_leakage(self, seen: Statistics) -> bool:
        """Whether it turns out at this step that attackers know the QV samples; then warm-up begins again."""
        leakage, watchdog = self.leakage, self.watchdog
        if self.warm_up is not None and not leakage.known and leakage.too_good(self.server, seen):
            leakage.known = True
            self.warm_up = self.begin_warm_up()
            return True
        if watchdog.usual > FALLEN * watchdog.first or not leakage.too_bad():
            return False
        leakage.alarms += 1
        leakage.known = leakage.alarms % ALARMS > 0
        course, again = leakage.course, leakage.alarms > 1
        leakage.begin()
        self.reverse(to_start=leakage.alarms >= ALARMS)  # again and again: it is unknown since when
        self.forget()
        self.silent = 0
        self.warm_up = self.begin_warm_up()
        if again:
            self.momentum.accepted = 0
        else:
            self.momentum.adopt(-unit(course), max(1, self.momentum.accepted), AGAINST_EXPOSED)
        return True

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

    def forget(self) -> None:
        """Nothing that was learned of evidence and of workers stands."""
        self.beliefs.forget()
        self.all_workers.begin()

    def reverse(self, to_start: bool = False) -> None:
        """Back to an earlier state or the first; the momentum points the other way, and nothing else stands."""
        self.momentum.turn()
        self.mirror.renew()
        self.forget()
        self.watchdog.begin_anew()
        self.kept.roll_back(self.server, self.momentum, self.beliefs, to_start)
