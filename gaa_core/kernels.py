"""Fast shared arithmetic of the rules: the finite mask, Gram matrices, distances.

Everything works on blocks of columns that fit the processor's cache, so that no rule needs more memory than a
few blocks and an n x n matrix beside its input. Products are summed in float32 within a block and in float64
across blocks.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

#: Elements of one block of columns: about 1 MB of float32 on a processor, much more on an accelerator.
_BLOCK_ELEMENTS = {"cpu": 2**18}
_BLOCK_ELEMENTS_ELSEWHERE = 2**25

#: A squared distance is recomputed when it is less than this many roundings of the norms it came from.
_SAFETY = 1e5

#: Squared distance given to rows too far away for float64 to square.
_FAR = 1e300


def finite_rows(gradients: Tensor) -> Tensor:  # [n, d] -> bool [n]
    """Which rows hold neither NaN nor infinity.

    One pass of row sums: a NaN or an infinity always reaches its row's sum. The sum of a finite row can overflow too,
    so rows whose sum is not finite (rare) are looked at element by element.
    """
    finite = torch.isfinite(gradients.sum(dim=1))
    for row in torch.nonzero(~finite).flatten().tolist():
        finite[row] = torch.isfinite(gradients[row]).all()
    return finite


def column_blocks(gradients: Tensor, elements: int | None = None) -> Iterator[slice]:
    """Slices that cut the columns of [n, d] into blocks of about `elements` numbers."""
    n, d = gradients.shape
    elements = elements or _BLOCK_ELEMENTS.get(gradients.device.type, _BLOCK_ELEMENTS_ELSEWHERE)
    width = max(256, elements // n)
    for start in range(0, d, width):
        yield slice(start, min(start + width, d))


def probable_centre(gradients: Tensor) -> int:
    """A row that is likely amid the honest ones, from at most 256 columns: the least summed distance to their medians.

    A guess to centre on. Nothing but speed may depend on it: an attacker can put its deviation into other columns.
    """
    stride = max(1, gradients.shape[1] // 256)
    sample = gradients[:, ::stride][:, :256].double()
    return int((sample - sample.median(dim=0).values).abs().sum(dim=1).argmin())


def centred_gram(gradients: Tensor, centre: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, float]:
    """Inner products <V_i - c, V_j - c> in float64 [n, n] about the row c, and their rounding unit.

    For float32 submissions products are float32 when every norm is far from overflow and underflow, else float64,
    where 1e30 squared is an ordinary number. Rows that even float64 cannot square count as 1e150 away and orthogonal to everything.
    """
    if gradients.dtype == dtype == torch.float32:
        gram = _accumulate_gram(gradients, centre, None, torch.float32)
        norms = gram.diagonal()
        small = torch.nonzero(norms < gradients.shape[1] * 1e-30).flatten().tolist()
        if gram.isfinite().all() and all(torch.equal(gradients[row], gradients[centre]) for row in small):
            return gram, torch.finfo(torch.float32).eps
    gram = _accumulate_gram(gradients, centre, None, torch.float64)
    far = ~(gram.diagonal() < _FAR)
    if far.any():
        gram[far, :] = gram[:, far] = 0.0
        gram[far, far] = _FAR
    return gram, torch.finfo(torch.float64).eps


def squared_distances(gradients: Tensor) -> Tensor:  # [n, d] -> float64 [n, n]
    """Squared Euclidean distances between all rows; symmetric, zero diagonal, never negative.

    From one Gram matrix about a central row. A pair that is much closer to each other than to that row (near-equal
    attackers, a common offset) would cancel: such pairs are computed again in float64 about one of themselves.
    """
    n = len(gradients)
    gram, unit = centred_gram(gradients, probable_centre(gradients))
    distances, scale = _distances_from_gram(gram)
    noise = unit * scale  # what rounding alone can make of a distance
    while True:
        doubtful = (distances < _SAFETY * noise).fill_diagonal_(False)
        if not doubtful.any():
            return distances
        centre = int(doubtful.sum(dim=1).argmax())
        doubtful[centre, centre] = True
        rows = torch.nonzero(doubtful[centre]).flatten()
        again, scale = _distances_from_gram(_accumulate_gram(gradients, centre, rows, torch.float64))
        again_noise = torch.finfo(torch.float64).eps * scale
        at_centre = rows == centre
        again_noise[at_centre, :] = again_noise[:, at_centre] = 0.0  # a norm about the centre itself cannot cancel
        flat = rows[:, None] * n + rows[None, :]
        better = again_noise < noise.take(flat)
        distances.put_(flat[better], again[better])
        noise.put_(flat[better], again_noise[better])


def _distances_from_gram(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances [n, n] and the sums of norms [n, n] that they are differences of."""
    norms = gram.diagonal()
    scale = norms[:, None] + norms[None, :]
    distances = (scale - (gram + gram.T)).clamp_(min=0.0).nan_to_num_(nan=_FAR, posinf=_FAR)
    return distances.fill_diagonal_(0.0), scale.nan_to_num(nan=_FAR, posinf=_FAR)


def _accumulate_gram(gradients: Tensor, centre: int, rows: Tensor | None, dtype: torch.dtype) -> Tensor:
    """<V_i - c, V_j - c> for all rows, or for some, block by block; block sums in `dtype`, their total in float64."""
    n = len(gradients) if rows is None else len(rows)
    total = torch.zeros(n, n, dtype=torch.float64, device=gradients.device)
    for block in column_blocks(gradients):
        columns = gradients[:, block] if rows is None else gradients[rows, block]
        middle = gradients[centre, block]
        centred = columns - middle if columns.dtype == dtype else columns.to(dtype) - middle.to(dtype)
        total += centred @ centred.T
    return total
