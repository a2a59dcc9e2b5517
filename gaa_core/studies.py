"""The grid of the paper's evaluation and the tables that answer its claims; what the case notebooks share.

A grid is a list of experiments for `sweep`; a table is computed from its rows. Nothing is drawn here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd

from gaa_core import registry, report, roles
from gaa_core.aggregators import GAA, GAAPlus, Mean
from gaa_core.attacks import GradientReversion, OneCoordinate, RandomFault, Switcher
from gaa_core.attacks.base import Attack
from gaa_core.cases import CaseStudy
from gaa_core.roles import RoleSchedule
from gaa_core.sweep import Experiment, experiment

#: The agent with ours added: submissions bounded to twice the QV gradient's length, and a quicker policy.
BOUNDED_GAA = GAA(norm_bound=2.0, policy_lr=0.05)

#: The agents that claims are judged for: as reconstructed, with ours added, and hardened (ours).
AGENTS = (GAA(), BOUNDED_GAA, GAAPlus())

#: The tampering algorithms that claims are judged on (labelled paper or reconstruction).
LABELLED: dict[str, Attack] = {
    "reversion x1": GradientReversion(scale=1.0),
    "constant shift": RandomFault(std=2e-6, offset=0.01),
    "switcher": Switcher(),
    "one coordinate": OneCoordinate(),
}

#: Shown beside them and never judged with them: a larger scale (ours), and Blanchard's fault of scale 200.
STRESS: dict[str, Attack] = {"reversion x10": GradientReversion(scale=10.0), "random fault": RandomFault()}
ATTACKS = LABELLED | STRESS

#: Role schedules of the paper's threat model; `resampled` (ours) leaves it and is a stress schedule.
SCHEDULES = ("static", "pretense", "randomized", "randomized, 20")


def schedule(kind: str, n: int, ratio: float, steps: int, seed: int) -> RoleSchedule:
    """A role schedule by name for a share of compromised workers; pretense turns after a third of the run."""
    count = round(n * ratio)
    known = {
        "static": lambda: roles.static(n, count),
        "pretense": lambda: roles.pretense(n, count, until=steps // 3),
        "randomized": lambda: roles.randomized(n, count, seed=seed),
        "randomized, 20": lambda: roles.randomized(n, count, period=20, seed=seed),
        "resampled": lambda: roles.resampled(n, ratio, seed=seed),
    }
    return registry.lookup("schedule", kind, known)()


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
    if not isinstance(attacks, Mapping):
        attacks = {name: registry.lookup("attack of the evaluation", name, ATTACKS) for name in attacks}
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


def final_table(table: pd.DataFrame, columns: str | Sequence[str] = "ratio") -> pd.DataFrame:
    """Mean final accuracy in per cent and its standard deviation over the seeds, rules by `columns`: "90.4 ± 0.3"."""
    order = list(dict.fromkeys(table["rule"]))
    groups = table.groupby(["rule", *([columns] if isinstance(columns, str) else columns)], sort=False)["accuracy"]
    cells = groups.agg(lambda values: f"{100 * values.mean():.1f} ± {100 * values.std(ddof=0):.1f}")
    levels = list(range(1, cells.index.nlevels))
    return cells.unstack(levels).reindex(order)


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
    note: str = "",
) -> None:
    """One row of the claims table per agent, attack, schedule and ratio: the gap to no attack, seed by seed.

    The setting reads "agent; attack, schedule; ratio", and `note` behind it; `report.matrix` counts such rows.
    """
    for rule in map(repr, rules):
        mine = rows[rows["rule"] == rule]
        for (attack, kind, ratio), part in mine.groupby(["attack_name", "schedule", "ratio"], sort=False):
            pairs = part.merge(clean[["seed", "accuracy"]], on="seed", suffixes=("", "_clean")).sort_values("seed")
            claims.compare(
                claim,
                case=case.title,
                setting=f"{name(rule)}; {attack}, {kind}; {ratio:.0%}{note}",
                clean=list(pairs["accuracy_clean"]),
                attacked=list(pairs["accuracy"]),
                data_source=data_source,
                figure=figure,
            )
