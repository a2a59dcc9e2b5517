"""All laws and filters that are learned together, and forgotten together when the wrong workers were trusted."""

from __future__ import annotations

import numpy as np

from gaa_core.agent import EvidencePolicy, sigmoid
from gaa_core.aggregators.gaa_plus.evidence import Calibration
from gaa_core.aggregators.gaa_plus.peers import Agreement, Lengths
from gaa_core.aggregators.gaa_plus.statistics import TINY, Statistics
from gaa_core.aggregators.gaa_plus.workers import Reputation

#: Spreads between two laws of a cosine under which they may be of one kind of workers, cut in two by chance.
ONE_KIND = 2.5


class Beliefs:
    """The laws of each kind of evidence, and the role filters."""

    def __init__(self, n: int):
        self.n = n
        self.reputation = Reputation(n)
        self.lengths = Lengths()
        self._begin()

    def _begin(self) -> None:
        self.laws = {
            "memory": Calibration(apart=ONE_KIND, robust=True),
            "qv": Calibration(floor=0.25, apart=ONE_KIND),
        }
        self.agreement = Agreement()

    def forget(self) -> None:
        """The wrong workers were trusted: nothing that was learned from them stands, but for the usual length."""
        self._begin()
        self.reputation.forget()

    def forget_momentum(self) -> None:
        """The momentum was reversed: what its cosines said of workers was the opposite of the truth."""
        self.laws["memory"] = Calibration(apart=ONE_KIND, robust=True)
        self.reputation.forget()

    def relax(self, yardstick: float) -> None:
        """No worker has been trusted for a while: ask less of all workers."""
        for law in self.laws.values():
            law.relax()
        self.lengths.relax(yardstick)
        self.reputation.lift()

    def learn(
        self,
        seen: Statistics,
        odds: dict[str, np.ndarray],
        trust: np.ndarray,
        sole: np.ndarray,
        policy: EvidencePolicy,
        young: bool,
    ) -> None:
        """Let a step's trust [k] teach the laws, and its log-odds [k] by kind, with the doubt of copies, the filters.

        The law of a kind is not taught by that kind, or it would confirm itself; but for a `young` run's QV cosines.
        """
        none, alike = np.zeros_like(trust), seen.alike
        unseen = trust if young else policy.trust({**odds, "qv": none})
        for kind, law in self.laws.items():
            if kind in seen.values:
                fair = trust if kind == "memory" else unseen
                law.learn(seen.values[kind], fair / alike, (1 - fair) / alike)
        self.agreement.learn(seen.cosine, policy.trust({**odds, "peers": none}) / alike)
        fresh = sigmoid(policy.logits({**odds, "reputation": none})) * sole
        fresh = np.log(fresh.clip(TINY) / (1 - fresh).clip(TINY))
        self.tell_reputation(seen.finite, fresh, np.where(odds["length"] < 0, 0.0, 1 / alike))

    def learn_in_warm_up(self, seen: Statistics, odds: np.ndarray) -> None:
        """Let log-odds [k] that were found without any of these laws teach the same."""
        benign = sigmoid(odds)
        for kind, law in self.laws.items():
            if kind in seen.values:
                law.learn(seen.values[kind], benign * seen.counts, (1 - benign) * seen.counts)
        self.tell_reputation(seen.finite, odds * seen.counts, seen.counts)

    def tell_reputation(self, finite: np.ndarray, odds: np.ndarray, weights: np.ndarray) -> None:
        """Teach the filters by log-odds [k] that count `weights` [k]; what is not finite teaches nothing."""
        all_workers = np.zeros((2, self.n))
        all_workers[:, finite] = odds, weights
        self.reputation.learn(*all_workers)
