"""Play the league: runs in, a tidy table and its pictures out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gaa_core import analysis, league_plots, plots, report
from gaa_core.league.grid import ORACLE, SERVER_ONLY, SETTINGS, Game, Part, games, minutes
from gaa_core.league.rules import Entrant
from gaa_core.sweep import pending, sweep

_ORACLE_KEY = ["case", "n", "qv_source", "seed", "schedule", "ratio"]
_SERVER_KEY = ["case", "n", "qv_source", "seed"]


@dataclass(frozen=True)
class Estimate:
    """What a part would take: its runs, those still to be done, and minutes for these on an idle machine."""

    part: str
    runs: int
    due: int
    minutes: float


def estimate(part: Part, *, results: str | Path, jobs: int) -> Estimate:
    """How much of a part is still to be done."""
    runs = [game.experiment for game in games(part) if game.experiment is not None]
    due = pending(runs, results)
    return Estimate(part.name, len({run.key for run in runs}), len(due), minutes(due, jobs))


def outlook(league: Iterable[Part], *, results: str | Path, jobs: int) -> str:
    """What the parts would take, a line each, for people."""
    lines, total = [f"{'part':14} {'runs':>7} {'to do':>7} {'minutes':>8}  (estimated, idle machine, {jobs} jobs)"], 0.0
    for part in league:
        each = estimate(part, results=results, jobs=jobs)
        total += each.minutes
        lines.append(f"{each.part:14} {each.runs:7,} {each.due:7,} {each.minutes:8.1f}")
    return "\n".join([*lines, f"{'all':14} {'':7} {'':7} {total:8.1f}"])


def ranking(table: pd.DataFrame) -> str:
    """The standings for a terminal, as in the picture: those that played most over all of it, everybody over theirs."""
    blocks = _rankings(analysis.widest(table), analysis.common(table))
    return "".join(_heading(title, runs) for title, runs in blocks.items()) or "Nothing was played.\n"


def _heading(title: str, table: pd.DataFrame) -> str:
    columns = ["mean", "low", "high", "p95", "worst", "best", "cells", "cannot", "worst_cell"]
    shown = analysis.standings(table)[columns]
    shown["best"] = 100 * shown["best"]
    shown = shown.rename(columns={"best": "best %", "worst_cell": "worst cell"}).rename_axis(None)
    return f"{title}\n{shown.to_string(float_format=lambda value: f'{value:.1f}', na_rep='-')}\n\n"


def play(
    league: Iterable[Part],
    *,
    results: str | Path = "results",
    jobs: int = 2,
    entrants: Sequence[Entrant] | None = None,
) -> pd.DataFrame:
    """Do every run that is not done yet; a row per run of an entrant: the columns of `analysis.CELL`, `rule` (its
    name in the league), `told` (the rule as it played), `seed`, `accuracy`, `oracle`, `server_only`, `reason`.

    `entrants` play instead of the parts' own rules.
    """
    every = {game.labels: game for part in league for game in games(part, entrants)}
    return scored(list(every.values()), results=results, jobs=jobs)


def scored(every: Sequence[Game], *, results: str | Path, jobs: int) -> pd.DataFrame:
    """The table of these games, each beside its references."""
    playing = [game for game in every if game.experiment is not None]
    runs = sweep([game.experiment for game in playing], results=results, jobs=jobs, strict=False).table
    rows = pd.DataFrame([game.row() | {"reason": game.reason} for game in every])
    if rows.empty:
        return pd.DataFrame(columns=["rule", "told", "seed", "accuracy", "oracle", "server_only", "reason"])
    places = [place for place, game in enumerate(every) if game.experiment is not None]
    figures = pd.DataFrame({"accuracy": float("nan"), "told": runs["rule"].to_numpy()}, index=places)
    if "accuracy" in runs:
        figures["accuracy"] = runs["accuracy"].to_numpy()
    rows = rows.join(figures)
    rows.loc[places, "reason"] = [_last_line(error) for error in runs["error"]]
    oracle = rows[rows["name"] == ORACLE].set_index(_ORACLE_KEY)["accuracy"].rename("oracle")
    server = rows[rows["name"] == SERVER_ONLY].set_index(_SERVER_KEY)["accuracy"].rename("server_only")
    table = rows[~rows["name"].isin((ORACLE, SERVER_ONLY))]
    table = table.join(oracle, on=_ORACLE_KEY).join(server, on=_SERVER_KEY).rename(columns={"name": "rule"})
    figures = ["told", "accuracy", "oracle", "server_only", "reason"]
    return table[["rule", *analysis.CELL, "qv_source", "seed", *figures]].reset_index(drop=True)


def _last_line(error: str) -> str:
    return error.strip().splitlines()[-1] if error.strip() else ""


def write_table(table: pd.DataFrame, folder: str | Path) -> Path:
    """`league.csv` in a folder of figures, whole or not at all."""
    return report.write_text(Path(folder) / "league.csv", table.to_csv(index=False, float_format="%.6g"))


def data_sources(table: pd.DataFrame) -> str:
    """The data of the cases in a table, in words for captions."""
    return "; ".join(SETTINGS[case].case.load().source for case in dict.fromkeys(table["case"]))


def draw(table: pd.DataFrame, folder: str | Path, *, notebook: str = "08_league") -> list[Path]:
    """Ranking and heat maps of a table, saved with their descriptions; the pictures' paths."""
    wide, shared = analysis.widest(table), analysis.common(table)
    blocks, alike = _rankings(wide, shared), table if shared.empty else shared
    pictures = {
        "league_ranking": (
            pd.concat(blocks.values()),
            league_plots.ranking({title: analysis.standings(runs) for title, runs in blocks.items()}),
            f"Mean points of accuracy below the oracle, {table['seed'].nunique()} seeds; bars: 95 % intervals over "
            "seeds; crosses: 95th percentile of the cells. Titles say which cells: rules compare within a panel.",
            "Rules in order of their mean gap to the oracle, with intervals and 95th percentiles.",
        ),
        "league_attacks": (
            alike,
            league_plots.gap_maps(_grids(alike, by="ratio", columns=["attack_name"])),
            f"Mean points below the oracle, rules by attacks, one panel a share of Byzantine workers; {_over(alike)}. "
            "'no': the rule cannot run there.",
            "Heat maps of gaps, rules against attacks.",
        ),
        "league_roles": (
            wide,
            league_plots.gap_maps(_grids(wide, by="case", columns=["schedule", "ratio"])),
            "Mean points below the oracle, rules that played the whole grid by role schedules and shares, one panel a "
            "case.",
            "Heat maps of gaps, rules against role schedules.",
        ),
    }
    options = {"folder": folder, "claim": "C12", "notebook": notebook}
    return [
        plots.save(figure, name, caption=caption, alt=alt, data_source=data_sources(runs), **options)
        for name, (runs, figure, caption, alt) in pictures.items()
    ]


def _rankings(wide: pd.DataFrame, shared: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What each ranking is over -> its runs: the rules that played most over all their cells, all rules over theirs."""
    most, rules = wide["rule"].nunique(), shared["rule"].nunique()
    found = {}
    if most and (not rules or 1 < most < rules):
        found[f"{most} rules, {_cells(wide)} cells"] = wide
    if rules:
        found[f"{rules} rules, {_over(shared)}"] = shared
    return found


def _over(table: pd.DataFrame) -> str:
    cases = ", ".join(SETTINGS[case].case.title for case in dict.fromkeys(table["case"]))
    return f"{_cells(table)} cells of {cases}"


def _cells(table: pd.DataFrame) -> str:
    return f"{table.groupby(analysis.CELL).ngroups:,}"


def _grids(table: pd.DataFrame, *, by: str, columns: list[str]) -> dict[str, pd.DataFrame]:
    """Grids of mean gaps, one for each value of `by`, with readable names and the rules in the order of the ranking."""
    order = list(analysis.standings(table).index)
    found = {}
    for value, part in sorted(table.groupby(by), key=lambda pair: pair[0]):
        grid = analysis.gap_grid(part, columns)
        grid = grid.reindex([rule for rule in order if rule in grid.index])
        names = [name if isinstance(name, tuple) else (name,) for name in grid.columns]
        grid.columns = [", ".join(_text(each) for each in name) for name in names]
        found[f"{value:.0%} Byzantine" if by == "ratio" else str(value)] = grid
    return found


def _text(value: object) -> str:
    return f"{value:.0%}" if isinstance(value, float) else str(value)
