"""What GAAPlus believes of evidence and of workers, and the states of it that go with parameters the server keeps."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gaa_core.agent import EvidencePolicy
from gaa_core.aggregators.base import Server
from gaa_core.aggregators.gaa_plus.direction import DirectionMemory
from gaa_core.aggregators.gaa_plus.evidence import Agreement, Calibration, Lengths
from gaa_core.aggregators.gaa_plus.reputation import Reputation
from gaa_core.aggregators.gaa_plus.sight import Sight

if TYPE_CHECKING:
    from gaa_core.aggregators.gaa_plus import GAAPlus


class Beliefs:
    """How evidence of each kind looks, how long submissions are, how far the honest agree, and who is honest."""

    def __init__(self, rule: GAAPlus, n: int):
        self.n, self.horizon, self.cap = n, rule.calibration, rule.cap
        self.asked = rule.clarity
        self.judges = ["qv"] * rule.use_qv + ["memory"] * rule.use_memory + ["skewness"] * rule.use_skewness
        self.remembers = rule.use_reputation
        self.reputation = Reputation(n, rule.horizons, rule.step_cap, rule.cap)
        self._begin()

    def _begin(self) -> None:
        self.kinds = {kind: Calibration(self.horizon, self.cap) for kind in ("calm qv", "memory")}
        self.kinds["skewness"] = Calibration(self.horizon, self.cap, foretold=False)
        self.kinds["qv"] = Calibration(self.horizon, self.cap, floor=0.25, apart=2.5)
        self.agreement = Agreement(20, self.cap)
        self.lengths = Lengths(self.horizon, self.cap)

    def forget(self) -> None:
        """Nothing that was learned of evidence and of workers can be believed."""
        self._begin()
        self.reputation.forget()

    def forget_memory(self) -> None:
        """The direction memory was reversed: what it said of anybody was the opposite of the truth."""
        self.kinds["memory"] = Calibration(self.horizon, self.cap)
        self.reputation.forget()

    def clarity(self) -> float:
        """Spreads between the trusted and the distrusted by the kind of evidence that tells them apart best."""
        told = (self.kinds[kind] for kind in self.judges if kind != "skewness" or self.kinds[kind].steps > 0)
        return max((kind.clarity() for kind in told), default=math.inf)

    def faith(self) -> float:
        """How far this step's evidence is to be believed beside reputations, in [0, 1].

        1, but for where reputations have long been the same, and the evidence tells their workers apart no more: the
        errors that honest submissions share late in training look like workers who change their minds.
        """
        if not self.remembers:
            return 1.0
        return 1 - self.reputation.established() * (1 - min(1.0, self.clarity() / self.asked) ** 4)

    def relax(self, yardstick: float) -> None:
        """No worker has been trusted for a while: ask less of all workers."""
        for kind in self.kinds.values():
            kind.relax()
        self.lengths.relax(yardstick)
        self.reputation.lift()

    def learn(self, sight: Sight, odds: dict[str, Tensor], trust: Tensor, policy: EvidencePolicy, young: bool) -> None:
        """Let a step's trust [k] teach how evidence looks, and what each worker is thought of.

        `odds` are the log-odds [k] of each kind, which `policy` weighs. Unless the run is `young`, how QV evidence
        looks is learned from what all other evidence says.
        """
        none, alike, faith = torch.zeros_like(trust), sight.alike, self.faith()
        unseen = trust if young else policy.trust({**odds, "qv": none, "calm qv": none})
        for kind, calibration in self.kinds.items():
            if kind in sight.values:
                fair = trust if kind in ("memory", "skewness") else unseen
                calibration.learn(sight.values[kind], fair / alike, (1 - fair) / alike)
        self.lengths.learn(sight.lengths, odds["length"], trust / alike, (1 - trust) / alike)
        self.agreement.learn(sight.cosine, policy.trust({**odds, "peers": none}) / alike)
        fresh = policy.logits({**odds, "reputation": none})
        self.tell_reputation(sight.finite, fresh, torch.where(odds["length"] < 0, 0.0, 1 / alike), faith)

    def learn_from_the_clear(self, sight: Sight, odds: Tensor) -> None:
        """Let log-odds [k], found without any of these beliefs, teach the same."""
        honest = torch.sigmoid(odds)
        for kind, calibration in self.kinds.items():
            if kind in sight.values:
                calibration.learn(sight.values[kind], honest * sight.counts, (1 - honest) * sight.counts)
        self.tell_reputation(sight.finite, odds * sight.counts, sight.counts)

    def tell_reputation(self, finite: Tensor, odds: Tensor, weights: Tensor, faith: float = 1.0) -> None:
        """Teach reputations by log-odds [k]; who is detected (`weights` [k]) teaches no horizon.

        Who sends what is not finite is heard no more than who sends nothing: it gets no credit anyway.
        """
        all_workers = torch.zeros(2, self.n, dtype=torch.float64)
        all_workers[:, finite] = torch.stack([odds, weights])
        self.reputation.learn(*all_workers, faith)


class Checkpoints:
    """The memory and the beliefs that go with the parameters which the server keeps: two such states at most."""

    def __init__(self):
        self.states: list[tuple] = []  # the older one first

    def keep(self, server: Server, memory: DirectionMemory, beliefs: Beliefs) -> None:
        """Have the server keep theta, and keep what is believed here."""
        server.keep()
        self.states = [*self.states[-1:], (memory.state(), copy.deepcopy(beliefs))]

    def roll_back(self, server: Server, memory: DirectionMemory, beliefs: Beliefs, to_start: bool = False) -> None:
        """Have the server go back to the older state, if there is any, or to the first; what is believed stays."""
        if self.states or to_start:
            server.rollback(to_start)
            kept = self.states[:1] if to_start else self.states
            self.states = [(memory.state(), copy.deepcopy(beliefs)) for _ in kept]

    def restore(self, memory: DirectionMemory) -> Beliefs:
        """The beliefs of the older state, to which the server went back, and the memory but for faith in it."""
        standing = memory.standing
        remembered, beliefs = self.states[0]
        memory.restore(remembered)
        memory.standing = min(standing, memory.standing) - 2.5
        return copy.deepcopy(beliefs)
