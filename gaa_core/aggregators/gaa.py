"""GAA: credits learned by reinforcement from a handful of quasi-validation samples."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.agent import Agent, gradient_features
from gaa_core.aggregators.base import LearningAggregator, Server
from gaa_core.errors import GaaError


@dataclass(frozen=True, repr=False)
class GAA(LearningAggregator):
    """F = sum_i alpha_i V_i with credits alpha on the simplex, learned while training (Pan et al. 2020).

    Needs n >= m + 1 workers for m Byzantine ones (Table 1), O(nd) time a step here. The reward is the fall of
    the quasi-validation loss f_B. With submissions held constant,

        d(sum of f_B in the segment)/d alpha_s = -lr * V_s @ (sum of grad f_B(theta_t) over t > s),

    so the exact policy gradient needs products only, no graph through copies of the model. The last alpha of a
    segment gets its gradient from f_B at the parameters *after* the last update, which is why a segment closes one
    `observe` later.

    Memory: the last `horizon` steps' submissions, horizon x n x d numbers, and no more than rows beside them.

    Source: reconstruction (policy, features, learning, T=5, Adam 1e-2, clamp 1). `norm_bound` is ours: submissions
    longer than norm_bound * |grad f_B(theta_t)| are scaled down to that length before anything else.
    """

    source = "paper; details: reconstruction; norm_bound: ours"
    exempt = dict.fromkeys(("outliers", "outliers far from zero"), "the first submissions are averaged") | {
        "row order": "its policy has weights of their own for each place"
    }

    norm_bound: float | None = None
    policy_lr: float = 0.01
    horizon: int = 5  # T, updates in a segment
    clamp: float = 1.0
    _state: _Memory | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self):
        if self.norm_bound is not None and not self.norm_bound > 0:
            raise GaaError(f"GAA needs norm_bound > 0 or None; found {self.norm_bound}.")
        if not self.policy_lr > 0:
            raise GaaError(f"GAA needs policy_lr > 0; found {self.policy_lr}.")
        if self.horizon < 1:
            raise GaaError(f"GAA needs horizon >= 1; found {self.horizon}.")

    def reset(self, n: int, d: int, generator: torch.Generator) -> None:
        agent = Agent(n, lr=self.policy_lr, clamp=self.clamp, generator=generator)
        object.__setattr__(self, "_state", _Memory(agent))

    def observe(self, server: Server) -> None:
        state = self._require_state()
        state.server = server
        state.qv_gradient = server.qv_gradient()
        if state.submissions:
            state.later_gradients.append(state.qv_gradient)
        if len(state.submissions) == self.horizon:
            state.agent.learn(self.slopes())
            state.used, state.submissions = state.submissions, []
            state.later_gradients.clear()
            state.rates.clear()

    def decide(self, gradients: Tensor) -> tuple[Tensor, Tensor]:
        _, finite, kept = self._admit(gradients)
        state = self._require_state()
        submissions = state.room(gradients).copy_(gradients)
        if len(kept) < len(gradients):  # asked first, for filling costs a pass even where there is nothing to fill
            submissions[~finite] = 0.0
        if self.norm_bound is not None:
            bound = self.norm_bound * state.qv_gradient.norm()
            finite = finite & bound.isfinite()  # a model that has diverged has no usable length: all credits are 0
            bound_norms(submissions, bound.nan_to_num(0.0, 0.0))
        theta_mean, qv_loss = state.server.parameters.mean(), torch.tensor(state.server.qv_loss())
        credits = state.agent.act(gradient_features(submissions), theta_mean, qv_loss, finite).to(gradients.dtype)
        state.submissions.append(submissions)
        state.rates.append(state.server.lr)
        return credits @ submissions, credits

    def slopes(self) -> Tensor:
        """d(sum of the segment's losses)/d alpha_s for each step s so far, [T, n]."""
        state = self._require_state()
        steps = zip(state.rates, state.submissions, state.later_gradients, strict=True)
        tail, slopes = torch.zeros_like(state.qv_gradient), []
        for rate, submissions, later in reversed(list(steps)):
            tail += later  # sum over t > s
            slopes.append(-rate * (submissions @ tail))
        return torch.stack(slopes[::-1])

    def _require_state(self) -> _Memory:
        if self._state is None or self._state.agent is None:
            raise GaaError(f"{self!r} learns during a run: use it in run(...), or call reset and observe first.")
        return self._state


@dataclass
class _Memory:
    """What GAA knows of the segment under way."""

    agent: Agent
    server: Server | None = None
    qv_gradient: Tensor | None = None  # grad f_B at the latest theta, [d]
    submissions: list[Tensor] = field(default_factory=list)  # [n, d] each
    rates: list[float] = field(default_factory=list)  # the model step size of each
    later_gradients: list[Tensor] = field(default_factory=list)  # grad f_B after each update, [d] each
    used: list[Tensor] = field(default_factory=list)  # memory of the last segment: fresh memory costs five passes

    def room(self, gradients: Tensor) -> Tensor:
        """Memory for a copy of these submissions."""
        if self.used and self.used[-1].shape == gradients.shape and self.used[-1].dtype == gradients.dtype:
            return self.used.pop()
        return torch.empty_like(gradients, memory_format=torch.contiguous_format)


def bound_norms(gradients: Tensor, bound: Tensor) -> None:
    """Scale rows of [n, d] that are longer than `bound` down to it, in place. Safe for rows whose square overflows."""
    lengths = kernels.norms(gradients).clamp_min(torch.finfo(torch.float64).tiny)
    factors = (bound.double() / lengths).clamp_max(1.0)
    if (factors < 1).any():
        gradients.mul_(factors.to(gradients.dtype)[:, None])
