"""The finite mask, and how the columns of submissions are cut into blocks and shared among threads."""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

#: Numbers in one block of columns: 400 kB of float32 stay in the second-level cache.
BLOCK = 100_000

#: Up to so many numbers the columns are one block: calls cost more than the caches gain.
DIRECT = 2**20

#: Columns whose products are summed in float32: over more of them some processors' sums are wrong by more than 1e-5.
LONGEST = 2**17

#: The same on an accelerator, where a call costs more than the memory.
BLOCK_ELSEWHERE = 2**25

#: From this many numbers on, columns are shared among threads.
WORTH_THREADS = 2**21


def all_finite(gradients: Tensor) -> bool:  # [n, d]
    """Whether the sum of all numbers is finite, and so every number; False says little: finite sums can overflow."""
    return math.isfinite(gradients.sum().item())


def finite_rows(gradients: Tensor) -> Tensor:  # [n, d] -> bool [n]
    """Which rows hold neither NaN nor infinity.

    One pass, a sum, which a NaN or an infinity always reaches. Where it is not finite (rare) the rows are summed, and
    those whose sum is not finite are checked number by number.
    """
    finite = torch.ones(len(gradients), dtype=torch.bool, device=gradients.device)
    if all_finite(gradients):
        return finite
    for row, total in enumerate(gradients.sum(dim=1).tolist()):
        finite[row] = math.isfinite(total) or bool(gradients[row].isfinite().all())
    return finite


def column_blocks(gradients: Tensor, columns: slice | None = None, elements: int = BLOCK) -> Iterator[slice]:
    """Slices that cut the columns of [n, d], or a range of them, into blocks of about `elements` numbers."""
    n, d = gradients.shape
    start, stop, _ = (columns or slice(None)).indices(d)
    elements = elements if gradients.device.type == "cpu" else BLOCK_ELSEWHERE
    width = min(d, LONGEST) if gradients.numel() <= DIRECT else max(256, elements // n // 64 * 64)
    for left in range(start, stop, width):
        yield slice(left, min(left + width, stop))


def share_columns(gradients: Tensor, work: Callable[[slice], Tensor | None]) -> list[Tensor | None]:
    """What `work` returns for each of some ranges of columns, one for each of torch.get_num_threads() threads.

    Operations on one block are too small for torch to split, so that the blocks are shared instead. Within the threads
    torch itself is held to one. Few numbers are one range.
    """
    d = gradients.shape[1]
    threads = torch.get_num_threads() if gradients.device.type == "cpu" and gradients.numel() >= WORTH_THREADS else 1
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
