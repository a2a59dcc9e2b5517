"""What is played: settings per case, attacks by name or sampled, and the parts of each profile."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from gaa_core import attacks as a
from gaa_core import registry, studies
from gaa_core import roles as schedules
from gaa_core.attacks.base import Attack
from gaa_core.attacks.sampled import sample
from gaa_core.cases import CIFAR10, CMS, MNIST, CaseStudy, Yelp
from gaa_core.errors import GaaError, UnknownName, one_of
from gaa_core.league.entrants import RIVALS

SCHEDULES = ("static", "pretense", "randomized", "randomized, 20", "resampled")
RATIOS = (0.3, 0.5, 0.7, 0.9)

#: Sampled attacks have the numbers from here on in reports; smaller numbers are for development.
FIRST_REPORTED = 10_000

#: The grid of named attacks. The QV-aligned ones follow the QV gradient, oppose the honest mean and keep their noise.
NAMED: dict[str, Attack] = {
    "random fault": a.RandomFault(),
    "constant shift": a.RandomFault(std=2e-6, offset=0.01),
    "reversion x1": a.GradientReversion(scale=1.0),
    "reversion x10": a.GradientReversion(scale=10.0),
    "sign flip": a.SignFlip(),
    "a little is enough": a.ALittleIsEnough(),
    "inner product x0.5": a.InnerProductManipulation(epsilon=0.5),
    "inner product x2": a.InnerProductManipulation(epsilon=2.0),
    "min-max": a.MinMax(),
    "mimic": a.Mimic(),
    "one coordinate": a.OneCoordinate(),
    "label flip": a.LabelFlip(),
    "not finite": a.NonFinite(),
    "mimic, then turn": a.MimicThenTurn(until=50),  # half of the shortest run
    "slow drift": a.SlowDrift(),
    "QV-aligned": a.Blend(mean=-0.8, qv=0.764, length=0.944, jitter=1.0),
    "QV-aligned, late": a.Blend(mean=-0.8, qv=1.0, length=1.1, jitter=1.0, start=17),
    "missing label": a.MissingLabel(),
}

#: Attacks that need another source of QV samples than golden ones.
QV_SOURCES = {"missing label": "missing_classes"}


@dataclass(frozen=True)
class Setting:
    """How a case is trained in the league: short runs in which the oracle visibly learns (seen on seeds 100, 101)."""

    case: CaseStudy
    steps: int
    lr: float
    batch_size: int
    seconds: float = 0.0  # of one core for a run of ten workers, as measured; for estimates only

    def options(self) -> dict:
        """The options of `run`. The test set is looked at once, after the last step."""
        own = {"steps": self.steps, "lr": self.lr, "batch_size": self.batch_size}
        return own | {"eval_every": self.steps}


SETTINGS = {
    setting.case.name: setting
    for setting in (
        Setting(MNIST, steps=150, lr=0.05, batch_size=32, seconds=0.75),
        Setting(CIFAR10, steps=150, lr=0.1, batch_size=16, seconds=5.5),
        Setting(Yelp, steps=150, lr=0.5, batch_size=16, seconds=0.4),
        Setting(CMS, steps=100, lr=0.1, batch_size=16, seconds=0.2),
    )
}


def setting(case: str | CaseStudy) -> Setting:
    """The setting of a case by name or "my.py:case"; a case of one's own is trained as it says itself."""
    if isinstance(case, CaseStudy):
        own = case.settings
        return SETTINGS.get(case.name, Setting(case, own.steps, own.lr, own.batch_size))
    if ":" in case:
        return setting(registry.lookup("case", case, {}))
    one_of("case of the league", case, SETTINGS)
    return SETTINGS[case]


@dataclass(frozen=True)
class Opponent:
    """An attack with its roles: `roles(step)` is bool [n]. Its name, schedule and ratio are columns of the table."""

    attack_name: str
    attack: Attack | Callable
    schedule: str
    ratio: float
    roles: Callable[[int], Tensor]


@dataclass(frozen=True)
class Part:
    """One grid. Everything in it may be one's own: rules, attacks, cases and schedules, by object instead of by name.

    `attacks`: names of `NAMED` (all of them when empty), a mapping name -> attack, or "sampled:N" for the N attacks
    with numbers from `first` on, which bring their own roles. `roles`: pairs (schedule, share of Byzantine workers); a
    schedule of one's own is a pair (name, function from a step to bool [n]). `rules`: see `entrants`.
    """

    name: str = "own"
    cases: Sequence[str | CaseStudy] = ("cms",)
    rules: Sequence[str | Callable] | Mapping[str, Callable] = ()
    attacks: str | Sequence[str] | Mapping[str, Attack] = ()
    roles: Sequence[tuple] = field(default=tuple((kind, ratio) for kind in SCHEDULES for ratio in RATIOS))
    seeds: int | Sequence[int] = 3
    n: int = 10
    first: int = FIRST_REPORTED
    steps: int | None = None  # instead of the case's
    qv_size: int | None = None  # instead of the case's

    def settings(self) -> list[Setting]:
        """The settings of its cases."""
        found = [setting(case) for case in self.cases]
        return found if self.steps is None else [replace(each, steps=self.steps) for each in found]

    def seed_list(self) -> list[int]:
        """Its seeds: a number of them counts from 0."""
        seeds = list(range(self.seeds)) if isinstance(self.seeds, int) else list(self.seeds)
        if not seeds:
            raise GaaError(f"The league needs at least one seed; found {self.seeds!r}.")
        return seeds

    def opponents(self, steps: int, seed: int) -> Iterator[Opponent]:
        """Every attack under every schedule and share, in runs of this many steps with this seed."""
        if isinstance(self.attacks, str) and self.attacks.partition(":")[0] == "sampled":
            yield from self._sampled(steps)
            return
        for name, attack in _attacks(self.attacks).items():
            for kind, ratio in self.roles:
                if callable(ratio):  # (name, schedule)
                    ever = sum(ratio(step) for step in range(steps)) > 0
                    yield Opponent(name, attack, kind, float(ever.double().mean()), ratio)
                else:
                    yield Opponent(name, attack, kind, ratio, studies.schedule(kind, self.n, ratio, steps, seed))

    def _sampled(self, steps: int) -> Iterator[Opponent]:
        count = self.attacks.partition(":")[2]
        if not count.isdecimal() or int(count) < 1:
            raise GaaError(f"Sampled attacks are written 'sampled:200'; found '{self.attacks}'.")
        for number in range(self.first, self.first + int(count)):
            attack, kind, params = sample(number, n=self.n, steps=steps)
            ratio = params.get("byzantine", 0) / self.n or params["beta"]
            yield Opponent(f"sampled {number}", attack, kind, ratio, getattr(schedules, kind)(self.n, **params))


def _attacks(wished: str | Sequence[str] | Mapping[str, Attack]) -> Mapping[str, Attack]:
    if isinstance(wished, Mapping):
        return wished
    names = [wished] if isinstance(wished, str) else wished
    found = {}
    for name in names or NAMED:
        if ":" in name:
            own = registry.lookup("attack", name, {})
            found[name.rpartition(":")[2]] = own() if isinstance(own, type) else own
        elif name in NAMED:
            found[name] = NAMED[name]
        else:
            raise UnknownName("attack of the league", name, [*NAMED, "sampled:N"])
    return found


_THIN = (("static", 0.3), ("static", 0.7), ("randomized", 0.7))
_TABULAR = ("mnist", "yelp", "cms")  # seconds a run or less
_HARD = ("reversion x10", "a little is enough", "inner product x0.5", "min-max")
_ENDURING = ("GAA, bounded", "GAAPlus", "FLTrust", "FedGreed")  # the bounded agents, two rules beside

#: Profile -> its parts. `paper`: four rules on the whole grid, all rules against all attacks on CMS; CIFAR-10 is ten
#: times as expensive as the others.
PROFILES: dict[str, tuple[Part, ...]] = {
    "smoke": (Part("smoke", ("cms",), ("GAAPlus", "Mean", "Krum"), _HARD[:2], _THIN[::2], 2, steps=6),),
    "quick": (
        Part("quick mnist", ("mnist",), RIVALS, _HARD[::2], _THIN[::2], 2, steps=75),
        Part("quick cms", ("cms",), attacks=_HARD[:2], roles=_THIN[::2], seeds=2),
    ),
    "paper": (
        Part("rivals", _TABULAR, _ENDURING),
        Part("field", ("cms",), roles=tuple((kind, r) for kind in ("static", "randomized") for r in RATIOS)),
        Part("cifar10", ("cifar10",), _ENDURING, _HARD, (*_THIN, ("randomized", 0.9))),
        Part("fifty", ("cms",), _ENDURING, _HARD, _THIN, n=50),
    ),
}
