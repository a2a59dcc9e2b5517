"""Break it: an evolutionary search over attacks that know the defence, for the worst that can be done to a rule.

(1 + children): the worst attack so far has children, each differing from it in a few parameters; the worst of all
stays. Changes grow after a success and shrink after a failure. Every candidate is a `Blend`, whose parameters cover
direction (the honest mean and spread, the model's course, the QV gradient), length, likeness and schedule. The seed and
the measured gaps decide everything, and runs are kept: a search that was stopped goes on where it was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pandas as pd
import torch

from gaa_core import seeding
from gaa_core.aggregators.base import Aggregator
from gaa_core.attacks import Blend
from gaa_core.errors import UnknownName
from gaa_core.league.grid import SEARCH_SEEDS, SETTINGS, Arena, Game
from gaa_core.league.opponents import Opponent
from gaa_core.league.playing import scored
from gaa_core.league.rules import Entrant, chosen

#: Where evolution starts: attacks of the field and against each part of a hardened agent, as blends.
FOUNDERS: dict[str, Blend] = {
    "sign flip": Blend(),
    "long sign flip": Blend(length=10.0),
    "within the spread": Blend(mean=0.6, spread=-0.8, length=1.5),
    "agreeing with the QV set": Blend(mean=-0.8, qv=0.6, jitter=1.0),
    "agreeing with the course": Blend(mean=-0.8, course=0.6, jitter=1.0),
    "when trusted": Blend(length=3.0, trust=0.3, jitter=1.0),
    "now and then": Blend(length=10.0, period=20, duty=0.1, jitter=1.0),
    "away from the QV set": Blend(mean=0.0, qv=-1.0, length=2.0, jitter=1.0),
}

#: Parameter -> (least, greatest, size of a usual change, whether it changes by factors).
_SPACE = {
    "mean": (-1.0, 1.0, 0.4, False),
    "spread": (-1.0, 1.0, 0.4, False),
    "course": (-1.0, 1.0, 0.4, False),
    "qv": (-1.0, 1.0, 0.4, False),
    "length": (0.05, 50.0, 0.7, True),
    "jitter": (0.0, 2.0, 0.4, False),
    "start": (0, 100, 15.0, False),
    "period": (1, 60, 0.7, True),
    "duty": (0.05, 1.0, 0.25, False),
    "trust": (0.0, 1.0, 0.2, False),
}


@dataclass(frozen=True)
class Hunt:
    """What is attacked where: the cells over which a candidate's gap is averaged, on seeds of their own."""

    rule: Aggregator
    cases: tuple[str, ...] = ("mnist",)
    roles: tuple[tuple[str, float], ...] = (("static", 0.7), ("randomized", 0.7))
    seeds: tuple[int, ...] = SEARCH_SEEDS
    n: int = 10
    steps: int | None = None

    def games(self, attack: Blend) -> list[Game]:
        """The runs that tell how much harm an attack does, with their references."""
        foe, hunted = Opponent(_name(attack), attack), Entrant(repr(self.rule), lambda f, n: self.rule)
        found: dict[tuple, Game] = {}
        for setting in (SETTINGS[name] for name in self.cases):
            setting = setting if self.steps is None else replace(setting, steps=self.steps)
            for kind, ratio in self.roles:
                for seed in self.seeds:
                    arena = Arena(setting, foe, kind, ratio, self.n, seed)
                    for game in (*arena.references(), arena.game(hunted)):
                        found.setdefault(game.labels, game)
        return list(found.values())


def hunting(rule: str, cases: Sequence[str]) -> Hunt:
    """The hunt for a rule of the league, by its name, on these cases."""
    (entrant,) = chosen([rule])
    for name in cases:
        if name not in SETTINGS:
            raise UnknownName("case of the league", name, SETTINGS)
    return Hunt(entrant.rule(10, 7), tuple(cases))


@dataclass(frozen=True)
class Found:
    """The worst attack of a search, its mean gap in points, and every candidate: `generation`, `gap`, parameters."""

    attack: Blend
    gap: float
    history: pd.DataFrame


def search(
    hunt: Hunt,
    *,
    generations: int = 10,
    children: int = 6,
    seed: int = 0,
    results: str | Path = "results",
    jobs: int = 2,
) -> Found:
    """The most harmful attack found: founders first, then `generations` of `children` each."""
    rows = _measured(hunt, list(FOUNDERS.values()), 0, results, jobs)
    reach = 1.0
    for generation in range(1, generations + 1):
        parent = max(rows, key=lambda row: row["gap"])
        generator = seeding.generator(seed, "search", generation)
        brood = [mutated(parent["attack"], reach, generator) for _ in range(children)]
        rows += _measured(hunt, brood, generation, results, jobs)
        better = max(row["gap"] for row in rows) > parent["gap"]
        reach = min(2.0, 1.5 * reach) if better else max(0.1, 0.8 * reach)
    worst = max(rows, key=lambda row: row["gap"])
    history = pd.DataFrame([{**row, **_parameters(row["attack"])} for row in rows]).drop(columns="attack")
    return Found(worst["attack"], worst["gap"], history)


def mutated(parent: Blend, reach: float, generator: torch.Generator) -> Blend:
    """A child of an attack: each parameter changes with probability 0.4, at least one of them does."""
    names = list(_SPACE)
    chosen = torch.rand(len(names), generator=generator) < 0.4
    chosen[int(torch.randint(len(names), (1,), generator=generator))] = True
    changes = {}
    for name, moved in zip(names, chosen.tolist(), strict=True):
        draw = float(torch.randn(1, generator=generator))
        if not moved:
            continue
        low, high, size, by_factor = _SPACE[name]
        old = getattr(parent, name)
        new = old * math.exp(reach * size * draw) if by_factor else old + reach * size * draw
        new = min(high, max(low, new))
        changes[name] = round(new) if isinstance(low, int) else float(f"{new:.3g}")  # short enough to be written down
    return replace(parent, **changes)


def _measured(hunt: Hunt, attacks: Sequence[Blend], generation: int, results: str | Path, jobs: int) -> list[dict]:
    unique = {_name(attack): attack for attack in attacks}
    every = {game.labels: game for attack in unique.values() for game in hunt.games(attack)}
    table = scored(list(every.values()), results=results, jobs=jobs)
    gaps = (100 * (table["oracle"] - table["accuracy"])).groupby(table["attack_name"]).mean()
    measured = gaps.fillna(-math.inf)  # a candidate whose runs failed is none
    return [{"generation": generation, "attack": each, "gap": float(measured[name])} for name, each in unique.items()]


def _name(attack: Blend) -> str:
    return ", ".join(f"{name}={value:g}" for name, value in _parameters(attack).items())


def _parameters(attack: Blend) -> dict[str, float]:
    return {each.name: getattr(attack, each.name) for each in fields(Blend) if each.name in _SPACE}
