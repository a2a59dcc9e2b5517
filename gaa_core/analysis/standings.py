"""The score of a league: how far each rule stays behind the oracle, cell by cell, and who is best where.

A table of runs has a row per run: `rule`, the columns of `CELL`, `seed`, `accuracy` in [0, 1], `oracle` and
`server_only` (the accuracies of the two references under the same roles and seed) and `reason`, which says why a rule
could not run ("" where it could; its accuracy is then NaN). Gaps are points of accuracy below the oracle.
"""

import numpy as np
import pandas as pd

from gaa_core.errors import GaaError

#: What makes a cell, besides the rule; a cell's figures are means over its seeds.
CELL = ["case", "n", "attack_name", "schedule", "ratio"]

#: A rule counts as good as the best of a cell up to this many points behind it. Fixed before any league was played.
WITHIN = 1.0


def cells(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per rule and cell: means over seeds of `accuracy` (per cent), `gap` and `margin` (above `ServerOnly`).

    `behind` is the distance in points to the best rule of the same cell, `near_best` whether that is at most
    `WITHIN`; a rule that could not run is never near the best, and says why in `reason`.
    """
    missing = {"rule", "seed", "accuracy", "oracle", "server_only", "reason", *CELL} - set(runs)
    if missing:
        raise GaaError(f"A table of runs needs the columns {', '.join(sorted(missing))} as well.")
    scored = runs.assign(
        accuracy=100 * runs["accuracy"],
        gap=100 * (runs["oracle"] - runs["accuracy"]),
        margin=100 * (runs["accuracy"] - runs["server_only"]),
    )
    groups = scored.groupby(["rule", *CELL], sort=False, dropna=False)
    table = groups[["accuracy", "gap", "margin"]].mean()
    table["seeds"] = groups["gap"].count()
    table["reason"] = groups["reason"].max()
    table = table.reset_index()
    table.loc[table["reason"] != "", ["accuracy", "gap", "margin"]] = np.nan  # half a cell is no cell
    table["behind"] = table["gap"] - table.groupby(CELL, sort=False)["gap"].transform("min")
    table["near_best"] = table["behind"].round(6) <= WITHIN  # rounded: .90 - .89 is a hair above a point in floats
    return table


def common(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of those cells in which every rule of the table has its row (a refusal is one): their means compare."""
    rules = runs["rule"].nunique()
    there = runs.groupby(CELL, sort=False)["rule"].transform("nunique")
    return runs[there == rules]


def widest(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of those rules that have most cells: the contenders that played the whole grid."""
    played = runs[["rule", *CELL]].drop_duplicates()["rule"].value_counts()
    return runs[runs["rule"].isin(played.index[played == played.max()])]


def standings(runs: pd.DataFrame) -> pd.DataFrame:
    """The ranking, least mean gap first; a row per rule, indexed by it.

    `mean` [`low`, `high`] (least and greatest of the seeds), `p95` and `worst` of the cells' gaps, `worst_cell` in
    words, `best` the share of all cells in which it is best or within a point of the best, `margin` its worst cell
    against `ServerOnly`, `cells` played and `cannot`, those in which it could not run.
    """
    table = cells(runs)
    rows = {rule: _standing(part, runs[runs["rule"] == rule]) for rule, part in table.groupby("rule", sort=False)}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index.name = "rule"
    return frame.sort_values("mean", kind="stable", na_position="last")


def _standing(part: pd.DataFrame, runs: pd.DataFrame) -> dict:
    played = part[part["gap"].notna()]
    figures = {"cells": len(played), "cannot": int((part["reason"] != "").sum()), "best": part["near_best"].mean()}
    if played.empty:
        return dict.fromkeys(("mean", "low", "high", "p95", "worst", "worst_cell", "margin")) | figures
    gaps = 100 * (runs["oracle"] - runs["accuracy"])
    means = gaps.groupby(runs["seed"]).mean()
    worst = played.loc[played["gap"].idxmax()]
    return {
        "mean": played["gap"].mean(),
        "low": means.min(),
        "high": means.max(),
        "p95": np.percentile(played["gap"], 95),
        "worst": worst["gap"],
        "worst_cell": cell_name(worst),
        "margin": played["margin"].min(),
    } | figures


def cell_name(row: pd.Series) -> str:
    """A cell in words: "mnist, n=10, min-max, static, 70%"."""
    return f"{row['case']}, n={row['n']}, {row['attack_name']}, {row['schedule']}, {row['ratio']:.0%}"


def gap_grid(runs: pd.DataFrame, columns: str | list[str]) -> pd.DataFrame:
    """Mean gap of each rule for each value of `columns` (a name or names of a cell).

    NaN where nothing was played, infinite where the rule could not run in any of the cells.
    """
    columns = [columns] if isinstance(columns, str) else columns
    table = cells(runs)
    table["refused"] = table["reason"] != ""
    groups = table.groupby(["rule", *columns], sort=False)
    means = groups["gap"].mean().mask(groups["refused"].all(), np.inf)
    return means.unstack(list(range(1, means.index.nlevels)))


def hardest(runs: pd.DataFrame, rule: str, count: int = 10) -> pd.DataFrame:
    """The cells in which a rule stays farthest behind the oracle, with who is best there."""
    table = cells(runs)
    best = table.loc[table.groupby(CELL, sort=False)["gap"].idxmin().dropna().astype(int), [*CELL, "rule", "gap"]]
    mine = table[table["rule"] == rule].nlargest(count, "gap")
    mine = mine.merge(best.rename(columns={"rule": "best_rule", "gap": "best_gap"}), on=CELL, how="left")
    return mine[[*CELL, "accuracy", "gap", "best_rule", "best_gap"]]
