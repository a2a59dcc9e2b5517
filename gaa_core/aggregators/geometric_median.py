from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import WeightedAggregator
from gaa_core.errors import GaaError

#: Weiszfeld converges linearly; this many steps are reached by degenerate inputs only.
_MOST_STEPS = 2000


@dataclass(frozen=True)
class GeometricMedian(WeightedAggregator):
    """The point of the space with the least sum of distances to the submissions.

    Weiszfeld's iteration until a step is shorter than `tolerance` times the median distance to the submissions. Not
    the medoid (`GeoMed`), and not smoothed: where a submission is itself the minimiser it is found exactly. Runs on
    the n x n Gram matrix, so O(n^2 d) once and O(n^2) a step. Takes no f (its guarantee asks for n >= 2f+1).
    Source: Weiszfeld 1937; the step at a submission is from Vardi and Zhang 2000.
    """

    tolerance: float = 1e-6
    source: ClassVar[str] = "ours: Weiszfeld 1937; Vardi and Zhang 2000"
    notices_not_finite: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0.0 < self.tolerance < 1.0:
            raise GaaError(f"GeometricMedian needs a tolerance between 0 and 1; found {self.tolerance!r}.")

    def weigh(self, gradients: Tensor) -> Tensor:  # [n, d] -> [n]
        start, centre = kernels.probable_centre(gradients), kernels.product_centre(gradients)
        gram, unit = kernels.gram(gradients, centre)
        for _ in range(4):
            weights, squared = weiszfeld(gram, start, self.tolerance)
            nearest = int(squared.argmin())
            norms = weights @ gram.diagonal() + weights @ gram @ weights
            if nearest == centre or 1e5 * unit * norms <= weights @ squared:
                break  # what is left of the norms after cancellation is worth trusting
            start = centre = nearest
            gram, unit = kernels.gram(gradients, centre, torch.float64)
        return weights.to(gradients.dtype)


def weiszfeld(gram: Tensor, start: int, tolerance: float) -> tuple[Tensor, Tensor]:
    """Weights [n] of the geometric median, and its squared distances [n] to the points, from their Gram matrix.

    Every iterate is a weighted mean of the points, so that all distances follow from the inner products.
    """
    weights = torch.zeros_like(gram[0])
    weights[start] = 1.0
    tested: set[int] = set()
    for _ in range(_MOST_STEPS):
        products = gram @ weights
        squared = (gram.diagonal() - 2.0 * products + weights @ products).clamp_(min=0.0)
        nearest = int(squared.argmin())
        if nearest not in tested:
            tested.add(nearest)
            if _is_minimiser(gram, nearest):
                weights = torch.zeros_like(weights)
                weights[nearest] = 1.0
                return weights, (gram.diagonal() - 2.0 * gram[nearest] + gram[nearest, nearest]).clamp_(min=0.0)
        target, pull = _pull(gram, weights, squared)
        step = (1.0 - pull) * (target - weights)
        weights = weights + step
        moved = (step @ gram @ step).clamp_(min=0.0)
        if moved.sqrt() <= tolerance * squared.median().sqrt():
            break
    return weights, squared


def _pull(gram: Tensor, weights: Tensor, squared: Tensor) -> tuple[Tensor, Tensor]:
    """Weiszfeld's next weights, and the share by which the points met by the iterate hold it back."""
    met = squared == 0.0
    closeness = torch.where(met, 0.0, squared.rsqrt())
    total = closeness.sum()
    if total == 0.0:
        return weights, total.new_ones(())
    target = closeness / total
    if not met.any():
        return target, total.new_zeros(())
    step = target - weights
    resultant = total * (step @ gram @ step).clamp_(min=0.0).sqrt()
    return target, (met.sum() / resultant).clamp_(max=1.0)


def _is_minimiser(gram: Tensor, point: int) -> bool:
    """Whether the unit vectors from a point to the others add up to no more than its multiplicity."""
    about = gram - gram[point] - gram[:, point, None] + gram[point, point]
    squared = about.diagonal().clamp(min=0.0)
    met = squared == 0.0
    closeness = torch.where(met, 0.0, squared.rsqrt())
    return bool((closeness @ about @ closeness).clamp(min=0.0).sqrt() <= met.sum())
