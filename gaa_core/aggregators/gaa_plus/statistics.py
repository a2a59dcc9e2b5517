"""What is measured of one step's submissions, before any of them is judged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import Server

#: From this many parameters on, what may be estimated from a part of them is; peers are compared in as many columns,
#: in runs of neighbours.
MANY, RUN = 2**17, 4096
#: Cosines between submissions from which on they start to count as copies, and fully do.
ALIKE, SAME = 0.9, 0.99
#: How many others like it, itself included, make a submission one of several, and surely so.
SEVERAL, SURELY = 1.2, 2.0
#: What divides where a length or a scatter may be 0.
TINY = 1e-24
#: Samples under which nothing can be said of their scatter.
FEWEST = 4
#: The cosines that QV gradients give: plain, and preconditioned as the momentum's.
QV_KINDS = ("qv", "calm qv")


@dataclass
class Statistics:
    """k finite submissions of n workers, and what is measured of them."""

    gradients: Tensor  # [k, d]
    finite: Tensor  # bool [n], whose they are
    part: Tensor  # [k, c], some columns of them
    lengths: Tensor  # [k]
    values: dict[str, Tensor]  # cosines [k] with the QV gradients and with the momentum
    cosine: Tensor  # [k, k], between submissions
    alike: Tensor  # [k], how many are copies of each, itself included
    counts: Tensor  # [k], as what part of a submission each counts where two kinds of workers are compared
    beside: float  # how far there are copies beside a single one, in [0, 1]


def some_columns(d: int, generator: torch.Generator) -> slice | Tensor:
    """Where peers are compared: everywhere, or, where that is expensive, in places that no attacker can foresee."""
    if d <= MANY:
        return slice(None)
    starts = torch.randint(d - RUN + 1, (MANY // RUN,), generator=generator)
    return (starts[:, None] + torch.arange(RUN)).flatten()


def survey(gradients: Tensor, vectors: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Lengths [n] and cosines [n, k] of finite submissions [n, d] with k vectors [d], in one pass; 0 with zero."""
    matrix = torch.stack([vector.to(gradients.dtype) for vector in vectors])  # [k, d]
    squares = torch.zeros(len(gradients), dtype=torch.float64)
    products = torch.zeros(len(gradients), len(vectors), dtype=torch.float64)
    for block in kernels.column_blocks(gradients, elements=400_000):
        part = gradients[:, block]
        squares += torch.linalg.vector_norm(part, dim=1).double().square()
        products += part @ matrix[:, block].T
    lengths = squares.sqrt()
    least, most = (1e-12, 1e15) if gradients.dtype == torch.float32 else (1e-130, 1e130)  # where squares are safe
    for row in torch.nonzero(~((lengths > least) & (lengths < most))).flatten().tolist():
        only = gradients[row : row + 1]
        lengths[row] = kernels.norms(only)[0]
        products[row] = (only[0].double() / lengths[row].clamp_min(1e-300)) @ matrix.double().T * lengths[row]
    scale = lengths[:, None] * kernels.norms(matrix)
    return lengths, torch.where(scale > 0, products / scale.clamp_min(1e-300), 0.0).nan_to_num(0.0).clamp(-1, 1)


def unit(vector: Tensor) -> Tensor:
    """A vector [d] at length 1; 0 stays 0."""
    length = kernels.norms(vector[None]).to(vector)
    return torch.where(length > 0, vector / length, 0.0)


def cosines(gram: Tensor) -> Tensor:
    """Cosines [n, n] between submissions from their Gram matrix; 0 where one is zero, 1 on the diagonal."""
    lengths = gram.diagonal().clamp_min(0).sqrt()
    scale = lengths[:, None] * lengths[None, :]
    return torch.where(scale > 0, gram / scale.clamp_min(1e-300), 0.0).clamp(-1, 1).fill_diagonal_(1.0)


def multiplicity(cosine: Tensor) -> Tensor:
    """How many submissions [n] are copies of each, itself included, by the cosines [n, n]."""
    return ((cosine - ALIKE) / (SAME - ALIKE)).clamp(0, 1).sum(dim=1)


def identical(alike: Tensor) -> Tensor:
    """How far each [k] is one of several copies, in [0, 1]."""
    return ((alike - SEVERAL) / (SURELY - SEVERAL)).clamp(0, 1)


def counted(alike: Tensor, ordinary: Tensor, known: float) -> tuple[Tensor, float]:
    """As what part of a submission each [k] counts, by its log-odds of length `ordinary` [k]; and `beside`.

    Copies count as one. Beside an ordinary single one, or once they are `known` to be Byzantine, they do not count.
    """
    counts, same = ordinary.clamp(max=0).exp() / alike, identical(alike)
    single = float((counts * (1 - same)).max().clamp(max=1))
    return counts * (1 - same * max(known, single)), float(same.max()) * single


def weighted_median(values: Tensor, weights: Tensor) -> float:
    """The least value at which half the weight is reached; infinite without any weight."""
    total = weights.sum()
    if total <= 0:
        return math.inf
    order = values.argsort()
    reached = weights[order].cumsum(0) >= 0.5 * total
    return float(values[order][int(reached.nonzero()[0])])


def size(values: Tensor, counts: Tensor) -> float:
    """Root mean square of values [k] that count as often as `counts` [k] says."""
    return max(float(values**2 @ counts) / max(float(counts.sum()), 1e-9), TINY) ** 0.5


def shown_samples(server: Server, fewest: int) -> Any | None:
    """The QV samples (`inputs`, `targets`), where there are enough of them and the server shows them."""
    qv = getattr(server, "qv", None)
    return qv if qv is not None and len(qv.targets) >= fewest else None


def classes(server: Server) -> int:
    """Of how many classes the QV samples are; 0 where the server does not show them."""
    qv = shown_samples(server, fewest=1)
    return 0 if qv is None else len(qv.targets.unique())


def spreads(values: Tensor, expected: float) -> float:
    """By how many standard errors the mean of the samples' values [b] exceeds what is expected."""
    return (float(values.mean()) - expected) / max(float(values.std()) / len(values) ** 0.5, TINY)
