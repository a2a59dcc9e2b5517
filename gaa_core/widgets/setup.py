"""What can be chosen in the playground, and how a choice is written down: settings in, parts and a `run` call out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from gaa_core import aggregators, attacks, cases, roles
from gaa_core.aggregators import Aggregator
from gaa_core.attacks import Attack
from gaa_core.cases import CaseStudy
from gaa_core.errors import GaaError, UnknownName
from gaa_core.roles import ScriptedRoles

#: Variants that are offered beside a rule's or an attack's defaults.
_VARIANTS = {
    "gaa": ({}, {"norm_bound": 2.0, "policy_lr": 0.05}),
    "gradient_reversion": ({}, {"scale": 10.0}),
    "random_fault": ({}, {"std": 2.0}),
}
NO_ATTACK = "none"
_NOT_OFFERED = {"missing_label"}  # needs a quasi-validation set that lacks classes, which the playground does not draw

#: Steps after which a pretender turns, and for how long a role that is drawn by lot stays.
TURNS_AT, PERIOD = 100, 20


@dataclass(frozen=True)
class Setup:
    """The settings of a playground. Rules and the attack by their texts, as `offered_rules` names them.

    `ratio` is the share of Byzantine workers, `f` the number of them that rules with such a parameter are told.
    """

    case: str = "MNIST"
    rules: tuple[str, ...] = ("GAA()",)
    attack: str = "GradientReversion()"
    schedule: str = "static"
    ratio: float = 0.7
    n: int = 10
    f: int = 3
    qv_size: int = 10
    batch_size: int = 64
    lr: float = 0.05
    seed: int = 0

    def __post_init__(self):
        if not self.rules or len(set(self.rules)) < len(self.rules):
            raise GaaError(f"A playground needs rules, each once; found {self.rules}.")
        for kind, name, known in (
            ("case", self.case, offered_cases()),
            ("attack", self.attack, offered_attacks()),
            ("schedule", self.schedule, roles.REGISTRY),
            *(("rule for this n and f", rule, offered_rules(self.n, self.f)) for rule in self.rules),
        ):
            if name not in known:
                raise UnknownName(kind, name, known)
        if not 0 <= self.ratio <= 1:
            raise GaaError(f"ratio must be between 0 and 1; found {self.ratio}.")

    @property
    def byzantine(self) -> int:
        """How many workers are Byzantine, as far as the schedule has a fixed number."""
        return round(self.ratio * self.n)

    def make_rules(self) -> list[Aggregator]:
        """The rules, made anew: learning rules have a state, and two playgrounds must not share it."""
        offered = offered_rules(self.n, self.f)
        return [offered[text] for text in self.rules]

    def make_attack(self) -> Attack | None:
        """The attack; None for an honest crowd."""
        return offered_attacks()[self.attack]

    def make_roles(self) -> Callable[[int], Tensor]:
        """The schedule, step -> bool [n]."""
        return roles.REGISTRY[self.schedule](self.n, **self._role_options())

    def roles_text(self) -> str:
        """The schedule as code."""
        options = "".join(f", {name}={value!r}" for name, value in self._role_options().items())
        return f"roles.{self.schedule}(n={self.n}{options})"

    def run_text(self, steps: int, eval_every: int, changes: tuple[tuple[int, int, bool], ...] = ()) -> str:
        """Code that repeats the runs of a playground: `traces`, one a rule, with workers turned as `changes` say."""
        schedule = f"roles.scripted({self.roles_text()}, {list(changes)})" if changes else self.roles_text()
        settings = (
            f"n={self.n}, steps={steps}, lr={self.lr}, cooldown=0.0, "  # a playground has no last steps
            f"batch_size={self.batch_size}, qv_size={self.qv_size}"
        )
        lines = [
            "from gaa_core import roles, run",
            f"from gaa_core.aggregators import {', '.join(sorted({rule.split('(')[0] for rule in self.rules}))}",
            *([] if self.attack == NO_ATTACK else [f"from gaa_core.attacks import {self.attack.split('(')[0]}"]),
            f"from gaa_core.cases import {self.case}",
            "",
            f"options = dict({settings}, seed={self.seed}, eval_every={eval_every})",
            f"attack = {'None' if self.attack == NO_ATTACK else self.attack}",
            f"attackers = {schedule}",
            f"rules = [{', '.join(self.rules)}]",
            f"traces = [run({self.case}, rule, attack=attack, roles=attackers, **options) for rule in rules]",
        ]
        return "\n".join(lines)

    def _role_options(self) -> dict[str, float]:
        match self.schedule:
            case "randomized":
                return {"byzantine": self.byzantine, "period": PERIOD, "seed": self.seed}
            case "resampled":
                return {"beta": self.ratio, "period": PERIOD, "seed": self.seed}
            case "pretense":
                return {"byzantine": self.byzantine, "until": TURNS_AT}
        return {"byzantine": self.byzantine}


class LiveRoles:
    """A schedule that can still be changed: `turn` a worker from a step on. What was done is in `scripted`."""

    def __init__(self, base: Callable[[int], Tensor]):
        self.scripted: ScriptedRoles = roles.scripted(base, ())

    @property
    def changes(self) -> tuple[tuple[int, int, bool], ...]:
        """(step, worker, byzantine) of every turn so far."""
        return self.scripted.changes

    def turn(self, step: int, worker: int, byzantine: bool) -> None:
        """From `step` on the worker is Byzantine or is not; replaced in one piece, since a run may be reading."""
        self.scripted = roles.scripted(self.scripted.base, (*self.changes, (step, worker, byzantine)))

    def __call__(self, step: int) -> Tensor:
        return self.scripted(step)

    def __repr__(self) -> str:
        return repr(self.scripted if self.changes else self.scripted.base)


def offered_cases() -> dict[str, CaseStudy]:
    """The case studies by the names they are imported by."""
    return {name: getattr(cases, name) for name in cases.__all__ if isinstance(getattr(cases, name), CaseStudy)}


def offered_rules(n: int, f: int) -> dict[str, Aggregator]:
    """A fresh instance of each rule that accepts `n` workers and tolerates `f`, by its text; agents first."""
    offered = {}
    for name, cls in aggregators.REGISTRY.items():
        for params in _VARIANTS.get(name, ({},)):
            rule = _made(cls, params, f)
            if rule is not None and rule.needs() <= n:
                offered[text_of(rule)] = rule
    return dict(sorted(offered.items(), key=lambda entry: not entry[0].startswith("GAA")))


def offered_attacks() -> dict[str, Attack | None]:
    """Each attack with its defaults, and some variants, by its text; first of all none."""
    known = {name: cls for name, cls in attacks.REGISTRY.items() if name not in _NOT_OFFERED}
    made = [cls(**params) for name, cls in known.items() for params in _VARIANTS.get(name, ({},))]
    return {NO_ATTACK: None, **{text_of(attack): attack for attack in made}}


def text_of(part: object) -> str:
    """A dataclass instance as code: the class with the fields that differ from their defaults."""
    values = [(field, getattr(part, field.name)) for field in dataclasses.fields(part) if field.init]
    # A NaN is unequal to itself, so that it takes identity to see that it is the default.
    told = [f"{field.name}={v!r}" for field, v in values if v is not field.default and v != field.default]
    return f"{type(part).__name__}({', '.join(told)})"


def _made(cls: type[Aggregator], params: dict, f: int) -> Aggregator | None:
    """The rule, told `f` where it asks for it; None where it cannot be made from that alone."""
    required = {
        field.name
        for field in dataclasses.fields(cls)
        if field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    if not required <= {"f", *params}:
        return None
    try:
        return cls(**params, **({"f": f} if "f" in required else {}))
    except GaaError:  # this f is none for this rule
        return None
