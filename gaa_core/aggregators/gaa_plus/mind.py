"""What GAAPlus knows in the course of a run, and how it comes to its credits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.agent import EvidencePolicy
from gaa_core.aggregators.base import Server
from gaa_core.aggregators.gaa_plus.all_workers import AllWorkers
from gaa_core.aggregators.gaa_plus.beliefs import Beliefs, Checkpoints
from gaa_core.aggregators.gaa_plus.copies import Copies
from gaa_core.aggregators.gaa_plus.direction import DirectionMemory, survey, unit
from gaa_core.aggregators.gaa_plus.evidence import MirroredCalibration, cosines, multiplicity, weighted_median
from gaa_core.aggregators.gaa_plus.leakage import Leakage
from gaa_core.aggregators.gaa_plus.ledger import Ledger
from gaa_core.aggregators.gaa_plus.predicted_decrease import PredictedDecrease
from gaa_core.aggregators.gaa_plus.sight import (
    QV_KINDS,
    Sight,
    classes,
    counted,
    size,
    some_columns,
)
from gaa_core.aggregators.gaa_plus.warm_up import WarmUp
from gaa_core.aggregators.gaa_plus.watchdog import Bearings, Watchdog

if TYPE_CHECKING:
    from gaa_core.aggregators.gaa_plus import GAAPlus

#: The weights that the policy starts from, and returns to where the reward says nothing.
PRIOR = {
    "length": 1.0,
    "qv": 1.0,
    "calm qv": 0.5,
    "memory": 1.0,
    "peers": 1.0,
    "reputation": 1.0,
}


class Mind:
    """The state of GAAPlus."""

    def __init__(self, rule: GAAPlus, n: int, d: int, generator: torch.Generator):
        self.rule, self.n, self.d, self.generator = rule, n, d, generator
        self.server: Server | None = None
        self.memory = DirectionMemory(d, rule.direction_horizon, rule.damping)
        self.mirror = MirroredCalibration(rule.cap)  # of cosines with the memory
        self.beliefs = Beliefs(rule, n)
        self.policy = EvidencePolicy(PRIOR, rule.policy_lr)
        self.watchdog = Watchdog()
        self.bearings = Bearings()
        self.copies = Copies()
        self.leakage = Leakage()
        self.all_workers = AllWorkers()
        self.ledger = Ledger(n)
        self.predicted = PredictedDecrease(n)
        self.misled = False  # whether QV samples of one class spoke for Byzantine workers, and are not asked any more
        self.scout = self.sent_out()
        self.silent = 0  # steps on end without anybody trusted
        self.passed_over = 0  # of these, the ones with somebody of an ordinary length
        self.last: tuple[Tensor, slice | Tensor, Tensor] | None = None  # submissions, where, whose: of the step before
        self.checkpoints = Checkpoints()

    def sent_out(self) -> WarmUp | None:
        """Who looks around before the first move, if anybody does."""
        if not self.rule.warm_up or self.misled:
            return None
        return WarmUp(self.d, self.rule.warm_up, self.rule.cap, exposed=self.leakage.known)

    def state(self) -> dict:
        """All that is learned, for a checkpoint."""
        return {name: value for name, value in vars(self).items() if name not in ("rule", "server")}

    def load_state(self, state: dict) -> None:
        """Go on from there."""
        vars(self).update(state)

    def observe(self, server: Server) -> None:
        self.server = server
        sharp = server.qv_gradient()
        self.qv = unit(sharp)
        self.bearings.note(server.qv_loss())
        length = float(kernels.norms(sharp[None]))  # a first idea of how long an honest submission is
        # steps of the server's own fit the samples, whose gradient is shorter then than any benign worker's
        self.yardstick = max(self.yardstick, length) if self.leakage.known else length
        if self.last is not None:
            self.reward(*self.last)
            self.last = None

    def reward(self, submissions: Tensor, columns: slice | Tensor, finite: Tensor) -> None:
        """One policy step: how much faster f_B would have fallen for more credit to each, by its gradient now."""
        if self.leakage.known or self.misled:
            return  # a fall of f_B is what Byzantine workers offer
        slopes = torch.zeros(self.n, dtype=torch.float64)
        slopes[finite] = survey(submissions, [self.qv[columns]])[1][:, 0]
        seen = self.beliefs.kinds["qv"]
        worth = max(0.0, seen.mean) / max(seen.variance, 1e-12) ** 0.5
        self.policy.learn(slopes, min(1.0, worth))

    def decide(self, gradients: Tensor, finite: Tensor) -> tuple[Tensor, Tensor]:
        """The update [d] and the credits [k] from k finite submissions."""
        return self.listen(gradients, finite)

    def watched(self) -> bool:
        """Whether f_B is believed to tell a good state from a bad one."""
        return self.rule.uses("watchdog") and not self.misled

    def listen(self, gradients: Tensor, finite: Tensor) -> tuple[Tensor, Tensor]:
        """The part of the update [d] that workers have, and their credits [k]."""
        silence = torch.zeros_like(gradients[0]), gradients.new_zeros(len(gradients))
        sure = float(self.beliefs.reputation.prior().abs().mean())
        if self.watched() and self.bearings.lost(self.memory.standing, sure):
            self.turn_round()
            return silence
        columns = some_columns(gradients.shape[1], self.generator)
        sight = self.see(gradients, finite, columns)
        if self.rule.uses("leakage") and not self.misled and self.finds_leakage(sight):
            return silence
        if self.scout is not None:
            self.look_around(sight)
            return silence
        wants_to_keep = self.watched() and self.watchdog.wants_to_keep(self.server.qv_loss())
        if wants_to_keep and not self.leakage.in_doubt() and not self.all_workers.on_trial():
            self.checkpoints.keep(self.server, self.memory, self.beliefs)
        leaning = self.lean(sight)
        odds = self.weigh_evidence(sight)
        if self.rule.uses("predicted decrease") and self.ascends(sight, odds):
            return silence
        trust = torch.where(sight.lengths > 0, self.policy.trust(odds), 0.0)
        trust, shown = self.copies.doubt(trust, sight.alike)
        credits = self.share_out(trust, sight.alike)
        usual = self.beliefs.lengths.usual
        update, contrast, of_all = self.combine(sight, credits, self.compare(sight, leaning, trust))
        if self.rule.uses("all workers") and self.follows_all_workers(update, of_all, credits):
            update, credits = of_all, equal_credits(sight)
        if not self.admits(update, credits, usual):
            return silence
        if self.rule.uses("leakage"):
            self.leakage.follow(self.server, sight, update, credits, self.memory.calm)
        self.copies.expose(shown, rate=0.3)
        self.learn(sight, odds, trust)
        self.policy.remember(odds, credits, finite)
        follow = not self.mirror.worn and contrast.any()
        self.remember(contrast if follow else update, credits, bool((odds["length"] >= 0).any()))
        whole = isinstance(columns, slice)  # a view of what an engine may use again; chosen columns are a copy
        self.last = (sight.part.clone() if whole else sight.part, columns, finite)
        return update, credits

    def see(self, gradients: Tensor, finite: Tensor, columns: slice | Tensor) -> Sight:
        """All that the submissions show, without any judgement but of lengths and of twins."""
        lengths, values = self.witnesses(gradients)
        self.memory.note(gradients, lengths)
        part = gradients[:, columns]
        cosine = cosines(kernels.gram(self.memory.whitened(part, columns))[0])
        alike = multiplicity(cosine) if self.rule.uses("copies") else torch.ones_like(lengths)
        ordinary = torch.zeros_like(lengths)
        if self.rule.uses("length"):
            ordinary = self.beliefs.lengths.log_odds(lengths, self.yardstick)
        counts, beside = counted(alike, ordinary, torch.full_like(alike, self.copies.known))
        self.try_memory(values, counts)
        return Sight(gradients, finite, part, lengths, values, cosine, alike, counts, beside)

    def witnesses(self, gradients: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Lengths [k], and cosines [k] with all directions that tell of a submission, as far as there are any."""
        vectors = {"qv": self.qv}
        if self.memory.seen:
            vectors["calm qv"] = self.memory.calm(self.qv)
        if self.rule.uses("memory"):
            vectors["memory"] = self.memory.witness()
        vectors = {kind: vector for kind, vector in vectors.items() if vector is not None}
        lengths, found = survey(gradients, list(vectors.values()))
        values = dict(zip(vectors, found.T, strict=True))
        if not self.rule.uses("qv") or self.misled:
            values = {kind: seen for kind, seen in values.items() if kind not in QV_KINDS}
        return lengths, self.leakage.turned(values) if self.leakage.known else values

    def try_memory(self, values: dict[str, Tensor], counts: Tensor) -> None:
        """Let the QV gradients vote on the memory, where there are both."""
        if self.scout is not None and self.scout.exposed:
            return  # what the memory holds is the opposite of what the exposed said, and no gradient
        judges = [values[kind] for kind in QV_KINDS if kind in values]
        if not judges or "memory" not in values:
            return
        worth = min(1.0, self.server.qv_loss() / max(self.bearings.first, 1e-12))  # samples that are fitted say little
        if self.memory.vote(values["memory"], judges, counts, worth):
            values["memory"] = -values["memory"]
            self.beliefs.forget_memory()

    def look_around(self, sight: Sight) -> None:
        """A step of warm-up: no worker is trusted, and whatever is clear teaches evidence and reputations."""
        scout, counts, values = self.scout, sight.counts, sight.values
        if scout.exposed and "memory" in values:
            values = {**values, "memory": self.leakage.centred("memory", values["memory"])}
        found = scout.look(
            sight.gradients, sight.lengths, values, counts, self.memory.calm,
            lambda honest: self.copies.doubt(honest, sight.alike)[0], workers=self.n,
            one_class=classes(self.server) == 1,
        )  # fmt: skip
        self.copies.expose(sight.beside, rate=0.5)
        gone = torch.zeros_like(counts)
        if self.rule.uses("length"):
            ordinary = self.beliefs.lengths.log_odds(sight.lengths, self.yardstick)
            gone = 1 - ordinary.clamp(max=0).exp()
        if found.clear:
            self.beliefs.learn_from_the_clear(sight, found.odds)
            gone = torch.maximum(gone, 1 - torch.sigmoid(found.odds))
        if self.rule.uses("length"):
            self.beliefs.lengths.learn(sight.lengths, (1 - gone) / sight.alike)
        if scout.over():
            if scout.best is not None:
                sign, standing = scout.best.sign(), min(abs(scout.best.believed()), 4.0)
                self.memory.adopt(sign * scout.best.average, scout.best.steps, standing)
                self.mirror = scout.best.signs.renewed(self.mirror.window)
            self.beliefs.reputation.expect(scout.share())
            self.scout = None

    def lean(self, sight: Sight) -> Tensor:
        """Which kind each submission [k] is of by its side of the memory, and of grad f_B: what the memory follows."""
        leaning = torch.zeros_like(sight.lengths)
        if "memory" not in sight.values:
            return leaning
        self.mirror.learn(sight.values["memory"], sight.counts)
        leaning = self.mirror.leaning(sight.values["memory"])
        qv = sight.values.get("calm qv", sight.values.get("qv"))
        if qv is not None:
            leaning = leaning + 0.5 * qv / size(qv, sight.counts)
        return leaning

    def weigh_evidence(self, sight: Sight) -> dict[str, Tensor]:
        """Log-odds [k] of each kind."""
        odds = {kind: torch.zeros_like(sight.alike) for kind in PRIOR}
        if self.rule.uses("length"):
            odds["length"] = self.beliefs.lengths.log_odds(sight.lengths, self.yardstick)
        for kind, calibration in self.beliefs.kinds.items():
            if kind in sight.values:
                odds[kind] = calibration.log_odds(sight.values[kind])
        if not self.mirror.worn and "memory" in sight.values:
            # the mirror cannot tell a reversed gradient from a true one that swings back; trust in known workers can
            settled = self.beliefs.reputation.settled() if self.rule.uses("reputation") else 0.0
            odds["memory"] = torch.lerp(self.mirror.log_odds(sight.values["memory"]), odds["memory"], settled)
        odds["memory"] = odds["memory"] * self.memory.credibility()
        if self.rule.uses("reputation"):
            odds["reputation"] = self.beliefs.reputation.prior()[sight.finite]
        if self.rule.uses("ledger") and "qv" in sight.values and not self.leakage.known:
            self.ledger.learn(self.slopes(sight), sight.counts, sight.finite)
            odds["reputation"] = odds["reputation"] + self.ledger.log_odds(self.rule.cap)[sight.finite]
        if self.rule.uses("peers"):
            heard = torch.where(odds["length"] < 0, 0.0, 1 / sight.alike)  # a detected worker has no vote
            for _ in range(2):
                lean = torch.tanh(self.policy.logits(odds) / 2) * heard
                odds["peers"] = self.beliefs.agreement.log_odds(sight.cosine, lean)
        return odds

    def slopes(self, sight: Sight) -> Tensor:
        """How fast f_B falls along each submission [k], none counting as longer than three times the median."""
        longest = 3 * weighted_median(sight.lengths, sight.counts)
        return self.yardstick * sight.values["qv"] * sight.lengths.clamp_max(longest)

    def share_out(self, trust: Tensor, alike: Tensor) -> Tensor:
        """Credits [k] that sum to 1 less what silence gets: the probability that no worker is honest, copies being
        one.
        """
        shares = trust / alike
        if shares.sum() <= 1e-6:
            return torch.zeros_like(shares)
        silence = ((1 - trust).clamp(0, 1) ** (1 / alike)).prod()
        return (1 - silence) * shares / shares.sum()

    def compare(self, sight: Sight, leaning: Tensor, trust: Tensor) -> Tensor:
        """Weights [k] of the contrast between the kinds, where the side of the memory and trust say the same."""
        sides = torch.tanh(leaning / 2) * sight.counts
        sides = torch.where(sides > 0, sides * trust, sides * (1 - trust))
        return torch.where(sight.lengths > 0, sides / sight.lengths.clamp_min(1e-300), 0.0)

    def combine(self, sight: Sight, credits: Tensor, sides: Tensor) -> Tensor:
        """Three vectors [3, d], in one pass over the submissions: the update, the contrast, and all workers' mean.

        In the update no credited submission is longer than norm_bound times what is usual, in the mean than twice the
        median.
        """
        weights, of_all = credits, equal_credits(sight)
        lengths = sight.lengths.clamp_min(1e-300)
        if self.rule.norm_bound is not None and (credits > 0).any():
            usual = self.beliefs.lengths.follow(weighted_median(sight.lengths, credits), self.yardstick)
            weights = credits * (self.rule.norm_bound * usual / lengths).clamp_max(1.0)
        of_all = of_all * (2 * weighted_median(sight.lengths, of_all) / lengths).clamp_max(1.0)
        return torch.stack([weights, sides, of_all]).to(sight.gradients.dtype) @ sight.gradients

    def follows_all_workers(self, update: Tensor, of_all: Tensor, credits: Tensor) -> bool:
        """Whether workers who seem Byzantine only have other data, so that all workers' mean [d] is to be
        followed.
        """
        if self.leakage.known:
            return False  # a fall of f_B is what Byzantine workers offer
        if credits.sum() > 0.3 or self.all_workers.believed:
            failed = self.all_workers.follow(self.server, update, of_all, slope=self.yardstick)
            if failed:
                self.checkpoints.roll_back(self.server, self.memory, self.beliefs)
        return self.all_workers.believed

    def learn(self, sight: Sight, odds: dict[str, Tensor], trust: Tensor) -> None:
        """Let this step's trust [k] teach what is believed."""
        self.beliefs.learn(sight, odds, trust, self.policy, young=self.memory.accepted <= 10)

    def remember(self, contrast: Tensor, credits: Tensor, ordinary: bool) -> None:
        """Let the direction memory follow; where all workers are distrusted for long, ask less of them.

        `ordinary`: whether anybody is of an ordinary length. Where no worker is, silence is no sign of an error.
        """
        if credits.sum() > 0.05:
            self.memory.accept(contrast)
        trusting = credits.sum() > 0.5
        self.silent = 0 if trusting else self.silent + 1
        if self.silent > self.rule.patience:
            self.beliefs.relax(self.yardstick)

    def look_again(self) -> None:
        """Those who were trusted turned out to be Byzantine workers: look around as at the start."""
        self.forget()
        self.silent = self.passed_over = 0
        self.scout = self.sent_out()

    def finds_leakage(self, sight: Sight) -> bool:
        """Whether it turns out at this step that attackers know the QV samples; then it looks around again."""
        leakage = self.leakage
        if self.scout is not None and not leakage.known and leakage.too_good(self.server, sight):
            leakage.known = True
            self.scout = self.sent_out()
            return True
        if self.bearings.usual > 0.8 * self.bearings.first or not leakage.too_bad():
            return False
        leakage.alarms += 1
        leakage.known = leakage.alarms % 3 > 0  # after alarm upon alarm, the QV set was not what they knew
        course, again = leakage.course, leakage.alarms > 1
        leakage.begin()
        self.turn_round(to_start=leakage.alarms > 2)  # again and again: it is unknown since when
        self.look_again()
        if again:
            self.memory.accepted = 0
        else:
            self.memory.adopt(-unit(course), max(1, self.memory.accepted), 2.0)
        return True

    def forget(self) -> None:
        """Nothing that was learned of evidence and of workers can be believed."""
        self.beliefs.forget()
        self.all_workers.begin()

    def turn_round(self, to_start: bool = False) -> None:
        """Back to an earlier state or the first; the memory points the other way, and nothing else is believed."""
        self.memory.turn()
        self.mirror.renewed(self.mirror.window)
        self.forget()
        self.bearings.begin_anew()
        self.checkpoints.roll_back(self.server, self.memory, self.beliefs, to_start)

    def ascends(self, sight: Sight, odds: dict[str, Tensor]) -> bool:
        """Whether it turns out at this step that QV samples of one class have spoken for Byzantine workers; then it is
        reversed.

        They ask that their class becomes likelier, and so may a worker that drives the model to one class.
        """
        if classes(self.server) != 1:
            return False
        if self.beliefs.reputation.settled() > 0.5 and not (odds["length"] >= 0).any():
            odds = {**odds, "length": torch.zeros_like(sight.lengths)}  # it is the model that has run away
        trust = self.policy.trust(odds)
        if not self.predicted.broken(self.server.parameters, sight.gradients, trust, sight.finite, self.bearings.first):
            return False
        self.misled, agreement = True, self.beliefs.agreement  # which says who agrees, not who is honest
        self.turn_round()
        self.beliefs.agreement = agreement
        self.beliefs.reputation.believe(self.predicted.log_odds(self.rule.cap))
        self.memory.accepted = 1  # what it learned on the way uphill is a first guess
        self.predicted.begin()
        return True

    def admits(self, update: Tensor, credits: Tensor, usual: float) -> bool:
        """Whether the watchdog lets an update pass; where not, the server is told, and the trace counts it.

        `usual` is what was the usual length before this step: what is refused does not become usual.
        """
        if not self.watched() or not credits.any():
            return True
        server = self.server
        verdict = self.watchdog.judge(server.qv_loss(), self.trial(update))
        if verdict == "refuse":
            server.refuse()
        elif verdict == "roll back":
            server.rollback()
            self.beliefs = self.checkpoints.restore(self.memory)
        if verdict != "accept":
            self.beliefs.lengths.usual = min(usual, self.beliefs.lengths.usual)
        return verdict == "accept"

    def trial(self, update: Tensor) -> float:
        """f_B as it would be after an update [d]."""
        server = self.server
        return server.qv_loss(server.parameters - server.lr * update.to(server.parameters))


def equal_credits(sight: Sight) -> Tensor:
    """Credits [k] of all alike, but for those out of the ordinary and copies."""
    return sight.counts / sight.counts.sum().clamp_min(1e-9)
