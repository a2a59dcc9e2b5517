"""What GAAPlus knows in the course of a run, and how it comes to its credits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.agent import EvidencePolicy
from gaa_core.aggregators.base import Server
from gaa_core.aggregators.gaa_plus import skewness
from gaa_core.aggregators.gaa_plus.all_workers import AllWorkers
from gaa_core.aggregators.gaa_plus.beliefs import Beliefs, Checkpoints
from gaa_core.aggregators.gaa_plus.copies import Copies, Likeness
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
    foretold_spread,
    identical,
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
    "skewness": 1.0,
    "peers": 1.0,
    "reputation": 1.0,
    "single": 1.0,
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
        self.copies = Copies(rule.calibration)
        self.likeness = Likeness(1 / rule.calibration)
        self.leakage = Leakage()
        self.all_workers = AllWorkers()
        self.ledger = Ledger(n)
        self.predicted = PredictedDecrease(n)
        self.misled = False  # whether QV samples of one class spoke for Byzantine workers, and are not asked any more
        self.scout = self.sent_out()
        self.agreed = 0.0  # log-odds for the memory's sign, from all who were heard at first saying the same
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
        sharp, soft = server.qv_gradient(), server.qv_gradient(temperature=self.rule.temperature)
        self.qv = unit(sharp) + unit(soft)
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
        update, credits = self.listen(gradients, finite)
        if self.rule.use_own_steps and self.has_to_go_alone(credits):
            self.server.step_alone()
            update = update + (1 - float(credits.sum())) * self.server.qv_gradient().to(update)
        return update, credits

    def watched(self) -> bool:
        """Whether f_B is believed to tell a good state from a bad one."""
        return self.rule.use_watchdog and not self.misled

    def has_to_go_alone(self, credits: Tensor) -> bool:
        """Whether silence, which has nearly all the credit, is worse than the gradient of f_B.

        So it is where attackers know the QV samples and no other worker is left to be trusted, but only as long as that
        leaves the samples less than half fitted: what the honest say could not be told by them any more.
        """
        if not self.leakage.known or self.scout is not None or credits.sum() >= 0.1:
            return False
        return self.trial(self.server.qv_gradient()) > 0.5 * self.bearings.first

    def listen(self, gradients: Tensor, finite: Tensor) -> tuple[Tensor, Tensor]:
        """The part of the update [d] that workers have, and their credits [k]."""
        silence = torch.zeros_like(gradients[0]), gradients.new_zeros(len(gradients))
        sure = float(self.beliefs.reputation.prior().abs().mean())
        if self.watched() and self.bearings.lost(self.memory.standing, sure, self.agreed):
            self.turn_round()
            return silence
        columns = some_columns(gradients.shape[1], self.generator)
        sight = self.see(gradients, finite, columns)
        if self.copies.deceived(sight.beside) and self.memory.standing < 2.0:
            self.look_again()
        if self.rule.use_leakage and not self.misled and self.finds_leakage(sight):
            return silence
        if self.scout is not None:
            self.look_around(sight)
            return silence
        wants_to_keep = self.watched() and self.watchdog.wants_to_keep(self.server.qv_loss())
        if wants_to_keep and not self.leakage.in_doubt() and not self.all_workers.on_trial():
            self.checkpoints.keep(self.server, self.memory, self.beliefs)
        leaning = self.lean(sight)
        odds = self.weigh_evidence(sight)
        if self.rule.use_predicted_decrease and self.ascends(sight, odds):
            return silence
        trust = torch.where(sight.lengths > 0, self.policy.trust(odds), 0.0)
        trust, shown = self.copies.doubt(trust, sight.alike, sight.guilty)
        if self.rule.use_silence and self.unclear(odds, trust, sight.alike) and not self.all_workers.believed:
            return self.tread_carefully(sight, odds, trust)
        credits = self.share_out(trust, sight.alike)
        usual = self.beliefs.lengths.usual
        update, contrast, of_all = self.combine(sight, credits, self.compare(sight, leaning, trust))
        if self.rule.use_all_workers and self.follows_all_workers(update, of_all, credits):
            update, credits = of_all, equal_credits(sight)
        if not self.admits(update, credits, usual):
            return silence
        if self.rule.use_leakage:
            self.leakage.follow(self.server, sight, update, credits, self.memory.calm)
        self.copies.expose(shown, rate=0.3)
        self.copies.credit(credits, sight.alike, sight.guilty)
        if shown > 0.5:
            self.likeness.learn(gradients, sight.lengths, sight.values, trust, identical(sight.alike))
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
        if self.rule.use_skewness and skewness.tells(self.server):
            values["skewness"] = skewness.skewness(part)
        alike = multiplicity(cosine) if self.rule.use_twins else torch.ones_like(lengths)
        ordinary = torch.zeros_like(lengths)
        if self.rule.use_length:
            ordinary = self.beliefs.lengths.log_odds(lengths, self.yardstick)
        guilty = self.likeness.guilt(values, alike)
        counts, beside = counted(alike, ordinary, self.copies.known * guilty)
        self.try_memory(values, counts)
        return Sight(gradients, finite, part, lengths, values, cosine, alike, counts, beside, guilty)

    def witnesses(self, gradients: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Lengths [k], and cosines [k] with all directions that tell of a submission, as far as there are any."""
        vectors = {"qv": self.qv}
        if self.memory.seen:
            vectors["calm qv"] = self.memory.calm(self.qv)
        if self.rule.use_memory:
            vectors["memory"] = self.memory.witness()
        if self.likeness.difference is not None:
            vectors["difference"] = self.memory.calm(self.likeness.difference)
        vectors = {kind: vector for kind, vector in vectors.items() if vector is not None}
        lengths, found = survey(gradients, list(vectors.values()))
        values = dict(zip(vectors, found.T, strict=True))
        if not self.rule.use_qv or self.misled:
            values = {kind: seen for kind, seen in values.items() if kind not in QV_KINDS}
        elif self.beliefs.kinds["qv"].steps == 0:
            self.beliefs.kinds["qv"].noise = foretold_spread(self.server, lengths, self.yardstick)
        return lengths, self.leakage.turned(values) if self.leakage.known else values

    def try_memory(self, values: dict[str, Tensor], counts: Tensor) -> None:
        """Let the QV gradients vote on the memory, where there are both."""
        if self.scout is not None and self.scout.exposed:
            return  # what the memory holds is the opposite of what the exposed said, and no gradient
        judges = [values[kind] for kind in QV_KINDS if kind in values]
        if not judges or "memory" not in values:
            return
        worth = min(1.0, self.server.qv_loss() / max(self.bearings.first, 1e-12))  # samples that are fitted say little
        if self.memory.vote(values["memory"], judges, counts, worth, self.agreed):
            values["memory"] = -values["memory"]
            self.agreed = -self.agreed
            self.beliefs.forget_memory()
            self.likeness.looks.pop("memory", None)

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
        if self.rule.use_length:
            ordinary = self.beliefs.lengths.log_odds(sight.lengths, self.yardstick)
            gone = 1 - ordinary.clamp(max=0).exp()
        if found.clear:
            self.beliefs.learn_from_the_clear(sight, found.odds)
            gone = torch.maximum(gone, 1 - torch.sigmoid(found.odds))
        if self.rule.use_length:
            self.beliefs.lengths.learn(sight.lengths, ordinary, (1 - gone) / sight.alike, gone / sight.alike)
        if scout.over():
            if scout.best is not None:
                sign, standing = scout.best.sign(), min(abs(scout.best.believed()), 4.0)
                self.memory.adopt(sign * scout.best.average, scout.best.steps, standing)
                self.mirror = scout.best.signs.renewed(self.mirror.window)
            self.beliefs.reputation.expect(scout.share())
            self.agreed = scout.agreed()
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
        if self.rule.use_length:
            odds["length"] = self.beliefs.lengths.log_odds(sight.lengths, self.yardstick)
        for kind, calibration in self.beliefs.kinds.items():
            if kind in sight.values:
                odds[kind] = calibration.log_odds(sight.values[kind])
        if not self.mirror.worn and "memory" in sight.values:
            # the mirror cannot tell a reversed gradient from a true one that swings back; trust in known workers can
            settled = self.beliefs.reputation.settled() if self.rule.use_reputation else 0.0
            odds["memory"] = torch.lerp(self.mirror.log_odds(sight.values["memory"]), odds["memory"], settled)
        odds["memory"] = odds["memory"] * self.memory.credibility()
        faith = self.beliefs.faith()
        for kind in self.beliefs.kinds:
            odds[kind] = faith * odds[kind]
        if self.rule.use_reputation:
            odds["reputation"] = self.beliefs.reputation.prior()[sight.finite]
        if self.rule.use_ledger and "qv" in sight.values and not self.leakage.known:
            self.ledger.learn(self.slopes(sight), sight.counts, sight.finite)
            odds["reputation"] = odds["reputation"] + self.ledger.log_odds(self.rule.cap)[sight.finite]
        odds["single"] = self.copies.log_odds(sight.alike)
        if self.rule.use_peers:
            heard = torch.where(odds["length"] < 0, 0.0, 1 / sight.alike)  # a detected worker has no vote
            for _ in range(2):
                lean = torch.tanh(self.policy.logits(odds) / 2) * heard
                odds["peers"] = faith * self.beliefs.agreement.log_odds(sight.cosine, lean)
        return odds

    def slopes(self, sight: Sight) -> Tensor:
        """How fast f_B falls along each submission [k], none counting as longer than three times the median."""
        longest = 3 * weighted_median(sight.lengths, sight.counts)
        return self.yardstick * sight.values["qv"] * sight.lengths.clamp_max(longest)

    def unclear(self, odds: dict[str, Tensor], trust: Tensor, alike: Tensor) -> bool:
        """Whether there are Byzantine workers about whom neither evidence nor reputation tells from the honest any
        more.
        """
        # a worker detected by its length or as a copy is no question
        hidden = torch.where(odds["length"] < 0, 0.0, self.copies.hidden(alike) / alike)
        share = float(hidden @ (1 - trust) / (1 / alike).sum())
        sure = float(odds["reputation"].abs().mean())
        return self.bearings.unclear(share, self.beliefs.clarity(), self.rule.clarity, sure)

    def tread_carefully(self, sight: Sight, odds: dict[str, Tensor], trust: Tensor) -> tuple[Tensor, Tensor]:
        """A small step, and its credits, where Byzantine workers can hardly be told; memory and policy learn nothing
        from it.
        """
        credits, usual = self.rule.caution * self.share_out(trust, sight.alike), self.beliefs.lengths.usual
        update = self.combine(sight, credits, torch.zeros_like(trust))[0]
        self.learn(sight, odds, trust)
        passes = self.admits(update, credits, usual)
        return (update, credits) if passes else (torch.zeros_like(update), torch.zeros_like(credits))

    def share_out(self, trust: Tensor, alike: Tensor) -> Tensor:
        """Credits [k] that sum to 1 less what silence gets: the probability that no worker is honest, copies being
        one.
        """
        shares = trust / alike
        if shares.sum() <= 1e-6:
            return torch.zeros_like(shares)
        silence = ((1 - trust).clamp(0, 1) ** (1 / alike)).prod() if self.rule.use_silence else 0.0
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
        self.copies.learn(trust, sight.alike)

    def remember(self, contrast: Tensor, credits: Tensor, ordinary: bool) -> None:
        """Let the direction memory follow; where all workers are distrusted for long, ask less of them.

        `ordinary`: whether anybody is of an ordinary length. Where no worker is, silence is no sign of an error.
        """
        if credits.sum() > 0.05:
            self.memory.accept(contrast)
        trusting = credits.sum() > 0.5
        self.silent = 0 if trusting else self.silent + 1
        self.passed_over = 0 if trusting else self.passed_over + ordinary
        if self.silent > self.rule.patience:
            self.beliefs.relax(self.yardstick)
        if self.bearings.stuck(self.passed_over, self.memory.accepted):
            self.forget()
            self.silent = self.passed_over = 0

    def look_again(self) -> None:
        """Those who were trusted turned out to be Byzantine workers: look around as at the start."""
        self.forget()
        self.copies.credited = 0.0
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
        self.likeness.begin()

    def turn_round(self, to_start: bool = False) -> None:
        """Back to an earlier state or the first; the memory points the other way, and nothing else is believed."""
        self.memory.turn()
        self.mirror.renewed(self.mirror.window)
        self.forget()
        self.bearings.begin_anew()
        self.agreed = 0.0
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
