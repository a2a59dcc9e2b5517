"""Whom they play against: attacks by name. Those that were searched for stand beside those of the field."""

from __future__ import annotations

from dataclasses import dataclass

from gaa_core.attacks import (
    ALittleIsEnough,
    Blend,
    GradientReversion,
    InnerProductManipulation,
    LabelFlip,
    Mimic,
    MimicThenTurn,
    MinMax,
    MissingLabel,
    NonFinite,
    OneCoordinate,
    RandomFault,
    SignFlip,
    SlowDrift,
)
from gaa_core.attacks.base import Attack
from gaa_core.errors import UnknownName


@dataclass(frozen=True)
class Opponent:
    """An attack under its name in the league, and the quasi-validation set that it meets."""

    name: str
    attack: Attack
    qv_source: str = "golden"


#: What `league.search` found, by name. Both against GAAPlus as it was on 2026-11-25, on CMS, static and randomized
#: roles at 70 %, search seeds 200 and 201: children of the first generation of a short search that was stopped early.
#: They say what the QV gradient wants to hear, turn against the honest mean, and differ as honest workers do.
FOUND: dict[str, Attack] = {
    "found: courtier": Blend(mean=-0.8, qv=0.764, length=0.944, jitter=1.0),
    "found: late courtier": Blend(mean=-0.8, qv=1.0, length=1.1, jitter=1.0, start=17),
}


def opponents(steps: int) -> dict[str, Opponent]:
    """Every attack of the league for runs of this many steps, by name."""
    attacks = {
        "random fault": RandomFault(),
        "constant shift": RandomFault(std=2e-6, offset=0.01),
        "reversion x1": GradientReversion(scale=1.0),
        "reversion x10": GradientReversion(scale=10.0),
        "sign flip": SignFlip(),
        "a little is enough": ALittleIsEnough(),
        "inner product x0.5": InnerProductManipulation(epsilon=0.5),
        "inner product x2": InnerProductManipulation(epsilon=2.0),
        "min-max": MinMax(),
        "mimic": Mimic(),
        "one coordinate": OneCoordinate(),
        "label flip": LabelFlip(),
        "not finite": NonFinite(),
        "mimic, then turn": MimicThenTurn(until=steps // 2),
        "slow drift": SlowDrift(),
        **FOUND,
    }
    found = {name: Opponent(name, attack) for name, attack in attacks.items()}
    found["missing label"] = Opponent("missing label", MissingLabel(), qv_source="missing_classes")
    return found


def opponent(name: str, steps: int) -> Opponent:
    """The opponent of a name. Raises UnknownName with the nearest."""
    known = opponents(steps)
    if name not in known:
        raise UnknownName("attack of the league", name, known)
    return known[name]
