"""sweep(): many runs, each done once. Experiments in, tidy table out; cached by content, parallel, resumable.

A run is identified by what it computes: its canonical settings, the digest of its data and the digest of the code it
runs. Its folder `<results>/<key>/` counts as done once its record is there, so running again is resuming.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import inspect
import itertools
import json
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import joblib
import pandas as pd
import torch

from gaa_core.cases import CaseStudy
from gaa_core.distributed.cluster import connect, import_ray
from gaa_core.errors import DataError, GaaError, UnknownName
from gaa_core.options import label
from gaa_core.progress import track
from gaa_core.simulator import run
from gaa_core.trace import Trace, read_record

#: Sources that every run depends on; those of its rule, attack and case are added. Plots and tables are not among them.
_SHARED_CODE = (
    *("simulator", "server", "recorder", "agent", "kernels", "models", "qv", "partition", "roles", "seeding"),
    *("trace", "engine", "aggregators.base", "attacks.base", "cases.base"),
)


#: Where the runs of a sweep can be computed.
BACKENDS = ("loky", "ray")

#: Bytes of the object store of a cluster that a sweep starts by itself; traces are small.
RAY_OBJECT_STORE = 200_000_000


class SweepFailed(GaaError):
    """Some runs of a sweep failed; the others are done and kept."""


@dataclass(frozen=True)
class Experiment:
    """One `run(case, rule, **options)` call, written down. `labels` become columns of the sweep's table."""

    case: CaseStudy
    rule: object
    options: tuple[tuple[str, object], ...]
    labels: tuple[tuple[str, object], ...]

    @functools.cached_property
    def key(self) -> str:
        """Twenty hex digits that change with the settings, the data or the code, and with nothing else."""
        content = {
            "case": self.case.name,
            "defaults": dataclasses.asdict(self.case.settings),
            "data": self.case.load().fingerprint,
            "rule": _canonical(self.rule),
            "options": {name: _canonical(value) for name, value in self.options if value is not None},
            "code": _code_digest(_modules(self)),
            "torch": torch.__version__,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]

    def row(self) -> dict:
        """Its columns in a table: labels first, then the settings by name."""
        named = {name: label(v) if not isinstance(v, int | float | str) else v for name, v in self.options}
        return {**dict(self.labels), "case": self.case.name, "rule": label(self.rule), **named, "key": self.key}


def experiment(case: CaseStudy, rule: object, *, labels: Mapping[str, object] | None = None, **options) -> Experiment:
    """Write down `run(case, rule, **options)` for a sweep. `labels` are extra columns, e.g. `{"ratio": 0.7}`."""
    return Experiment(case, rule, tuple(sorted(options.items())), tuple((labels or {}).items()))


@dataclass(frozen=True, eq=False)
class Sweep:
    """Finished runs: `table` has a row per experiment with its labels, settings, accuracy and `error` (empty if
    none).
    """

    table: pd.DataFrame
    results: Path

    def trace(self, **wanted) -> Trace:
        """The trace of the one row whose columns have these values."""
        traces = self.traces(**wanted)
        if len(traces) != 1:
            raise GaaError(f"{wanted} names {len(traces)} runs of this sweep; expected exactly one.")
        return traces[0]

    def traces(self, **wanted) -> list[Trace]:
        """The traces of all finished rows whose columns have these values."""
        for name in wanted:
            if name not in self.table:
                raise GaaError(f"This sweep's table has no column '{name}'; it has {', '.join(self.table)}.")
        rows = self.table[self.table["error"] == ""]
        for name, value in wanted.items():
            rows = rows[rows[name] == value]
        return [Trace.load(self.results / key) for key in rows["key"]]


def sweep(
    experiments: Iterable[Experiment],
    *,
    results: str | Path = "results",
    jobs: int = 2,
    strict: bool = True,
    backend: str = "loky",
    address: str | None = None,
) -> Sweep:
    """Do every experiment that is not done yet, `jobs` at a time, and return the table of all.

    `backend` "loky" uses processes here, "ray" those of a Ray cluster (at `address`, see RayEngine), which send their
    traces back: results are written here alone, and a node that finds other data than this one fails its runs.

    A failing run is isolated: the rest goes on, nothing of it counts as done, its row says why. At the end failures
    raise SweepFailed, or with `strict=False` are only listed in the table's `error` column.
    """
    if backend not in BACKENDS:
        raise UnknownName("backend of a sweep", str(backend), BACKENDS)
    experiments, results = list(experiments), Path(results)
    missing = pending(experiments, results)
    do = _on_ray if backend == "ray" else _here
    ended = do(missing, results, min(jobs, len(missing)), address) if missing else ()
    errors = {key: error for key, error in track(ended, len(missing), "runs") if error}
    table = _table(experiments, results, errors)
    if errors and strict:
        details = "\n".join(f"  {key}: {text.splitlines()[-1]}" for key, text in sorted(errors.items()))
        raise SweepFailed(f"{len(errors)} of {len(experiments)} runs failed, the others are done:\n{details}")
    return Sweep(table, results)


def pending(experiments: Sequence[Experiment], results: str | Path) -> list[Experiment]:
    """Those of the experiments that are not done, each once."""
    unique = {each.key: each for each in experiments}
    return [each for key, each in unique.items() if read_record(Path(results) / key) is None]


def _here(missing: Sequence[Experiment], results: Path, jobs: int, address: None = None) -> Iterator[tuple[str, str]]:
    """(key, error text or "") of each run as it ends.

    When a process dies (out of memory, killed), its pool goes with it and does not say whose run it was: what is left
    is done in processes of its own, one run at a time, so that only the deadly run fails.
    """
    told = set()
    try:
        for key, error in _in_processes(missing, results, jobs):
            told.add(key)
            yield key, error
    except BrokenProcessPool:
        for each in missing:
            if each.key not in told:
                yield _alone(each, results)


def _alone(each: Experiment, results: Path) -> tuple[str, str]:
    """(key, error text or ""): one run in a process whose death is its own failure."""
    if read_record(results / each.key) is not None:  # it ended just before the pool did
        return each.key, ""
    try:
        return next(iter(_in_processes([each], results, 2)))  # with 1, joblib would take this very process
    except BrokenProcessPool as error:
        return each.key, f"The process of this run died: {str(error).splitlines()[0]}"


def _in_processes(runs: Sequence[Experiment], results: Path, jobs: int) -> Iterator[tuple[str, str]]:
    if runs:
        parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
        yield from parallel(joblib.delayed(_do)(each, results) for each in runs)


def _on_ray(missing: list[Experiment], results: Path, jobs: int, address: str | None) -> Iterator[tuple[str, str]]:
    """The same on a Ray cluster: nothing but this process writes results."""
    mine = connect(address, jobs, RAY_OBJECT_STORE)
    ray = import_ray()
    compute = ray.remote(num_cpus=1, max_retries=1)(_compute)
    try:
        left, running = iter(missing), {}
        while True:
            for each in itertools.islice(left, jobs - len(running)):
                running[compute.remote(each, each.case.load().fingerprint)] = each
            if not running:
                return
            (done,), _ = ray.wait(list(running), num_returns=1)
            each = running.pop(done)
            try:
                trace, error = ray.get(done)
            except ray.exceptions.RayError as gone:  # the process or its node
                trace, error = None, str(gone)
            if trace is not None:
                trace.save(results / each.key)
            yield each.key, error
    finally:
        if mine:
            ray.shutdown()


def _do(each: Experiment, results: Path) -> tuple[str, str]:
    """(key, error text or ""): one run, in a worker process."""
    try:
        run(each.case, each.rule, **dict(each.options)).save(results / each.key)
    except Exception:
        return each.key, traceback.format_exc()
    return each.key, ""


def _compute(each: Experiment, fingerprint: str) -> tuple[Trace | None, str]:
    """(trace, error text or ""): one run, on a node that must have the data with this fingerprint."""
    try:
        found = each.case.load()
        if found.fingerprint != fingerprint:
            raise DataError(
                f"This node has other data for {each.case.name}: {found.source}. Set GAA_DATA on every node."
            )
        return run(each.case, each.rule, **dict(each.options)), ""
    except Exception:
        return None, traceback.format_exc()


def _table(experiments: Sequence[Experiment], results: Path, errors: Mapping[str, str]) -> pd.DataFrame:
    rows = []
    for each in experiments:
        record = None if each.key in errors else read_record(results / each.key)
        figures = {name: value for name, value in (record or {}).items() if name != "seconds"}
        rows.append({**each.row(), **figures, "error": errors.get(each.key, "")})
    return pd.DataFrame(rows)


def _canonical(value: object):
    """A JSON-ready form that says everything the run depends on."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_canonical(part) for part in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _canonical(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
        return {"class": f"{type(value).__module__}.{type(value).__qualname__}", **fields}
    if inspect.isfunction(value):
        return {"function": value.__qualname__, "source": inspect.getsource(value)}
    raise GaaError(f"A sweep cannot identify {value!r}: use a dataclass, a plain function or a plain value.")


def _modules(each: Experiment) -> frozenset[str]:
    """The package's modules that one experiment depends on."""
    own = {each.case.load.__module__, *(f"gaa_core.{name}" for name in _SHARED_CODE)}
    defining = _defining(each.rule) | _defining(dict(each.options).get("attack"))
    return frozenset(own.union(*map(_neighbours, defining)))


@functools.cache
def _neighbours(name: str) -> frozenset[str]:
    """A module and those of its folder that it takes functions or classes from, and so on: what a rule is made of."""
    folder, found, new = name.rpartition(".")[0] + ".", set(), {name}
    while new:
        found |= new
        values = [value for each in new for value in vars(importlib.import_module(each)).values()]
        homes = {v.__name__ if inspect.ismodule(v) else getattr(v, "__module__", None) for v in values}
        new = {home for home in homes if isinstance(home, str) and home.startswith(folder)} - found
    return frozenset(found)


def _defining(value: object) -> set[str]:
    """Modules of the package that define a value and, for dataclasses, the values within."""
    found = {type(value).__module__} if type(value).__module__.startswith("gaa_core.") else set()
    if dataclasses.is_dataclass(value):
        for each in dataclasses.fields(value):
            found |= _defining(getattr(value, each.name)) if each.init else set()
    if isinstance(value, tuple | list):
        found |= set().union(*map(_defining, value)) if value else set()
    return found


@functools.cache
def _code_digest(modules: frozenset[str]) -> str:
    digest = hashlib.sha256()
    for name in sorted(modules):
        digest.update(name.encode())
        digest.update(Path(importlib.import_module(name).__file__).read_bytes())
    return digest.hexdigest()
