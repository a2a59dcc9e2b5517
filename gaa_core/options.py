"""What a run was asked to do: options by name, refused where they cannot be, described where they can."""

import dataclasses
import functools
import inspect
import os
import platform
import types
import warnings
from collections.abc import Callable, Collection

import numpy as np
import torch
from torch import Tensor

import gaa_core
from gaa_core.aggregators.base import Aggregator
from gaa_core.attacks.base import LEAKS, Attack
from gaa_core.cases.base import CaseStudy, Settings
from gaa_core.errors import GaaError, blame, named, number, one_of, whole
from gaa_core.trace import plain

#: The most of a run's time that looks at the test set may take by default, and the bounds of their number.
LOOKING_SHARE, FEWEST_LOOKS, MOST_LOOKS = 0.1, 5, 25

#: A sample's forward and backward pass in training takes as long as this many forward passes in evaluation.
PASSES_IN_TRAINING = 3


def by_name(function: Callable) -> Callable:
    """The function, with an unknown keyword refused by the nearest known one."""
    known = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def checked(*args, **options):
        for name in options:
            one_of("option of run", name, known)
        return function(*args, **options)

    return checked


def with_defaults(function: Callable, without: Collection[str], options: dict) -> types.SimpleNamespace:
    """The options with a function's defaults for those that were not given; unknown names raise."""
    keywords = [each for each in inspect.signature(function).parameters.values() if each.kind is each.KEYWORD_ONLY]
    found = {each.name: each.default for each in keywords if each.name not in without}
    for name in options:
        one_of("option of run", name, found)
    return types.SimpleNamespace(**checked(found | options))


def _is(kinds: object, words: str) -> Callable:
    def check(value: object, name: str) -> object:
        if not isinstance(value, kinds):
            raise GaaError(f"{name} must be {words}; found {value!r}.")
        return value

    return check


def _function(value: object, name: str) -> object:
    if value is not None and not callable(value):
        raise GaaError(f"{name} must be a function or None; found {value!r}.")
    return value


def _engine(value: object, name: str) -> object:
    if value is not None and not callable(getattr(value, "begin", None)):
        raise GaaError(f"{name} must be an Engine, such as RayEngine(workers=4), or None; found {value!r}.")
    return value


#: Name of an option of `run` -> (value, name) -> the value as Python's; those of a case's settings: see `Settings`.
_CHECKS: dict[str, Callable] = {
    **dict.fromkeys(("local_steps", "threads", "checkpoint_every"), whole),
    **dict.fromkeys(("alpha", "weight_decay", "worker_momentum"), functools.partial(number, least=0)),
    **dict.fromkeys(("qv_source", "partition", "device", "method"), _is(str, "a name")),
    **dict.fromkeys(("optimizer", "scheduler", "compress", "callback", "progress"), _function),
    **dict.fromkeys(("record_distances", "resume"), _is(bool, "True or False")),
    "seed": functools.partial(whole, least=-(2**63)),
    "eval_every": lambda value, name: None if value is None else whole(value, name),
    "participation": lambda value, name: value if callable(value) else number(value, name),
    "checkpoint": _is(str | os.PathLike | None, "a path or None"),
    "engine": _engine,
}


def checked(asked: dict) -> dict:
    """Options by name, each as the Python value that it stands for; one of another kind raises."""
    asked = {name: _CHECKS[name](value, name) if name in _CHECKS else value for name, value in asked.items()}
    if asked.get("resume") and asked["checkpoint"] is None:
        raise GaaError("resume=True needs a checkpoint file; found checkpoint=None.")
    return asked


def settings_of(case: CaseStudy, asked: types.SimpleNamespace) -> Settings:
    """The case's settings with those that were asked for. Settings that contradict each other raise."""
    if asked.optimizer is not None and (asked.lr is not None or asked.cooldown or asked.weight_decay):
        raise GaaError("An optimizer has its own step size: give lr, cooldown and weight_decay inside it.")
    if asked.optimizer is None and asked.scheduler is not None:
        raise GaaError("A scheduler needs an optimizer: give optimizer=lambda p: torch.optim.SGD(p, lr) with it.")
    chosen = {each.name: getattr(asked, each.name) for each in dataclasses.fields(Settings)}
    if chosen["n"] is None and asked.engine is not None:
        chosen["n"] = asked.engine.workers
    return dataclasses.replace(case.settings, **{name: value for name, value in chosen.items() if value is not None})


def looking_interval(settings: Settings, tested: int, local_steps: int) -> int:
    """Steps between two looks at the test set, by how many samples a look and a step pass through the network."""
    step = PASSES_IN_TRAINING * settings.n * settings.batch_size * local_steps
    looks = int(LOOKING_SHARE * settings.steps * step / max(1, tested))
    return max(1, settings.steps // min(MOST_LOOKS, max(FEWEST_LOOKS, looks)))


def usable_device(name: str) -> str:
    """The name of a device of this machine; others raise in one sentence."""
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise GaaError(f"device '{name}' cannot be used on this machine ({reason}); 'cpu' always can.") from error
    return name


def check(rule, attack, roles, settings: Settings, given: bool) -> None:
    """Refuse, before any data is read, what cannot run, and an attack that no worker would carry out.

    `given` says whether the caller named the roles. An attack that begins after the last step warns.
    """
    if not callable(rule):
        raise GaaError(f"rule must be an Aggregator or a function [n, d] -> [d]; found {rule!r}.")
    if isinstance(rule, type):
        raise GaaError(f"rule must be an instance: write {rule.__name__}(...) instead of {rule.__name__}.")
    if isinstance(rule, Aggregator):
        rule.check_workers(settings.n)
    if attack is not None and not isinstance(attack, Attack) and (isinstance(attack, type) or not callable(attack)):
        raise GaaError(f"attack must be an Attack instance or a function (own, honest, generator); found {attack!r}.")
    one_of(f"leak of {type(attack).__name__}", getattr(attack, "leak", "none"), LEAKS)
    if not callable(roles):
        raise GaaError(f"roles must be a schedule (step) -> bool [n], as roles.static(n, f) is; found {roles!r}.")
    with blame("The schedule", roles):
        found = roles(0)
    if not isinstance(found, Tensor) or found.dtype != torch.bool or found.shape != (settings.n,):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise GaaError(f"roles must give a bool tensor for n={settings.n} workers; {roles!r} gives {shape}.")
    if attack is None:
        return
    if not given:
        raise GaaError(f"attack={label(attack)} needs roles, which say who carries it out: roles.static(n, byzantine).")
    if not any(bool(roles(step).any()) for step in range(settings.steps)):
        sentence = f"No worker is Byzantine in any of the {settings.steps} steps of {label(roles)}"
        warnings.warn(f"{sentence}, so that attack={label(attack)} never acts.", stacklevel=3)


def describe(simulation, asked: types.SimpleNamespace, method: str) -> dict:
    """Everything a reader needs to know about a run, and to run it again: flat and JSON-ready.

    Options of training that have their default (no optimizer, no worker momentum...) are left out.
    """
    case, data, settings, attack = simulation.case, simulation.data, simulation.settings, simulation.attack
    rare = ("optimizer", "scheduler", "weight_decay", "worker_momentum", "local_steps", "participation", "compress")
    usual = {name: each.default for name, each in inspect.signature(gaa_core.run).parameters.items()}
    chosen = {name: getattr(asked, name) for name in (*rare, "engine")}
    described = {
        "case": case.name,
        "title": case.title,
        "data": data.source,
        "stand_in": data.stand_in,
        "fingerprint": data.fingerprint,
        "classes": list(data.classes),
        "rule": label(simulation.rule),
        "attack": "none" if attack is None else label(attack),
        "roles": label(simulation.roles),
        **dataclasses.asdict(settings),
        **{name: getattr(asked, name) for name in ("qv_source", "partition", "alpha", "seed", "device")},
        **{name: label(value) for name, value in chosen.items() if value != usual[name]},
        "metric": label(case.metric),
        "eval_every": simulation.eval_every,
        "method": method,
        "threads": torch.get_num_threads(),
        "versions": {
            "gaa_core": gaa_core.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
    return plain(described, "settings")  # before training: what cannot be saved is refused here


def label(part: object) -> str:
    """The repr of a rule, an attack or a schedule; the name of a plain function; a number as it is."""
    return part if isinstance(part, int | float | str) else named(part)


def refuse_another_run(path: str | os.PathLike, before: dict, now: dict) -> None:
    """Raise, with the first setting that differs, where a file was written by a run with other settings."""
    for name in sorted((before.keys() | now.keys()) - {"versions", "engine"}):
        if before.get(name) != now.get(name):
            found = f"{name}={before.get(name)!r}; this one has {now.get(name)!r}"
            raise GaaError(f"{path} was written by a run with {found}. Use the same settings, or another file.")
