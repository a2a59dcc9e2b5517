"""Means over seeds with their intervals, and what they say about a claim."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gaa_core.errors import GaaError

#: "As good as no attack" means at most this many percentage points below it. Fixed before anything was measured.
BOUND = 2.0

#: Percentiles of the bootstrap means that make a 95 % interval, and how many means they are taken from.
PERCENTILES, RESAMPLES = (2.5, 97.5), 10_000

#: Floats are compared after this many digits: .90 - .88 is a hair above two points.
DIGITS = 6


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval; `low` and `high` are None where there is one value."""

    mean: float
    low: float | None = None
    high: float | None = None

    def text(self, digits: int = 1) -> str:
        """`90.4 [89.9, 90.9]`, or `90.4` without an interval."""
        ends = [f"{round(end, digits) + 0.0:.{digits}f}" for end in (self.mean, self.low, self.high) if end is not None]
        return ends[0] if len(ends) == 1 else f"{ends[0]} [{ends[1]}, {ends[2]}]"


def interval(values: Sequence[float]) -> Interval:
    """Mean and bootstrap 95 % interval of independent values, such as one accuracy a seed.

    Means of resampled values stay between the least and the greatest value, so within what is possible.
    """
    found = np.asarray([float(value) for value in values])
    if not len(found):
        raise GaaError("interval needs at least one value; found none.")
    if not np.isfinite(found).all():
        raise GaaError(f"interval needs finite values; found {found.tolist()}.")
    if len(found) == 1:
        return Interval(float(found[0]))
    draws = np.random.default_rng(0).integers(len(found), size=(RESAMPLES, len(found)))
    low, high = np.percentile(found[draws].mean(axis=1), PERCENTILES)
    return Interval(float(found.mean()), float(low), float(high))


def gap(clean: Sequence[float], attacked: Sequence[float]) -> Interval:
    """How much lower `attacked` is, seed by seed: both lists are in the order of the same seeds."""
    if len(clean) != len(attacked):
        raise GaaError(f"gap compares seed by seed; found {len(clean)} values without attack and {len(attacked)} with.")
    return interval([before - after for before, after in zip(clean, attacked, strict=True)])


def verdict(measured: Interval | float | None, bound: float = BOUND) -> str:
    """Whether a gap is at most `bound`: `holds`, `fails`, `undecided` where its interval contains the bound.

    Without an interval the mean decides; without a measurement the verdict is `not run`.
    """
    if measured is None:
        return "not run"
    found = measured if isinstance(measured, Interval) else Interval(measured)
    low, high = (round(found.mean if end is None else end, DIGITS) for end in (found.low, found.high))
    if low <= bound < high:
        return "undecided"
    return "holds" if high <= bound else "fails"
