"""The grids of the paper's evaluation and the tables that answer its claims; what the case notebooks share.

A grid is a list of experiments for `sweep`; a table is computed from its rows. Nothing is drawn here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd

from gaa_core import report, roles
from gaa_core.aggregators import (
    GAA,
    Aggregator,
    BruteForce,
    Bulyan,
    CoordinateMedian,
    GAAPlus,
    GeoMed,
    GeometricMedian,
    Krum,
    Mean,
    MultiKrum,
    Oracle,
    ServerOnly,
    TrimmedMean,
)
from gaa_core.attacks import GradientReversion, OneCoordinate, RandomFault, Switcher
from gaa_core.attacks.base import Attack
from gaa_core.cases import CaseStudy
from gaa_core.errors import UnknownName
from gaa_core.roles import RoleSchedule
from gaa_core.sweep import Experiment, Sweep, experiment

#: The agent with ours added: submissions bounded to twice the QV gradient's length, and a quicker policy.
BOUNDED_GAA = GAA(norm_bound=2.0, policy_lr=0.05)

#: The agents that claims are judged for: as reconstructed, with ours added, and hardened (ours).
AGENTS = (GAA(), BOUNDED_GAA, GAAPlus())

#: The tampering algorithms of the paper and its reconstruction, by the names that tables use.
ATTACKS: dict[str, Attack] = {
    "reversion x1": GradientReversion(scale=1.0),
    "reversion x10": GradientReversion(scale=10.0),
    "random fault": RandomFault(),
    "constant shift": RandomFault(std=2e-6, offset=0.01),
    "switcher": Switcher(),
    "one coordinate": OneCoordinate(),
}


def table_one(n: int) -> list[Aggregator]:
    """Every rule of the paper's Table 1 (and the robust statistics beside it) at its largest admissible f for n
    workers.
    """
    return [
        Mean(),
        BruteForce(f=(n - 1) // 2),
        GeoMed(),
        GeometricMedian(),
        Krum(f=(n - 3) // 2),
        MultiKrum(f=(n - 3) // 2),
        Bulyan(f=(n - 3) // 4),
        CoordinateMedian(),
        TrimmedMean(f=(n - 1) // 2),
        *AGENTS,
        ServerOnly(),
        Oracle(),
    ]


def shortlist(n: int) -> list[Aggregator]:
    """One rule of each kind, the agents, and the two references."""
    return [Mean(), Krum(f=(n - 3) // 2), CoordinateMedian(), *AGENTS, ServerOnly(), Oracle()]


def schedule(kind: str, n: int, ratio: float, steps: int, seed: int) -> RoleSchedule:
    """A role schedule by name for a share of Byzantine workers: pretense turns after a third of the run,
    roles last one step or 20.
    """
    count = round(n * ratio)
    match kind:
        case "static":
            return roles.static(n, count)
        case "pretense":
            return roles.pretense(n, count, until=steps // 3)
        case "randomized":
            return roles.randomized(n, count, seed=seed)
        case "randomized, 20":
            return roles.randomized(n, count, period=20, seed=seed)
        case "resampled":
            return roles.resampled(n, ratio, seed=seed)
    raise UnknownName("schedule", kind, ("static", "pretense", "randomized", "randomized, 20", "resampled"))


def unattacked(case: CaseStudy, seeds: Iterable[int], rules: Iterable = (Mean(),), **settings) -> list[Experiment]:
    """No attack: what every claim is measured against."""
    labels = {"attack_name": "none", "schedule": "none", "ratio": 0.0}
    return [experiment(case, rule, seed=seed, labels=labels, **settings) for rule in rules for seed in seeds]


def attacked(
    case: CaseStudy,
    rules: Iterable,
    seeds: Iterable[int],
    *,
    ratios: Iterable[float],
    attacks: Mapping[str, Attack] | Iterable[str] = ("reversion x1",),
    schedules: Iterable[str] = ("static",),
    n: int = 10,
    steps: int,
    **settings,
) -> list[Experiment]:
    """Rules x attacks x schedules x ratios x seeds. Rows of the sweep are labelled attack_name, schedule and ratio."""
    attacks = attacks if isinstance(attacks, Mapping) else {name: ATTACKS[name] for name in attacks}
    return [
        experiment(
            case,
            rule,
            attack=attack,
            roles=schedule(kind, n, ratio, steps, seed),
            seed=seed,
            n=n,
            steps=steps,
            labels={"attack_name": name, "schedule": kind, "ratio": ratio},
            **settings,
        )
        for name, attack in attacks.items()
        for kind in schedules
        for ratio in ratios
        for rule in rules
        for seed in seeds
    ]


def quasi_validation(
    case: CaseStudy,
    seeds: Iterable[int],
    rule: Aggregator,
    *,
    sizes: Iterable[int],
    sources: Iterable[str],
    ratios: Iterable[float],
    attack: str,
    **settings,
) -> list[Experiment]:
    """Numbers x sources of QV samples x shares of static attackers x seeds, for one rule."""
    return [
        run
        for source in sources
        for size in sizes
        for run in attacked(
            case, [rule], seeds, ratios=ratios, attacks=[attack], qv_size=size, qv_source=source, **settings
        )
    ]


def final_table(table: pd.DataFrame, columns: str | Sequence[str] = "ratio") -> pd.DataFrame:
    """Mean final accuracy in per cent and its spread over the seeds, rules by `columns`: "90.4 ± 0.3" (standard
    deviation).
    """
    order = list(dict.fromkeys(table["rule"]))
    groups = table.groupby(["rule", *([columns] if isinstance(columns, str) else columns)], sort=False)["accuracy"]
    cells = groups.agg(lambda values: f"{100 * values.mean():.1f} ± {100 * values.std(ddof=0):.1f}")
    levels = list(range(1, cells.index.nlevels))
    return cells.unstack(levels).reindex(order)


def gap_table(
    table: pd.DataFrame, clean: pd.DataFrame, columns: str | Sequence[str], index: str = "rule"
) -> pd.DataFrame:
    """Points of accuracy below no attack, rules (or another column) by `columns`, means over seeds."""
    order = list(dict.fromkeys(table[index]))
    gaps = 100 * (
        clean["accuracy"].mean() - table.pivot_table(index=index, columns=columns, values="accuracy", sort=False)
    )
    return gaps.reindex(order)


def worst_gap(rows: pd.DataFrame, clean: pd.DataFrame) -> tuple[list[float], list[float], float]:
    """(accuracies without attack, accuracies under it, ratio) at the ratio where `rows` lose most, in the order of
    the seeds.
    """
    worst = rows.groupby("ratio")["accuracy"].mean().idxmin()
    under = rows[rows["ratio"] == worst].sort_values("seed")
    before = clean[clean["seed"].isin(under["seed"])].sort_values("seed")
    return list(before["accuracy"]), list(under["accuracy"]), float(worst)


def claim_good_as_unattacked(
    claims: report.Claims,
    claim: str,
    rows: pd.DataFrame,
    clean: pd.DataFrame,
    *,
    case: CaseStudy,
    rules: Iterable,
    data_source: str,
    figure: str = "",
    name: Callable[[str], str] = str,
) -> None:
    """One row of the claims table per agent, attack and schedule: the gap to no attack at the ratio where it is
    widest.
    """
    for rule in map(repr, rules):
        mine = rows[rows["rule"] == rule]
        for (attack, kind), part in mine.groupby(["attack_name", "schedule"], sort=False):
            before, under, worst = worst_gap(part, clean)
            ratios = ", ".join(f"{ratio:.0%}" for ratio in sorted(part["ratio"].unique()))
            setting = f"{name(rule)}; {attack}, {kind}; worst of {ratios}: {worst:.0%}"
            claims.compare(
                claim,
                case=case.title,
                setting=setting,
                clean=before,
                attacked=under,
                data_source=data_source,
                figure=figure,
            )


def clean_rows(sweep: Sweep) -> pd.DataFrame:
    """The rows of a sweep in which nobody attacked and the mean aggregated."""
    return sweep.table[(sweep.table["attack_name"] == "none") & (sweep.table["rule"] == repr(Mean()))]
