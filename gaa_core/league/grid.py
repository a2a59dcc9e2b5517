"""What is played: settings per case, parts of the league, and the experiments of a part. Fixed before any was run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gaa_core import studies
from gaa_core.aggregators import Oracle, ServerOnly
from gaa_core.cases import CIFAR10, CMS, MNIST, CaseStudy, Yelp
from gaa_core.errors import GaaError, UnknownName
from gaa_core.league.opponents import Opponent, opponent, opponents
from gaa_core.league.rules import RIVALS, Entrant, chosen
from gaa_core.sweep import Experiment, experiment

#: Seeds of reported results are 0, 1, 2...; these never are.
TUNING_SEEDS, SEARCH_SEEDS = (100, 101, 102, 103, 104), (200, 201, 202)

SCHEDULES = ("static", "pretense", "randomized", "randomized, 20", "resampled")
RATIOS = (0.3, 0.5, 0.7, 0.9)

ORACLE, SERVER_ONLY = "Oracle", "ServerOnly"


@dataclass(frozen=True)
class Setting:
    """How a case is trained in the league: short runs in which the oracle visibly learns (seen on seeds 100, 101)."""

    case: CaseStudy
    steps: int
    lr: float
    batch_size: int
    seconds: float  # of one core for a run of ten workers, as measured; for estimates only
    qv_size: int | None = None  # another number of QV samples than is usual

    def options(self) -> dict:
        """The options of `run`. The test set is looked at once, after the last step."""
        own = {"steps": self.steps, "lr": self.lr, "batch_size": self.batch_size, "eval_every": self.steps}
        return own if self.qv_size is None else own | {"qv_size": self.qv_size}


SETTINGS = {
    setting.case.name: setting
    for setting in (
        Setting(MNIST, steps=150, lr=0.05, batch_size=32, seconds=0.75),
        Setting(CIFAR10, steps=150, lr=0.1, batch_size=16, seconds=5.5),
        Setting(Yelp, steps=150, lr=0.5, batch_size=16, seconds=0.4),
        Setting(CMS, steps=100, lr=0.1, batch_size=16, seconds=0.2),
    )
}


@dataclass(frozen=True)
class Part:
    """One grid of the league. Empty `rules` or `attacks` are all of them."""

    name: str
    cases: tuple[str, ...]
    rules: tuple[str, ...] = ()
    attacks: tuple[str, ...] = ()
    roles: tuple[tuple[str, float], ...] = tuple((kind, ratio) for kind in SCHEDULES for ratio in RATIOS)
    seeds: int = 3
    n: int = 10
    steps: int | None = None  # instead of the case's
    qv_size: int | None = None  # instead of ten

    def settings(self) -> list[Setting]:
        """The settings of its cases."""
        own = {"steps": self.steps, "qv_size": self.qv_size}
        changed = {name: value for name, value in own.items() if value is not None}
        return [replace(SETTINGS[name], **changed) for name in self.cases]

    def opponents(self, steps: int) -> list[Opponent]:
        """Whom its rules meet, in runs of this many steps."""
        return [opponent(name, steps) for name in self.attacks or opponents(steps)]


def shortened(each, steps: int = 6):
    """A part or a hunt in runs of a few steps: whether everything works, not how well."""
    return replace(each, steps=steps)


_THIN = (("static", 0.3), ("static", 0.7), ("randomized", 0.7))
_TABULAR = ("mnist", "yelp", "cms")  # seconds a run or less
_HARD = ("reversion x10", "a little is enough", "inner product x0.5", "min-max")
_ENDURING = ("GAA, bounded", "GAAPlus", "FLTrust", "FedGreed")  # the bounded agents, two rules beside

#: Profile -> its parts. `paper`: four on the whole grid, everybody against all attacks on CMS under fixed roles and
#: roles drawn anew at every step; CIFAR-10 is ten times as dear. Each was thinned or widened before it was played.
PROFILES: dict[str, tuple[Part, ...]] = {
    "smoke": (
        Part(
            "smoke", ("cms",), ("GAAPlus", "Mean", "Krum"), _HARD[:2], (("static", 0.3), ("randomized", 0.7)), 2,
            steps=6,
        ),
    ),
    "quick": (
        Part("quick mnist", ("mnist",), tuple(RIVALS), _HARD[::2], (("static", 0.3), ("randomized", 0.7)), 2),
        Part("quick cms", ("cms",), attacks=_HARD[:3], roles=(("static", 0.3), ("randomized", 0.7)), seeds=2),
    ),
    "paper": (
        Part("rivals", _TABULAR, _ENDURING),
        Part("field", ("cms",), roles=tuple((kind, ratio) for kind in ("static", "randomized") for ratio in RATIOS)),
        Part("cifar10", ("cifar10",), _ENDURING, _HARD, (*_THIN, ("randomized", 0.9))),
        Part("fifty", ("cms",), _ENDURING, _HARD, _THIN, n=50),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Game:
    """One run of the league, with what names it; a rule that cannot play has a reason instead of an experiment."""

    labels: tuple[tuple[str, object], ...]
    experiment: Experiment | None = None
    reason: str = ""

    def row(self) -> dict:
        """Its columns in the table."""
        return dict(self.labels)


def parts(profile: str, names: Sequence[str] = ()) -> list[Part]:
    """The parts of a profile, those of these names if any are given."""
    if profile not in PROFILES:
        raise UnknownName("profile", profile, PROFILES)
    known = {part.name: part for part in PROFILES[profile]}
    for name in names:
        if name not in known:
            raise UnknownName(f"part of the {profile} league", name, known)
    return [part for name, part in known.items() if not names or name in names]


def narrowed(part: Part, rules: Sequence[str] = (), cases: Sequence[str] = (), seeds: int | None = None) -> Part:
    """The part with only these rules and cases, and another number of seeds. An empty intersection plays nothing."""
    for name in cases:
        if name not in SETTINGS:
            raise UnknownName("case of the league", name, SETTINGS)
    if seeds is not None and seeds < 1:
        raise GaaError(f"The league needs at least one seed; found {seeds}.")
    mine = [entrant.name for entrant in chosen(part.rules)]
    wished = [entrant.name for entrant in chosen(rules)]
    kept = tuple(name for name in mine if name in wished)
    return replace(
        part,
        rules=kept,
        cases=tuple(name for name in part.cases if kept and (not cases or name in cases)),
        seeds=part.seeds if seeds is None else seeds,
    )


def games(part: Part, entrants: Sequence[Entrant] | None = None) -> list[Game]:
    """Every run of a part, those of the two references included. The references meet no attack: none touches them.

    `entrants` play instead of the part's own rules.
    """
    entrants = chosen(part.rules) if entrants is None else entrants
    found: dict[tuple, Game] = {}
    for setting in part.settings() if entrants else []:
        for foe in part.opponents(setting.steps):
            for kind, ratio in part.roles:
                for seed in range(part.seeds):
                    arena = Arena(setting, foe, kind, ratio, part.n, seed)
                    for game in (*arena.references(), *(arena.game(entrant) for entrant in entrants)):
                        found.setdefault(game.labels, game)
    return list(found.values())


@dataclass(frozen=True)
class Arena:
    """One cell at one seed: everything of a run but the rule."""

    setting: Setting
    foe: Opponent
    kind: str
    ratio: float
    n: int
    seed: int

    def game(self, entrant: Entrant) -> Game:
        """The run of an entrant, or why there is none."""
        labels = self._labels(entrant.name, attack_name=self.foe.name, schedule=self.kind, ratio=self.ratio)
        attackers = self.n if self.kind == "resampled" else round(self.n * self.ratio)
        try:
            rule = entrant.rule(self.n, attackers)
        except GaaError as error:
            return Game(labels, reason=str(error))
        return Game(labels, self._experiment(labels, rule, attack=self.foe.attack, roles=self._roles()))

    def references(self) -> Iterator[Game]:
        """The oracle under the same roles, and the server alone: each once for all attacks."""
        labels = self._labels(ORACLE, attack_name="", schedule=self.kind, ratio=self.ratio)
        yield Game(labels, self._experiment(labels, Oracle(), roles=self._roles()))
        labels = self._labels(SERVER_ONLY, attack_name="", schedule="", ratio=0.0)
        yield Game(labels, self._experiment(labels, ServerOnly()))

    def _labels(self, name: str, **cell: object) -> tuple[tuple[str, object], ...]:
        where = {"case": self.setting.case.name, "n": self.n, "qv_source": self.foe.qv_source, "seed": self.seed}
        return tuple({"name": name, **where, **cell}.items())

    def _experiment(self, labels: tuple, rule: object, **options: object) -> Experiment:
        options |= {**self.setting.options(), "n": self.n, "seed": self.seed, "qv_source": self.foe.qv_source}
        own = {key: value for key, value in labels if key in ("name", "attack_name", "schedule", "ratio")}
        return experiment(self.setting.case, rule, labels=own, **options)

    def _roles(self):
        return studies.schedule(self.kind, self.n, self.ratio, self.setting.steps, self.seed)


def minutes(runs: Sequence[Experiment], jobs: int) -> float:
    """An estimate for runs still to be done, on an idle machine: seconds a run grow as the number of workers."""
    seconds = sum(SETTINGS[run.case.name].seconds * dict(run.options)["n"] / 10 for run in runs)
    return seconds / max(1, jobs) / 60
