"""Where the runs of a sweep are done: in processes of this machine, or on a Ray cluster. Traces come back."""

from __future__ import annotations

import copy
import functools
import io
import itertools
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import joblib
import torch
from joblib.externals import loky

from gaa_core.distributed.cluster import connect, import_ray
from gaa_core.identity import is_library
from gaa_core.simulator import run
from gaa_core.trace import Trace

if TYPE_CHECKING:
    from gaa_core.sweep import Experiment

#: Bytes of the object store of a cluster that a sweep starts by itself; traces are small.
RAY_OBJECT_STORE = 200_000_000

#: What a worker answers, instead of training, when its own data or code give another key.
_STALE = "stale"

Ended = Iterator[tuple[str, Trace | None, str]]  # key, trace or None, why it failed


def here(missing: Mapping[str, Experiment], jobs: int, address: None = None) -> Ended:
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


def on_ray(missing: Mapping[str, Experiment], jobs: int, address: str | None) -> Ended:
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
