from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import WeightedAggregator
from gaa_core.errors import GaaError

#: Weiszfeld converges linearly; this many steps are reached by degenerate inputs only.
MOST_STEPS = 2000

#: How often products are taken again about a point closer to the result, and how many roundings a norm must exceed.
RECENTRINGS, SAFETY = 3, 1e5


@dataclass(frozen=True)
class GeometricMedian(WeightedAggregator):
    """The point of the space with the least sum of distances to the submissions.

    Weiszfeld's iteration until the subgradient, the mean of the unit vectors to the submissions, is shorter than
    `tolerance`. Submissions closer to each other than `tolerance` times the medoid's median distance count as one.
    Not the medoid (`GeoMed`), and not smoothed: where a submission is itself the minimiser it is found exactly. Runs on
    the n x n Gram matrix, so O(n^2 d) once, O(n^3) once and O(n^2) a step. Takes no f (its guarantee asks for
    n >= 2f+1). Source: Weiszfeld 1937; the step at a submission is from Vardi and Zhang 2000.
    """

    tolerance: float = 1e-6
    source = "ours: Weiszfeld 1937; Vardi and Zhang 2000"

    def __post_init__(self) -> None:
        if not 0.0 < self.tolerance < 1.0:
            raise GaaError(f"GeometricMedian needs a tolerance between 0 and 1; found {self.tolerance!r}.")

    def weigh(self, gradients: Tensor) -> Tensor:  # [n, d] -> [n]
        centre, dtype = kernels.product_centre(gradients), None
        for _ in range(1 + RECENTRINGS):
            gram, unit = kernels.gram(gradients, centre, dtype)
            if dtype is None and gradients.dtype == torch.float32 and _cancels(gram, unit):
                dtype = torch.float64
                gram, unit = kernels.gram(gradients, centre, dtype)
            products = gram.cpu().numpy()
            weights = geometric_median_weights(products, self.tolerance)
            inner = products @ weights
            squared = products.diagonal() - 2.0 * inner + weights @ inner
            nearest, norms = int(squared.argmin()), weights @ products.diagonal() + weights @ inner
            if nearest == centre or SAFETY * unit * norms <= weights @ squared:
                break  # what is left of the norms after cancellation can be trusted
            centre, dtype = nearest, torch.float64
        return torch.from_numpy(weights).to(gradients)


def _cancels(gram: Tensor, unit: float) -> bool:
    """Whether some distance is within a few roundings of the products that it is a difference of."""
    distances, scale = kernels.from_gram(gram)
    return bool((distances < SAFETY * unit * scale).any())


def geometric_median_weights(gram: np.ndarray, tolerance: float) -> np.ndarray:  # [n, n] -> [n]
    """Weights of the geometric median of points, from their inner products."""
    squares = gram.diagonal()
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2.0 * gram, 0.0))
    members, first = _merged(distances, tolerance)
    counts = np.bincount(members).astype(float)
    weights = _weiszfeld(gram[np.ix_(first, first)], distances[np.ix_(first, first)], counts, tolerance)
    return (weights / counts)[members]


def _merged(distances: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """The group of each point, and each group's first point: those within the tolerance of the first are one."""
    apart = distances[distances.sum(axis=1).argmin()]
    radius = tolerance * np.median(apart[apart > 0.0]) if apart.any() else 0.0
    members, first = np.full(len(distances), -1), []
    for point in range(len(distances)):
        if members[point] < 0:
            members[(members < 0) & (distances[point] <= radius)] = len(first)
            first.append(point)
    return members, np.array(first)


def _weiszfeld(gram: np.ndarray, distances: np.ndarray, counts: np.ndarray, tolerance: float) -> np.ndarray:
    """Weights [m] of the geometric median of m points that stand for `counts` submissions each.

    Every iterate is a weighted mean of the points, so that all distances follow from the inner products.
    """
    start = int((distances @ counts).argmin())
    weights = np.zeros(len(gram))
    weights[start] = 1.0
    pulls = np.divide(
        counts, distances, out=np.zeros_like(distances), where=distances > 0.0
    )  # [m, m], of row on column
    minimiser = _resultants(gram, pulls) <= counts
    if minimiser.any():
        return np.eye(len(gram))[start if minimiser[start] else int(minimiser.argmax())]
    held = counts[start]  # the iterate begins at a point, which holds it back
    pull = pulls[start]
    for _ in range(MOST_STEPS):
        total = pull.sum()
        step = pull / total - weights
        resultant = total * np.sqrt(max(step @ gram @ step, 0.0))
        if resultant <= tolerance * counts.sum():
            break
        weights = weights + max(0.0, 1.0 - held / resultant) * step
        inner = gram @ weights
        squared = np.maximum(gram.diagonal() - 2.0 * inner + weights @ inner, 0.0)
        met = squared == 0.0
        held = counts[met].sum()
        pull = np.divide(counts, np.sqrt(squared), out=np.zeros_like(counts), where=~met)
    return weights


def _resultants(gram: np.ndarray, pulls: np.ndarray) -> np.ndarray:  # [m, m], [m, m] -> [m]
    """The length of the sum of unit vectors from each point to the others, each as often as it counts."""
    totals, inner = pulls.sum(axis=1), pulls @ gram
    squared = (inner * pulls).sum(axis=1) - 2.0 * totals * inner.diagonal() + totals**2 * gram.diagonal()
    return np.sqrt(np.maximum(squared, 0.0))
