"""Order statistics of each column over workers: [n, d] -> [d].

Few workers: a sorting network, whose comparators are torch.minimum and torch.maximum of whole rows of a block of
columns, cut down to what the statistic needs. Many workers: every column sorted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from gaa_core.kernels.blocks import column_blocks, share_columns

#: Numbers in one block: 6.5 MB of float32 stay in the last cache, and rows are long enough to make up for each call.
NETWORK_BLOCK = 1_600_000

#: Up to so many workers a network is faster than sorting (measured; its comparators grow like n log^2 n).
NETWORK_WORKERS = 64

#: i, j, whether the lesser of rows i and j is needed (it goes to i), whether the greater is (it goes to j).
Comparator = tuple[int, int, bool, bool]

#: What is done to a block [n, w] before its statistic is taken: [n, w] -> [m, w].
Preparation = Callable[[Tensor], Tensor] | None


@dataclass(frozen=True)
class Statistic:
    """What to make of the ordered rows of a block. Of ranks in `summed` only their common sum is needed."""

    combine: Callable[[list[Tensor]], Tensor]
    exact: frozenset[int] = frozenset()
    summed: frozenset[int] = frozenset()


def median(gradients: Tensor, prepare: Preparation = None) -> Tensor:  # [n, d] -> [d]
    """The median of each column; for even n the mean of the two middle values."""

    def plan(n: int) -> Statistic:
        low, high = (n - 1) // 2, n // 2
        if low == high:
            return Statistic(lambda ordered: ordered[low], exact=frozenset({low}))
        return Statistic(lambda ordered: 0.5 * ordered[low] + 0.5 * ordered[high], summed=frozenset({low, high}))

    return _by_blocks(gradients, prepare, plan)


def trimmed_mean(gradients: Tensor, trim: int, prepare: Preparation = None) -> Tensor:  # [n, d] -> [d]
    """The mean of each column without its `trim` least and `trim` greatest values."""

    def plan(n: int) -> Statistic:
        kept = range(trim, n - trim)
        return Statistic(lambda ordered: _total(ordered, kept) / len(kept), summed=frozenset(kept))

    return _by_blocks(gradients, prepare, plan)


def mean_around_median(gradients: Tensor, drop: int, prepare: Preparation = None) -> Tensor:  # [n, d] -> [d]
    """The mean of each column without the `drop` values furthest from its median; of two equally far the greater goes.

    The kept values are a window of the sorted column, and a window of `keep` values holds exactly one of x_i,
    x_{i+keep}, x_{i+2 keep}...: the one closest to the median.
    """

    def plan(n: int) -> Statistic:
        keep, low, high = n - drop, (n - 1) // 2, n // 2
        alone = [rank for rank in range(drop, keep) if rank not in (low, high)]  # no rival one window further

        def closest(ordered: list[Tensor]) -> Tensor:
            twice_median = ordered[low] + ordered[high]
            total = _total(ordered, alone) if alone else torch.zeros_like(twice_median)
            for first in sorted(set(range(keep)) - set(alone)):
                held = ordered[first]
                for rank in range(first + keep, n, keep):
                    held = torch.where(held + ordered[rank] < twice_median, ordered[rank], held)
                total += held
            return total / keep

        return Statistic(closest, frozenset(range(n)) - set(alone), frozenset(alone))

    return _by_blocks(gradients, prepare, plan)


def _total(ordered: list[Tensor], ranks) -> Tensor:
    first, *others = ranks
    total = ordered[first].clone()
    for rank in others:
        total += ordered[rank]
    return total


def _by_blocks(gradients: Tensor, prepare: Preparation, plan: Callable[[int], Statistic]) -> Tensor:
    """The statistic of every column, a block of columns at a time."""
    result = gradients.new_empty(gradients.shape[1])

    def work(columns: slice) -> None:
        scratch = gradients.new_empty(0)
        for block in column_blocks(gradients, columns, NETWORK_BLOCK):
            part = gradients[:, block] if prepare is None else prepare(gradients[:, block])
            statistic = plan(len(part))
            if len(part) > NETWORK_WORKERS:
                result[block] = statistic.combine(list(_sorted(part).unbind(0)))
                continue
            if scratch.shape != (len(part) + 1, part.shape[1]):
                scratch = gradients.new_empty(len(part) + 1, part.shape[1])
            network = comparators(len(part), statistic.exact, statistic.summed)
            result[block] = statistic.combine(_run(network, part, scratch))

    share_columns(gradients, work)
    return result


def _sorted(part: Tensor) -> Tensor:  # [n, w] -> [n, w]
    """Every column in ascending order; on a processor by numpy, whose vectorised sort takes a tenth of torch's time."""
    if part.device.type != "cpu":
        return part.sort(dim=0).values
    columns = part.T.clone(memory_format=torch.contiguous_format)  # never a view: it is sorted in place
    columns.numpy().sort(axis=1)
    return columns.T


def _run(network: tuple[Comparator, ...], part: Tensor, scratch: Tensor) -> list[Tensor]:
    """The rows of a block after the comparators, where rank r is the r-th. `scratch` has one row more than the block.

    The block itself is only read: a comparator that meets one of its rows writes into a spare row.
    """
    ordered, spare = list(part.unbind(0)), list(scratch.unbind(0))
    owned = [False] * len(ordered)
    for i, j, lesser, greater in network:
        low, high = ordered[i], ordered[j]
        if lesser:
            ordered[i] = torch.minimum(low, high, out=spare.pop())
        if greater:
            ordered[j] = torch.maximum(low, high, out=high if owned[j] else spare.pop())
        elif owned[j]:
            spare.append(high)
        if owned[i]:
            spare.append(low)
        owned[i], owned[j] = lesser, greater
    return ordered


@lru_cache(maxsize=256)
def comparators(n: int, exact: frozenset[int], summed: frozenset[int]) -> tuple[Comparator, ...]:
    """Batcher's odd-even merge sort of n rows, without what the ranks asked for do not need.

    From the last comparator to the first: one whose outputs are not needed goes, and so does one whose outputs are
    needed only for a sum that holds both.
    """
    needed = dict.fromkeys(summed, "in the sum") | dict.fromkeys(exact, "itself")
    plan: list[Comparator] = []
    for i, j in reversed(_batcher(n)):
        lesser, greater = needed.get(i), needed.get(j)
        if lesser == greater != "itself":
            continue
        plan.append((i, j, lesser is not None, greater is not None))
        needed[i] = needed[j] = "itself"
    return tuple(reversed(plan))


def _batcher(n: int) -> list[tuple[int, int]]:
    """All comparators for n rows: those of the next power of two that touch no row beyond n.

    Source: Batcher 1968, "Sorting networks and their applications"; in the form of Knuth, volume 3, algorithm 5.2.2M.
    """
    top = 1 << max(0, (n - 1).bit_length() - 1)
    pairs = []
    run = top
    while run > 0:
        stride, offset, distance = top, 0, run
        while True:
            pairs += [(i, i + distance) for i in range(n - distance) if i & run == offset]
            if stride == run:
                break
            distance, stride, offset = stride - run, stride // 2, run
        run //= 2
    return pairs
