"""Role schedules: who is Byzantine at which step. Pure functions of the step, so they can be drawn without training.

`schedule(step)` is a bool tensor [n], True where the worker is Byzantine. Names are the reconstruction's, exact
semantics ours. The manipulated workers are the first ones: workers 0 .. byzantine-1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from gaa_core import seeding
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


def static(n: int, byzantine: int) -> RoleSchedule:
    """A fixed set of `byzantine` workers misbehaves from step 0."""
    _check_count(n, byzantine)
    return RoleSchedule("static", n, (("byzantine", byzantine),))


def pretense(n: int, byzantine: int, until: int = 300) -> RoleSchedule:
    """A fixed set of `byzantine` workers behaves before step `until` and misbehaves from then on."""
    _check_count(n, byzantine)
    if until < 0:
        raise GaaError(f"pretense needs until >= 0; found {until}.")
    return RoleSchedule("pretense", n, (("byzantine", byzantine), ("until", until)))


def randomized(n: int, beta: float, period: int = 1, seed: int = 0) -> RoleSchedule:
    """Every `period` steps each worker's role is drawn anew, Byzantine with probability `beta`.

    The number of Byzantine workers fluctuates without a bound: it can be 0 and it can be n.
    """
    if not 0 <= beta <= 1:
        raise GaaError(f"randomized needs a probability 0 <= beta <= 1; found {beta}.")
    _check_period("randomized", period)
    return RoleSchedule("randomized", n, (("beta", beta), ("period", period), ("seed", seed)))


def flipping(n: int, byzantine: int, period: int = 20, seed: int = 0) -> RoleSchedule:
    """`byzantine` manipulated workers start Byzantine; every `period` steps each changes its role with probability 1/2.

    A role that changes with probability 1/2 is a fresh fair coin in every period after the first, whatever it was
    before; the schedule draws that coin, which makes any step computable without the steps before it.
    """
    _check_count(n, byzantine)
    _check_period("flipping", period)
    return RoleSchedule("flipping", n, (("byzantine", byzantine), ("period", period), ("seed", seed)))


def nobody(n: int) -> RoleSchedule:
    """No worker is ever Byzantine."""
    return static(n, 0)


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
    """The schedule `base`, but for `changes` (step, worker, byzantine): from that step on the worker is what they say.

    Of several changes of one worker the last in the list that has begun counts. Ours: how a run in which somebody
    turned workers by hand is written down.
    """
    n = len(base(0))
    kept = tuple((int(step), int(worker), bool(byzantine)) for step, worker, byzantine in changes)
    for step, worker, _ in kept:
        if step < 0:
            raise GaaError(f"scripted needs steps >= 0; found {step}.")
        if not 0 <= worker < n:
            raise GaaError(f"scripted needs a worker between 0 and {n - 1}; found {worker}.")
    return ScriptedRoles(base, kept)


#: The schedules by name, for the command line.
REGISTRY: dict[str, Callable[..., RoleSchedule]] = {
    "static": static,
    "pretense": pretense,
    "randomized": randomized,
    "flipping": flipping,
}


def _static_at(step: int, n: int, byzantine: int) -> Tensor:
    return torch.arange(n) < byzantine


def _pretense_at(step: int, n: int, byzantine: int, until: int) -> Tensor:
    return (torch.arange(n) < byzantine) & (step >= until)


def _randomized_at(step: int, n: int, beta: float, period: int, seed: int) -> Tensor:
    return torch.rand(n, generator=seeding.generator(seed, "roles/randomized", step // period)) < beta


def _flipping_at(step: int, n: int, byzantine: int, period: int, seed: int) -> Tensor:
    manipulated = torch.arange(n) < byzantine
    if step < period:
        return manipulated
    coins = torch.rand(n, generator=seeding.generator(seed, "roles/flipping", step // period))
    return manipulated & (coins < 0.5)


_ROLE_AT = {
    "static": _static_at,
    "pretense": _pretense_at,
    "randomized": _randomized_at,
    "flipping": _flipping_at,
}


def _check_count(n: int, byzantine: int) -> None:
    if n < 1:
        raise GaaError(f"A role schedule needs at least one worker; found n={n}.")
    if not 0 <= byzantine <= n:
        raise GaaError(f"byzantine must be between 0 and n={n}; found {byzantine}.")


def _check_period(kind: str, period: int) -> None:
    if period < 1:
        raise GaaError(f"{kind} needs period >= 1; found {period}.")
