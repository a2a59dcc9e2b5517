"""What GAAPlus measures at a step, and the log-odds that each kind of evidence gives."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.gaa_plus import statistics
from gaa_core.aggregators.gaa_plus.evidence import YOUNG
from gaa_core.aggregators.gaa_plus.statistics import TINY, Statistics, survey, weighted_median

#: The weights that the policy starts from, and returns to where the reward says nothing.
PRIOR = {"length": 1.0, "qv": 1.0, "memory": 1.0, "peers": 1.0, "reputation": 1.0}

#: The share of its first value by which f_B has to fall before it has shown that settled roles are right.
FALLEN = 0.5
#: Multiples of the median length that a slope counts for at most.
LONGEST = 3.0


class Measuring:
    """The part of the state that turns submissions into evidence."""

    def measure(self, gradients: Tensor, finite: np.ndarray, columns: slice | Tensor) -> Statistics:
        """All statistics; the QV gradient votes on the momentum's sign."""
        lengths, values = self._cosines(gradients)
        self.momentum.note(gradients, lengths)
        part = gradients[:, columns]
        cosine = statistics.cosines(kernels.gram(self.momentum.whitened(part, columns))[0].double().numpy())
        copies = self.rule.uses("copies")
        alike = statistics.multiplicity(cosine) if copies else np.ones_like(lengths)
        counts, beside = statistics.counted(alike, self.length_odds(lengths), self.copies)
        self._try_momentum(values, counts)
        return Statistics(gradients, finite, part, lengths, values, cosine, alike, counts, beside)

    def _cosines(self, gradients: Tensor) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Lengths [k], and cosines [k] with the QV gradient and the momentum, as far as there are any."""
        vectors = {"qv": self.qv}
        if self.rule.uses("memory") and self.momentum.accepted:
            vectors["memory"] = self.momentum.calm(self.momentum.average)
        lengths, found = survey(gradients, list(vectors.values()))
        values = dict(zip(vectors, found.T, strict=True))
        if not self.rule.uses("qv") or self.misled:
            del values["qv"]
        return lengths, values

    def length_odds(self, lengths: np.ndarray) -> np.ndarray:
        return self.beliefs.lengths.log_odds(lengths, self.yardstick) if self.rule.uses("length") else 0.0 * lengths

    def _try_momentum(self, values: dict[str, np.ndarray], counts: np.ndarray) -> None:
        """Let the QV gradient vote on the momentum, where there are both.

        Late in training samples are fitted, or are unlike the others: then it points where the true loss does not fall.
        """
        voting = "qv" in values and "memory" in values and (self.one_class or self.momentum.accepted <= YOUNG)
        if voting and self.momentum.vote(values["memory"], values["qv"], counts, 1 - self.proven()):
            values["memory"] = -values["memory"]
            self.beliefs.forget_momentum()

    def proven(self) -> float:
        """How far roles have proven right, in [0, 1]: they are settled, and f_B has fallen far."""
        fallen = (1 - self.server.qv_loss() / max(self.watchdog.first, TINY)) / FALLEN
        return self.beliefs.reputation.settled() * min(1.0, max(0.0, fallen))

    def lean(self, seen: Statistics) -> np.ndarray:
        """Which kind each submission [k] is of by its side of the momentum."""
        if "memory" not in seen.values:
            return np.zeros_like(seen.lengths)
        self.mirror.learn(seen.values["memory"], seen.counts)
        return self.mirror.leaning(seen.values["memory"])

    def weigh(self, seen: Statistics) -> dict[str, np.ndarray]:
        """Log-odds [k] of each kind of evidence."""
        rule, beliefs = self.rule, self.beliefs
        odds = {kind: np.zeros_like(seen.alike) for kind in PRIOR}
        odds["length"] = self.length_odds(seen.lengths)
        for kind, law in beliefs.laws.items():
            if kind in seen.values:
                odds[kind] = law.log_odds(seen.values[kind])
        if not self.mirror.worn and "memory" in seen.values:
            # the mirror cannot tell a reversed gradient from a true one that swings back; known workers can
            settled = beliefs.reputation.settled() if rule.uses("reputation") else 0.0
            mirrored = self.mirror.log_odds(seen.values["memory"])
            odds["memory"] = mirrored + settled * (odds["memory"] - mirrored)
        odds["memory"] = odds["memory"] * self.momentum.credibility()
        if rule.uses("reputation"):
            odds["reputation"] = beliefs.reputation.prior()[seen.finite]
        if rule.uses("ledger") and "qv" in seen.values and not self.one_class:
            longest = LONGEST * weighted_median(seen.lengths, seen.counts)
            slopes = self.yardstick * seen.values["qv"] * np.minimum(seen.lengths, longest)
            self.ledger.learn(slopes, seen.counts, seen.finite)
            odds["reputation"] = odds["reputation"] + self.ledger.log_odds()[seen.finite]
        if rule.uses("peers") and self.one_class:
            voices = np.where(odds["length"] < 0, 0.0, 1 / seen.alike)
            for _ in range(2):
                lean = np.tanh(self.policy.logits(odds) / 2) * voices
                odds["peers"] = beliefs.agreement.log_odds(seen.cosine, lean)
        return odds
