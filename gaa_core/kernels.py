"""Fast shared arithmetic of the rules: the finite mask, distances, order statistics."""

from __future__ import annotations

import torch
from torch import Tensor


def finite_rows(gradients: Tensor) -> Tensor:  # [n, d] -> bool [n]
    """Which rows hold neither NaN nor infinity.

    One pass of row sums: a NaN or an infinity always reaches its row's sum. The sum of a finite row can overflow too,
    so rows whose sum is not finite (rare) are looked at element by element.
    """
    finite = torch.isfinite(gradients.sum(dim=1))
    for row in torch.nonzero(~finite).flatten().tolist():
        finite[row] = torch.isfinite(gradients[row]).all()
    return finite
