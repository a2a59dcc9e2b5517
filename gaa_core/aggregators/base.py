"""The shape of a gradient aggregation rule, and the one finite mask before every rule.

A rule is any callable from submissions [n, d] to an update [d]; a lambda works in `run`. The classes here add what the
package's own rules share: validation, the finite mask, the worker constraint and the weights of workers.
"""

from __future__ import annotations

import copy
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.errors import GaaError, TooFewWorkers, blame


class Server(Protocol):
    """What a learning rule can ask of the trusted server at one step, besides the submissions."""

    step: int
    lr: float  # of the model step
    parameters: Tensor  # [d], theta_t
    byzantine: Tensor | None  # bool [n], the true roles: for the reference rule Oracle alone
    qv: Any  # the quasi-validation samples: `inputs` [m, ...] and `targets` [m]
    model: Any  # functions of theta: `losses(theta, inputs, targets)` [m], `gradient(...)` [d], `outputs(...)`

    def qv_loss(self, parameters: Tensor | None = None) -> float:
        """f_B: mean loss on the quasi-validation set, at theta_t or at other parameters [d]."""

    def qv_gradient(self, parameters: Tensor | None = None) -> Tensor:
        """The gradient of f_B, [d]."""

    def keep(self) -> None:
        """Store theta_t beside the state kept before, for `rollback`."""

    def refuse(self) -> None:
        """Report that the submissions of this step are refused; the trace counts it."""

    def rollback(self) -> None:
        """Return to the older of the states kept; the trace counts it."""


def check_count(rule: object, name: str, value: object, least: int = 0) -> None:
    """Refuse a hyper-parameter that is not a whole number of at least `least`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise GaaError(
            f"{type(rule).__name__} needs {name} to be a whole number, {least} or more; found {name}={value!r}."
        )


@dataclass(frozen=True)
class Tolerates:
    """The first hyper-parameter of many rules: `f`, the declared number of Byzantine workers, with n >= 2f+1."""

    f: int

    def __post_init__(self) -> None:
        check_count(self, "f", self.f)

    def needs(self) -> int:
        """The least number of workers for this f."""
        return 2 * self.f + 1


class Part:
    """What rules and pre-aggregators share."""

    #: Where it stands: "paper", "reconstruction" or "ours", and its source. For tables and docs.
    source: ClassVar[str] = ""

    #: Checks of `gaa_core.conformance` that it need not pass -> the reason.
    exempt: ClassVar[Mapping[str, str]] = {}

    def needs(self) -> int:
        """The least number of workers accepted (for its `f`, where it has one)."""
        return 1

    def without(self, dropped: int) -> Part:
        """The same with an `f` smaller by the workers that the finite mask took out: so many fewer are left."""
        if getattr(self, "f", None) is None:
            return self
        other = copy.copy(self)
        object.__setattr__(other, "f", max(0, self.f - dropped))
        return other


class Aggregator(Part, ABC):
    """A gradient aggregation rule: submissions [n, d] -> update [d].

    Subclasses are frozen dataclasses of hyper-parameters and implement `aggregate` on finite rows. A rule that
    tolerates a declared number of Byzantine workers calls it `f` and states its constraint in `needs`.

    Calling the rule raises `GaaError` for a wrong shape or dtype and `TooFewWorkers` when n breaks the constraint. A
    submission with a NaN or an infinity is Byzantine by definition: it is taken out, it uses up one of the `f`, and the
    rule is given the rest. When fewer finite ones are left than the rule can choose among, the update is zero.
    """

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
        """The update [d], and the weights [n] of the workers where the rule has them (else None)."""
        if (found := self._at_once(self._checked(gradients))) is not None:
            return found
        rule, finite, kept = self._admit(gradients)
        if len(kept) == 0:
            weighted = isinstance(self, WeightedAggregator | LearningAggregator)
            return gradients.new_zeros(gradients.shape[1]), gradients.new_zeros(len(gradients)) if weighted else None
        update, weights = rule._decide(kept)
        if weights is None or len(kept) == len(gradients):
            return update, weights
        return update, gradients.new_zeros(len(gradients)).masked_scatter(finite, weights)

    def _at_once(self, gradients: Tensor) -> tuple[Tensor, Tensor | None] | None:
        """`decide` without the finite mask; None where that may be needed."""
        return self._decide(gradients) if kernels.all_finite(gradients) else None

    def _decide(self, gradients: Tensor) -> tuple[Tensor, Tensor | None]:
        """`decide` on finite submissions."""
        return self.aggregate(gradients), None

    def _checked(self, gradients: Tensor) -> Tensor:
        """The submissions without a graph, validated."""
        if not isinstance(gradients, Tensor) or gradients.ndim != 2 or 0 in gradients.shape:
            found = tuple(gradients.shape) if isinstance(gradients, Tensor) else type(gradients).__name__
            raise GaaError(f"{self!r} needs a tensor of shape [workers, parameters]; found {found}.")
        if gradients.dtype not in (torch.float32, torch.float64):
            raise GaaError(f"{self!r} needs float32 or float64 submissions; found {gradients.dtype}.")
        self.check_workers(len(gradients))
        return gradients.detach() if gradients.requires_grad else gradients

    def _admit(self, gradients: Tensor) -> tuple[Aggregator, Tensor, Tensor]:
        """Validate, mask: (the rule for what is left, bool mask [n], finite rows [k, d])."""
        gradients = self._checked(gradients)
        finite = kernels.finite_rows(gradients)  # [n]
        if finite.all():
            return self, finite, gradients
        rows = torch.nonzero(finite).flatten()
        rule = self.without(len(gradients) - len(rows))
        if len(rows) < max(1, rule.needs()):  # too few are left to choose among: no weight at all, the step is skipped
            return rule, torch.zeros_like(finite), gradients[:0]
        first, last = int(rows[0]), int(rows[-1])
        in_one_piece = last - first + 1 == len(rows)  # as where attackers come first: a view costs no pass
        return rule, finite, gradients[first : last + 1] if in_one_piece else gradients[rows]


class WeightedAggregator(Aggregator):
    """A rule whose update is a weighted sum of submissions: implement `weigh` on finite rows."""

    @abstractmethod
    def weigh(self, gradients: Tensor) -> Tensor:
        """Weights [n] of finite submissions [n, d]."""

    def aggregate(self, gradients: Tensor) -> Tensor:
        return self._decide(gradients)[0]

    def _decide(self, gradients: Tensor) -> tuple[Tensor, Tensor]:
        weights = self.weigh(gradients)
        return weights @ gradients, weights

    def weights(self, gradients: Tensor) -> Tensor:
        """The weights [n] of the workers, zero for non-finite submissions."""
        return self.decide(gradients)[1]


class SelectingAggregator(WeightedAggregator):
    """A rule whose update is the plain mean of some submissions: implement `choose` on finite rows."""

    @abstractmethod
    def choose(self, gradients: Tensor) -> list[int]:
        """The numbers of the submissions [n, d] that are averaged."""

    def weigh(self, gradients: Tensor) -> Tensor:
        return self._decide(gradients)[1]

    def _decide(self, gradients: Tensor) -> tuple[Tensor, Tensor]:
        return self._mean_of(self.choose(gradients), gradients)

    def _mean_of(self, chosen: list[int], gradients: Tensor) -> tuple[Tensor, Tensor]:
        shares = [0.0] * len(gradients)  # a list first: writing into a tensor costs more than a small rule
        for worker in chosen:
            shares[worker] = 1.0 / len(chosen)
        weights = torch.tensor(shares, dtype=gradients.dtype, device=gradients.device)
        return gradients[chosen[0]].clone() if len(chosen) == 1 else weights @ gradients, weights


class DistanceAggregator(SelectingAggregator):
    """A rule that selects by the distances between submissions alone: implement `nearest`."""

    @abstractmethod
    def nearest(self, distances: np.ndarray) -> list[int]:
        """The numbers of the submissions that are averaged, from squared distances [n, n]."""

    def choose(self, gradients: Tensor) -> list[int]:
        return self.nearest(kernels.squared_distances(gradients).cpu().numpy())

    def _at_once(self, gradients: Tensor) -> tuple[Tensor, Tensor] | None:
        if gradients.numel() > kernels.DIRECT:  # one pass more costs little, distances taken in vain cost much
            return super()._at_once(gradients)
        distances = kernels.squared_distances(gradients).cpu().numpy()  # FAR to rows that are not finite
        return self._mean_of(self.nearest(distances), gradients) if distances.max() < kernels.FAR else None


class ColumnwiseAggregator(Aggregator):
    """A rule that looks at one coordinate at a time, and so can work block by block of columns."""

    @abstractmethod
    def aggregate(self, gradients: Tensor, prepare: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """The update [d] from finite submissions, each block [n, w] of them prepared into [m, w] first."""


class LearningAggregator(Aggregator):
    """A rule that learns, and sees the quasi-validation set through the server. It has state only after `reset`.

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
        """What it remembers between two steps, for a checkpoint; see `gaa_core.checkpoint` for what that can hold.

        By default the dataclass fields that are not hyper-parameters (`init=False`). Rules that keep their memory
        elsewhere override this and `load_state`.
        """
        return {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if not each.init}

    def load_state(self, state: dict) -> None:
        """Take over this state. Called after `reset`, in place of the steps that led there."""
        for name, value in state.items():
            object.__setattr__(self, name, value)


def decide(
    rule: Callable[[Tensor], Tensor], gradients: Tensor, asked: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """The update [d] and the weights [n] (or None) of any rule, checked: what runs call.

    Of workers that were not `asked` (bool [n]), rules without a memory are given nothing, and rules that learn rows of
    NaN. A plain callable, a lambda or an nn.Module, is given a copy of the finite rows, so that it cannot change the
    submissions; where no row is finite the update is zero. Raises GaaError when the update is not a finite tensor of
    real numbers [d] (other dtypes and devices are converted), or when a rule changed the submissions in place.
    """
    if asked is not None and not isinstance(rule, LearningAggregator):
        update, weights = decide(rule, gradients[asked])
        return update, None if weights is None else weights.new_zeros(len(gradients)).masked_scatter(asked, weights)
    if isinstance(rule, Aggregator):
        before = None if gradients.is_inference() else gradients._version
        update, weights = rule.decide(gradients)
        if before is not None and gradients._version != before:
            raise GaaError(f"The rule {rule!r} must not change the submissions in place: let it work on a clone.")
        return update, weights
    kept = gradients.detach()[kernels.finite_rows(gradients)]
    with blame("The rule", rule):
        update = rule(kept) if len(kept) else gradients.new_zeros(gradients.shape[1])
    if not isinstance(update, Tensor) or update.shape != gradients.shape[1:] or not update.is_floating_point():
        found = f"{tuple(update.shape)} of {update.dtype}" if isinstance(update, Tensor) else type(update).__name__
        raise GaaError(
            f"The rule {rule!r} must return a real tensor of shape {tuple(gradients.shape[1:])}; found {found}."
        )
    if not update.isfinite().all():
        raise GaaError(f"The rule {rule!r} must return finite numbers for finite submissions; found NaN or infinity.")
    return update.detach().to(gradients), None
