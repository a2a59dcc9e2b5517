"""How long an aggregation and a whole step take, how much memory, and how fast that grows: calls in, tables out.

Times are seconds of processor time on one thread: other work on the same machine does not count.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gaa_core import aggregators
from gaa_core.aggregators.base import Aggregator, LearningAggregator
from gaa_core.cases import CaseStudy
from gaa_core.errors import GaaError
from gaa_core.options import label
from gaa_core.simulator import Simulation

#: Table 1 of the paper: class name -> (power of n, power of d) of its stated time. None: not a power.
STATED: dict[str, tuple[float | None, float]] = {
    "BruteForce": (None, 1),  # O(C(n,m) (n-m) d)
    "GeoMed": (2, 1),
    "Krum": (2, 1),
    "Bulyan": (3, 1),  # METHOD: our reading of the cell
    "GAA": (2, 1),  # METHOD: our reading of the cell
}

#: A rule with more subsets than this is not timed at that size.
MOST_SUBSETS = 100_000


@dataclass
class StillServer:
    """A server whose QV loss and gradient cost nothing, so that what is timed is the rule alone."""

    parameters: Tensor  # [d]
    gradient: Tensor  # [d]
    lr: float = 0.01
    step: int = 0
    byzantine: Tensor | None = field(default=None)

    def qv_loss(self, parameters: Tensor | None = None) -> float:
        """Always the same."""
        return 1.0

    def qv_gradient(self, parameters: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Always the same, [d]."""
        return self.gradient

    def keep(self) -> None:
        """Nothing: these parameters stay as they are, whatever a rule declares."""

    refuse = step_alone = keep

    def rollback(self, to_start: bool = False) -> None:
        """Nothing, likewise."""


def rules_to_time(n: int) -> list[Aggregator]:
    """Table 1's rules with the largest f that all of them admit, the agent with a bound, and rules of statistics."""
    f = max(0, (n - 3) // 4)
    table_one = [aggregators.GeoMed(), aggregators.Krum(f), aggregators.Bulyan(f), aggregators.GAA()]
    if math.comb(n, f) <= MOST_SUBSETS:
        table_one.insert(0, aggregators.BruteForce(f))
    statistics = [aggregators.CoordinateMedian(), aggregators.TrimmedMean(f), aggregators.GeometricMedian()]
    return [aggregators.Mean(), *table_one, aggregators.GAA(norm_bound=2.0, policy_lr=0.05), *statistics]


def submissions(n: int, d: int, seed: int = 0) -> Tensor:
    """Gaussian submissions to time a rule on, [n, d]."""
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def one_round(rule: Callable[[Tensor], Tensor], gradients: Tensor) -> tuple[Callable[[], object], int]:
    """(a call that aggregates gradients [n, d], how many steps it takes).

    A learning rule takes as many steps a call as its segment has, since it learns at the last of them only. One that
    stays silent for its first `warm_up` steps has them behind it.
    """
    n, d = gradients.shape
    if not isinstance(rule, LearningAggregator):
        return lambda: rule(gradients), 1
    server = StillServer(torch.zeros(d), gradients.mean(dim=0))
    rule.reset(n, d, torch.Generator().manual_seed(0))
    steps = getattr(rule, "horizon", 1)

    def segment(length: int = steps):
        for _ in range(length):
            rule.observe(server)
            rule.decide(gradients)
            server.step += 1

    segment(getattr(rule, "warm_up", 0))
    return segment, steps


def aggregation_times(
    sizes: Iterable[tuple[int, int]], repeats: int = 3, rules: Callable[[int], Sequence[Aggregator]] = rules_to_time
) -> pd.DataFrame:
    """Seconds of one aggregation: a row per rule and (n, d), the least of `repeats`.

    Columns: rule (class name), shown (its repr), n, d, seconds.
    """
    rows = []
    with _one_thread():
        for n, d in sizes:
            gradients = submissions(n, d)
            for rule in rules(n):
                call, steps = one_round(rule, gradients)
                call()  # once to warm up
                seconds = min(_seconds(call) for _ in range(repeats)) / steps
                rows.append({"rule": _name(rule), "shown": label(rule), "n": n, "d": d, "seconds": seconds})
    return pd.DataFrame(rows)


def slopes(table: pd.DataFrame, along: str, least: float) -> pd.DataFrame:
    """The power of `along` ("n" or "d") with which seconds grow: a straight line through the logarithms.

    Sizes below `least` are left out: there, fixed costs of a call hide the growth. Columns measured, sizes (how many
    the line goes through) and, for rules of Table 1, stated; a rule with fewer than two sizes has no slope.
    """
    if along not in ("n", "d"):
        raise GaaError(f"slopes are along 'n' or 'd'; found '{along}'.")
    rows = {}
    for rule, part in table[table[along] >= least].groupby("rule", sort=False):
        enough = part[along].nunique() >= 2
        slope = np.polyfit(np.log(part[along]), np.log(part["seconds"]), 1)[0] if enough else np.nan
        stated = STATED.get(rule, (None, None))["nd".index(along)]
        rows[rule] = {"measured": slope, "stated": np.nan if stated is None else float(stated), "sizes": len(part)}
    return pd.DataFrame.from_dict(rows, orient="index")


def step_times(
    case: CaseStudy, rules: Callable[[int], Sequence[Aggregator]], workers: Iterable[int], steps: int, **settings
) -> pd.DataFrame:
    """Seconds of a whole step of training: everybody's gradients, the rule, the update; the test set is not looked at.

    A row per rule, n and step (column `seconds`); the rules take turns, so that a slow moment of the machine hits
    all. The first fifth of the steps, which warms up, is left out.
    """
    rows = []
    with _one_thread():
        for n in workers:
            never = {"steps": steps + 1, "eval_every": steps + 1}
            runs = {rule: Simulation(case, rule, n=n, **never, **settings) for rule in rules(n)}
            for step in range(steps):
                for rule, simulation in runs.items():
                    seconds = _seconds(simulation.advance)
                    if step >= steps // 5:
                        rows.append({"rule": _name(rule), "shown": label(rule), "n": n, "seconds": seconds})
    return pd.DataFrame(rows)


def memory_table(n: int, d: int, rules: Sequence[Aggregator] | None = None) -> pd.DataFrame:
    """What an aggregation holds at its peak, beside the submissions: a row per rule, in bytes and in submissions.

    `times_submissions` is in units of the n * d numbers that came in. NaN where the system does not tell.
    """
    rows, gradients = [], submissions(n, d)
    with _one_thread():
        for rule in rules or rules_to_time(n):
            call, _ = one_round(rule, gradients)
            extra = peak_memory(call)
            rows.append({"rule": _name(rule), "bytes": extra, "times_submissions": extra / (4 * n * d)})
    return pd.DataFrame(rows)


def peak_memory(call: Callable[[], object]) -> float:
    """Bytes by which this process grew at most during a call; NaN where the system does not tell (Linux only)."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what the allocator kept would hide what the call takes
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        before = _status("VmRSS")
        call()
        return max(0.0, _status("VmHWM") - before)
    except OSError:
        return math.nan


def _status(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024.0 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no {name}")


def _name(rule: object) -> str:
    """The class of a rule; the agent with a bound by itself, as in the pictures."""
    name = type(rule).__name__
    return f"{name}(norm_bound)" if getattr(rule, "norm_bound", None) else name


def _seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Arithmetic on one core within the block: what is compared are algorithms."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
