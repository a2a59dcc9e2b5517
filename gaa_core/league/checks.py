"""What an agent must reach, written down before anything was measured, and the runs beside the league that tell.

A requirement is met or not by its measured mean; every verdict is `holds` or `fails` in the claims table.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gaa_core import analysis, report, studies
from gaa_core.aggregators import Mean, Oracle
from gaa_core.aggregators.base import Aggregator, LearningAggregator
from gaa_core.attacks import GradientReversion
from gaa_core.league.grid import SETTINGS
from gaa_core.league.rules import Entrant
from gaa_core.sweep import experiment, sweep

#: Bounds in points of accuracy, or shares; met when the measured figure is at most (for shares: at least) the bound.
MEAN_GAP, P95_GAP, SHARE_BEST, RANDOMIZED_GAP, UNDER_SERVER = 1.5, 5.0, 0.95, 3.0, 2.0
NO_ATTACK, SIMILAR, ONE_SAMPLE, UNLIKE = 0.5, 3.0, 5.0, 2.0
AUC_STATIC, AUC_RANDOMIZED = 0.99, 0.95


@dataclass(frozen=True)
class Requirement:
    """One line of what must be reached: the figure, its bound and whether it is met. `case` is "" for all together."""

    name: str
    case: str
    figure: float
    bound: float
    at_least: bool = False  # else: at most
    interval: report.Interval | None = None
    unit: str = "points"

    @property
    def met(self) -> bool:
        """By the figure alone, rounded to the digits that floats keep. Without a measurement nothing is met."""
        figure = round(self.figure, 6)
        return figure >= self.bound if self.at_least else figure <= self.bound

    def row(self) -> dict:
        """The requirement as a row of a table."""
        sign = ">=" if self.at_least else "<="
        values = {
            "measured": self.figure,
            "bound": f"{sign} {self.bound:g}",
            "verdict": "holds" if self.met else "fails",
        }
        return {"requirement": self.name, "case": self.case or "all", **values}


def league_requirements(table: pd.DataFrame, rule: str) -> list[Requirement]:
    """The requirements on a rule's standing in a table of runs (of `league.play`)."""
    mine = table[table["rule"] == rule]
    row = analysis.standings(table).loc[rule]
    found = [
        Requirement("mean gap to the oracle", "", row["mean"], MEAN_GAP, interval=_interval(mine)),
        Requirement("95th percentile of the cells' gaps", "", row["p95"], P95_GAP),
        Requirement("share of cells best or within a point of the best", "", row["best"], SHARE_BEST, True, unit=""),
        Requirement("worst cell against ServerOnly", "", row["margin"], -UNDER_SERVER, at_least=True),
    ]
    hard = mine[mine["schedule"].str.startswith("randomized") & (mine["ratio"] >= 0.7)]
    for case, part in hard.groupby("case", sort=False):
        gap = analysis.cells(part)["gap"].mean()
        found.append(
            Requirement("gap under randomized roles, 70% or more", case, gap, RANDOMIZED_GAP, False, _interval(part))
        )
    return found


def _interval(runs: pd.DataFrame) -> report.Interval | None:
    gaps = (100 * (runs["oracle"] - runs["accuracy"])).groupby(runs["seed"]).mean().dropna()
    return report.interval(list(gaps)) if len(gaps) else None


#: Name of a check -> (attack, share of static attackers, options of the run, its yardstick, the bound or None).
_CHECKS = {
    "no attack": (None, 0.0, {}, Mean(), NO_ATTACK),
    "ten golden samples": (GradientReversion(), 0.7, {}, Oracle(), None),
    "ten similar samples": (GradientReversion(), 0.7, {"qv_source": "similar"}, None, SIMILAR),
    "one sample": (GradientReversion(), 0.7, {"qv_size": 1}, Oracle(), ONE_SAMPLE),
    "unlike workers": (None, 0.0, {"partition": "dirichlet", "alpha": 0.3}, Mean(), UNLIKE),
    "unlike workers, attacked": (GradientReversion(), 0.3, {"partition": "dirichlet", "alpha": 0.3}, Oracle(), None),
}


def check(
    rules: dict[str, Aggregator],
    *,
    cases: Iterable[str],
    seeds: int,
    results: str | Path,
    jobs: int,
    n: int = 10,
    **options,
) -> pd.DataFrame:
    """The runs beside the league: a row per rule, check, case and seed with `accuracy`, `reference` and `gap`.

    The reference of `ten similar samples` is the same rule with golden ones; of the others the mean without an attack
    or the oracle under it.
    """
    rows, runs = [], []
    for case in cases:
        setting = SETTINGS[case]
        for name, (attack, ratio, changed, yardstick, _) in _CHECKS.items():
            for seed in range(seeds):
                own = {**setting.options(), "n": n, "seed": seed, **changed, **options}
                own |= {"attack": attack, "roles": studies.schedule("static", n, ratio, setting.steps, seed)}
                for rule_name, rule in [*rules.items(), *([("", yardstick)] if yardstick is not None else [])]:
                    rows.append({"rule": rule_name, "check": name, "case": case, "seed": seed})
                    runs.append(experiment(setting.case, rule, **own))
    table = pd.DataFrame(rows)
    table["accuracy"] = sweep(runs, results=results, jobs=jobs).table["accuracy"].to_numpy()
    table["reference"] = [_reference(table, row) for row in table.to_dict("records")]
    table["gap"] = 100 * (table["reference"] - table["accuracy"])
    return table[table["rule"] != ""].reset_index(drop=True)


def _reference(table: pd.DataFrame, row: dict) -> float:
    wanted = {"case": row["case"], "seed": row["seed"], "check": row["check"], "rule": ""}
    if row["check"] == "ten similar samples":
        wanted |= {"check": "ten golden samples", "rule": row["rule"]}
    for name, value in wanted.items():
        table = table[table[name] == value]
    return float(table["accuracy"].iloc[0]) if len(table) else float("nan")


def check_requirements(table: pd.DataFrame, rule: str) -> list[Requirement]:
    """The requirements on a rule in a table of `check`, case by case; checks without a bound are reported elsewhere."""
    found = []
    for (name, case), part in table[table["rule"] == rule].groupby(["check", "case"], sort=False):
        bound = _CHECKS[name][-1]
        if bound is not None:
            interval = report.interval(list(part["gap"]))
            found.append(Requirement(_WORDS[name], case, interval.mean, bound, False, interval))
    return found


_WORDS = {
    "no attack": "gap to the mean, no attack",
    "ten similar samples": "loss with similar instead of golden samples",
    "one sample": "gap to the oracle with one sample, static 70%",
    "unlike workers": "gap to the mean, unlike workers (Dirichlet 0.3), no attack",
}


#: How well credits tell who lies: (roles, share of attackers, column of `spot`, its words, the bound).
_SPOTTED = (
    ("static", 0.3, "auc_end", "AUC of credits at the end, reversion, static 30%", AUC_STATIC),
    ("static", 0.7, "auc_end", "AUC of credits at the end, reversion, static 70%", AUC_STATIC),
    ("randomized", 0.7, "auc_steps", "AUC of credits, mean of all steps, reversion, randomized 70%", AUC_RANDOMIZED),
)


def spot(
    rules: dict[str, LearningAggregator],
    *,
    cases: Iterable[str],
    seeds: int,
    results: str | Path,
    jobs: int,
    n: int = 10,
    **options,
) -> pd.DataFrame:
    """How well credits tell who lies: `analysis.detection_table` for each rule, case, roles, share and seed.

    Attackers reverse their gradients. A step without anybody's credit counts as guessing (0.5).
    """
    rows, runs = [], []
    for case, (kind, ratio, *_), seed, name in itertools.product(cases, _SPOTTED, range(seeds), rules):
        setting = SETTINGS[case]
        own = {**setting.options(), "n": n, "seed": seed, "attack": GradientReversion(), **options}
        own["roles"] = studies.schedule(kind, n, ratio, own["steps"], seed)
        rows.append({"rule": name, "case": case, "schedule": kind, "ratio": ratio, "seed": seed})
        runs.append(experiment(setting.case, rules[name], **own))
    return analysis.detection_table(pd.DataFrame(rows), sweep(runs, results=results, jobs=jobs).traces())


def spot_requirements(table: pd.DataFrame, rule: str) -> list[Requirement]:
    """The requirements on a rule in a table of `spot`, case by case."""
    found, mine = [], table[table["rule"] == rule]
    for case, (kind, ratio, column, words, bound) in itertools.product(mine["case"].unique(), _SPOTTED):
        part = mine[(mine["case"] == case) & (mine["schedule"] == kind) & (mine["ratio"] == ratio)]
        interval = report.interval(list(part[column]))
        found.append(Requirement(words, case, interval.mean, bound, True, interval, unit=""))
    return found


def ablations(rule: Aggregator) -> dict[str, Aggregator]:
    """A rule, and the same with each of its parts switched off: its hyper-parameters that are true or false."""
    found = {"all parts": rule}
    for each in dataclasses.fields(rule):
        if each.init and getattr(rule, each.name) is True:
            part = each.name.removeprefix("use_").replace("_", " ")
            found[f"without {part}"] = dataclasses.replace(rule, **{each.name: False})
    return found


def ablation_entrants(rule: Aggregator) -> list[Entrant]:
    """Those of `ablations` as entrants, for `league.play`."""
    return [Entrant(name, lambda f, n, each=each: each) for name, each in ablations(rule).items()]


def claim(
    claims: report.Claims, requirements: Sequence[Requirement], rule: str, data_source: str, figure: str = ""
) -> None:
    """A row of the claims table per requirement; its verdict is that of the bound written down here.

    `data_source` is the data of all cases, for rows about all of them; a row about one case names that case's own.
    """
    for each in requirements:
        case, source = "all", data_source
        if each.case:
            case, source = SETTINGS[each.case].case.title, SETTINGS[each.case].case.load().source
        sign = "at least" if each.at_least else "at most"
        if each.figure != each.figure:
            claims.not_run("C12", case=case, setting=f"{rule}: {each.name}")
            continue
        measured = each.interval or report.Interval(each.figure)
        claims.add(
            "C12",
            case=case,
            setting=f"{rule}: {each.name}; {sign} {each.bound:g}",
            measured=measured,
            unit=each.unit,
            verdict="holds" if each.met else "fails",
            data_source=source,
            figure=figure,
        )
