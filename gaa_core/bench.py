"""python -m gaa_core bench: how long one aggregation takes, alone or beside another library."""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gaa_core import aggregators as rules
from gaa_core.errors import GaaError, UnknownName

#: Name -> our rule for f. Times are for f tolerated and nobody lying.
OURS: dict[str, Callable[[int], Callable[[Tensor], Tensor]]] = {
    "mean": lambda f: rules.Mean(),
    "krum": rules.Krum,
    "multi_krum": lambda f: rules.MultiKrum(f),
    "bulyan": rules.Bulyan,
    "geo_med": lambda f: rules.GeoMed(),
    "geometric_median": lambda f: rules.GeometricMedian(),
    "coordinate_median": lambda f: rules.CoordinateMedian(),
    "trimmed_mean": rules.TrimmedMean,
    "mean_around_median": rules.MeanAroundMedian,
    "centered_clipping": lambda f: rules.CenteredClipping(),
    "nnm_trimmed_mean": lambda f: rules.NearestNeighbourMixing(f) | rules.TrimmedMean(f),
    "mda": rules.MDA,
    "caf": rules.CAF,
    "monna": lambda f: rules.MoNNA(f),
    "cge": rules.CGE,
}

#: Name -> the same rule of ByzFL, given its module. Its geometric median takes three smoothed steps.
BYZFL: dict[str, Callable] = {
    "mean": lambda peer, f: peer.Average(),
    "krum": lambda peer, f: peer.Krum(f),
    "multi_krum": lambda peer, f: peer.MultiKrum(f),
    "geometric_median": lambda peer, f: peer.GeometricMedian(),
    "coordinate_median": lambda peer, f: peer.Median(),
    "trimmed_mean": lambda peer, f: peer.TrMean(f),
    "mean_around_median": lambda peer, f: peer.Meamed(f),
    "centered_clipping": lambda peer, f: peer.CenteredClipping(),
    "nnm_trimmed_mean": lambda peer, f: lambda rows: peer.TrMean(f)(peer.NNM(f)(rows)),
    "mda": lambda peer, f: peer.MDA(f),
    "monna": lambda peer, f: peer.MoNNA(f),
}
PEERS = {"byzfl": BYZFL}


@dataclass(frozen=True)
class Timing:
    """The best of several interleaved runs, in seconds."""

    rule: str
    ours: float
    peer: float | None
    read_pass: float

    def row(self) -> str:
        peer = "" if self.peer is None else f"{1e3 * self.peer:12.1f} {self.peer / self.ours:8.1f}"
        return f"{self.rule:20s} {1e3 * self.ours:10.1f} {self.ours / self.read_pass:8.1f} {peer}"


def time_rules(
    names: list[str], n: int, d: int, f: int, repeats: int, peer_name: str | None = None, seed: int = 0
) -> list[Timing]:
    """One Timing a rule. Ours, the peer's and a plain read pass over the input take turns, so that noise hits all."""
    peer = load_peer(peer_name) if peer_name else None
    gradients = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    timings = []
    for name in names:
        contenders = {"pass": gradients.sum, "ours": lambda name=name: OURS[name](f)(gradients)}
        if peer is not None and name in PEERS[peer_name]:
            contenders["peer"] = lambda name=name: PEERS[peer_name][name](peer, f)(gradients)
        best = _take_turns(contenders, repeats)
        timings.append(Timing(name, best["ours"], best.get("peer"), best["pass"]))
    return timings


def _take_turns(contenders: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    best = dict.fromkeys(contenders, float("inf"))
    for _ in range(repeats):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def load_peer(name: str):
    """The peer's module; a clear sentence where it is not installed."""
    if name not in PEERS:
        raise UnknownName("library to compare with", name, PEERS)
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise GaaError(
            f"{name} cannot be imported ({error}). Only this comparison needs it: pip install {name}"
        ) from error


def main(argv: list[str] | None = None) -> int:
    """Print a table: milliseconds, read passes over the input, and how many times longer the peer takes."""
    options = _options(argv)
    unknown = [name for name in options.rules if name not in OURS]
    if unknown:
        raise UnknownName("rule to time", unknown[0], OURS)
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    try:
        timings = time_rules(
            options.rules or list(OURS), options.n, options.d, options.f, options.repeats, options.against
        )
    finally:
        torch.set_num_threads(before)
    size = f"n={options.n} d={options.d:,} f={options.f}, float32, {options.threads} thread(s)"
    print(f"{size}, torch {torch.__version__}; best of {options.repeats} runs that take turns")
    peer = f"{options.against + ', ms':>12s} {'ratio':>8s}" if options.against else ""
    print(f"{'rule':20s} {'ms':>10s} {'passes':>8s} {peer}")
    for timing in timings:
        print(timing.row())
    print("A pass is one x.sum() over all submissions.")
    return 0


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m gaa_core bench", description=__doc__)
    parser.add_argument("rules", nargs="*", help=f"which rules (default all): {', '.join(OURS)}")
    parser.add_argument("--against", choices=sorted(PEERS), help="a library to compare with; install it yourself")
    parser.add_argument("--n", type=int, default=50, help="workers")
    parser.add_argument("--d", type=int, default=1_000_000, help="parameters")
    parser.add_argument("--f", type=int, default=10, help="workers that may lie")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
