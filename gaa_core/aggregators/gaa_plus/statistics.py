"""What is measured of one step's submissions, before any of them is judged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
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
TINY, LEAST = 1e-24, 1e-300
#: Samples under which nothing can be said of their scatter.
FEWEST = 4


@dataclass
class Statistics:
    """k finite submissions of n workers, and what is measured of them."""

    gradients: Tensor  # [k, d]
    finite: np.ndarray  # bool [n], whose they are
    part: Tensor  # [k, c], some columns of them
    lengths: np.ndarray  # [k]
    values: dict[str, np.ndarray]  # cosines [k] with the QV gradient and with the momentum
    cosine: np.ndarray  # [k, k], between submissions
    alike: np.ndarray  # [k], how many are copies of each, itself included
    counts: np.ndarray  # [k], as what part of a submission each counts where two kinds of workers are compared
    beside: float  # how far there are copies beside a single one, in [0, 1]


def some_columns(d: int, generator: torch.Generator) -> slice | Tensor:
    """Where peers are compared: everywhere, or, where that is expensive, in places that no attacker can foresee."""
    if d <= MANY:
        return slice(None)
    starts = torch.randint(d - RUN + 1, (MANY // RUN,), generator=generator)
    return (starts[:, None] + torch.arange(RUN)).flatten()


def survey(gradients: Tensor, vectors: list[Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Lengths [n] and cosines [n, k] of finite submissions [n, d] with k vectors [d], in one pass; 0 with zero."""
    matrix = torch.stack([vector.to(gradients.dtype) for vector in vectors])  # [k, d]
    squares = torch.zeros(len(gradients), dtype=torch.float64)
    products = torch.zeros(len(vectors), len(gradients), dtype=torch.float64)
    for block in kernels.column_blocks(gradients, elements=400_000):
        part = gradients[:, block]
        squares += torch.linalg.vector_norm(part, dim=1).double().square()
        products += matrix[:, block] @ part.T  # in this order it takes two thirds of the time
    squares, products = squares.numpy(), products.numpy().T
    lengths = np.sqrt(squares)
    least, most = (1e-12, 1e15) if gradients.dtype == torch.float32 else (1e-130, 1e130)  # where squares are safe
    for row in np.flatnonzero(~((lengths > least) & (lengths < most))):
        only = gradients[row : row + 1]
        lengths[row] = kernels.norms(only)[0]
        products[row] = (only[0].double() / max(lengths[row], LEAST)) @ matrix.double().T * lengths[row]
    scale = lengths[:, None] * kernels.norms(matrix).numpy()
    return lengths, np.nan_to_num(np.where(scale > 0, products / np.maximum(scale, LEAST), 0.0)).clip(-1, 1)


def unit(vector: Tensor) -> Tensor:
    """A vector [d] at length 1; 0 stays 0."""
    length = kernels.norms(vector[None]).to(vector)
    return torch.where(length > 0, vector / length, 0.0)


def cosines(gram: np.ndarray) -> np.ndarray:
    """Cosines [n, n] between submissions from their Gram matrix; 0 where one is zero, 1 on the diagonal."""
    lengths = np.sqrt(gram.diagonal().clip(0))
    scale = lengths[:, None] * lengths
    found = np.where(scale > 0, gram / np.maximum(scale, LEAST), 0.0).clip(-1, 1)
    np.fill_diagonal(found, 1.0)
    return found


def multiplicity(cosine: np.ndarray) -> np.ndarray:
    """How many submissions [n] are copies of each, itself included, by the cosines [n, n]."""
    return ((cosine - ALIKE) / (SAME - ALIKE)).clip(0, 1).sum(axis=1)


def identical(alike: np.ndarray) -> np.ndarray:
    """How far each [k] is one of several copies, in [0, 1]."""
    return ((alike - SEVERAL) / (SURELY - SEVERAL)).clip(0, 1)


def counted(alike: np.ndarray, ordinary: np.ndarray, known: float) -> tuple[np.ndarray, float]:
    """As what part of a submission each [k] counts, by its log-odds of length `ordinary` [k]; and `beside`.

    Copies count as one. Beside an ordinary single one, or once they are `known` to be Byzantine, they do not count.
    """
    counts, same = np.exp(np.minimum(ordinary, 0)) / alike, identical(alike)
    single = min(1.0, float((counts * (1 - same)).max()))
    return counts * (1 - same * max(known, single)), float(same.max()) * single


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The least value at which half the weight is reached; infinite without any weight."""
    total = weights.sum()
    if total <= 0:
        return math.inf
    order = values.argsort(kind="stable")
    return float(values[order[(weights[order].cumsum() >= 0.5 * total).argmax()]])


def size(values: np.ndarray, counts: np.ndarray) -> float:
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


def spreads(values: np.ndarray) -> float:
    """By how many standard errors the mean of the samples' values [b] exceeds 0."""
    return float(values.mean()) / max(float(values.std(ddof=1)) / len(values) ** 0.5, TINY)
