"""The grid of the paper's evaluation and the tables that answer its claims; what the case notebooks share.

A grid is a list of experiments for `sweep`; a table is computed from its rows. Nothing is drawn here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd

from gaa_core import report, roles
from gaa_core.aggregators import (
    GAA,
    Aggregator,
    Bulyan,
    CoordinateMedian,
    FLTrust,
    GAAPlus,
    Krum,
    Mean,
    Oracle,
    ServerOnly,
)
from gaa_core.attacks import GradientReversion, OneCoordinate, RandomFault, Switcher
from gaa_core.attacks.base import Attack
from gaa_core.cases import CaseStudy
from gaa_core.errors import UnknownName
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
STRESS_SCHEDULES = ("resampled",)

#: Compromised shares of the grid, and the QV samples of the paper's "less than ten".
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
QV_SIZE = 9


def shortlist(n: int, names: Iterable[str] = ()) -> list[Aggregator]:
    """One rule of each kind at its largest admissible f for n workers, the agents, and the two references.

    `names` picks some of them by their class, the bounded agent by "bounded".
    """
    rules = {
        "Mean": Mean(),
        "Krum": Krum(f=(n - 3) // 2),
        "CoordinateMedian": CoordinateMedian(),
        "Bulyan": Bulyan(f=(n - 3) // 4),
        "FLTrust": FLTrust(),
        "GAA": AGENTS[0],
        "bounded": BOUNDED_GAA,
        "GAAPlus": AGENTS[2],
        "ServerOnly": ServerOnly(),
        "Oracle": Oracle(),
    }
    for name in names:
        if name not in rules:
            raise UnknownName("rule of the evaluation", name, rules)
    return [rule for name, rule in rules.items() if not names or name in names]


def schedule(kind: str, n: int, ratio: float, steps: int, seed: int) -> RoleSchedule:
    """A role schedule by name for a share of compromised workers: pretense turns after a third of the run, roles that
    vary last one step or 20.
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
    raise UnknownName("schedule", kind, (*SCHEDULES, *STRESS_SCHEDULES))


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
        attacks = {name: _known(name) for name in attacks}
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


def _known(name: str) -> Attack:
    if name not in ATTACKS:
        raise UnknownName("attack of the evaluation", name, ATTACKS)
    return ATTACKS[name]


def final_table(table: pd.DataFrame, columns: str | Sequence[str] = "ratio") -> pd.DataFrame:
    """Mean final accuracy in per cent and its standard deviation over the seeds, rules by `columns`: "90.4 ± 0.3"."""
    order = list(dict.fromkeys(table["rule"]))
    groups = table.groupby(["rule", *([columns] if isinstance(columns, str) else columns)], sort=False)["accuracy"]
    cells = groups.agg(lambda values: f"{100 * values.mean():.1f} ± {100 * values.std(ddof=0):.1f}")
    levels = list(range(1, cells.index.nlevels))
    return cells.unstack(levels).reindex(order)


def gaps(table: pd.DataFrame, clean: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Percentage points lost, a row per rule and setting, means over the seeds that both sides have.

    `gap` is to no attack (the paper's words), `oracle_gap` to Oracle in the same setting (what is possible; NaN where
    Oracle was not run), `stress` whether the setting is outside what is labelled paper or reconstruction. `by` adds
    columns that tell settings apart.
    """
    where = ["attack_name", "schedule", "ratio", *by]
    rows = table.merge(clean[["seed", "accuracy"]].rename(columns={"accuracy": "clean"}), on="seed")
    oracle = rows[rows["rule"] == repr(Oracle())][[*where, "seed", "accuracy"]]
    rows = rows.merge(oracle.rename(columns={"accuracy": "oracle"}), on=[*where, "seed"], how="left")
    rows["gap"] = 100 * (rows["clean"] - rows["accuracy"])
    rows["oracle_gap"] = 100 * (rows["oracle"] - rows["accuracy"])
    found = rows.groupby(["rule", *where], sort=False)[["accuracy", "gap", "oracle_gap"]].mean().reset_index()
    found["stress"] = ~found["attack_name"].isin(LABELLED) | found["schedule"].isin(STRESS_SCHEDULES)
    return found


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


def findings(matrix: pd.DataFrame) -> str:
    """`report.matrix` in words, a line per claim and agent, as Markdown."""
    lines = []
    for row in matrix.to_dict("records"):
        claim = f"{row['claim']}, {report.CLAIMS.get(row['claim'], '')}, {row['agent']}"
        gap = report.widest(row, "; the widest gap is ")
        where = f" percentage points ({row['setting'].partition('; ')[2]})" if gap else ""
        open_ = f", undecided in {row['undecided']}" if row["undecided"] else ""
        lines.append(f"- **{claim}**: holds in {row['holds']} of {row['settings']} settings{open_}{gap}{where}.\n")
    return "".join(lines)
