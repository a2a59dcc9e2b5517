"""What GAAPlus believes of evidence and of workers, and the states of it that go with parameters the server keeps."""

from __future__ import annotations

import copy
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
        self.reputation = Reputation(n, rule.horizons, rule.step_cap, rule.cap)
        self._begin()

    def _begin(self) -> None:
        self.kinds = {kind: Calibration(self.horizon, self.cap) for kind in ("calm qv", "memory")}
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
        none, alike = torch.zeros_like(trust), sight.alike
        unseen = trust if young else policy.trust({**odds, "qv": none, "calm qv": none})
        for kind, calibration in self.kinds.items():
            if kind in sight.values:
                fair = trust if kind == "memory" else unseen
                calibration.learn(sight.values[kind], fair / alike, (1 - fair) / alike)
        self.lengths.learn(sight.lengths, trust / alike)
        self.agreement.learn(sight.cosine, policy.trust({**odds, "peers": none}) / alike)
        fresh = policy.logits({**odds, "reputation": none})
        self.tell_reputation(sight.finite, fresh, torch.where(odds["length"] < 0, 0.0, 1 / alike))

    def learn_from_the_clear(self, sight: Sight, odds: Tensor) -> None:
        """Let log-odds [k], found without any of these beliefs, teach the same."""
        honest = torch.sigmoid(odds)
        for kind, calibration in self.kinds.items():
            if kind in sight.values:
                calibration.learn(sight.values[kind], honest * sight.counts, (1 - honest) * sight.counts)
        self.tell_reputation(sight.finite, odds * sight.counts, sight.counts)

    def tell_reputation(self, finite: Tensor, odds: Tensor, weights: Tensor) -> None:
        """Teach reputations by log-odds [k]; who is detected (`weights` [k]) teaches no horizon.

        Who sends what is not finite is heard no more than who sends nothing: it gets no credit anyway.
        """
        all_workers = torch.zeros(2, self.n, dtype=torch.float64)
        all_workers[:, finite] = torch.stack([odds, weights])
        self.reputation.learn(*all_workers)


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
