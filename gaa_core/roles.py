"""Role schedules: who is Byzantine at which step. Pure functions of the step, so they can be drawn without training.

`schedule(step)` is a bool tensor [n], True is Byzantine. Threat model (paper, section 3.1): a fixed set
of workers is compromised for the whole run, here workers 0 .. byzantine-1; at a step some of them may behave. Names are
the reconstruction's. `resampled` leaves that model and is ours.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from gaa_core import registry, seeding
from gaa_core.errors import number, whole


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
    return _schedule("static", n, byzantine=byzantine)


def pretense(n: int, byzantine: int, until: int = 300) -> RoleSchedule:
    """The compromised workers behave before step `until` and are Byzantine from then on."""
    return _schedule("pretense", n, byzantine=byzantine, until=until)


def randomized(n: int, byzantine: int, period: int = 1, probability: float = 0.5, seed: int = 0) -> RoleSchedule:
    """In every `period` steps each compromised worker is Byzantine with `probability`.

    The ratio at a step is anything between 0 and byzantine / n. Probability and periods: ours.
    """
    return _schedule("randomized", n, byzantine=byzantine, period=period, probability=probability, seed=seed)


def resampled(n: int, beta: float, period: int = 1, seed: int = 0) -> RoleSchedule:
    """In every `period` steps each of all n workers is Byzantine with probability `beta`.

    No worker stays benign and at some steps none may be: beyond the paper's threat model. Ours.
    """
    return _schedule("resampled", n, beta=beta, period=period, seed=seed)


def _schedule(kind: str, n: int, **given: float) -> RoleSchedule:
    n = whole(n, "n of a role schedule")
    bounds = {"byzantine": (0, n), "until": (0, None), "period": (1, None), "seed": (-(2**63), None)}
    params = {
        name: whole(value, name, *bounds[name]) if name in bounds else number(value, name, 0, 1)
        for name, value in given.items()
    }
    return RoleSchedule(kind, n, tuple(params.items()))


def _drawn(step: int, n: int, share: float, period: int, seed: int) -> Tensor:
    return torch.rand(n, generator=seeding.generator(seed, "roles/randomized", step // period)) < share


#: kind -> bool [n] at a step, from n and the schedule's parameters.
_ROLE_AT: dict[str, Callable[..., Tensor]] = {
    "static": lambda step, n, byzantine: torch.arange(n) < byzantine,
    "pretense": lambda step, n, byzantine, until: (torch.arange(n) < byzantine) & (step >= until),
    "randomized": lambda step, n, byzantine, period, probability, seed: (
        (torch.arange(n) < byzantine) & _drawn(step, n, probability, period, seed)
    ),
    "resampled": lambda step, n, beta, period, seed: _drawn(step, n, beta, period, seed),
}


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
    last = len(base(0)) - 1
    kept = [(whole(step, "step", 0), whole(worker, "worker", 0, last), bool(bad)) for step, worker, bad in changes]
    return ScriptedRoles(base, tuple(kept))


#: The schedules by name, for the command line.
REGISTRY = registry.Registry(
    {"static": static, "pretense": pretense, "randomized": randomized, "resampled": resampled}, "gaa_core.roles"
)
