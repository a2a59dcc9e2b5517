"""How fast the rules and whole steps are: `python tests/benchmarks/bench.py --save figures/paper` (`make bench`).

Two tables. Rules: ours and those of other libraries where these can be imported (byzfl, byzpy, krum, torchjd), at the
notebooks' size and at a large one. Steps: whole steps of runs beside an ordinary large-batch step on the same samples.
All contenders of a row take turns in one process on one thread, the least processor time of the turns counts, so that
other work on the machine does not. Times are for no Byzantine worker. The libraries' rules alone are loaded, so that
`pip install --no-deps byzfl byzpy krum torchjd` is enough. Some minutes; the slowest peers take most of them.
"""

import argparse
import importlib
import importlib.util
import math
import platform
import sys
import time
import types
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from gaa_core import aggregators as rules
from gaa_core import cases, files
from gaa_core.simulator import Simulation

#: (n, d, f, turns) of the table of rules: MNIST's size in the notebooks, and a large model.
SIZES = ((10, 25_450, 2, 60), (50, 1_000_000, 10, 5))

#: A contender slower than this many seconds has one turn only.
PATIENCE = 2.0

#: Calls in a turn: the first finds the processor's caches full of another contender's numbers.
CALLS = 3

#: A peer that would try more subsets than this is left out.
MOST_SUBSETS = 1_000

#: Name -> our rule for f.
OURS: dict[str, Callable[[int], Callable]] = {
    "mean": lambda f: rules.Mean(),
    "krum": rules.Krum,
    "multi_krum": rules.MultiKrum,
    "bulyan": rules.Bulyan,
    "geo_med": lambda f: rules.GeoMed(),
    "geometric_median": lambda f: rules.GeometricMedian(),
    "coordinate_median": lambda f: rules.CoordinateMedian(),
    "trimmed_mean": rules.TrimmedMean,
    "mean_around_median": rules.MeanAroundMedian,
    "centered_clipping": lambda f: rules.CenteredClipping(),
    "monna": rules.MoNNA,
    "cge": rules.CGE,
    "caf": rules.CAF,
    "smea": rules.SMEA,
    "mda": rules.MDA,
    "nnm_trimmed_mean": lambda f: rules.NearestNeighbourMixing(f) | rules.TrimmedMean(f),
}

#: The most read passes that a rule should take at the large size, set before it was written; one is the finite mask.
MOST_PASSES = {"mean": 2.2, "krum": 11, "multi_krum": 11, "bulyan": 41, "geometric_median": 11, "coordinate_median": 19}
MOST_PASSES |= {"trimmed_mean": 19, "mean_around_median": 46, "centered_clipping": 4, "nnm_trimmed_mean": 31}

#: Rules that try subsets: not timed where there are many.
BY_SUBSETS = ("smea", "mda")

#: Library -> (module of its rules, rule -> a call on submissions [n, d] for n and f).
PEERS: dict[str, tuple[str, dict[str, Callable]]] = {
    "byzfl": (
        "byzfl.aggregators",
        {
            "mean": lambda lib, n, f: lib.Average(),
            "krum": lambda lib, n, f: lib.Krum(f),
            "multi_krum": lambda lib, n, f: lib.MultiKrum(f),
            "geometric_median": lambda lib, n, f: lib.GeometricMedian(),  # three smoothed steps
            "coordinate_median": lambda lib, n, f: lib.Median(),
            "trimmed_mean": lambda lib, n, f: lib.TrMean(f),
            "mean_around_median": lambda lib, n, f: lib.Meamed(f),
            "centered_clipping": lambda lib, n, f: lib.CenteredClipping(),
            "monna": lambda lib, n, f: lib.MoNNA(f),
            "caf": lambda lib, n, f: lib.CAF(f),
            "smea": lambda lib, n, f: lib.SMEA(f),
            "mda": lambda lib, n, f: lib.MDA(f),
            "nnm_trimmed_mean": lambda lib, n, f: lambda rows: lib.TrMean(f)(lib.NNM(f)(rows)),
        },
    ),
    "byzpy": (
        "byzpy.aggregators",
        {
            "krum": lambda lib, n, f: _of_list(lib.geometric_wise.krum.Krum(f)),
            "multi_krum": lambda lib, n, f: _of_list(lib.geometric_wise.krum.MultiKrum(f, q=n - f - 2)),
            "geometric_median": lambda lib, n, f: _of_list(lib.geometric_wise.geometric_median.GeometricMedian()),
            "coordinate_median": lambda lib, n, f: _of_list(lib.coordinate_wise.median.CoordinateWiseMedian()),
            "trimmed_mean": lambda lib, n, f: _of_list(lib.coordinate_wise.trimmed_mean.CoordinateWiseTrimmedMean(f)),
            "monna": lambda lib, n, f: _of_list(lib.geometric_wise.monna.MoNNA(f)),
            "caf": lambda lib, n, f: _of_list(lib.norm_wise.caf.CAF(f)),
            "cge": lambda lib, n, f: _of_list(
                lib.norm_wise.comparative_gradient_elimination.ComparativeGradientElimination(f)
            ),
            "smea": lambda lib, n, f: _of_list(lib.geometric_wise.smea.SMEA(f)),
            "mda": lambda lib, n, f: _of_list(lib.geometric_wise.minimum_diameter_average.MinimumDiameterAveraging(f)),
        },
    ),
    "krum": (
        "krum.primitives.aggregators",
        {
            "mean": lambda lib, n, f: lib.average.Average.aggregate,
            "krum": lambda lib, n, f: partial(lib.krum.Krum.aggregate, n=n, f=f),
            "multi_krum": lambda lib, n, f: partial(lib.multikrum.MultiKrum.aggregate, n=n, f=f),
            "bulyan": lambda lib, n, f: partial(lib.bulyan.Bulyan.aggregate, n=n, f=f),
            "geo_med": lambda lib, n, f: partial(lib.medoid.Medoid.aggregate, n=n, f=f),
            "geometric_median": lambda lib, n, f: partial(lib.geometric_median.GeometricMedian.aggregate, n=n, f=f),
            "coordinate_median": lambda lib, n, f: lib.median.Median.aggregate,
            "trimmed_mean": lambda lib, n, f: partial(lib.trimmed_mean.TrimmedMean.aggregate, n=n, f=f),
            "mda": lambda lib, n, f: partial(lib.brute.Brute.aggregate, n=n, f=f),
        },
    ),
    "torchjd": (
        "torchjd.aggregation",
        {
            "mean": lambda lib, n, f: lib.Mean(),
            "krum": lambda lib, n, f: lib.Krum(n_byzantine=f),
            "multi_krum": lambda lib, n, f: lib.Krum(n_byzantine=f, n_selected=n - f - 2),
            "trimmed_mean": lambda lib, n, f: lib.TrimmedMean(trim_number=f),
        },
    ),
}


def _of_list(rule) -> Callable[[Tensor], Tensor]:
    return lambda rows: rule.aggregate(list(rows))


@cache
def load(module: str) -> types.ModuleType | None:
    """A library's rules with all their files, without its other parts; None where it is not installed."""
    top = module.split(".")[0]
    spec = importlib.util.find_spec(top)
    if spec is None:
        return None
    shell = types.ModuleType(top)
    shell.__path__ = list(spec.submodule_search_locations)
    sys.modules.setdefault(top, shell)
    library = importlib.import_module(module)
    for path in Path(library.__file__).parent.rglob("*.py"):
        inner = ".".join(path.relative_to(Path(library.__file__).parent).with_suffix("").parts)
        if top in ("byzpy", "krum") and "test" not in inner and not inner.endswith("__init__"):
            importlib.import_module(f"{module}.{inner}")
    return library


def take_turns(contenders: dict[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """The least seconds of each, after one turn that only warms up; what a peer cannot do is left out."""
    best = {}
    for name, call in list(contenders.items()):
        try:
            start = time.process_time()
            call()
            best[name] = time.process_time() - start
        except Exception as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            del contenders[name]
    slow = {name for name, seconds in best.items() if seconds > PATIENCE}
    best.update({name: math.inf for name in best if name not in slow})
    for _ in range(turns):
        for name, call in contenders.items():
            for _ in range(0 if name in slow else CALLS):
                start = time.process_time_ns()
                call()
                best[name] = min(best[name], 1e-9 * (time.process_time_ns() - start))
    return best


def rule_table(names: list[str], sizes=SIZES) -> pd.DataFrame:
    """A row a rule and size: ms, passes (of one sum over all submissions), and the best peer's times."""
    libraries = {name: (load(module), calls) for name, (module, calls) in PEERS.items()}
    table = []
    for n, d, most, turns in sizes:
        gradients = torch.randn(n, d, generator=torch.Generator().manual_seed(0))
        for name in names:
            if name in BY_SUBSETS and math.comb(n, most) > MOST_SUBSETS:
                continue
            f = most if name != "bulyan" else min(most, (n - 3) // 4)
            calls = {"ours": OURS[name](f), "pass": torch.sum}
            calls |= {
                peer: makers[name](library, n, f)
                for peer, (library, makers) in libraries.items()
                if library is not None and name in makers
            }
            best = take_turns({key: partial(call, gradients) for key, call in calls.items()}, turns)
            row = {"rule": name, "n": n, "d": d, "f": f, "ms": 1e3 * best["ours"]}
            row["passes"] = best["ours"] / best["pass"]
            row["most_passes"] = MOST_PASSES.get(name) if d == SIZES[1][1] else None
            peers = {key: seconds for key, seconds in best.items() if key not in ("ours", "pass")}
            if peers:
                peer = min(peers, key=peers.get)
                row |= {"peer": peer, "peer_ms": 1e3 * peers[peer], "ratio": peers[peer] / best["ours"]}
            table.append(row)
    return pd.DataFrame(table)


#: (case, workers, batch size) of the table of steps.
STEPS = (("mnist", 10, 64), ("mnist", 50, 32), ("cms", 10, 16), ("cifar10", 10, 16), ("cifar10", 10, 64))

#: Case and batch size -> the most ordinary steps that a step under Mean, GAA and GAAPlus should take.
MOST_STEPS = {("mnist", 64): "1.3 / 1.8 / 2.5", ("cms", 16): "3 / 4 / 6", ("cifar10", 16): "1.2 / 1.4 / 1.8"}

#: Steps in one turn (an agent's segment, at whose end it learns), turns, and steps before the first turn.
A_TURN, TURNS, WARM_UP = 5, 12, 30


def ordinary_step(simulation: Simulation) -> Callable[[], None]:
    """Forward, backward and SGD step of the plain network on all workers' samples together."""
    case = simulation.case
    network = case.model(simulation.data)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    inputs, targets = (part.flatten(0, 1) for part in simulation.engine.batch(0))

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(inputs), targets).backward()
        optimizer.step()

    return step


def step_table(settings=STEPS) -> pd.DataFrame:
    """A row a setting: the ordinary step's ms, and how many times that whole steps under some rules take."""
    agents = {
        "Mean": rules.Mean(),
        "GAA": rules.GAA(),
        "GAA, bounded": rules.GAA(norm_bound=2.0, policy_lr=0.05),
        "GAAPlus": rules.GAAPlus(),
    }
    table = []
    for name, n, batch_size in settings:
        case = cases.REGISTRY[name]
        never = 10**9
        options = {"n": n, "batch_size": batch_size, "steps": never, "eval_every": never}
        runs = {label: Simulation(case, replace(rule), **options) for label, rule in agents.items()}
        for _ in range(WARM_UP):
            for simulation in runs.values():
                simulation.advance()
        calls = {label: simulation.advance for label, simulation in runs.items()}
        calls["ordinary"] = ordinary_step(runs["Mean"])
        best = take_turns(
            {key: lambda call=call: [call() for _ in range(A_TURN)] for key, call in calls.items()}, TURNS
        )
        row = {"case": name, "n": n, "batch": batch_size, "ordinary_ms": 1e3 * best["ordinary"] / A_TURN}
        row |= {label: best[label] / best["ordinary"] for label in agents}
        table.append(row | {"at most": MOST_STEPS.get((name, batch_size), "")})
    return pd.DataFrame(table)


def setting() -> str:
    """What the times belong to, in words."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    processor = names[0].split(":")[1].strip() if names else platform.machine()
    return f"1 thread, {processor}, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rules", nargs="*", help=f"which rules (default all): {', '.join(OURS)}")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="write speed.csv and steps.csv there")
    parser.add_argument("--only", choices=("rules", "steps"), help="one of the two tables")
    options = parser.parse_args()
    unknown = [name for name in options.rules if name not in OURS]
    if unknown:
        parser.error(f"unknown rule '{unknown[0]}'; known: {', '.join(OURS)}")
    torch.set_num_threads(1)
    print(setting())
    tables = {"speed.csv": lambda: rule_table(options.rules or list(OURS)), "steps.csv": step_table}
    if options.only:
        del tables["steps.csv" if options.only == "rules" else "speed.csv"]
    for name, make in tables.items():
        table = make().assign(setting=setting())
        print(table.drop(columns="setting").to_string(index=False, float_format="{:,.3g}".format, na_rep=""))
        if options.save:
            files.write(options.save / name, table.to_csv(index=False, float_format="%.4g"))


if __name__ == "__main__":
    main()
