"""How long one aggregation takes: contenders take turns, the best of several runs counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pandas as pd
import torch
from torch import Tensor

from gaa_core import growth
from gaa_core.bench.contenders import MOST_PARAMETERS, MOST_WORKERS, OURS, PEERS, SECONDS, TARGETS, Rule, load_peer

#: A contender slower than this runs once only.
_PATIENCE = 2.0


def speed_table(
    names: Iterable[str], n: int, d: int, f: int, repeats: int = 10, peer: str | None = None, threads: int = 1
) -> pd.DataFrame:
    """A row a rule: ours, the peer's and a plain read pass over the input take turns, so that noise hits all.

    Columns: rule, n, d, f, ms, passes, most_passes, met ("yes", "no", ""), memory (at its peak, beside the input and in
    units of it); peer, peer_ms, ratio; best_peer, times_wanted, times (faster than the best peer as recorded, in
    passes). With several threads also one_thread_ms and speedup.

    One thread: processor time, so that other work on the machine does not count. Several: time on the clock. Everything
    has run once before, so that loading and compiling are not in it.
    """
    library = load_peer(peer) if peer else None
    rows = []
    for name in names:
        if n > MOST_WORKERS.get(name, n):
            continue
        size = min(d, MOST_PARAMETERS.get(name, d))
        gradients = growth.submissions(n, size)
        call, steps, memory = _ours(OURS[name](f), gradients, threads)
        contenders = {"pass": gradients.sum, "ours": call}
        if threads > 1:
            contenders["one"] = _with_threads(1, call)
        if library is not None and name in PEERS[peer]:
            contenders["peer"] = _peer_call(PEERS[peer][name](library, f), gradients)
        best = take_turns(contenders, repeats, time.process_time if threads == 1 else time.perf_counter, threads)
        best["ours"] /= steps
        row = {"rule": name, "n": n, "d": size, "f": f} | _row(name, best, memory, standard=(n, size, f) == STANDARD)
        rows.append(row | ({"peer": peer} if "peer" in best else {}))
    return pd.DataFrame(rows)


#: The size that the targets are for.
STANDARD = (50, 1_000_000, 10)


def _ours(rule: Rule, gradients: Tensor, threads: int) -> tuple[Callable[[], object], int, float]:
    """A call, the steps in it, and the memory it takes beside the submissions, in units of them."""
    with _threads(threads):
        growth.one_round(rule, gradients)[0]()  # libraries load, kernels compile
        call, steps = growth.one_round(rule, gradients)  # a rule that learns starts afresh
        memory = growth.peak_memory(call) / gradients.nbytes
    return call, steps, memory


def _peer_call(rule: Rule, gradients: Tensor) -> Callable[[], object]:
    return lambda: rule(gradients)


def _row(name: str, best: dict[str, float], memory: float, standard: bool) -> dict:
    """One rule's figures, from the least seconds of each contender."""
    passes = best["ours"] / best["pass"]
    row = {"ms": 1e3 * best["ours"], "passes": passes, "memory": memory, "met": ""}
    if name in SECONDS:
        row["met"] = "yes" if best["ours"] <= SECONDS[name] else "no"
    elif standard and name in TARGETS:
        target = TARGETS[name]
        row |= {"most_passes": target.passes, "met": "yes" if passes <= target.passes else "no"}
        row |= {"best_peer": target.peer, "times_wanted": target.times, "times": target.peer_passes / passes}
    if "peer" in best:
        row |= {"peer_ms": 1e3 * best["peer"], "ratio": best["peer"] / best["ours"]}
    if "one" in best:
        row |= {"one_thread_ms": 1e3 * best["one"], "speedup": best["one"] / best["ours"]}
    return row


def take_turns(
    contenders: dict[str, Callable[[], object]], repeats: int, clock: Callable[[], float], threads: int = 1
) -> dict[str, float]:
    """The least seconds of each; a round gives each one turn, and one that takes for ever has its first turn only."""
    best = dict.fromkeys(contenders, float("inf"))
    with _threads(threads):
        for turn in range(repeats + 1):  # the first also loads, compiles and warms up
            for name, run in contenders.items():
                if turn > 0 and _PATIENCE < best[name] < float("inf"):
                    continue
                start = clock()
                run()
                best[name] = min(best[name], clock() - start)
    return best


def _with_threads(threads: int, call: Callable[[], object]) -> Callable[[], object]:
    def run() -> object:
        with _threads(threads):
            return call()

    return run


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
