"""What a notebook would run, and how long that takes, without running it.

Only those statements of a notebook are executed that decide which runs it asks `sweep` and `run` for; both only take
note. Minutes are steps times the seconds of a step, measured once a machine by doing a few.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from gaa_core import report
from gaa_core.errors import GaaError
from gaa_core.options import label
from gaa_core.plan import Notebook, notebook_parameters
from gaa_core.simulator import Simulation, run
from gaa_core.sweep import Experiment, experiment, pending, sweep

_LAUNCHERS = {"sweep", "run"}
#: The name under which runs outside a sweep are listed; they are done one after another.
SINGLE = "single runs"
_MUTATORS = {"append", "extend", "update", "add"}

#: Steps that are timed, after as many to warm up: a learning rule learns once in five.
_TIMED_STEPS = 5


@dataclass(frozen=True)
class Forecast:
    """The runs that one statement of a notebook asks for, what is left to do of them, and the seconds of that."""

    name: str
    runs: int
    to_do: int
    seconds: float


class NotPlannable(GaaError):
    """Which runs a notebook asks for depends on what earlier ones gave."""


class _Unknown:
    """What `sweep` and `run` give while they only take note: nothing can be read from it."""

    def __getattr__(self, name: str):
        raise NotPlannable(f"its grid depends on '.{name}' of runs that are not done")


def forecast(notebook: Notebook, parameters: dict, times: StepTimes, seen: set[str]) -> list[Forecast]:
    """One Forecast for each sweep of a notebook (and one for its single runs) under these parameters.

    Runs whose key is in `seen` were asked for earlier and count as done; the keys of these are added to it.
    A notebook that cannot be told beforehand raises NotPlannable.
    """
    found = []
    for name, runs, results in _asked(notebook, parameters):
        left = pending(runs, notebook.path.parent / results) if results else list({r.key: r for r in runs}.values())
        left = [each for each in left if each.key not in seen]
        seen |= {each.key for each in left} if results else set()
        found.append(Forecast(name, len(runs), len(left), sum(map(times.seconds, left))))
    return found


def tell(notebook: Notebook, parameters: dict, times: StepTimes, seen: set[str]) -> tuple[list[str], float]:
    """(a line for each sweep of a notebook, minutes of all that is left to do), for as many jobs as it would use."""
    jobs = max(1, int(parameters.get("jobs") or notebook_parameters(notebook.path).get("jobs", 1)))
    lines, minutes = [], 0.0
    for part in forecast(notebook, parameters, times, seen):
        takes = part.seconds / 60 / (1 if part.name == SINGLE else jobs)
        minutes += takes
        lines.append(f"{part.name}: {part.runs} runs, {part.runs - part.to_do} cached, about {takes:.1f} min")
    return lines, minutes


def relevant(statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    """The statements of a notebook that launch runs, and those that what they launch depends on, in their order."""
    launchers = set(_LAUNCHERS)
    for statement in statements:  # train = partial(run, MNIST, ...)
        match statement:
            case ast.Assign(
                targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="partial"), args=[ast.Name(id=first), *_])
            ) if first in launchers:
                launchers.add(name)
    needed: set[str] = set()
    chosen = []
    for statement in reversed(statements):
        loaded, bound, called = _names(statement)
        if called & launchers or bound & needed:
            needed |= loaded
            chosen.append(statement)
    return chosen[::-1]


def _names(statement: ast.stmt) -> tuple[set[str], set[str], set[str]]:
    """(names that a statement reads from before it, that it binds or changes, that it calls)."""
    loaded, bound, called, changed, inner, loops = set(), set(), set(), set(), set(), set()
    for node in ast.walk(statement):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                loaded.add(name)
            case ast.Name(id=name):
                bound.add(name)
            case ast.alias(name=name, asname=other):
                bound.add(other or name.split(".")[0])
            case ast.FunctionDef(name=name):
                bound.add(name)
            case ast.AugAssign(target=ast.Name(id=name)):
                changed.add(name)
            case ast.Subscript(ctx=ast.Store(), value=ast.Name(id=name)):  # settings["qv_size"] = 5
                changed.add(name)
            case ast.Call(func=ast.Name(id=name)):
                called.add(name)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)) if attr in _MUTATORS:
                changed.add(name)
            case ast.comprehension(target=target):  # its names end with it
                inner |= _stored(target)
            case ast.For(target=target):
                loops |= _stored(target)
    return (loaded - inner - loops) | changed, (bound - inner) | changed, called


def _stored(target: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}


def _asked(notebook: Notebook, parameters: dict) -> list[tuple[str, list[Experiment], str | None]]:
    """(name, runs, results folder) of each sweep; single runs under one name, without a folder."""
    cells = json.loads(notebook.path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    sweeps: list[tuple[str, list[Experiment], str | None]] = []
    single: list[Experiment] = []
    current = ""

    def note_sweep(experiments: Iterable[Experiment], *, results: str = "results", **_) -> _Unknown:
        sweeps.append((current, list(experiments), str(results)))
        return _Unknown()

    def note_run(case, rule, **options) -> _Unknown:
        known = inspect.signature(Simulation).parameters
        single.append(experiment(case, rule, **{name: v for name, v in options.items() if name in known}))
        return _Unknown()

    namespace: dict[str, object] = {"__name__": "forecast"}
    try:
        for statement in relevant([each for source in sources for each in ast.parse(source).body]):
            current = _title(statement)
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(ast.Module([statement], []), notebook.path.name, "exec"), namespace)
            namespace |= {name: parameters[name] for name in parameters if name in namespace}
            for name, value in namespace.items():
                namespace[name] = note_sweep if value is sweep else note_run if value is run else value
    except Exception as error:
        raise NotPlannable(f"{notebook.name} cannot be told beforehand: {error}.") from error
    return sweeps + ([(SINGLE, single, None)] if single else [])


def _title(statement: ast.stmt) -> str:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name.replace("_", " ")
    return f"line {statement.lineno}"


class StepTimes:
    """Processor seconds of a step by case, rule, n and batch size, measured when first asked for and kept in a file.

    Attacks and schedules are those of the run that was asked for first. Delete the file to measure anew.
    """

    def __init__(self, path: Path):
        self.path = path
        self.known: dict[str, dict[str, float]] = report.read_json(path) if path.is_file() else {}

    def seconds(self, each: Experiment) -> float:
        """How long one run takes: preparing it, its steps, and its looks at the test set."""
        options = {name: value for name, value in each.options if value is not None}
        steps = options.get("steps", each.case.settings.steps)
        looks = -(-steps // options.get("eval_every", max(1, steps // 25)))
        sizes = [options.get(name, getattr(each.case.settings, name)) for name in ("n", "batch_size")]
        key = ", ".join(map(str, (each.case.name, each.case.load().fingerprint, label(each.rule), *sizes)))
        if key not in self.known:
            self.known[key] = _measure(each, options)
            report.write_json(self.path, self.known)
        times = self.known[key]
        return times["prepare"] + steps * times["step"] + looks * times["look"]


def _measure(each: Experiment, options: dict) -> dict[str, float]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a sweep
    try:
        start = time.process_time()
        simulation = Simulation(each.case, each.rule, **{**options, "eval_every": 1_000_000, "steps": 1_000_000})
        prepared = time.process_time()
        for _ in range(_TIMED_STEPS):
            simulation.advance()
        warm = time.process_time()
        for _ in range(_TIMED_STEPS):
            simulation.advance()
        stepped = time.process_time()
        simulation.evaluate()
        looked = time.process_time()
    finally:
        torch.set_num_threads(before)
    times = {"prepare": prepared - start, "step": (stepped - warm) / _TIMED_STEPS, "look": looked - stepped}
    return {name: round(value, 6) for name, value in times.items()}
