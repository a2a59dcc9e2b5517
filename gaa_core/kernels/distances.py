"""Gram matrices and squared distances of submissions, exact where plain float32 cancels or overflows."""

from __future__ import annotations

import torch
from torch import Tensor

from gaa_core.kernels.blocks import column_blocks, finite_rows, share_columns
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


def sample_columns(gradients: Tensor) -> tuple[Tensor, Tensor]:
    """Some columns in float64 [n, at most 256], and their medians."""
    stride = max(1, gradients.shape[1] // SAMPLE)
    sample = gradients[:, ::stride][:, :SAMPLE].double().contiguous()  # torch's median errs on expanded tensors
    return sample, sample.median(dim=0).values


def probable_centre(gradients: Tensor) -> int:
    """A row that is likely amid the benign ones: in at most 256 columns, the least distance from their medians.

    A guess to centre on. Nothing but speed may depend on it: an attacker can put its deviation into other columns.
    """
    sample, middle = sample_columns(gradients)
    return int((sample - middle).abs().sum(dim=1).argmin())


def product_centre(gradients: Tensor) -> int | None:
    """None (the origin) where rows lie around it, so that centring would gain nothing; else a probable centre."""
    sample, middle = sample_columns(gradients)
    spread = (sample - middle).square().sum(dim=1).median()
    return None if middle.square().sum() <= OFF_CENTRE * spread else probable_centre(gradients)


def gram(gradients: Tensor, centre: int | None = None, dtype: torch.dtype | None = None) -> tuple[Tensor, float]:
    """Inner products <V_i - c, V_j - c> in float64 [n, n] about the row c (None: the origin), and their rounding unit.

    For float32 submissions products are float32 when every norm is far from overflow and underflow, else float64,
    where 1e30 squared is an ordinary number. Rows that even float64 cannot square count as 1e150 away and orthogonal
    to everything.
    """
    dtype = dtype or gradients.dtype
    if gradients.dtype == dtype == torch.float32:
        result = _accumulate_gram(gradients, centre, None, dtype)
        if result.isfinite().all() and not _underflowed(result, gradients, centre):
            return result, torch.finfo(torch.float32).eps
    result = _accumulate_gram(gradients, centre, None, torch.float64)
    far = ~(result.diagonal() < FAR)
    if far.any():
        result[far, :] = result[:, far] = 0.0
        result[far, far] = FAR
    return result, torch.finfo(torch.float64).eps


def _underflowed(result: Tensor, gradients: Tensor, centre: int | None) -> bool:
    """Whether some row has a vanishing norm without being the centre itself."""
    small = result.diagonal() < gradients.shape[1] * UNDERFLOW
    if not small.any():
        return False
    middle = gradients.new_zeros(()).expand(gradients.shape[1]) if centre is None else gradients[centre]
    return not all(torch.equal(gradients[row], middle) for row in torch.nonzero(small).flatten().tolist())


def squared_distances(gradients: Tensor) -> Tensor:  # [n, d] -> float64 [n, n]
    """Squared Euclidean distances between all rows; symmetric, zero diagonal, never negative.

    From one Gram matrix. A pair much closer to each other than to what the products were taken about (near-equal
    attackers, a common offset) would cancel: such pairs are computed again in float64 about one of themselves.
    """
    products, unit = gram(gradients, product_centre(gradients))
    distances, scale = from_gram(products)
    noise = unit * scale  # what rounding alone can make of a distance
    while True:
        doubtful = (distances < SAFETY * noise).fill_diagonal_(False)
        if not doubtful.any():
            return distances
        centre = int(doubtful.sum(dim=1).argmax())
        doubtful[centre, centre] = True
        rows = torch.nonzero(doubtful[centre]).flatten()
        again, scale = from_gram(_accumulate_gram(gradients, centre, rows, torch.float64))
        again_noise = torch.finfo(torch.float64).eps * scale
        at_centre = rows == centre
        again_noise[at_centre, :] = again_noise[:, at_centre] = 0.0  # a norm about the centre itself cannot cancel
        pairs = (rows[:, None], rows[None, :])
        better = again_noise < noise[pairs]
        distances[pairs] = torch.where(better, again, distances[pairs])
        noise[pairs] = torch.where(better, again_noise, noise[pairs])


def from_gram(products: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances [n, n] and the sums of norms [n, n] that they are differences of."""
    squares = products.diagonal()
    scale = squares[:, None] + squares[None, :]
    distances = (scale - 2.0 * products).clamp_(min=0.0).nan_to_num_(nan=FAR, posinf=FAR)
    return distances.fill_diagonal_(0.0), scale.nan_to_num(nan=FAR, posinf=FAR)


def _accumulate_gram(gradients: Tensor, centre: int | None, rows: Tensor | None, dtype: torch.dtype) -> Tensor:
    """<V_i - c, V_j - c> for all rows, or for some, block by block; block sums in `dtype`, their total in float64."""
    n = len(gradients) if rows is None else len(rows)

    def work(columns: slice) -> Tensor:
        total = torch.zeros(n, n, dtype=torch.float64, device=gradients.device)
        for block in column_blocks(gradients, columns, PRODUCT_BLOCK):
            part = (gradients[:, block] if rows is None else gradients[rows, block]).to(dtype)
            if centre is not None:
                part = part - gradients[centre, block].to(dtype)
            total += part @ part.T
        return total

    total = sum(share_columns(gradients, work))
    return total.tril() + total.tril(-1).T  # the two halves of a product may differ by rounding


def pairwise_distances(submissions: Tensor) -> Tensor:  # [n, d] -> float32 [n, n]
    """Distances between submissions, infinite from and to those that are not finite."""
    distances = torch.full((len(submissions), len(submissions)), torch.inf).fill_diagonal_(0.0)
    finite = finite_rows(submissions)
    if finite.any():
        kept = squared_distances(submissions[finite]).sqrt().float()  # [kept, kept]
        distances[(finite[:, None] & finite).cpu()] = kept.flatten().cpu()
    return distances
