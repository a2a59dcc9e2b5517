"""Gram matrices and squared distances of submissions, exact where plain float32 cancels or overflows."""

import math

import numpy as np
import torch
from torch import Tensor

from gaa_core.kernels.blocks import DIRECT, column_blocks, finite_rows, share_columns
from gaa_core.kernels.lengths import PRODUCT_BLOCK

#: A squared distance is recomputed when it is less than this many roundings of the norms it came from.
SAFETY = 1e5

#: Squared distance given to rows too far away for float64 to square.
FAR = 1e300

#: Norms under this share of 1 for each column may have lost their squares to underflow in float32.
UNDERFLOW = 1e-30

#: Columns looked at to guess a centre.
SAMPLE = 256

#: Rows are centred when the squared norm of their middle exceeds this many times their squared spread.
OFF_CENTRE = 10.0


def sample_columns(gradients: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Some columns in float64 [n, at most 256], and their lower medians."""
    stride = max(1, gradients.shape[1] // SAMPLE)
    sample = gradients[:, : SAMPLE * stride : stride].cpu().numpy().astype(np.float64)
    return sample, np.sort(sample, axis=0)[(len(sample) - 1) // 2]


def probable_centre(gradients: Tensor) -> int:
    """A row that is likely amid the benign ones: in at most 256 columns, the least distance from their medians.

    A guess to centre on. Nothing but speed may depend on it: an attacker can put its deviation into other columns.
    """
    sample, middle = sample_columns(gradients)
    return int(np.abs(sample - middle).sum(axis=1).argmin())


def product_centre(gradients: Tensor) -> int | None:
    """None (the origin) where rows lie around it, so that centring would gain nothing; else a probable centre.

    None too for few numbers, where it costs less to repeat the products that cancel than to look first.
    """
    if gradients.numel() <= DIRECT:
        return None
    sample, middle = sample_columns(gradients)
    with np.errstate(over="ignore"):
        spread = np.median(((sample - middle) ** 2).sum(axis=1))
        return None if (middle**2).sum() <= OFF_CENTRE * spread else probable_centre(gradients)


def gram(
    gradients: Tensor, centre: int | None = None, dtype: torch.dtype | None = None, rows: Tensor | None = None
) -> tuple[Tensor, float]:
    """Inner products <V_i - c, V_j - c> in float64 [n, n] about the row c (None: the origin), and their rounding unit.

    For float32 submissions products are float32 when every norm is far from overflow and underflow, else float64,
    where 1e30 squared is an ordinary number. Rows that even float64 cannot square count as 1e150 away and orthogonal
    to everything. With `rows` [r] the products are those of some rows, [r, r].
    """
    dtype = dtype or gradients.dtype
    if gradients.dtype == dtype == torch.float32:
        result = _accumulate_gram(gradients, centre, rows, dtype)
        if _in_range(result.diagonal().tolist(), gradients, centre):
            return result, torch.finfo(torch.float32).eps
    result = _accumulate_gram(gradients, centre, rows, torch.float64)
    far = ~(result.diagonal() < FAR)
    if far.any():
        result[far, :] = result[:, far] = 0.0
        result[far, far] = FAR
    return result, torch.finfo(torch.float64).eps


def _in_range(squares: list[float], gradients: Tensor, centre: int | None) -> bool:
    """Whether no squared norm [n] is infinite, and none vanishes but that of rows that equal the centre."""
    if not all(map(math.isfinite, squares)):
        return False
    small = [row for row, square in enumerate(squares) if square < gradients.shape[1] * UNDERFLOW]
    if not small:
        return True
    middle = torch.zeros_like(gradients[0]) if centre is None else gradients[centre]
    return all(torch.equal(gradients[row], middle) for row in small)


def squared_distances(gradients: Tensor) -> Tensor:  # [n, d] -> float64 [n, n]
    """Squared Euclidean distances between all rows; symmetric, zero diagonal, never negative.

    From one Gram matrix. A pair much closer to each other than to what the products were taken about (near-equal
    attackers, a common offset) would cancel: such pairs are computed again in float64 about one of themselves.
    """
    products, unit = gram(gradients, product_centre(gradients))
    distances, scale = from_gram(products)
    noise = unit * scale  # what rounding alone can make of a distance
    while True:
        doubtful = distances < SAFETY * noise
        if not doubtful.any():
            return torch.from_numpy(distances).to(gradients.device)
        centre = int(doubtful.sum(axis=1).argmax())
        rows = np.flatnonzero(doubtful[centre] | (np.arange(len(doubtful)) == centre))
        again, unit = gram(gradients, centre, torch.float64, torch.from_numpy(rows).to(gradients.device))
        again, scale = from_gram(again)
        again_noise = unit * scale
        at_centre = rows == centre
        again_noise[at_centre, :] = again_noise[:, at_centre] = 0.0  # a norm about the centre itself cannot cancel
        pairs = np.ix_(rows, rows)
        better = again_noise < noise[pairs]
        distances[pairs] = np.where(better, again, distances[pairs])
        noise[pairs] = np.where(better, again_noise, noise[pairs])


def from_gram(products: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances [n, n] and the sums of norms [n, n] that they are differences of, with a zero diagonal."""
    products = products.cpu().numpy()
    squares = products.diagonal()
    scale = squares[:, None] + squares
    distances = scale - (products + products.T)  # the halves of a product may differ by rounding
    scale.flat[:: len(scale) + 1] = 0.0
    return distances, scale


def _accumulate_gram(gradients: Tensor, centre: int | None, rows: Tensor | None, dtype: torch.dtype) -> Tensor:
    """<V_i - c, V_j - c> for all rows, or for some, block by block; block sums in `dtype`, their total in float64."""

    def product(block: slice) -> Tensor:
        part = (gradients[:, block] if rows is None else gradients[rows, block]).to(dtype)
        if centre is not None:
            part = part - gradients[centre, block].to(dtype)
        return (part @ part.T).double()

    def work(columns: slice) -> Tensor:
        return sum(map(product, column_blocks(gradients, columns, PRODUCT_BLOCK)))

    return product(slice(None)) if gradients.numel() <= DIRECT else sum(share_columns(gradients, work))


def pairwise_distances(submissions: Tensor) -> Tensor:  # [n, d] -> float32 [n, n]
    """Distances between submissions, infinite from and to those that are not finite."""
    distances = torch.full((len(submissions), len(submissions)), torch.inf).fill_diagonal_(0.0)
    finite = finite_rows(submissions)
    if finite.any():
        kept = squared_distances(submissions[finite]).sqrt().float()  # [kept, kept]
        distances[(finite[:, None] & finite).cpu()] = kept.flatten().cpu()
    return distances
