"""One step of GAAPlus: from submissions to an update and credits, and what is learned from it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.agent import EvidencePolicy
from gaa_core.aggregators.base import Server
from gaa_core.aggregators.gaa_plus import statistics
from gaa_core.aggregators.gaa_plus.all_workers import AllWorkers
from gaa_core.aggregators.gaa_plus.beliefs import Beliefs
from gaa_core.aggregators.gaa_plus.evidence import Mirror
from gaa_core.aggregators.gaa_plus.measuring import PRIOR, Measuring
from gaa_core.aggregators.gaa_plus.momentum import Momentum
from gaa_core.aggregators.gaa_plus.predicted_decrease import PredictedDecrease
from gaa_core.aggregators.gaa_plus.reversals import Reversals
from gaa_core.aggregators.gaa_plus.statistics import Statistics, weighted_median
from gaa_core.aggregators.gaa_plus.warm_up import WarmUp
from gaa_core.aggregators.gaa_plus.watchdog import Watchdog
from gaa_core.aggregators.gaa_plus.workers import Ledger

#: Steps without much credit before the odds of all workers are raised; and the credits that are much, and any.
PATIENCE, MUCH, ANY = 4, 0.5, 0.05
#: Steps without much credit after which all that was learned of workers is forgotten.
GIVEN_UP = 12
#: How fast it is learned that copies are Byzantine, from a step of warm-up and from any other.
EXPOSED_IN_WARM_UP, EXPOSED = 0.5, 0.3
#: The most that speaks for the sign of the momentum after warm-up, and updates in which a run is young.
STANDING, YOUNG = 4.0, 10
#: Multiples of the median length that a submission counts for at most in all workers' mean.
LONGEST = 2.0


class State(Measuring, Reversals):
    """What GAAPlus knows in the course of a run."""

    def __init__(self, rule, n: int, d: int, generator: torch.Generator):
        self.rule, self.n, self.d, self.generator = rule, n, d, generator
        self.server: Server | None = None
        self.one_class: bool | None = None  # whether the QV samples are of one class; None before they were seen
        self.momentum = Momentum(d)
        self.mirror = Mirror()  # of cosines with the momentum
        self.beliefs = Beliefs(n)
        self.policy = EvidencePolicy(PRIOR, rule.policy_lr)
        self.watchdog = Watchdog()
        self.copies = 0.0  # how far it is known that copies are Byzantine
        self.all_workers = AllWorkers()
        self.ledger, self.predicted = Ledger(n), PredictedDecrease(n)
        self.misled = False  # whether QV samples of one class spoke for Byzantine workers, and are not asked any more
        self.silent = 0  # steps on end without much credit
        self.explained: dict[str, np.ndarray] = {}  # [n] each: what the last credits were given for
        self.warm_up = WarmUp(d, rule.warm_up) if rule.warm_up else None
        self.last: tuple[Tensor, slice | Tensor, np.ndarray, np.ndarray] | None = None  # of the last step

    def observe(self, server: Server) -> None:
        """See f_B and its gradient at the start of a step, and reward the step before."""
        self.server = server
        if self.one_class is None:
            self.one_class = statistics.classes(server) == 1
            server.keep()  # a run that is lost begins anew
        gradient = server.qv_gradient()
        self.qv = statistics.unit(gradient)
        self.watchdog.note(server.qv_loss())
        self.yardstick = float(kernels.norms(gradient[None]))  # a first idea of how long a benign submission is
        if self.last is not None:
            self._reward(*self.last)
            self.last = None

    def _reward(self, submissions: Tensor, columns: slice | Tensor, finite: np.ndarray, lengths: np.ndarray) -> None:
        """One policy step: how much faster f_B would have fallen for more credit to each, by its gradient now."""
        if self.misled:
            return  # a fall of f_B is what Byzantine workers offer
        slopes = np.zeros(self.n)
        slopes[finite] = kernels.products(submissions, self.qv[columns].to(submissions)).numpy() / lengths
        seen = self.beliefs.laws["qv"]
        self.policy.learn(slopes, min(1.0, max(0.0, seen.mean) / max(seen.variance, 1e-12) ** 0.5))

    def watched(self) -> bool:
        """Whether f_B is believed to tell a good state from a bad one."""
        return self.rule.uses("watchdog") and not self.misled

    def decide(self, gradients: Tensor, finite: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """The update [d] and the credits [k] from k finite submissions."""
        nothing = torch.zeros_like(gradients[0]), np.zeros(len(gradients))
        if self.watched() and self.watchdog.lost():
            self.reverse()
            return nothing
        columns = statistics.some_columns(gradients.shape[1], self.generator)
        seen = self.measure(gradients, finite, columns)
        if self.warm_up is not None:
            self._look_around(seen)
            return nothing
        leaning, odds = self.lean(seen), self.weigh(seen)
        if self.rule.uses("predicted decrease") and self.finds_ascent(seen, odds):
            return nothing
        return self._act(seen, columns, leaning, odds) or nothing

    def _act(
        self, seen: Statistics, columns, leaning: np.ndarray, odds: dict[str, np.ndarray]
    ) -> tuple[Tensor, np.ndarray] | None:
        """Update and credits by log-odds of each kind, if the watchdog admits them; then all of it teaches."""
        trust = np.where(seen.lengths > 0, self.policy.trust(odds), 0.0)
        sole, shown = self.copies_beside(trust, seen.alike)
        trust = trust * sole
        credits, usual = self._share_out(trust, seen.alike), self.beliefs.lengths.usual
        sides = np.tanh(leaning / 2) * seen.counts
        sides = np.where(sides > 0, sides * trust, sides * (1 - trust))  # where the momentum and trust agree
        update, contrast, of_all = self._combine(seen, credits, sides)
        if self.rule.uses("all workers") and not self.one_class and self.follows_all_workers(update, of_all, credits):
            update, credits = of_all, equal_credits(seen)
        if self.watched() and credits.any() and not self.admits(update):
            self.beliefs.lengths.usual = min(usual, self.beliefs.lengths.usual)  # what is refused is not usual
            return None
        self.copies += EXPOSED * max(0.0, shown - self.copies)
        for kind, values in (odds | {"P(benign)": trust, "credit": credits}).items():
            self.explained[kind] = np.full(self.n, np.nan)
            self.explained[kind][seen.finite] = values
        self.beliefs.learn(seen, odds, trust, sole, self.policy, young=self.momentum.accepted <= YOUNG)
        self.policy.remember(odds, credits, seen.finite)
        if credits.sum() > ANY:
            self.momentum.accept(contrast if not self.mirror.worn and contrast.any() else update)
        self.silent = 0 if credits.sum() > MUCH else self.silent + 1
        if self.silent > GIVEN_UP:  # what was learned contradicts itself
            self.beliefs.forget()
            self.silent = 0
        if self.silent > PATIENCE:
            self.beliefs.relax(max(self.yardstick, float(seen.lengths.min())))
        whole = isinstance(columns, slice)  # a view of what an engine may use again; chosen columns are a copy
        lengths = np.maximum(seen.lengths, statistics.LEAST)
        self.last = (seen.part.clone() if whole else seen.part, columns, seen.finite, lengths)
        return update, credits

    def _look_around(self, seen: Statistics) -> None:
        """A step of warm-up: no worker is trusted, and what is clear teaches laws and role filters."""
        warm_up = self.warm_up
        odds, clear = warm_up.look(
            seen, self.momentum.calm, lambda benign: benign * self.copies_beside(benign, seen.alike)[0]
        )
        self.copies += EXPOSED_IN_WARM_UP * max(0.0, seen.beside - self.copies)
        if clear:
            self.beliefs.learn_in_warm_up(seen, odds)
        if warm_up.over():
            if warm_up.best is not None:
                best, standing = warm_up.best, min(abs(warm_up.best.log_odds()), STANDING)
                self.momentum.adopt(best.sign() * best.average, best.steps, standing)
                self.mirror = best.mirror
                self.mirror.renew()
            self.beliefs.reputation.expect(warm_up.share())
            self.warm_up = None

    @staticmethod
    def _share_out(trust: np.ndarray, alike: np.ndarray) -> np.ndarray:
        """Credits [k] that sum to the probability that some worker is benign, copies being one."""
        shares = trust / alike
        if shares.sum() <= 1e-6:
            return np.zeros_like(shares)
        abstention = ((1 - trust).clip(0, 1) ** (1 / alike)).prod()
        return (1 - abstention) * shares / shares.sum()

    def _combine(self, seen: Statistics, credits: np.ndarray, sides: np.ndarray) -> Tensor:
        """The update, the contrast and all workers' mean [3, d], in one pass; no length enters that is gross."""
        weights, of_all = credits, equal_credits(seen)
        lengths = np.maximum(seen.lengths, statistics.LEAST)
        if self.rule.norm_bound is not None and (credits > 0).any():
            usual = self.beliefs.lengths.follow(weighted_median(seen.lengths, credits), self.yardstick)
            weights = credits * np.minimum(self.rule.norm_bound * usual / lengths, 1.0)
        of_all = of_all * np.minimum(LONGEST * weighted_median(seen.lengths, of_all) / lengths, 1.0)
        sides = np.where(seen.lengths > 0, sides / lengths, 0.0)
        return torch.from_numpy(np.stack([weights, sides, of_all])).to(seen.gradients.dtype) @ seen.gradients


def equal_credits(seen: Statistics) -> np.ndarray:
    """Credits [k] of all alike, but for those out of the ordinary and copies."""
    return seen.counts / max(seen.counts.sum(), 1e-9)
