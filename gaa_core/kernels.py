"""Fast shared arithmetic of the rules: the finite mask, Gram matrices, distances.

Everything works on blocks of columns that fit the processor's cache, so that no rule needs more memory than a
few blocks and an n x n matrix beside its input. Products are summed in float32 within a block and in float64
across blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from gaa_core import seeding

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
    where 1e30 squared is an ordinary number. Rows that even float64 cannot square count as 1e150 away and orthogonal
    to everything.
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


def norms(gradients: Tensor) -> Tensor:  # [n, d] -> float64 [n]
    """Euclidean norms of the rows, also of rows whose squares overflow or vanish in their own dtype."""
    return _careful(torch.linalg.vector_norm(gradients, dim=1).double(), gradients, lambda row: row)


def distances_to(gradients: Tensor, point: Tensor) -> Tensor:  # [n, d], [d] -> float64 [n]
    """Euclidean distances of the rows from a point."""
    squared = torch.zeros(len(gradients), dtype=torch.float64, device=gradients.device)
    for block in column_blocks(gradients):
        squared += torch.linalg.vector_norm(gradients[:, block] - point[block], dim=1).double().square()
    return _careful(squared.sqrt(), gradients, lambda row: row - point.double())


def _careful(lengths: Tensor, gradients: Tensor, vector: Callable[[Tensor], Tensor]) -> Tensor:  # [n]
    """Lengths, where those that may have lost their squares to overflow or underflow are computed again in float64."""
    least, most = (1e-15, 1e18) if gradients.dtype == torch.float32 else (1e-140, 1e150)
    for row in torch.nonzero(~((lengths > least) & (lengths < most))).flatten().tolist():
        values = vector(gradients[row].double())
        largest = values.abs().max()
        lengths[row] = largest * torch.linalg.vector_norm(values / largest) if largest > 0.0 else 0.0
    return lengths


def products(gradients: Tensor, vector: Tensor) -> Tensor:  # [n, d], [d] -> float64 [n]
    """Inner products of the rows with a vector, also where they overflow in float32."""
    result = (gradients @ vector).double()
    for row in torch.nonzero(~result.isfinite()).flatten().tolist():
        result[row] = gradients[row].double() @ vector.double()
    return result


def cosines(gradients: Tensor, vector: Tensor) -> Tensor:  # [n, d], [d] -> float64 [n]
    """Cosines between the rows and a vector; 0 where either is zero."""
    lengths = norms(gradients) * norms(vector[None])
    return torch.where(lengths > 0.0, products(gradients, vector) / lengths, 0.0).clamp_(-1.0, 1.0)


def cosine_distances(gradients: Tensor, lengths: Tensor) -> Tensor:  # [n, d], [n] -> float64 [n, n]
    """1 - cosine between all rows, from their norms; 1 where a row is zero, 0 on the diagonal."""
    total = torch.zeros(len(gradients), len(gradients), dtype=torch.float64, device=gradients.device)
    scale = torch.where(lengths > 0.0, 1.0 / lengths, 0.0)[:, None]
    for block in column_blocks(gradients):
        unit = gradients[:, block].double() * scale
        total += unit @ unit.T
    return (1.0 - total).clamp_(0.0, 2.0).fill_diagonal_(0.0)


def sketched_medoid(gradients: Tensor, width: int = 64) -> int:
    """A row amid the others: the medoid of a sketch that folds all columns into `width` sums under random signs.

    Distances in the sketch are true ones within some 20 %, and every column counts, so that a deviation cannot hide
    from it as it can from a sample of columns.
    """
    n, d = gradients.shape
    sketch = torch.zeros(n, width, dtype=torch.float64, device=gradients.device)
    signs = torch.randint(0, 2, (d,), generator=seeding.generator(0, "sketch"), dtype=torch.int8)
    signs = (2 * signs - 1).to(gradients)
    for block in column_blocks(gradients):
        signed = gradients[:, block] * signs[block]
        whole = signed.shape[1] // width * width
        sketch += signed[:, :whole].reshape(n, -1, width).sum(dim=1)
        sketch[:, : signed.shape[1] - whole] += signed[:, whole:]
    sketch = sketch.nan_to_num(nan=1e300, posinf=1e300, neginf=-1e300)
    return int(torch.cdist(sketch, sketch, compute_mode="donot_use_mm_for_euclid_dist").sum(dim=1).argmin())


def mix(matrix: Tensor, gradients: Tensor) -> Tensor:  # [m, n], [n, d] -> [m, d]
    """Weighted sums of rows, one for each row of a matrix."""
    return matrix.to(gradients.dtype) @ gradients
