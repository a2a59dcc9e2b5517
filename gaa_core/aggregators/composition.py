"""Pre-aggregators, which come before a rule, and the one way to combine them: `ARC(f=3) | TrimmedMean(f=3)`."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import Aggregator, ColumnwiseAggregator, LearningAggregator, Part, Server
from gaa_core.errors import GaaError


class PreAggregator(Part, ABC):
    """Submissions [n, d] -> milder or fewer submissions [m, d], each a weighted sum of the given ones.

    Subclasses are frozen dataclasses and implement `mixing`. `before | rule` is a rule, `before | other | rule` too.
    The finite mask comes first, and the `f` of every part falls with each submission that is not finite.
    """

    @abstractmethod
    def mixing(self, gradients: Tensor) -> Tensor:
        """The weights [m, n] of finite submissions [n, d]."""

    def rows(self, n: int) -> int:
        """How many rows come out of n."""
        return n

    def transform(self, mixing: Tensor, gradients: Tensor) -> Tensor:  # [m, n], [n, d] -> [m, d]
        """The weighted sums; those that only rescale rows override it."""
        return mixing.to(gradients.dtype) @ gradients

    def __or__(self, rule: Aggregator | PreAggregator) -> Aggregator | PreAggregator:
        if isinstance(rule, PreAggregator):
            return _Chain(self, rule)
        if isinstance(rule, LearningAggregator):
            return _LearningPipe(self, rule)
        return _Pipe(self, rule) if isinstance(rule, Aggregator) else NotImplemented


class RowScaling(PreAggregator):
    """A pre-aggregator that shortens submissions: implement `limit`, the longest norm left as it is."""

    @abstractmethod
    def limit(self, lengths: Tensor) -> Tensor | float:
        """The longest norm allowed, given all norms [n]."""

    def mixing(self, gradients: Tensor) -> Tensor:  # [n, d] -> [n, n]
        lengths = kernels.norms(gradients)
        limit = self.limit(lengths)
        return torch.where(lengths > limit, limit / lengths, 1.0).to(gradients.dtype).diag()

    def transform(self, mixing: Tensor, gradients: Tensor) -> Tensor:
        return gradients * mixing.diagonal()[:, None]


@dataclass(frozen=True, repr=False)
class _Chain(PreAggregator):
    """One pre-aggregator after another."""

    first: PreAggregator
    second: PreAggregator

    def __repr__(self) -> str:
        return f"{self.first!r} | {self.second!r}"

    def mixing(self, gradients: Tensor) -> Tensor:
        inner = self.first.mixing(gradients)
        return self.second.mixing(self.first.transform(inner, gradients)) @ inner

    def rows(self, n: int) -> int:
        return self.second.rows(self.first.rows(n))

    def needs(self) -> int:
        return _least(self.first, self.second.needs())

    def without(self, dropped: int) -> PreAggregator:
        return _Chain(self.first.without(dropped), self.second.without(dropped))


@dataclass(frozen=True, repr=False)
class _Pipe(Aggregator):
    """A rule on what a pre-aggregator leaves. Its weights, where the rule has them, are those of the workers."""

    before: PreAggregator
    rule: Aggregator

    def __repr__(self) -> str:
        return f"{self.before!r} | {self.rule!r}"

    @property
    def f(self) -> int | None:
        return getattr(self.rule, "f", getattr(self.before, "f", None))

    def needs(self) -> int:
        return _least(self.before, self.rule.needs())

    def without(self, dropped: int) -> _Pipe:
        return dataclasses.replace(self, before=self.before.without(dropped), rule=self.rule.without(dropped))

    def aggregate(self, gradients: Tensor) -> Tensor:
        return self._decide(gradients)[0]

    def _decide(self, gradients: Tensor) -> tuple[Tensor, Tensor | None]:
        mixing = self.before.mixing(gradients)
        if isinstance(self.rule, ColumnwiseAggregator):  # one block at a time: the mixed rows are never all there
            self.rule.check_workers(len(mixing))
            return self.rule.aggregate(gradients, lambda block: self.before.transform(mixing, block)), None
        update, weights = self.rule.decide(self.before.transform(mixing, gradients))
        return update, None if weights is None else weights @ mixing.to(weights.dtype)


@dataclass(frozen=True, repr=False)
class _LearningPipe(_Pipe, LearningAggregator):
    """A learning rule on what a pre-aggregator leaves; worker i must still be row i."""

    def reset(self, n: int, d: int, generator: torch.Generator) -> None:
        if self.before.rows(n) != n:
            raise GaaError(f"{self!r}: a rule that learns about workers needs one row a worker; found fewer.")
        self.rule.reset(n, d, generator)

    def observe(self, server: Server) -> None:
        self.rule.observe(server)

    def state(self) -> dict:
        return self.rule.state()

    def load_state(self, state: dict) -> None:
        self.rule.load_state(state)

    def decide(self, gradients: Tensor) -> tuple[Tensor, Tensor]:
        pipe, finite, kept = self._admit(gradients)
        if len(kept) == 0:
            return self.rule.decide(gradients)
        milder = torch.full_like(gradients, float("nan"))  # the rule masks them again, worker by worker
        milder[finite] = pipe.before.transform(pipe.before.mixing(kept), kept)
        return self.rule.decide(milder)


def _least(before: PreAggregator, needed: int) -> int:
    """The least n of which at least `needed` rows come out."""
    n = max(before.needs(), 1)
    while before.rows(n) < needed:
        n += 1
    return n
