"""sweep(): many runs, each done once. Experiments in, tidy table out; cached by content, parallel, resumable.

A run is identified by all that decides it: settings, data, and the code of the package and of every callable (see
`identity`). Workers compare their own data and code with the key before they train. The folder `<results>/<key>/`
counts as done once its record is there, so running again is resuming.
"""

import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from gaa_core.cases import CaseStudy
from gaa_core.errors import GaaError, one_of
from gaa_core.identity import identity
from gaa_core.options import label
from gaa_core.simulator import run
from gaa_core.sweep.workers import here, on_ray
from gaa_core.trace import Trace, check_place, plain, read_record

#: Where the runs of a sweep can be computed.
BACKENDS = ("loky", "ray")

#: Set while notebooks run as a batch.
BATCH = "GAA_BATCH"


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
            one_of("column of this sweep's table", name, self.table)
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
    one_of("backend of a sweep", backend, BACKENDS)
    if not isinstance(jobs, int) or jobs < 1:
        raise GaaError(f"jobs must be a whole number of at least 1; found {jobs!r}.")
    keyed, results, errors = _keyed(experiments), Path(results), {}
    missing = _missing(dict(keyed), results)
    for key in missing:
        check_place(results / key)
    if missing:
        ended = (on_ray if backend == "ray" else here)(missing, min(jobs, len(missing)), address)
        for key, trace, error in track(ended, len(missing), "runs"):
            if trace is None:
                errors[key] = error
            else:
                trace.save(results / key)
    table = pd.DataFrame([_row(key, each, results, errors) for key, each in keyed])
    if errors and strict:
        details = "; ".join(f"{key}: {text.splitlines()[-1]}" for key, text in sorted(errors.items()))
        raise SweepFailed(f"{len(errors)} of {len(keyed)} runs failed, the others are done: {details}")
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


def track(items: Iterable, total: int, what: str) -> Iterator:
    """Yield the items and show how many of `total` have come: a bar where a person looks on, else some lines, and
    nothing in a batch, whose output is read later.
    """
    if os.environ.get(BATCH):
        yield from items
        return
    if sys.stderr.isatty() or "ipykernel" in sys.modules:
        yield from tqdm(items, total=total, desc=what, leave=False)
        return
    marks = {round(total * tenth / 4) for tenth in range(1, 5)}
    for count, item in enumerate(items, start=1):
        yield item
        if count in marks:
            print(f"{what}: {count} of {total}", flush=True)
