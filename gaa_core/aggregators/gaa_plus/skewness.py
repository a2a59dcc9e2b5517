"""Which way a submission is lopsided: evidence that asks neither the QV samples nor anything that was learned."""

from __future__ import annotations

import torch
from torch import Tensor

from gaa_core.aggregators.base import Server
from gaa_core.aggregators.gaa_plus.sight import classes

#: Of more columns than twice that, evenly spaced ones are looked at: skewness is a mean over coordinates.
COLUMNS = 2**15


def tells(server: Server) -> bool:
    """Whether gradients of this task are lopsided: of three classes or more, by the QV samples.

    With two classes whatever speaks for the one speaks as much against the other.
    """
    return classes(server) > 2


def skewness(gradients: Tensor) -> Tensor:
    """How far each of k submissions [k, d] is lopsided as a gradient of the cross-entropy is: [k], of size about 1.

    By the logits this loss has the slopes p - y: a large negative one for the class of a sample, several small positive
    ones for the others. Behind units that are never negative (ReLU, pixels) the weights' gradients keep that: their
    negative coordinates are few and large, the positive ones many and small. A worker that reverses a gradient reverses
    it.

    The third moment is taken beside what all submissions have in common up to sign, so that it does not turn with the
    true gradient, as on the steep sides of a valley. Where it bears out what whole submissions say, sum_j -V_j |V_j|,
    which is less noisy, that is added. Each in units of its size over all submissions. Source: ours.
    """
    rows = gradients[:, :: max(1, gradients.shape[1] // COLUMNS)]
    tiny = torch.finfo(rows.dtype).tiny
    rows = rows / torch.linalg.vector_norm(rows, ord=torch.inf, dim=1, keepdim=True).clamp_min(tiny)
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(tiny)
    rows = rows.div_(lengths)
    whole = -torch.linalg.vecdot(rows, rows.abs()).double()
    common = torch.linalg.eigh((rows @ rows.T).double())[1][:, -1].to(rows) @ rows  # [c], their first singular vector
    common = common / torch.linalg.vector_norm(common).clamp_min(tiny)
    third, left = _beside(rows, common)
    third = torch.where(left > 1e-3, -third / left.clamp_min(1e-3) ** 3, 0.0)
    agrees = float(whole @ third) > 0
    return _scaled(third) + (_scaled(whole) if agrees else 0.0)


def _beside(rows: Tensor, common: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of cubes, and length, of rows [k, c] of length 1 less their part along a direction [c] of length 1."""
    along = (rows @ common).double()
    squares = rows.square()
    cubes = torch.linalg.vecdot(squares, rows).double() - 3 * along * (squares @ common).double()
    cubes += 3 * along.square() * (rows @ common.square()).double() - along**3 * float(common.pow(3).sum())
    return cubes, (1 - along.square()).clamp_min(0.0).sqrt()


def _scaled(values: Tensor) -> Tensor:
    return values / values.norm().clamp_min(1e-24)
