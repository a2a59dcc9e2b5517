from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gaa_core.aggregators.base import DistanceAggregator, Tolerates

#: How many subsets of the same least diameter are compared before the most compact so far is taken.
_TIES_COMPARED = 4096


@dataclass(frozen=True)
class BruteForce(Tolerates, DistanceAggregator):
    """The mean of the n-f submissions with the least diameter (largest pairwise distance); also called MDA.

    Several subsets often share the least diameter (two far-apart workers of which either can go); of these the one
    with the least sum of distances is taken, so that the order of workers does not matter (of equal sums, the smallest
    worker numbers). Found by branch and bound,
    exactly: leaving out f workers so that no distance exceeds r is a vertex cover of size f. Needs n >= 2f+1; O(n^2 d)
    and at worst O(C(n,f)), where enumeration (Table 1) always takes O(C(n,f)(n-f)d). Source: Pan et al. 2020, Table 1;
    El Mhamdi et al. 2018.
    """

    source = "paper: Table 1; El Mhamdi et al. 2018"

    def nearest(self, distances: np.ndarray) -> list[int]:  # [n, n] -> [n - f]
        return least_diameter_subset(np.sqrt(distances), self.f)


def least_diameter_subset(distances: np.ndarray, f: int) -> list[int]:  # [n, n] -> [n - f]
    """The n-f workers with the least largest distance; among such sets, the one with the least sum of distances."""
    n = len(distances)
    radii = np.unique(distances)
    low, high = 0, len(radii) - 1
    while low < high:
        middle = (low + high) // 2
        if _has_cover(_conflicts(distances > radii[middle]), (1 << n) - 1, f):
            high = middle
        else:
            low = middle + 1
    best, best_sum = [], np.inf
    for tries, cover in enumerate(_covers(_conflicts(distances > radii[low]), (1 << n) - 1, f)):
        kept = _drop_farthest([worker for worker in range(n) if not cover >> worker & 1], distances, n - f)
        total = distances[np.ix_(kept, kept)].sum()
        if total < best_sum or (total == best_sum and kept < best):
            best, best_sum = kept, total
        if tries == _TIES_COMPARED:
            break
    return best


def _drop_farthest(kept: list[int], distances: np.ndarray, size: int) -> list[int]:
    """`size` of the kept workers, leaving out those with the greatest summed distance one at a time."""
    while len(kept) > size:
        sums = distances[np.ix_(kept, kept)].sum(axis=1)
        kept = [worker for place, worker in enumerate(kept) if place != int(sums.argmax())]
    return kept


def _conflicts(too_far: np.ndarray) -> list[int]:
    """For each worker the set of workers too far from it, as the bits of an integer."""
    return [int.from_bytes(row.tobytes(), "little") for row in np.packbits(too_far, axis=1, bitorder="little")]


def _has_cover(conflicts: list[int], alive: int, budget: int) -> bool:
    """Whether taking out `budget` of the workers in `alive` leaves no conflict."""
    while True:
        worker, degree, total, leaf = _busiest(conflicts, alive)
        if degree == 0:
            return True
        if total > 2 * budget * degree:  # each worker taken out ends at most `degree` conflicts
            return False
        if degree > budget:
            alive, budget = alive & ~(1 << worker), budget - 1
        elif leaf:  # the only rival of some worker: taking out the rival is never worse
            alive, budget = alive & ~leaf, budget - 1
        else:
            break
    without = alive & ~(1 << worker)
    return _has_cover(conflicts, without, budget - 1) or (
        degree <= budget and _has_cover(conflicts, without & ~conflicts[worker], budget - degree)
    )


def _covers(conflicts: list[int], alive: int, budget: int, taken: int = 0) -> Iterator[int]:
    """Every set of at most `budget` workers, as bits, whose going leaves no conflict (no set twice)."""
    if not _has_cover(conflicts, alive, budget):
        return
    worker, degree, _, _ = _busiest(conflicts, alive)
    if degree == 0:
        yield taken
        return
    without, rivals = alive & ~(1 << worker), alive & conflicts[worker]
    if budget:
        yield from _covers(conflicts, without, budget - 1, taken | 1 << worker)
    if degree <= budget:
        yield from _covers(conflicts, without & ~rivals, budget - degree, taken | rivals)


def _busiest(conflicts: list[int], alive: int) -> tuple[int, int, int, int]:
    """The worker with most conflicts, how many, the sum over workers, and the rival of some worker with just one."""
    worker, degree, total, leaf = -1, 0, 0, 0
    rest = alive
    while rest:
        bit = rest & -rest
        rest ^= bit
        rivals = conflicts[bit.bit_length() - 1] & alive
        count = rivals.bit_count()
        total += count
        if count > degree:
            worker, degree = bit.bit_length() - 1, count
        if count == 1:
            leaf = rivals
    return worker, degree, total, leaf
