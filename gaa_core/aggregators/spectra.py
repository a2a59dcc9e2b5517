"""Principal directions of submissions, from their Gram matrix: n x n work whatever d is."""

import numpy as np
import torch
from torch import Tensor

#: Above this many workers Lanczos iteration is faster than a full decomposition.
_FULL_DECOMPOSITION = 200


def top_direction(gram: Tensor, weights: Tensor) -> tuple[float, Tensor]:
    """The top eigenvalue of the weighted covariance, and every row's coordinate [n] along its eigenvector.

    `gram` holds the rows' inner products about any point, `weights` [n] sum to 1. With Z the rows less their weighted
    mean and D the weights, D^1/2 Z Z^T D^1/2 (n x n) shares its eigenvalues with the covariance Z^T D Z (d x d).
    """
    products = gram @ weights
    about_mean = gram - products[:, None] - products[None, :] + weights @ products
    root = weights.sqrt()
    value, vector = _top_eigenpair(root[:, None] * about_mean * root[None, :])
    if value <= 0.0:
        return 0.0, torch.zeros_like(weights)
    along = about_mean @ (root * vector) / value**0.5
    return value, along


def _top_eigenpair(matrix: Tensor) -> tuple[float, Tensor]:
    """The greatest eigenvalue of a symmetric matrix and its eigenvector; scaled first, so that 1e60 is no obstacle."""
    scale = float(matrix.abs().max())
    if scale == 0.0:
        return 0.0, torch.zeros_like(matrix[0])
    scaled = matrix / scale
    if len(matrix) <= _FULL_DECOMPOSITION:
        values, vectors = torch.linalg.eigh(scaled)
        return float(values[-1]) * scale, vectors[:, -1]
    from scipy.sparse.linalg import eigsh  # slow to import, and only needed here

    start = scaled.diagonal().sqrt().nan_to_num().cpu().numpy() + 1e-3
    values, vectors = eigsh(scaled.cpu().numpy(), k=1, which="LA", v0=start)
    return float(values[0]) * scale, torch.from_numpy(np.ascontiguousarray(vectors[:, 0])).to(matrix.device)
