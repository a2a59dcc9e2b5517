"""Fast shared arithmetic of the rules: the finite mask, Gram matrices, distances, norms.

Everything works on blocks of columns that fit the processor's cache, so that no rule needs more memory than a
few blocks and an n x n matrix beside its input. Products are summed in float32 within a block and in float64
across blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from gaa_core import compiled

#: Numbers in one block of columns: 400 kB of float32 stay in the second-level cache.
_BLOCK_ELEMENTS = 100_000
_BLOCK_ELEMENTS_ELSEWHERE = 2**25  # on an accelerator

#: The same for products, whose kernels gain by longer blocks; and the columns of one run for few workers.
_PRODUCT_ELEMENTS = 410_000
_RUN = 1024
_FEW_WORKERS = 128

#: Up to so many numbers squares are summed as they are, so that whole numbers stay whole and ties are ties.
_LITTLE = 2**16

#: From this many numbers on, columns are shared out among threads.
_WORTH_THREADS = 2**21

#: A squared distance is recomputed when it is less than this many roundings of the norms it came from.
_SAFETY = 1e5

#: Squared distance given to rows too far away for float64 to square.
_FAR = 1e300


class NotFinite(ArithmeticError):
    """Raised by kernels that meet a row with a NaN or an infinity: the caller has not masked such rows."""


def finite_rows(gradients: Tensor) -> Tensor:  # [n, d] -> bool [n]
    """Which rows hold neither NaN nor infinity.

    One pass of row sums: a NaN or an infinity always reaches its row's sum. The sum of a finite row can overflow too,
    so rows whose sum is not finite (rare) are looked at element by element.
    """
    finite = torch.isfinite(gradients.sum(dim=1))
    for row in torch.nonzero(~finite).flatten().tolist():
        finite[row] = torch.isfinite(gradients[row]).all()
    return finite


def column_blocks(gradients: Tensor, columns: slice | None = None, elements: int | None = None) -> Iterator[slice]:
    """Slices that cut the columns of [n, d], or a range of them, into blocks of about `elements` numbers."""
    n, d = gradients.shape
    if elements is None or gradients.device.type != "cpu":
        elements = _BLOCK_ELEMENTS if gradients.device.type == "cpu" else _BLOCK_ELEMENTS_ELSEWHERE
    start, stop, _ = (columns or slice(None)).indices(d)
    width = max(256, elements // n // 64 * 64)
    for left in range(start, stop, width):
        yield slice(left, min(left + width, stop))


def share_columns(gradients: Tensor, work: Callable[[slice], Tensor | None]) -> list[Tensor | None]:
    """What `work` returns for each of some ranges of columns, one a thread of torch.get_num_threads().

    Operations on one block are too small for torch to split, so that the blocks are shared out instead. Within
    the threads torch itself is held to one.
    """
    d = gradients.shape[1]
    threads = torch.get_num_threads() if gradients.device.type == "cpu" and gradients.numel() >= _WORTH_THREADS else 1
    if threads == 1:
        return [work(slice(0, d))]
    share = -(-d // threads // 64) * 64
    ranges = [slice(left, min(left + share, d)) for left in range(0, d, share)]
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(len(ranges), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(work, ranges))
    finally:
        torch.set_num_threads(threads)


def probable_centre(gradients: Tensor) -> int:
    """A row that is likely amid the honest ones, from at most 256 columns: the least summed distance to their medians.

    A guess to centre on. Nothing but speed may depend on it: an attacker can put its deviation into other columns.
    """
    sample, middle = sample_columns(gradients)
    return int((sample - middle).abs().sum(dim=1).argmin())


def sample_columns(gradients: Tensor) -> tuple[Tensor, Tensor]:
    """Some columns in float64 [n, at most 256], and their medians."""
    stride = max(1, gradients.shape[1] // 256)
    sample = gradients[:, ::stride][:, :256].double()
    return sample, sample.median(dim=0).values


def product_centre(gradients: Tensor) -> int | None:
    """None (the origin) where rows lie around it, so that centring would be for nothing; else a probable centre."""
    sample, middle = sample_columns(gradients)
    spread = (sample - middle).square().sum(dim=1).median()
    return None if middle.square().sum() <= 10.0 * spread else probable_centre(gradients)


def gram(gradients: Tensor, centre: int | None = None, dtype: torch.dtype | None = None) -> tuple[Tensor, float]:
    """Inner products <V_i - c, V_j - c> in float64 [n, n] about the row c (None: the origin), and their rounding unit.

    For float32 submissions products are float32 when every norm is far from overflow and underflow, else float64,
    where 1e30 squared is an ordinary number. Rows that even float64 cannot square count as 1e150 away and orthogonal to
    everything. Raises NotFinite when a submission is not finite.
    """
    dtype = dtype or gradients.dtype
    if gradients.dtype == dtype == torch.float32:
        result = _accumulate_gram(gradients, centre, None, dtype)
        small = torch.nonzero(result.diagonal() < gradients.shape[1] * 1e-30).flatten().tolist()
        middle = gradients.new_zeros(()).expand(gradients.shape[1]) if centre is None else gradients[centre]
        if result.isfinite().all() and all(torch.equal(gradients[row], middle) for row in small):
            return result, torch.finfo(torch.float32).eps
    result = _accumulate_gram(gradients, centre, None, torch.float64)
    if not result.isfinite().all() and not finite_rows(gradients).all():
        raise NotFinite
    far = ~(result.diagonal() < _FAR)
    if far.any():
        result[far, :] = result[:, far] = 0.0
        result[far, far] = _FAR
    return result, torch.finfo(torch.float64).eps


def squared_distances(gradients: Tensor) -> Tensor:  # [n, d] -> float64 [n, n]
    """Squared Euclidean distances between all rows; symmetric, zero diagonal, never negative.

    From one Gram matrix. A pair that is much closer to each other than to what it was taken about (near-equal
    attackers, a common offset) would cancel: such pairs are computed again in float64 about one of themselves. Raises
    NotFinite when a submission is not finite.
    """
    n = len(gradients)
    products, unit = gram(gradients, product_centre(gradients))
    distances, scale = _distances_from_gram(products)
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


def _distances_from_gram(products: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances [n, n] and the sums of norms [n, n] that they are differences of."""
    squares = products.diagonal()
    scale = squares[:, None] + squares[None, :]
    distances = (scale - (products + products.T)).clamp_(min=0.0).nan_to_num_(nan=_FAR, posinf=_FAR)
    return distances.fill_diagonal_(0.0), scale.nan_to_num(nan=_FAR, posinf=_FAR)


def _accumulate_gram(gradients: Tensor, centre: int | None, rows: Tensor | None, dtype: torch.dtype) -> Tensor:
    """<V_i - c, V_j - c> for all rows, or for some, block by block; block sums in `dtype`, their total in float64.

    By panels of rows, each with the rows up to it only: the other half of the matrix is its mirror image.
    """
    n = len(gradients) if rows is None else len(rows)
    panels = _panels(n)
    add_products = _add_by_numpy if gradients.device.type == "cpu" and n <= _FEW_WORKERS else _add_by_torch

    def work(columns: slice) -> Tensor:
        total = torch.zeros(n, n, dtype=torch.float64, device=gradients.device)
        for block in column_blocks(gradients, columns, _PRODUCT_ELEMENTS):
            part = gradients[:, block] if rows is None else gradients[rows, block]
            if centre is None:
                part = part.to(dtype)
            elif part.dtype == dtype:
                part = part - gradients[centre, block]
            else:
                part = part.to(dtype) - gradients[centre, block].to(dtype)
            add_products(part, panels, total)
        return total

    total = sum(share_columns(gradients, work))
    return total.tril() + total.tril(-1).T


def _add_by_torch(part: Tensor, panels: list[tuple[int, int]], total: Tensor) -> None:
    """Add the inner products of the rows [n, w] to the lower half of the total [n, n]."""
    for top, bottom in panels:
        total[top:bottom, :bottom] += part[top:bottom] @ part[:bottom].T


def _add_by_numpy(part: Tensor, panels: list[tuple[int, int]], total: Tensor) -> None:
    """The same for few rows on a processor: runs of columns so short that OpenBLAS multiplies without packing.

    A quarter faster than torch's library on such shapes (measured).
    """
    values, sums = part.detach().numpy(), total.numpy()
    whole = values.shape[1] // _RUN * _RUN
    with np.errstate(all="ignore"):  # overflow and NaN are what the caller looks for
        for columns, width in ((values[:, :whole], _RUN), (values[:, whole:], values.shape[1] - whole)):
            if columns.size == 0:
                continue
            runs = columns.reshape(len(values), -1, width).transpose(1, 0, 2)  # [n, w] -> [runs, n, width], a view
            for top, bottom in panels:
                products = runs[:, top:bottom] @ runs[:, :bottom].transpose(0, 2, 1)
                sums[top:bottom, :bottom] += products.sum(axis=0, dtype=np.float64)


def _panels(n: int) -> list[tuple[int, int]]:
    """Ranges of rows: of 16 for few rows, of an eighth for many; the last takes what is left."""
    height = 16 if n <= _FEW_WORKERS else -(-n // 8)
    tops = list(range(0, max(1, n - height // 2), height))
    return list(zip(tops, [*tops[1:], n], strict=True))


def norms(gradients: Tensor) -> Tensor:  # [n, d] -> float64 [n]
    """Euclidean norms of the rows, also of rows whose squares overflow or vanish in their own dtype."""
    return _careful(torch.linalg.vector_norm(gradients, dim=1).double(), gradients, lambda row: row)


def distances_to(gradients: Tensor, point: Tensor) -> Tensor:  # [n, d], [d] -> float64 [n]
    """Euclidean distances of the rows from a point. Raises NotFinite when a submission is not finite.

    From norms and inner products, taken in one pass and without a temporary; where at least half of the rows would lose
    digits that way, from differences.
    """
    squares, inner = sum(share_columns(gradients, lambda columns: _squares_and_products(gradients, point, columns)))
    squares = _careful_squares(squares, gradients)
    if not squares.isfinite().all() and not finite_rows(gradients).all():
        raise NotFinite
    own = _careful_squares(_squares(point[None]), point[None])
    squared = (squares + own - 2.0 * _careful_products(inner, gradients, point)).clamp_(min=0.0)
    limits = torch.finfo(gradients.dtype)
    underflow = 1e8 * gradients.shape[1] * limits.tiny
    well_off = squared >= (_SAFETY * limits.eps * (squares + own)).clamp(min=underflow)
    if 2 * int(well_off.sum()) > len(gradients):
        for row in torch.nonzero(~well_off).flatten().tolist():
            squared[row] = _length(gradients[row] - point, gradients[row], point) ** 2
        return squared.sqrt()
    parts = share_columns(gradients, lambda columns: _squared_differences(gradients, point, columns))
    return _careful(sum(parts).sqrt(), gradients, lambda row: row - point.double())


def _squares_and_products(gradients: Tensor, point: Tensor, columns: slice) -> Tensor:  # -> float64 [2, n]
    lengths = compiled.kernels("lengths", gradients, rounding=True)
    if lengths is not None:
        return torch.from_numpy(lengths.squares_and_products(gradients, point.contiguous(), columns))
    total = torch.zeros(2, len(gradients), dtype=torch.float64, device=gradients.device)
    for block in column_blocks(gradients, columns, _PRODUCT_ELEMENTS):
        part = gradients[:, block]
        total[0] += _squares(part)
        total[1] += part @ point[block]
    return total


def _squares(rows: Tensor) -> Tensor:  # [n, d] -> float64 [n]
    if rows.numel() < _LITTLE:
        return torch.linalg.vecdot(rows, rows).double()
    return torch.linalg.vector_norm(rows, dim=1).double().square()


def _careful_squares(squares: Tensor, gradients: Tensor) -> Tensor:
    lengths = _careful(squares.sqrt(), gradients, lambda row: row)
    return torch.where(lengths == squares.sqrt(), squares, lengths.square())


def _squared_differences(gradients: Tensor, point: Tensor, columns: slice) -> Tensor:
    total = torch.zeros(len(gradients), dtype=torch.float64, device=gradients.device)
    for block in column_blocks(gradients, columns):
        total += torch.linalg.vector_norm(gradients[:, block] - point[block], dim=1).double().square()
    return total


def _careful(lengths: Tensor, gradients: Tensor, vector: Callable[[Tensor], Tensor]) -> Tensor:  # [n]
    """Lengths, where those that may have lost their squares to overflow or underflow are computed again in float64."""
    least, most = (1e-15, 1e18) if gradients.dtype == torch.float32 else (1e-140, 1e150)
    for row in torch.nonzero(~((lengths > least) & (lengths < most))).flatten().tolist():
        lengths[row] = _careful_length(vector(gradients[row].double()))
    return lengths


def _length(difference: Tensor, row: Tensor, point: Tensor) -> float:
    """The norm of row - point, in float64 only where float32 may lose it."""
    length = torch.linalg.vector_norm(difference)
    if 1e-15 < length < 1e18 or (length == 0.0 and torch.equal(row, point)):
        return float(length)
    return float(_careful_length(row.double() - point.double()))


def _careful_length(values: Tensor) -> Tensor:
    largest = values.abs().max()
    return largest * torch.linalg.vector_norm(values / largest) if largest > 0.0 else largest


def products(gradients: Tensor, vector: Tensor) -> Tensor:  # [n, d], [d] -> float64 [n]
    """Inner products of the rows with a vector, also where they overflow in float32."""
    return _careful_products((gradients @ vector).double(), gradients, vector)


def _careful_products(result: Tensor, gradients: Tensor, vector: Tensor) -> Tensor:
    for row in torch.nonzero(~result.isfinite()).flatten().tolist():
        result[row] = gradients[row].double() @ vector.double()
    return result


def cosines(gradients: Tensor, vector: Tensor) -> Tensor:  # [n, d], [d] -> float64 [n]
    """Cosines between the rows and a vector; 0 where either is zero."""
    lengths = norms(gradients) * norms(vector[None])
    return torch.where(lengths > 0.0, products(gradients, vector) / lengths, 0.0).clamp_(-1.0, 1.0)


def mix(matrix: Tensor, gradients: Tensor) -> Tensor:  # [m, n], [n, d] -> [m, d]
    """Weighted sums of rows, one for each row of a matrix."""
    return matrix.to(gradients.dtype) @ gradients
