from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.composition import PreAggregator
from gaa_core.errors import GaaError


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


@dataclass(frozen=True)
class NormClipping(RowScaling):
    """Submissions longer than `bound` shortened to it, directions kept.

    `bound=None` is the median norm (ours), so that no scale must be known. O(nd).
    Source: Sun et al. 2019, "Can you really backdoor federated learning?".
    """

    bound: float | None = None
    source: ClassVar[str] = "ours: Sun et al. 2019"

    def __post_init__(self) -> None:
        if self.bound is not None and not self.bound > 0.0:
            raise GaaError(f"NormClipping needs a bound above 0, or None; found {self.bound!r}.")

    def limit(self, lengths: Tensor) -> Tensor | float:
        return lengths.median() if self.bound is None else self.bound
