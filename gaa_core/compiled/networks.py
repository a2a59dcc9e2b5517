"""The sorting network of `order_statistics`, compiled: comparators run along tiles of columns that stay in the first
cache, so that each is a few vector instructions. Bit for bit what torch computes.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from torch import Tensor

#: Columns in one tile: 50 rows of float32 take 51 kB.
_TILE = 256

#: What is made of an ordered column.
ONE_RANK, MIDDLE_OF_TWO, MEAN_OF_RANKS, MEAN_AROUND_MEDIAN = range(4)

# Divisions and comparisons as IEEE 754 has them, no lock held, compiled once a machine.
compiled = njit(nogil=True, cache=True, error_model="numpy")


def reduce_columns(
    rows: Tensor, columns: slice, program: np.ndarray, kind: int, ranks: tuple[int, int], result: Tensor
) -> bool:
    """Write the statistic of each column of rows [n, d] in a range to result [d]; False if some number is not finite.

    `program` [m, 4] holds comparators (i, j, lesser needed, greater needed). `ranks` are the first rank and the one
    after the last; for MEAN_AROUND_MEDIAN how many values are dropped, and 0.
    """
    values, out = rows.numpy(), result.numpy()
    return bool(_reduce(values, columns.start, columns.stop, program, kind, *ranks, values.dtype.type(0.5), out))


@compiled
def _reduce(values, start, stop, program, kind, first, last, half, out):
    n = len(values)
    tile = np.empty((n, _TILE), values.dtype)
    spare = np.zeros((3, _TILE), values.dtype)  # the first row stays zero for as long as all is finite
    for left in range(start, stop, _TILE):
        width = min(_TILE, stop - left)
        _load(values, left, width, tile, spare[0])
        _order(program, width, tile)
        target = out[left : left + width]
        if kind == ONE_RANK:
            target[:] = tile[first, :width]
        elif kind == MIDDLE_OF_TWO:
            for k in range(width):
                target[k] = half * tile[first, k] + half * tile[last - 1, k]
        elif kind == MEAN_OF_RANKS:
            _mean_of_ranks(tile, width, first, last, target)
        else:
            _mean_around_median(tile, width, first, spare[1], spare[2], target)
    return np.all(spare[0] == 0)


@compiled
def _load(values, left, width, tile, check):
    for i in range(len(values)):
        for k in range(width):
            value = values[i, left + k]
            tile[i, k] = value
            check[k] += value - value  # 0, or NaN for NaN and infinities


@compiled
def _order(program, width, tile):
    for p in range(len(program)):
        low, high = tile[program[p, 0]], tile[program[p, 1]]
        lesser, greater = program[p, 2], program[p, 3]
        if lesser and greater:
            for k in range(width):
                a, b = low[k], high[k]
                low[k] = a if a < b else b
                high[k] = b if a < b else a
        elif lesser:
            for k in range(width):
                a, b = low[k], high[k]
                low[k] = a if a < b else b
        else:
            for k in range(width):
                a, b = low[k], high[k]
                high[k] = b if a < b else a


@compiled
def _mean_of_ranks(tile, width, first, last, target):
    target[:] = tile[first, :width]
    for rank in range(first + 1, last):
        for k in range(width):
            target[k] += tile[rank, k]
    for k in range(width):
        target[k] /= last - first


@compiled
def _mean_around_median(tile, width, drop, twice_median, held, total):
    n = len(tile)
    keep, low, high = n - drop, (n - 1) // 2, n // 2
    for k in range(width):
        twice_median[k] = tile[low, k] + tile[high, k]
        total[k] = 0
    for rank in range(drop, keep):  # those without a rival one window further, first
        if rank not in (low, high):
            for k in range(width):
                total[k] += tile[rank, k]
    for first in range(keep):
        if drop <= first and first not in (low, high):
            continue
        held[:width] = tile[first, :width]
        for rank in range(first + keep, n, keep):
            for k in range(width):
                if held[k] + tile[rank, k] < twice_median[k]:
                    held[k] = tile[rank, k]
        for k in range(width):
            total[k] += held[k]
    for k in range(width):
        total[k] /= keep
