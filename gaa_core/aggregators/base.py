"""The shape of a gradient aggregation rule, and the one finite mask before every rule.

A rule is any callable from submissions [n, d] to an update [d]; a lambda works in `run`. The classes here add
what the package's own rules share: validation, the finite mask, the worker constraint and, for rules that have
them, per-worker weights.
"""

from __future__ import annotations

import contextlib
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from numbers import Integral
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from gaa_core import checkpoint, kernels
from gaa_core.errors import GaaError, TooFewWorkers


class Server(Protocol):
    """What the trusted server knows at one step, besides the submissions."""

    step: int
    lr: float
    parameters: Tensor  # [d], theta_t

    def qv_loss(self, parameters: Tensor | None = None) -> float:
        """f_B: mean loss on the quasi-validation set, at theta_t or at other parameters [d]."""

    def qv_gradient(self, parameters: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """The gradient of f_B, [d]; with its outputs divided by `temperature` first."""

    def keep(self) -> None:
        """Remember theta_t, and the state kept before; a declared wish, as the next two are."""

    def refuse(self) -> None:
        """The rule refuses what was submitted at this step; the trace counts it."""

    def step_alone(self) -> None:
        """Part of the update is grad f_B, no submission; the trace counts it."""

    def rollback(self, to_start: bool = False) -> None:
        """Back to the older of the states kept, or to the first parameters; the trace counts it."""


def check_count(rule: object, name: str, value: object, least: int = 0) -> None:
    """Refuse a hyper-parameter that is not a whole number of at least `least`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise GaaError(
            f"{type(rule).__name__} needs {name} to be a whole number, {least} or more; found {name}={value!r}."
        )


class Aggregator(ABC):
    """A gradient aggregation rule: submissions [n, d] -> update [d].

    Subclasses are frozen dataclasses of hyper-parameters and implement `aggregate` on finite rows. A rule that
    tolerates a declared number of Byzantine workers calls it `f` and states its constraint in `needs`.

    Calling the rule raises `GaaError` for a wrong shape or dtype and `TooFewWorkers` when n breaks the
    constraint. A submission with a NaN or an infinity is Byzantine by definition: it is taken out, it uses up one of
    the `f`, and the rule sees the rest. When fewer finite ones are left than the rule can choose among, the update is
    zero.
    """

    #: Where the rule stands: "paper", "reconstruction" or "ours", and its source. For tables and docs.
    source: ClassVar[str] = ""

    #: Whether `aggregate` and `weigh` raise kernels.NotFinite themselves, so that no pass is spent on looking first.
    notices_not_finite: ClassVar[bool] = False

    def needs(self) -> int:
        """The least number of workers this rule accepts (for its `f`, where it has one)."""
        return 1

    def __repr__(self) -> str:
        """The rule with the hyper-parameters that differ from their defaults, for dataclasses with `repr=False`."""
        fields = (each for each in dataclasses.fields(self) if each.init)
        chosen = [(each.name, getattr(self, each.name)) for each in fields if getattr(self, each.name) != each.default]
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in chosen)})"

    def check_workers(self, n: int) -> None:
        """Raise TooFewWorkers where n workers break this rule's constraint."""
        if n < self.needs():
            raise TooFewWorkers(self, self.needs(), n)

    @abstractmethod
    def aggregate(self, gradients: Tensor) -> Tensor:
        """The update [d] from finite submissions [n, d]."""

    def __call__(self, gradients: Tensor) -> Tensor:
        return self.decide(gradients)[0]

    def decide(self, gradients: Tensor) -> tuple[Tensor, Tensor | None]:
        """The update [d], and who was trusted [n] where the rule has weights (else None), in one pass."""
        return self._with_mask(self._decide, gradients)

    def _decide(self, gradients: Tensor, rule: Aggregator, finite: Tensor, kept: Tensor) -> tuple[Tensor, None]:
        if len(kept) == 0:
            return gradients.new_zeros(gradients.shape[1]), None
        return rule.aggregate(kept), None

    def _with_mask(self, work: Callable, gradients: Tensor):
        """`work(gradients, *admitted)`; where the rule notices by itself, the mask is taken only when it has."""
        if self.notices_not_finite:
            with contextlib.suppress(kernels.NotFinite):
                return work(gradients, *self._admit(gradients, look=False))
        return work(gradients, *self._admit(gradients))

    def _admit(self, gradients: Tensor, look: bool = True) -> tuple[Aggregator, Tensor, Tensor]:
        """Validate, mask: (the rule for what is left, bool mask [n], finite rows [k, d])."""
        if not isinstance(gradients, Tensor) or gradients.ndim != 2 or 0 in gradients.shape:
            found = tuple(gradients.shape) if isinstance(gradients, Tensor) else type(gradients).__name__
            raise GaaError(f"{self!r} needs a tensor of shape [workers, parameters]; found {found}.")
        if gradients.dtype not in (torch.float32, torch.float64):
            raise GaaError(f"{self!r} needs float32 or float64 submissions; found {gradients.dtype}.")
        self.check_workers(len(gradients))
        gradients = gradients.detach()
        if not look:
            return self, torch.ones(len(gradients), dtype=torch.bool, device=gradients.device), gradients
        finite = kernels.finite_rows(gradients)  # [n]
        dropped = int((~finite).sum())
        if dropped == 0:
            return self, finite, gradients
        rule = self._without(dropped)
        kept = gradients[finite]
        if len(kept) < rule.needs():  # too few are left to choose among: nobody is trusted, the step is skipped
            return rule, torch.zeros_like(finite), kept[:0]
        return rule, finite, kept

    def _without(self, dropped: int) -> Aggregator:
        """The same rule after `dropped` workers gave themselves away: that many fewer are still hidden."""
        f = getattr(self, "f", None)
        return self if f is None else dataclasses.replace(self, f=max(0, f - dropped))


class WeightedAggregator(Aggregator):
    """A rule whose update is a weighted sum of submissions: implement `weigh` on finite rows."""

    @abstractmethod
    def weigh(self, gradients: Tensor) -> Tensor:
        """Weights [n] of finite submissions [n, d]."""

    def aggregate(self, gradients: Tensor) -> Tensor:
        return self.combine(self.weigh(gradients), gradients)

    def combine(self, weights: Tensor, gradients: Tensor) -> Tensor:
        """The update [d] from this rule's own weights [n]; rules that pick few rows override it."""
        return weights @ gradients

    def _decide(self, gradients: Tensor, rule: Aggregator, finite: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        weights = self._weights(gradients, rule, finite, kept)
        if len(kept) == 0:
            return gradients.new_zeros(gradients.shape[1]), weights
        return rule.combine(weights[finite], kept), weights

    def _weights(self, gradients: Tensor, rule: Aggregator, finite: Tensor, kept: Tensor) -> Tensor:
        weights = gradients.new_zeros(len(gradients))
        if len(kept):
            weights[finite] = rule.weigh(kept)
        return weights

    def weights(self, gradients: Tensor) -> Tensor:
        """Who was trusted: [n], zero for non-finite submissions."""
        return self._with_mask(self._weights, gradients)


class LearningAggregator(Aggregator):
    """A rule with a memory and eyes on the quasi-validation set. It has state only after `reset`.

    The simulator calls `reset` once, `observe` before each aggregation (at theta_t) and once more after the last
    update (at theta_T). Subclasses implement `decide`, which also gives the credits [n] of this step.
    """

    @abstractmethod
    def decide(self, gradients: Tensor) -> tuple[Tensor, Tensor]:
        """The update [d] and the credits [n] from submissions [n, d]; it calls `_admit` for the finite mask."""

    def aggregate(self, gradients: Tensor) -> Tensor:
        return self.decide(gradients)[0]

    @abstractmethod
    def reset(self, n: int, d: int, generator: torch.Generator) -> None:
        """Forget everything; prepare for n workers and d parameters."""

    @abstractmethod
    def observe(self, server: Server) -> None:
        """See the state at theta_t before the submissions of step t are aggregated."""

    def state(self) -> dict:
        """What it remembers between two steps, as plain values and tensors, for a checkpoint.

        By default the dataclass fields that are not hyper-parameters (`init=False`), each as `checkpoint.pack` writes
        it; the server is left out, since the next step begins with `observe`. Rules that keep their memory elsewhere
        override this and `load_state`.
        """
        memory = [each.name for each in dataclasses.fields(self) if not each.init]
        return {name: checkpoint.pack(getattr(self, name)) for name in memory}

    def load_state(self, state: dict) -> None:
        """Remember what `state` says. Called after `reset`, in place of the steps that led there."""
        for name, packed in state.items():
            object.__setattr__(self, name, checkpoint.unpack(packed, getattr(self, name)))
