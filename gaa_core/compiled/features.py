"""The agent's features of submissions, compiled: one logarithm for some thousand numbers.

The logarithm of a product is the sum of logarithms: exponents are added as whole numbers, mantissas (1 to 2) are
multiplied in a hundred at a time, and only what comes out is put through a logarithm.
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from gaa_core.compiled.networks import compiled

#: Numbers worked on side by side, and how many mantissas are multiplied before a logarithm (2^100 is no overflow).
_LANES, _FACTORS = 256, 100

#: By float type: the integer type of its bits, bits of the mantissa, bias of the exponent.
_LAYOUTS = {np.dtype(np.float32): (np.int32, 23, 127), np.dtype(np.float64): (np.int64, 52, 1023)}


def sums(gradients: Tensor, columns: slice, p: float) -> np.ndarray:  # [n, d] -> [n, 2]
    """Sums over a range of columns of log(|v| + 1e-6) where |v| > e^-p, else -p; and of e^p v cut to [-1, 1]."""
    values = gradients.numpy()
    whole, bits, bias = _LAYOUTS[values.dtype]
    lanes = np.empty(_LANES, values.dtype)
    threshold = math.exp(-p)
    numbers = tuple(map(values.dtype.type, (threshold, 1.0 / threshold, 1e-6, 1.0)))
    masks = tuple(map(whole, (bits, (1 << bits) - 1, bias << bits, bias)))
    result = np.zeros((len(values), 2))
    for row, totals in zip(values, result, strict=True):
        _row_sums(row[columns], p, numbers, masks, lanes, lanes.view(whole), totals)
    return result


@compiled
def _row_sums(row, p, numbers, masks, lanes, lane_bits, totals):
    product, clipped = np.ones_like(lanes), np.zeros_like(lanes)
    exponents, small = np.zeros_like(lane_bits), np.zeros_like(lane_bits)
    for left in range(0, len(row), _LANES * _FACTORS):
        for start in range(left, min(len(row), left + _LANES * _FACTORS), _LANES):
            part = row[start : start + _LANES]
            _magnitudes(part, numbers, lanes, clipped, small)
            _multiply(len(part), masks, lanes, lane_bits, product, exponents)
        for k in range(_LANES):
            totals[0] += math.log(product[k]) + exponents[k] * math.log(2.0) - p * small[k]
            totals[1] += clipped[k]
            product[k], clipped[k], exponents[k], small[k] = 1, 0, 0, 0


@compiled
def _magnitudes(part, numbers, lanes, clipped, small):
    """|v| + 1e-6 into the lanes, 1 for small ones, which are counted; and the second feature, added up."""
    threshold, steepness, floor, one = numbers
    for k in range(len(part)):
        value = part[k]
        magnitude = abs(value)
        large = magnitude > threshold
        lanes[k] = magnitude + floor if large else one
        small[k] += 0 if large else 1
        steep = value * steepness
        steep = one if steep > one else steep
        clipped[k] += -one if steep < -one else steep


@compiled
def _multiply(width, masks, lanes, lane_bits, product, exponents):
    """Split the lanes into exponents, which are added, and mantissas, which are multiplied."""
    bits, mantissa, unit, bias = masks
    for k in range(width):
        pattern = lane_bits[k]
        exponents[k] += (pattern >> bits) - bias
        lane_bits[k] = (pattern & mantissa) | unit
    for k in range(width):
        product[k] *= lanes[k]
