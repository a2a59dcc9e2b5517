"""sweep(): many runs, each done once. Experiments in, tidy table out; cached by content, parallel, resumable.

A run is identified by all that decides it: settings, data, and the code of the package and of every callable (see
`identity`). Workers compare their own data and code with the key before they train. The folder `<results>/<key>/`
counts as done once its record is there, so running again is resuming.
"""

from __future__ import annotations

import copy
import functools
import inspect
import io
import itertools
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import torch
from joblib.externals import loky
from tqdm import tqdm

from gaa_core.cases import CaseStudy
from gaa_core.distributed.cluster import connect, import_ray
from gaa_core.errors import GaaError, UnknownName
from gaa_core.identity import identity, is_library
from gaa_core.options import label
from gaa_core.simulator import run
from gaa_core.trace import Trace, check_place, plain, read_record

#: Where the runs of a sweep can be computed.
BACKENDS = ("loky", "ray")

#: Set while notebooks run as a batch, whose output is read later.
BATCH = "GAA_BATCH"

#: Bytes of the object store of a cluster that a sweep starts by itself; traces are small.
RAY_OBJECT_STORE = 200_000_000

#: What a worker answers, instead of training, when its own data or code give another key.
_STALE = "stale"


class SweepFailed(GaaError):
    """Some runs of a sweep failed; the others are done and kept."""


@dataclass(frozen=True)
class Experiment:
    """One `run(case, rule, **options)` call, written down. `labels` become columns of the sweep's table."""

    case: CaseStudy
    rule: object
    options: tuple[tuple[str, object], ...]
    labels: tuple[tuple[str, object], ...]

    @property
    def key(self) -> str:
        """Twenty hex digits that change with the settings, the data or the code, and with nothing else.

        Raises GaaError for what cannot be identified. Computed at each access, since code can be edited in a session.
        """
        return _Keys().of(self)

    def row(self, key: str) -> dict:
        """Its columns in a table: labels first, then the settings by name."""
        named = {name: label(v) if not isinstance(v, int | float | str) else v for name, v in self.options}
        return {**dict(self.labels), "case": self.case.name, "rule": label(self.rule), **named, "key": key}


def experiment(case: CaseStudy, rule: object, *, labels: Mapping[str, object] | None = None, **options) -> Experiment:
    """Write down `run(case, rule, **options)` for a sweep. `labels` are extra columns, e.g. `{"ratio": 0.7}`.

    Scalars of numpy and torch are taken as numbers.
    """
    if not isinstance(case, CaseStudy):
        raise GaaError(f"experiment needs a CaseStudy, such as gaa_core.cases.MNIST; found {case!r}.")
    numbers = {name: plain(v, name) if isinstance(v, np.generic | torch.Tensor) else v for name, v in options.items()}
    kept = {name: value for name, value in numbers.items() if value is not None}
    return Experiment(case, rule, tuple(sorted(kept.items())), tuple((labels or {}).items()))


class _Keys:
    """The keys of many experiments at one moment; what they share is identified once."""

    def __init__(self):
        self._known: dict[int, tuple[object, str]] = {}  # with the object, so that its id stays its own

    def of(self, each: Experiment) -> str:
        parts = {
            "run": self._once(run, "run"),
            "case": self._once(each.case, "case"),
            "data": self._once(each.case.load, "data", lambda: _data(each.case)),
            "rule": self._once(each.rule, "rule"),
            "options": {name: self._once(value, name) for name, value in each.options},
            "versions": [torch.__version__, np.__version__, str(torch.get_default_dtype())],
        }
        return identity(parts)[:20]

    def _once(self, value: object, place: str, compute: Callable[[], str] | None = None) -> str:
        at = (id(value), compute is None)
        if at not in self._known:
            try:
                self._known[at] = (value, compute() if compute else identity(value, place))
            except GaaError as error:
                if compute:
                    raise
                raise GaaError(f"A sweep cannot keep this run: {error} Call run() for it.") from error
        return self._known[at][1]


def _data(case: CaseStudy) -> str:
    """The fingerprint of a case of this package, which is made of its files; the content of any other data."""
    data, load = case.load(), inspect.unwrap(case.load)
    ours = getattr(load, "__module__", "").startswith("gaa_core.") and not getattr(load, "__closure__", None)
    return data.fingerprint if ours else identity(data, f"data of {case.name}")


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
                raise UnknownName("column of this sweep's table", name, self.table)
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

    `backend` "loky" uses processes here, "ray" those of a Ray cluster (at `address`, see RayEngine). Either sends its
    traces back: results are written by this process alone. A process that finds other data or code than this session
    trains nothing.

    A failing run is isolated: the rest goes on, nothing of it counts as done, its row says why. At the end failures
    raise SweepFailed, or with `strict=False` are only listed in the table's `error` column.
    """
    if backend not in BACKENDS:
        raise UnknownName("backend of a sweep", str(backend), BACKENDS)
    if not isinstance(jobs, int) or jobs < 1:
        raise GaaError(f"jobs must be a whole number of at least 1; found {jobs!r}.")
    keyed, results, errors = _keyed(experiments), Path(results), {}
    missing = _missing(dict(keyed), results)
    for key in missing:
        check_place(results / key)
    if missing:
        ended = (_on_ray if backend == "ray" else _here)(missing, min(jobs, len(missing)), address)
        for key, trace, error in track(ended, len(missing), "runs"):
            if trace is None:
                errors[key] = error
            else:
                trace.save(results / key)
    table = pd.DataFrame([_row(key, each, results, errors) for key, each in keyed])
    if errors and strict:
        details = "\n".join(f"  {key}: {text.splitlines()[-1]}" for key, text in sorted(errors.items()))
        raise SweepFailed(f"{len(errors)} of {len(keyed)} runs failed, the others are done:\n{details}")
    return Sweep(table, results)


def pending(experiments: Iterable[Experiment], results: str | Path) -> list[Experiment]:
    """Those of the experiments that are not done, each once."""
    return list(_missing(dict(_keyed(experiments)), Path(results)).values())


def _keyed(experiments: Iterable[Experiment]) -> list[tuple[str, Experiment]]:
    keys = _Keys()
    return [(keys.of(each), each) for each in experiments]


def _missing(keyed: Mapping[str, Experiment], results: Path) -> dict[str, Experiment]:
    return {key: each for key, each in keyed.items() if read_record(results / key) is None}


def _row(key: str, each: Experiment, results: Path, errors: Mapping[str, str]) -> dict:
    record = {} if key in errors else read_record(results / key) or {}
    figures = {name: value for name, value in record.items() if name != "seconds"}
    return {**each.row(key), **figures, "error": errors.get(key, "")}


Ended = Iterator[tuple[str, Trace | None, str]]  # key, trace or None, why it failed


def _here(missing: Mapping[str, Experiment], jobs: int, address: None = None) -> Ended:
    """Each run as it ends, in processes of this machine.

    Processes live on from one sweep to the next. Those that have code or data of an earlier moment are replaced once.
    When a process dies (out of memory, killed), its pool goes with it and does not say whose run it was: what is left
    is done one run at a time, so that only the deadly run fails.
    """
    left = dict(missing)
    try:
        for key, trace, error in _in_processes(left.copy(), jobs):
            if error != _STALE:
                del left[key]
                yield key, trace, error
    except BrokenProcessPool:
        for key, each in left.items():
            yield from _alone(key, each)
        return
    if left:
        loky.get_reusable_executor().shutdown(wait=True)
        for key, trace, error in _in_processes(left, jobs):
            yield key, trace, _explain(left[key]) if error == _STALE else error


def _explain(each: Experiment) -> str:
    return (
        f"Another process finds other data or code for {each.case.name} than this session: a file was edited after "
        "its import, load() gives other data at each call, or an earlier run changed what this one uses."
    )


def _alone(key: str, each: Experiment) -> Ended:
    """One run in a process whose death is its own failure."""
    try:
        yield from list(_in_processes({key: each}, 2))  # with 1, joblib would take this very process
    except BrokenProcessPool as error:
        yield key, None, f"The process of this run died: {str(error).splitlines()[0]}"


def _in_processes(runs: Mapping[str, Experiment], jobs: int) -> Ended:
    # With one job the run is done here, on a copy: no run begins with what an earlier one left in its rule.
    pack, settings = (copy.deepcopy, None) if jobs == 1 else (_packed, _Session.here())
    work = (joblib.delayed(_compute)(key, _tried(pack, each), settings) for key, each in runs.items())
    yield from joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")(work)


def _on_ray(missing: Mapping[str, Experiment], jobs: int, address: str | None) -> Ended:
    """The same on a Ray cluster. Nodes of others keep their own settings: GAA_DATA may lie elsewhere there."""
    mine = connect(address, jobs, RAY_OBJECT_STORE)
    ray = import_ray()
    compute = ray.remote(num_cpus=1, max_retries=1)(_compute)
    try:
        left, running = iter(missing.items()), {}
        while True:
            for key, each in itertools.islice(left, jobs - len(running)):
                running[compute.remote(key, _tried(_packed, each), _Session.here() if mine else None)] = key
            if not running:
                return
            (done,), _ = ray.wait(list(running), num_returns=1)
            key = running.pop(done)
            try:
                _, trace, error = ray.get(done)
            except ray.exceptions.RayError as gone:  # the process or its node
                trace, error = None, str(gone)
            case = missing[key].case.name
            stale = f"This node has other data or code for {case}. Set GAA_DATA on every node, and install one version."
            yield key, trace, stale if error == _STALE else error
    finally:
        if mine:
            ray.shutdown()


@dataclass(frozen=True)
class _Session:
    """What of a session decides which data its processes load, and in which precision they compute."""

    folders: tuple[tuple[str, str | None], ...]
    dtype: torch.dtype

    @classmethod
    def here(cls) -> _Session:
        return cls(tuple((name, os.environ.get(name)) for name in ("GAA_DATA", "GAA_CACHE")), torch.get_default_dtype())

    def enter(self) -> None:
        for name, folder in self.folders:
            if folder is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = str(Path(folder).expanduser().resolve()) if folder else ""
        torch.set_default_dtype(self.dtype)


def _compute(key: str, work: Any, session: _Session | None) -> tuple[str, Trace | None, str]:
    """(key, trace or None, error text): one run, where the work is done. Nothing is trained under another's key."""
    try:
        if isinstance(work, str):  # why it could not be packed
            return key, None, work
        if session is not None:
            session.enter()
        each = cloudpickle.loads(work) if isinstance(work, bytes) else work
        if each.key != key:
            return key, None, _STALE
        return key, run(each.case, each.rule, **dict(each.options)), ""
    except Exception:
        return key, None, traceback.format_exc()


def _tried(pack: Callable, each: Experiment) -> Any:
    try:
        return pack(each)
    except Exception as error:
        return f"This run cannot be handed to a process ({error}): sweep with jobs=1, or call run()."


class _Pickler(cloudpickle.Pickler):
    """The user's functions with a cache are sent as functions, and get a cache there."""

    def reducer_override(self, value):
        if isinstance(value, functools._lru_cache_wrapper) and _is_users(value.__module__):
            return functools.lru_cache(**value.cache_parameters()), (value.__wrapped__,)
        return super().reducer_override(value)


def _packed(each: Experiment) -> bytes:
    """An experiment with the user's own code by value: another process may not find its file, or find another."""
    own = [sys.modules[name] for name in list(sys.modules) if name != "__main__" and _is_users(name)]
    for module in own:
        cloudpickle.register_pickle_by_value(module)
    try:
        with io.BytesIO() as file:
            _Pickler(file).dump(each)
            return file.getvalue()
    finally:
        for module in own:
            cloudpickle.unregister_pickle_by_value(module)


def _is_users(module: str) -> bool:
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return module == "__main__" or (
        file.endswith(".py") and not module.startswith("gaa_core") and not is_library(module)
    )


def track(items: Iterable, total: int, what: str) -> Iterator:
    """Yield the items and show how many of `total` have come: a bar where a person looks on, else some lines."""
    if not os.environ.get(BATCH) and (sys.stderr.isatty() or "ipykernel" in sys.modules):
        yield from tqdm(items, total=total, desc=what, leave=False)
        return
    marks = {round(total * tenth / 4) for tenth in range(1, 5)}
    for count, item in enumerate(items, start=1):
        yield item
        if count in marks:
            print(f"{what}: {count} of {total}", flush=True)
