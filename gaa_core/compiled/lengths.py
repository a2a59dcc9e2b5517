"""Squares and products of submissions with a point, compiled: one pass for both, where torch takes two."""

from __future__ import annotations

import numpy as np
from numba import njit
from torch import Tensor

#: Columns summed in the submissions' own type, before the sum goes into float64.
_COLUMNS = 4096


def squares_and_products(gradients: Tensor, point: Tensor, columns: slice) -> np.ndarray:  # -> float64 [2, n]
    """<V_i, V_i> and <V_i, point> over a range of columns; infinite or NaN where they overflow."""
    values = gradients.numpy()
    result = np.zeros((2, len(values)))
    _add(values, point.numpy(), columns.start, columns.stop, values.dtype.type(0), result)
    return result


# Sums may be taken in the order that suits the vector unit, the same at every call; NaN and infinities stay themselves.
@njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _add(values, point, start, stop, zero, result):
    for left in range(start, stop, _COLUMNS):
        other = point[left : min(left + _COLUMNS, stop)]
        for i in range(len(values)):
            row = values[i, left : left + len(other)]
            squares, products = zero, zero
            for k in range(len(other)):
                squares += row[k] * row[k]
                products += row[k] * other[k]
            result[0, i] += squares
            result[1, i] += products
