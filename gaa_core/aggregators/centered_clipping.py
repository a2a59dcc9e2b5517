import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gaa_core import kernels, seeding
from gaa_core.aggregators.base import WeightedAggregator, check_count
from gaa_core.errors import GaaError

#: A row deviates outside the sample of columns where most rows are so many times as far from it as the sample tells.
MUCH_FURTHER = 2.0


@dataclass(frozen=True)
class CenteredClipping(WeightedAggregator):
    """v + sum_i (V_i - v) min(1, radius / |V_i - v|) / n: the mean of submissions clipped to a ball about v.

    The source takes v from the step before. Here nothing outlives a call: v is the submission in the middle of a
    random sketch, and each of `iterations` moves v to the result. `radius=None` is the median distance to v (ours), so
    that no scale must be known. Takes no f. O(nd) an iteration. Source: Karimireddy et al. 2021, "Learning from
    history".
    """

    radius: float | None = None
    iterations: int = 1
    source = "ours: Karimireddy et al. 2021 (without its memory)"

    def __post_init__(self) -> None:
        check_count(self, "iterations", self.iterations, least=1)
        if self.radius is not None and not self.radius > 0.0:
            raise GaaError(f"CenteredClipping needs a radius above 0, or None; found {self.radius!r}.")

    def weigh(self, gradients: Tensor) -> Tensor:  # [n, d] -> [n]
        n = len(gradients)
        start, distances = central_row(gradients)
        weights = np.zeros(n)
        weights[start] = 1.0
        for iteration in range(self.iterations):
            if iteration > 0:
                point = torch.from_numpy(weights).to(gradients) @ gradients
                distances = kernels.distances_to(gradients, point).cpu().numpy()
            radius = np.sort(distances)[(n - 1) // 2] if self.radius is None else self.radius
            share = radius / np.maximum(distances, radius) / n if radius > 0.0 else (distances == 0.0) / n
            weights = share + (1.0 - share.sum()) * weights
        return torch.from_numpy(weights).to(gradients)


def central_row(gradients: Tensor) -> tuple[int, np.ndarray]:
    """A row amid the others and the distances [n] of all rows from it.

    First a probable centre. If most rows lie much further from it than they do in the sample of columns that it was
    chosen by, it deviates elsewhere, and the sketched medoid takes its place.
    """
    sample, middle = kernels.sample_columns(gradients)
    row = int(np.abs(sample - middle).sum(axis=1).argmin())
    distances = kernels.distances_to(gradients, gradients[row]).cpu().numpy()
    half, share = (len(sample) - 1) // 2, sample.shape[1] / gradients.shape[1]
    expected = np.sort(np.square(sample - sample[row]).sum(axis=1))[half] / share
    if np.sort(distances)[half] > MUCH_FURTHER * math.sqrt(expected):
        row = sketched_medoid(gradients)
        distances = kernels.distances_to(gradients, gradients[row]).cpu().numpy()
    return row, distances


def sketched_medoid(gradients: Tensor, width: int = 64) -> int:
    """A row amid the others: the medoid of a sketch that folds all columns into `width` sums under random signs.

    Distances in the sketch are true ones within some 20 %, and every column counts, so that a deviation cannot hide
    from it as it can from a sample of columns.
    """
    n, d = gradients.shape
    sketch = torch.zeros(n, width, dtype=torch.float64, device=gradients.device)
    signs = torch.randint(0, 2, (d,), generator=seeding.generator(0, "sketch"), dtype=torch.int8)
    signs = (2 * signs - 1).to(gradients)
    for block in kernels.column_blocks(gradients):
        signed = gradients[:, block] * signs[block]
        whole = signed.shape[1] // width * width
        sketch += signed[:, :whole].reshape(n, -1, width).sum(dim=1)
        sketch[:, : signed.shape[1] - whole] += signed[:, whole:]
    sketch = sketch.nan_to_num(nan=1e300, posinf=1e300, neginf=-1e300)
    return int(torch.cdist(sketch, sketch, compute_mode="donot_use_mm_for_euclid_dist").sum(dim=1).argmin())
