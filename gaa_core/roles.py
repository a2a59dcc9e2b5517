"""Role schedules: who is Byzantine at which step. Pure functions of the step, so they can be drawn without training.

`schedule(step)` is a bool tensor [n], True is Byzantine. Threat model (paper, section 3.1): a fixed set
of workers is compromised for the whole run, here workers 0 .. byzantine-1; at a step some of them may behave. Names are
the reconstruction's. `resampled` leaves that model and is ours.
"""

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from gaa_core import registry, seeding
from gaa_core.errors import GaaError


@dataclass(frozen=True)
class RoleSchedule:
    """A named schedule with its parameters; call it with a step."""

    kind: str
    n: int
    params: tuple[tuple[str, float], ...]

    def __call__(self, step: int) -> Tensor:
        """bool [n], True is Byzantine at this step."""
        return _ROLE_AT[self.kind](step, self.n, **dict(self.params))

    def table(self, steps: int) -> Tensor:
        """The first `steps` steps as one bool tensor [steps, n]."""
        return torch.stack([self(step) for step in range(steps)])

    def __repr__(self) -> str:
        return f"{self.kind}({', '.join(f'{name}={value}' for name, value in self.params)})"


def none(n: int) -> RoleSchedule:
    """No worker is ever Byzantine."""
    return static(n, 0)


def static(n: int, byzantine: int) -> RoleSchedule:
    """The compromised workers are Byzantine from step 0."""
    return _schedule("static", n, byzantine=_count(byzantine, n))


def pretense(n: int, byzantine: int, until: int = 300) -> RoleSchedule:
    """The compromised workers behave before step `until` and are Byzantine from then on."""
    return _schedule("pretense", n, byzantine=_count(byzantine, n), until=_integer("until", until, least=0))


def randomized(n: int, byzantine: int, period: int = 1, probability: float = 0.5, seed: int = 0) -> RoleSchedule:
    """In every `period` steps each compromised worker is Byzantine with `probability`.

    The ratio at a step is anything between 0 and byzantine / n. Probability and periods: ours.
    """
    return _schedule(
        "randomized",
        n,
        byzantine=_count(byzantine, n),
        period=_integer("period", period, least=1),
        probability=_probability("probability", probability),
        seed=_integer("seed", seed),
    )


def resampled(n: int, beta: float, period: int = 1, seed: int = 0) -> RoleSchedule:
    """In every `period` steps each of all n workers is Byzantine with probability `beta`.

    No worker stays benign and at some steps none may be: beyond the paper's threat model. Ours.
    """
    return _schedule(
        "resampled",
        n,
        beta=_probability("beta", beta),
        period=_integer("period", period, least=1),
        seed=_integer("seed", seed),
    )


@dataclass(frozen=True)
class ScriptedRoles:
    """A schedule and what overrides it: changes (step, worker, byzantine), each in force from its step on."""

    base: Callable[[int], Tensor]
    changes: tuple[tuple[int, int, bool], ...]

    def __call__(self, step: int) -> Tensor:
        """bool [n], True is Byzantine at this step."""
        found = self.base(step).clone()
        for start, worker, byzantine in self.changes:
            if step >= start:
                found[worker] = byzantine
        return found

    def __repr__(self) -> str:
        return f"scripted({self.base!r}, {list(self.changes)})"


def scripted(base: Callable[[int], Tensor], changes: Iterable[tuple[int, int, bool]]) -> ScriptedRoles:
    """The schedule `base` with `changes` (step, worker, byzantine), each in force from its step on.

    Of several changes of one worker the last in the list that has begun counts. Ours: it writes down a run in which
    roles were changed by hand.
    """
    n = len(base(0))
    kept = tuple(
        (_integer("step", step, least=0), _integer("worker", worker, least=0), bool(byzantine))
        for step, worker, byzantine in changes
    )
    for _, worker, _ in kept:
        if worker >= n:
            raise GaaError(f"scripted needs a worker between 0 and {n - 1}; found {worker}.")
    return ScriptedRoles(base, kept)


#: The schedules by name, for the command line.
REGISTRY: dict[str, Callable[..., RoleSchedule]] = {
    "static": static,
    "pretense": pretense,
    "randomized": randomized,
    "resampled": resampled,
    **registry.plugins("gaa_core.roles"),
}


def _static_at(step: int, n: int, byzantine: int) -> Tensor:
    return torch.arange(n) < byzantine


def _pretense_at(step: int, n: int, byzantine: int, until: int) -> Tensor:
    return (torch.arange(n) < byzantine) & (step >= until)


def _randomized_at(step: int, n: int, byzantine: int, period: int, probability: float, seed: int) -> Tensor:
    return (torch.arange(n) < byzantine) & _resampled_at(step, n, probability, period, seed)


def _resampled_at(step: int, n: int, beta: float, period: int, seed: int) -> Tensor:
    return torch.rand(n, generator=seeding.generator(seed, "roles/randomized", step // period)) < beta


_ROLE_AT = {
    "static": _static_at,
    "pretense": _pretense_at,
    "randomized": _randomized_at,
    "resampled": _resampled_at,
}


def _schedule(kind: str, n: int, **params: float) -> RoleSchedule:
    return RoleSchedule(kind, _integer("n", n, least=1), tuple(params.items()))


def _integer(name: str, value: int, least: int | None = None) -> int:
    """Any library's integer as Python's."""
    try:
        found = operator.index(value)
    except TypeError:
        raise GaaError(f"A role schedule needs a whole number {name}; found {value!r}.") from None
    if least is not None and found < least:
        raise GaaError(f"A role schedule needs {name} >= {least}; found {found}.")
    return found


def _count(byzantine: int, n: int) -> int:
    found = _integer("byzantine", byzantine, least=0)
    if found > n:
        raise GaaError(f"A role schedule needs byzantine between 0 and n={n}; found {found}.")
    return found


def _probability(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise GaaError(f"A role schedule needs 0 <= {name} <= 1; found {value}.")
    return float(value)
