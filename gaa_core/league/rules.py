"""Who plays: every rule of the package, at the true number of attackers where it admits that many.

A rule that needs `f` is told the greatest number of workers that its opponents' roles let attack at one step, or the
largest `f` that it admits for `n` workers if that is less. It flatters them: no server knows that number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gaa_core import aggregators, studies
from gaa_core.aggregators import (
    ARC,
    CAF,
    CGE,
    FLAME,
    GAA,
    SMEA,
    Aggregator,
    BruteForce,
    Bucketing,
    Bulyan,
    ByGARS,
    CenteredClipping,
    CoordinateMedian,
    DnC,
    FedGreed,
    FLTrust,
    GeoMed,
    GeometricMedian,
    Krum,
    Mean,
    MeanAroundMedian,
    MoNNA,
    MultiKrum,
    NearestNeighbourMixing,
    NormClipping,
    SignGuard,
    TrimmedMean,
    Zeno,
    ZenoPlusPlus,
)
from gaa_core.errors import GaaError, TooFewWorkers, UnknownName


@dataclass(frozen=True)
class Entrant:
    """A rule of the league under one name, whatever `f` it is told: `make(f, n)` is the rule."""

    name: str
    make: Callable[[int, int], Aggregator]
    most: int | None = None  # workers, above which its search over subsets would not end

    def rule(self, n: int, attackers: int) -> Aggregator:
        """The rule for n workers, told of as many attackers as it admits. Raises GaaError with why it cannot run."""
        if self.most is not None and n > self.most:
            raise GaaError(f"{self.name} searches subsets of workers: not run above n={self.most}; found {n}.")
        for f in range(attackers, -1, -1):
            rule = self.make(f, n)
            try:
                rule.check_workers(n)
            except TooFewWorkers as error:
                reason = error
            else:
                return rule
        raise reason


def _fixed(rule: Aggregator) -> Callable[[int, int], Aggregator]:
    return lambda f, n: rule


def _told(cls: type) -> Callable[[int, int], Aggregator]:
    return lambda f, n: cls(f=f)


#: The names of the agents, in the order of their age.
AGENTS = ["GAA", "GAA, bounded"] + (["GAAPlus"] if hasattr(aggregators, "GAAPlus") else [])

_ENTRANTS = [
    Entrant("GAA", _fixed(GAA())),
    Entrant("GAA, bounded", _fixed(studies.BOUNDED_GAA)),
    *(Entrant(name, _fixed(getattr(aggregators, name)())) for name in AGENTS[2:]),
    *(Entrant(cls.__name__, _fixed(cls())) for cls in (FLTrust, ZenoPlusPlus, ByGARS, FedGreed)),
    Entrant("Zeno", _told(Zeno)),
    *(Entrant(cls.__name__, _fixed(cls())) for cls in (Mean, GeoMed, GeometricMedian, CoordinateMedian)),
    *(Entrant(cls.__name__, _fixed(cls())) for cls in (CenteredClipping, FLAME, SignGuard)),
    *(Entrant(cls.__name__, _told(cls), most=20) for cls in (BruteForce, SMEA)),
    *(Entrant(cls.__name__, _told(cls)) for cls in (Krum, MultiKrum, Bulyan, TrimmedMean, MeanAroundMedian)),
    *(Entrant(cls.__name__, _told(cls)) for cls in (CAF, CGE, DnC)),
    Entrant("MoNNA", lambda f, n: MoNNA(f=f, pivot=n - 1)),  # the last worker is honest under fixed roles
    Entrant("NNM | TrimmedMean", lambda f, n: NearestNeighbourMixing(f=f) | TrimmedMean(f=f)),
    Entrant("ARC | CoordinateMedian", lambda f, n: ARC(f=f) | CoordinateMedian()),
    Entrant("Bucketing | GeometricMedian", _fixed(Bucketing() | GeometricMedian())),
    Entrant("NormClipping | Mean", _fixed(NormClipping() | Mean())),
]

#: All who play, by name.
ENTRANTS: dict[str, Entrant] = {entrant.name: entrant for entrant in _ENTRANTS}

#: Registered rules that do not play, and why.
ABSENT = {
    "MDA": "another name of BruteForce",
    "LinearGAR": "with equal weights it is Mean",
    "Oracle": "the yardstick",
    "ServerOnly": "the reference",
}

#: The rules that survive a majority by design: those that look at the quasi-validation set, and the agents.
RIVALS = [*AGENTS, "FLTrust", "ZenoPlusPlus", "ByGARS", "FedGreed", "Zeno"]


def chosen(names: list[str] | tuple[str, ...] = ()) -> list[Entrant]:
    """The entrants of these names, in the order of the league; all of them without names."""
    for name in names:
        if name not in ENTRANTS:
            raise UnknownName("rule of the league", name, ENTRANTS)
    return [entrant for name, entrant in ENTRANTS.items() if not names or name in names]
