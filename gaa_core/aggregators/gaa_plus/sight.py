"""What GAAPlus sees of one step's submissions before it judges them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gaa_core.aggregators.base import Server
from gaa_core.aggregators.gaa_plus.direction import MANY

#: Samples under which nothing can be said of their scatter.
FEWEST = 4

#: The kinds of evidence that QV gradients give.
QV_KINDS = ("qv", "calm qv")

#: Peers are compared in at most MANY columns, in runs of neighbours of this length.
PEER_RUN = 4096


@dataclass
class Sight:
    """k finite submissions of n workers, and what they show."""

    gradients: Tensor  # [k, d]
    finite: Tensor  # [n], whose they are
    part: Tensor  # [k, c], some columns of them
    lengths: Tensor  # [k]
    values: dict[str, Tensor]  # cosines [k] with the QV gradients, the memory and whatever else tells of a submission
    cosine: Tensor  # [k, k], of one with another
    alike: Tensor  # [k], how many are the same as each
    counts: Tensor  # [k], as what part of a submission each counts where two kinds of workers are compared
    beside: float  # how far there are identical ones beside a single one


def some_columns(d: int, generator: torch.Generator) -> slice | Tensor:
    """Where peers are compared: everywhere, or, where that is expensive, in some places that none can foresee."""
    if d <= MANY:
        return slice(None)
    starts = torch.randint(d - PEER_RUN + 1, (MANY // PEER_RUN,), generator=generator)
    return (starts[:, None] + torch.arange(PEER_RUN)).flatten()


def identical(alike: Tensor) -> Tensor:
    """How far each [k] is not the only one of its kind, in [0, 1]."""
    return ((alike - 1.2) / 0.8).clamp(0, 1)


def counted(alike: Tensor, ordinary: Tensor, known: Tensor) -> tuple[Tensor, float]:
    """As what part of a submission each [k] counts, by its log-odds of length `ordinary` [k].

    Less, where it is out of the ordinary; identical ones count as one, or, beside an ordinary single one or once they
    are `known` [k] to be Byzantine workers' (in [0, 1]), not at all. Also how far there are identical ones beside a
    single one.
    """
    counts, same = ordinary.clamp(max=0).exp() / alike, identical(alike)
    single = float((counts * (1 - same)).max().clamp(max=1))
    return counts * (1 - same * known.clamp_min(single)), float(same.max()) * single


def size(values: Tensor, counts: Tensor) -> float:
    """Root mean square of values [k] that count as often as `counts` [k] says; no less than what can divide them."""
    return max(float(values**2 @ counts) / max(float(counts.sum()), 1e-9), 1e-24) ** 0.5


def shown_samples(server: Server, fewest: int) -> Any | None:
    """The QV samples (`inputs`, `targets`), where there are enough of them and the server shows them."""
    qv = getattr(server, "qv", None)
    return qv if qv is not None and len(qv.targets) >= fewest else None


def classes(server: Server) -> int:
    """Of how many classes the QV samples are; 0 where the server does not show them."""
    qv = shown_samples(server, fewest=1)
    return 0 if qv is None else len(qv.targets.unique())


def spreads(values: Tensor, expected: float) -> float:
    """How many spreads of their mean the values of samples [b] are above what is expected."""
    return (float(values.mean()) - expected) / max(float(values.std()) / len(values) ** 0.5, 1e-24)
