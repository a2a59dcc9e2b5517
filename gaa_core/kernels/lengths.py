"""Norms, distances from a point, inner products and cosines of submissions, summed in float64."""

import numpy as np
import torch
from torch import Tensor

from gaa_core.kernels.blocks import DIRECT, column_blocks, share_columns

#: Columns whose squares are summed in the submissions' own dtype before the sum goes into float64 (3e-7 is lost).
RUN = 2**15

#: Up to so many numbers squares are summed without a square root, so that whole numbers stay whole and ties are ties.
LITTLE = 2**16

#: A squared distance below this share of the norms that it is a difference of has lost too much to rounding.
CANCELLED = 0.01

#: Numbers in one block of products, whose kernels gain by longer blocks.
PRODUCT_BLOCK = 410_000

#: Norms outside these bounds may have lost their squares to underflow or overflow.
TRUSTED_NORMS = {torch.float32: (1e-15, 1e18), torch.float64: (1e-140, 1e150)}


def norms(gradients: Tensor) -> Tensor:  # [n, d] -> float64 [n]
    """Euclidean norms of the rows within some 1e-7, also of rows whose squares overflow or vanish in their dtype."""
    lengths = squares(gradients).sqrt()
    for row in _doubtful(lengths, gradients.dtype):
        lengths[row] = _scaled_norm(gradients[row].double())
    return lengths


def distances_to(gradients: Tensor, point: Tensor) -> Tensor:  # [n, d], [d] -> float64 [n]
    """Euclidean distances of the rows from a point, as exact as `norms`.

    From few numbers by their inner products, where these do not cancel: a difference of all rows takes longer.
    """

    def work(columns: slice) -> Tensor:
        total, scratch = torch.zeros(len(gradients), dtype=torch.float64, device=gradients.device), None
        for block in column_blocks(gradients, columns):
            part = gradients[:, block]
            if scratch is None or scratch.shape != part.shape:
                scratch = gradients.new_empty(part.shape)
            total += squares(torch.sub(part, point[block], out=scratch))
        return total

    lengths = _by_products(gradients, point) if LITTLE <= gradients.numel() <= DIRECT else None
    if lengths is None:
        lengths = sum(share_columns(gradients, work)).sqrt()
    for row in _doubtful(lengths, gradients.dtype):
        if not torch.equal(gradients[row], point):
            lengths[row] = _scaled_norm(gradients[row].double() - point.double())
    return lengths


def _by_products(gradients: Tensor, point: Tensor) -> Tensor | None:
    """`distances_to`; None where more than one row cancels. One may: where the point is a row, it is 0 away."""
    scale = squares(gradients) + float(squares(point[None]))
    squared = torch.sub(scale, gradients @ point, alpha=2.0).cpu().numpy()
    apart = squared > CANCELLED * scale.cpu().numpy()
    if np.count_nonzero(apart) < len(apart) - 1:
        return None
    return torch.from_numpy(np.sqrt(np.where(apart, squared, 0.0))).to(gradients.device)


def squares(rows: Tensor) -> Tensor:  # [n, d] -> float64 [n]
    """Sums of squares of the rows; infinite where they overflow in the rows' own dtype."""
    if rows.numel() < LITTLE:
        return torch.linalg.vecdot(rows, rows).double()
    if rows.shape[1] <= RUN:
        return torch.linalg.vector_norm(rows, dim=1).double().square_()
    whole = rows.shape[1] // RUN * RUN
    runs = torch.linalg.vector_norm(rows[:, :whole].unflatten(1, (-1, RUN)), dim=2)  # [n, runs]
    return runs.double().square().sum(dim=1) + torch.linalg.vector_norm(rows[:, whole:], dim=1).double().square()


def products(gradients: Tensor, vector: Tensor) -> Tensor:  # [n, d], [d] -> float64 [n]
    """Inner products of the rows with a vector, also where they overflow in float32."""
    result = torch.zeros(len(gradients), dtype=torch.float64, device=gradients.device)
    for block in column_blocks(gradients, elements=PRODUCT_BLOCK):
        result += gradients[:, block] @ vector[block]
    if not result.isfinite().all():
        for row in torch.nonzero(~result.isfinite()).flatten().tolist():
            result[row] = gradients[row].double() @ vector.double()
    return result


def cosines(gradients: Tensor, vector: Tensor) -> Tensor:  # [n, d], [d] -> float64 [n]
    """Cosines between the rows and a vector; 0 where either is zero."""
    lengths = norms(gradients) * norms(vector[None])
    return torch.where(lengths > 0.0, products(gradients, vector) / lengths, 0.0).clamp_(-1.0, 1.0)


def _doubtful(lengths: Tensor, dtype: torch.dtype) -> list[int]:
    """The rows whose norm cannot be trusted."""
    least, most = TRUSTED_NORMS[dtype]
    return [row for row, length in enumerate(lengths.tolist()) if not least < length < most]


def _scaled_norm(values: Tensor) -> Tensor:
    """The norm of float64 values [d], divided by their largest first."""
    largest = values.abs().max()
    return largest * torch.linalg.vector_norm(values / largest) if largest > 0.0 else largest
