"""What is timed: our rules, those of other libraries, and the figures that ours are to reach."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from gaa_core import aggregators as rules
from gaa_core.errors import GaaError, UnknownName

Rule = Callable[[Tensor], Tensor]

#: Name -> our rule for f. Times are for f tolerated and nobody lying.
OURS: dict[str, Callable[[int], Rule]] = {
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
    "gaa": lambda f: rules.GAA(),
    "caf": rules.CAF,
    "monna": lambda f: rules.MoNNA(f),
    "cge": rules.CGE,
}

#: Rules whose cost is not in reading: timed on at most so many parameters.
MOST_PARAMETERS = {"mda": 10_000}

#: Rules that take more than quadratic time in the number of workers: left out above so many.
MOST_WORKERS = {"mda": 200, "bulyan": 200}

#: Name -> the same rule of ByzFL, given its rules. Its geometric median takes three smoothed steps. Its MDA, which
#: tries all subsets, would not finish; of Bulyan, GeoMed and GAA it has none.
BYZFL: dict[str, Callable[[types.ModuleType, int], Rule]] = {
    "mean": lambda peer, f: peer.Average(),
    "krum": lambda peer, f: peer.Krum(f),
    "multi_krum": lambda peer, f: peer.MultiKrum(f),
    "geometric_median": lambda peer, f: peer.GeometricMedian(),
    "coordinate_median": lambda peer, f: peer.Median(),
    "trimmed_mean": lambda peer, f: peer.TrMean(f),
    "mean_around_median": lambda peer, f: peer.Meamed(f),
    "centered_clipping": lambda peer, f: peer.CenteredClipping(),
    "nnm_trimmed_mean": lambda peer, f: lambda rows: peer.TrMean(f)(peer.NNM(f)(rows)),
    "caf": lambda peer, f: peer.CAF(f),
    "monna": lambda peer, f: peer.MoNNA(f),
}
PEERS = {"byzfl": BYZFL}
INSTALL = {"byzfl": "pip install --no-deps byzfl==0.0.11"}


@dataclass(frozen=True)
class Target:
    """What a rule is to reach at n=50, d=1,000,000, f=10 on one thread.

    `passes` is the most read passes over the submissions; `times` how many times faster than the best other library,
    which took `peer_passes` in its own measurement on another machine.
    """

    passes: float
    times: float
    peer: str
    peer_passes: float


def _target(passes: float, times: float, peer: str, milliseconds: float) -> Target:
    return Target(passes, times, peer, milliseconds / 17.4)  # one pass took 17.4 ms on the peers' machine


#: Set before anything here was written. The agent is to be level with Krum.
TARGETS = {
    "mean": _target(1.2, 1.0, "torchjd 0.18", 16),
    "krum": _target(10, 1.5, "byzpy 0.1.4", 380),
    "multi_krum": _target(10, 1.5, "byzpy 0.1.4", 700),
    "bulyan": _target(40, 10, "flwr 1.41", 8052),
    "geometric_median": _target(10, 8, "byzfl 0.0.11", 1189),
    "coordinate_median": _target(18, 3.5, "byzpy 0.1.4", 1335),
    "trimmed_mean": _target(18, 3.5, "byzpy 0.1.4", 2320),
    "mean_around_median": _target(45, 6, "byzpy 0.1.4", 5965),
    "centered_clipping": _target(3, 5, "byzfl 0.0.11", 321),
    "nnm_trimmed_mean": _target(30, 50, "byzfl 0.0.11", 46260),
    "gaa": _target(12, 1.0, "Krum of byzpy 0.1.4", 380),
}

#: Of a rule on fewer parameters, the most seconds.
SECONDS = {"mda": 1.0}


def load_peer(name: str) -> types.ModuleType:
    """The peer's rules; a clear sentence where it is not installed."""
    if name not in PEERS:
        raise UnknownName("library to compare with", name, PEERS)
    try:
        if name not in sys.modules and (spec := importlib.util.find_spec(name)) is not None:
            # Its rules alone: what else the library imports (torchvision) has no part in this.
            shell = types.ModuleType(name)
            shell.__path__ = list(spec.submodule_search_locations)
            sys.modules[name] = shell
        return importlib.import_module(f"{name}.aggregators")
    except ImportError as error:
        sys.modules.pop(name, None)
        raise GaaError(
            f"{name} cannot be imported ({error}). Only this comparison needs it: {INSTALL[name]}"
        ) from error
