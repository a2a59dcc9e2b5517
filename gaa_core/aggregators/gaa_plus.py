"""GAAPlus: the hardened agent."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.agent import EvidencePolicy
from gaa_core.aggregators.base import LearningAggregator, Server
from gaa_core.aggregators.evidence import (
    Calibration,
    DirectionMemory,
    Reputation,
    Watchdog,
    cosines,
    multiplicity,
    weighted_median,
)
from gaa_core.errors import GaaError


@dataclass(frozen=True, repr=False)
class GAAPlus(LearningAggregator):
    """Credits from evidence, weighted by reward."""

    source = "ours"

    temperature: float = 4.0
    norm_bound: float = 2.0
    direction_horizon: int = 50
    damping: float = 0.3
    horizons: tuple[int, ...] = (1, 10, 100, 1000)
    policy_lr: float = 0.02
    calibration: int = 10
    patience: int = 4
    use_qv: bool = True
    use_memory: bool = True
    use_peers: bool = True
    use_reputation: bool = True
    use_duplicates: bool = True
    use_silence: bool = True
    use_watchdog: bool = True
    _state: _State | None = field(default=None, init=False, repr=False, compare=False)

    def reset(self, n: int, d: int, generator: torch.Generator) -> None:
        object.__setattr__(self, "_state", _State(self, n, d))

    def observe(self, server: Server) -> None:
        self._require_state().observe(server)

    def decide(self, gradients: Tensor) -> tuple[Tensor, Tensor]:
        _, finite, kept = self._admit(gradients)
        state = self._require_state()
        credits = gradients.new_zeros(len(gradients))
        if len(kept) == 0:
            return gradients.new_zeros(gradients.shape[1]), credits
        update, credits[finite] = state.decide(kept, finite)
        return update, credits

    def _require_state(self) -> _State:
        if self._state is None or self._state.server is None:
            if self._state is not None and self._state.server is None:
                return self._state
            raise GaaError(f"{self!r} learns during a run: use it in run(...), or call reset and observe first.")
        return self._state


class _State:
    def __init__(self, rule: GAAPlus, n: int, d: int):
        self.rule, self.n = rule, n
        self.server = None
        self.memory = DirectionMemory(d, rule.direction_horizon, rule.damping)
        self.kinds = {"qv": Calibration(rule.calibration, 4.0, 0.25), "memory": Calibration(rule.calibration, 4.0)}
        self.reputation = Reputation(n, rule.horizons)
        self.agreement, self.disagreement = 0.0, 0.0
        prior = {"qv": 1.0, "memory": 1.0, "peers": 0.5, "reputation": 1.0}
        self.policy = EvidencePolicy(prior, rule.policy_lr)
        self.watchdog = Watchdog()
        self.last = None

    def observe(self, server) -> None:
        self.server = server
        g1 = server.qv_gradient()
        g4 = server.qv_gradient(temperature=self.rule.temperature)
        self.qv = g1 / g1.norm().clamp_min(1e-30) + g4 / g4.norm().clamp_min(1e-30)
        if self.last is not None:
            submissions, finite = self.last
            slopes = torch.zeros(self.n, dtype=torch.float64)
            slopes[finite] = kernels.products(submissions, self.qv.to(submissions.dtype)) / kernels.norms(
                submissions
            ).clamp_min(1e-30)
            k = self.kinds["qv"]
            self.policy.learn(slopes, min(1.0, max(0.0, k.mean) / max(k.variance, 1e-12) ** 0.5))
            self.last = None
        self.silent = 0

    def keep(self):
        self.server.keep()
        self.kept = (self.memory.average.clone(), self.memory.square.clone())

    def restore(self):
        self.memory.average, self.memory.square = (each.clone() for each in self.kept)

    def decide(self, kept, finite):
        if self.rule.use_watchdog and self.watchdog.healthy(self.server):
            self.keep()
        rule = self.rule
        gram, _ = kernels.gram(kept)
        lengths = gram.diagonal().clamp_min(0).sqrt()  # [k]
        cosine = cosines(gram)
        alike = multiplicity(cosine, 0.9, 0.99) if rule.use_duplicates else torch.ones(len(kept), dtype=torch.float64)
        zero = lengths <= 0
        values, odds = {}, {}
        witness = self.memory.witness()
        for kind, vector, used in (("qv", self.qv, rule.use_qv), ("memory", witness, rule.use_memory)):
            if vector is None or not used:
                odds[kind] = torch.zeros(len(kept), dtype=torch.float64)
                continue
            vector = vector.to(kept.dtype)
            values[kind] = torch.where(
                zero, 0.0, kernels.products(kept, vector) / (lengths * vector.norm().double()).clamp_min(1e-300)
            )
            odds[kind] = self.kinds[kind].log_odds(values[kind])
        ramp = min(1.0, self.memory.updates / 10)
        odds["memory"] = odds["memory"] * ramp
        odds["reputation"] = self.reputation.prior()[finite] if rule.use_reputation else torch.zeros_like(alike)
        odds["peers"] = torch.zeros_like(alike)
        if rule.use_peers and self.disagreement > 0:
            for _ in range(2):
                lean = torch.tanh(self.policy.logits(odds) / 2) / alike
                pull = (cosine - torch.eye(len(kept), dtype=torch.float64)) @ lean
                odds["peers"] = (2 * max(0.0, self.agreement) / self.disagreement * pull).clamp(-4, 4)
        logits = self.policy.logits(odds)
        trust = torch.where(zero, 0.0, self.policy.trust(logits))
        if rule.use_duplicates:
            twin = ((alike - 1.2) / 0.8).clamp(0, 1)
            single = float((trust * (1 - twin)).max())
            trust = trust * (1 - twin * single)
        shares = trust / alike
        silence = float((1 - trust).clamp(0, 1).prod()) if rule.use_silence else 0.0
        credits = (1 - silence) * shares / shares.sum() if shares.sum() > 1e-6 else torch.zeros_like(shares)
        bound = rule.norm_bound * weighted_median(lengths, shares)
        scales = (
            torch.where(zero, 0.0, (bound / lengths.clamp_min(1e-300)).clamp_max(1.0))
            if bound < float("inf")
            else torch.ones_like(lengths)
        )
        weights = credits * scales
        chosen = weights > 0
        update = weights[chosen].to(kept.dtype) @ kept[chosen] if chosen.any() else kept.new_zeros(kept.shape[1])
        if rule.use_watchdog and chosen.any():
            verdict = self.watchdog.judge(self.server, update)
            if verdict == "rollback":
                self.server.rollback()
                self.restore()
            elif verdict == "refuse":
                self.server.refuse()
            if verdict != "accept":
                self.last = None
                return torch.zeros_like(update), torch.zeros_like(credits).to(kept.dtype)
        # learn
        without_qv = (
            self.policy.trust(self.policy.logits({**odds, "qv": torch.zeros_like(alike)}))
            if self.memory.updates > 10
            else trust
        )
        if "qv" in values:
            self.kinds["qv"].learn(values["qv"], without_qv / alike, (1 - without_qv) / alike)
        if "memory" in values:
            self.kinds["memory"].learn(values["memory"], shares, (1 - trust) / alike)
        alone = self.policy.trust(self.policy.logits({**odds, "peers": torch.zeros_like(alike)})) / alike
        pair = (alone[:, None] * alone[None, :]).fill_diagonal_(0.0)
        if pair.sum() > 0.5:
            mean = float((pair * cosine).sum() / pair.sum())
            var = float((pair * (cosine - mean).square()).sum() / pair.sum())
            self.agreement += 0.05 * (mean - self.agreement) if self.disagreement else mean
            self.disagreement += (
                0.05 * (max(var, (0.3 * mean) ** 2) - self.disagreement)
                if self.disagreement
                else max(var, (0.3 * mean) ** 2)
            )
        w = dict(zip(self.policy.names, self.policy.weights))
        fresh = sum(w[k] * odds[k] for k in ("qv", "memory", "peers")).clamp(-6, 6)
        self.reputation.learn(fresh, finite, 1 / alike)
        self.policy.remember(odds, credits, finite)
        if credits.sum() > 0.05:
            self.memory.accept(update)
            self.silent = 0
        else:
            self.silent += 1
            if self.silent > rule.patience:
                for kind in self.kinds.values():
                    kind.relax()
                self.reputation.relax()
        self.memory.note(kept, torch.where(zero, 0.0, 1 / lengths.clamp_min(1e-300)))
        self.last = (kept, finite)
        return update, credits.to(kept.dtype)
