"""Per-coordinate order statistics over workers: [n, d] -> [d], a block of columns at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from gaa_core.kernels import column_blocks


def median(gradients: Tensor) -> Tensor:  # [n, d] -> [d]
    """The median of each column; for even n the mean of the two middle values."""
    n, d = gradients.shape
    result = gradients.new_empty(d)
    for block in column_blocks(gradients):
        ordered = gradients[:, block].sort(dim=0).values
        result[block] = 0.5 * ordered[(n - 1) // 2] + 0.5 * ordered[n // 2]
    return result


def trimmed_mean(gradients: Tensor, trim: int) -> Tensor:  # [n, d] -> [d]
    """The mean of each column without its `trim` least and `trim` greatest values."""
    n, d = gradients.shape
    result = gradients.new_empty(d)
    for block in column_blocks(gradients):
        result[block] = gradients[:, block].sort(dim=0).values[trim : n - trim].mean(dim=0)
    return result


def mean_around_median(gradients: Tensor, keep: int, rows: Tensor | None = None) -> Tensor:  # [n, d] -> [d]
    """The mean of the `keep` values of each column closest to its median; of two equally close ones the lesser is kept.

    Over all rows, or over some.
    The kept values are a window of the sorted column, and a window of `keep` holds exactly one of x_i, x_{i+keep},
    x_{i+2 keep}...: the one closest to the median.
    """
    n = len(gradients) if rows is None else len(rows)
    result = gradients.new_empty(gradients.shape[1])
    for block in column_blocks(gradients):
        columns = gradients[:, block] if rows is None else gradients[rows, block]
        ordered = columns.sort(dim=0).values
        middle = 0.5 * ordered[(n - 1) // 2] + 0.5 * ordered[n // 2]
        closest = ordered[:keep].clone()
        for start in range(keep, n, keep):
            rivals = ordered[start : start + keep]
            held = closest[: len(rivals)]
            closest[: len(rivals)] = torch.where((rivals - middle).abs() < (held - middle).abs(), rivals, held)
        result[block] = closest.mean(dim=0)
    return result
