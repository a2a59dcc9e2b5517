"""Play the league: parts in, a tidy table of runs out. Runs are kept and done once, by `sweep`."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from gaa_core import analysis
from gaa_core.aggregators import Oracle, ServerOnly
from gaa_core.attacks.base import Attack
from gaa_core.cases import CaseStudy
from gaa_core.errors import GaaError, one_of
from gaa_core.league.entrants import entrants
from gaa_core.league.grid import FIRST_REPORTED, PROFILES, QV_SOURCES, Part, Setting
from gaa_core.options import label
from gaa_core.sweep import Experiment, experiment, pending, sweep

#: What a reference shares with the runs that it is the reference of.
_SERVER_KEY = ["case", "n", "qv_source", "seed"]
_ORACLE_KEY = [*_SERVER_KEY, "schedule", "ratio", "roles"]
_FIGURES = ["told", "attack", "accuracy", "oracle", "server_only", "reason"]


@dataclass(frozen=True)
class _Game:
    """One run with what names it; a rule that cannot play has a reason instead of an experiment."""

    row: dict
    experiment: Experiment | None = None
    reason: str = ""


def parts(
    profile: str = "quick",
    *,
    names: Sequence[str] = (),
    rules: Sequence[str | Callable] | Mapping[str, Callable] = (),
    attacks: str | Sequence[str] | Mapping[str, Attack] = (),
    first: int = FIRST_REPORTED,
    cases: Sequence[str | CaseStudy] = (),
    roles: Sequence[tuple] = (),
    seeds: int | Sequence[int] | None = None,
    n: int | None = None,
    steps: int | None = None,
) -> list[Part]:
    """The parts of a profile, those of these `names` if any are given; what else is given replaces what they say.

    Sampled attacks ("sampled:200") are one part of their own: rules and cases of the profile's first part. Raises
    UnknownName for words that the league does not have.
    """
    one_of("profile", profile, PROFILES)
    known = {part.name: part for part in PROFILES[profile]}
    for name in names:
        one_of(f"part of the {profile} league", name, known)
    wished = {"rules": rules, "attacks": attacks, "cases": cases, "roles": roles}
    given = {key: value for key, value in wished.items() if value}
    given |= {key: value for key, value in (("seeds", seeds), ("n", n), ("steps", steps)) if value is not None}
    chosen = [part for name, part in known.items() if not names or name in names]
    if isinstance(attacks, str) and attacks.startswith("sampled"):
        chosen = [replace(chosen[0], name=attacks)]
    return [replace(part, first=first, **given) for part in chosen]


def play(*league: Part, results: str | Path = "results", jobs: int = 2) -> pd.DataFrame:
    """Do every run of these parts that is not done yet; a row per run of a rule that competes.

    Columns: those of `analysis.CELL`, `rule` (its name), `told` (the rule as it played), `attack` (as code), `seed`,
    `accuracy`, `oracle` and `server_only` (the references under the same roles and seed), `reason` (why a rule could
    not run, else ""). Without arguments the quick profile is played.
    """
    games = _unique(league or PROFILES["quick"])
    playing = [game.experiment for game in games if game.experiment is not None]
    if not playing:
        raise GaaError("There is nothing to play: no rule can run in these parts of the league.")
    runs = sweep(playing, results=results, jobs=jobs, strict=False).table
    rows = pd.DataFrame([game.row | {"reason": game.reason} for game in games])
    places = [place for place, game in enumerate(games) if game.experiment is not None]
    done = runs.reindex(columns=["accuracy", "rule", "error"]).set_index(pd.Index(places))
    rows = rows.join(done[["accuracy", "rule"]].rename(columns={"rule": "told"}))
    rows.loc[places, "reason"] = done["error"].fillna("").str.strip().str.split("\n").str[-1]
    oracle = rows[rows["name"] == "Oracle"].set_index(_ORACLE_KEY)["accuracy"].rename("oracle")
    server = rows[rows["name"] == "ServerOnly"].set_index(_SERVER_KEY)["accuracy"].rename("server_only")
    table = rows[~rows["name"].isin(("Oracle", "ServerOnly"))]
    table = table.join(oracle, on=_ORACLE_KEY).join(server, on=_SERVER_KEY).rename(columns={"name": "rule"})
    return table[["rule", *analysis.CELL, "qv_source", "seed", *_FIGURES]].reset_index(drop=True)


def outlook(*league: Part, results: str | Path = "results", jobs: int = 2) -> pd.DataFrame:
    """A row per part: its runs, those still to be done, and minutes for these, estimated for an idle machine."""
    rows = []
    for part in league:
        runs = [game.experiment for game in _unique([part]) if game.experiment is not None]
        due = pending(runs, results)
        seconds = {each.case.name: each.seconds for each in part.settings()}
        minutes = sum(seconds[run.case.name] * part.n / 10 for run in due) / max(1, jobs) / 60
        rows.append({"part": part.name, "runs": len(runs), "to do": len(due), "minutes": round(minutes, 1)})
    return pd.DataFrame(rows)


def ranking(table: pd.DataFrame) -> str:
    """The standings of all rules over the cells that all of them played, for a terminal."""
    columns = {"mean": "mean gap", "low": "low", "high": "high", "p95": "p95", "worst": "worst", "best": "best"}
    shown = analysis.standings(analysis.common(table)).rename(columns=columns)[[*columns.values(), "cells"]]
    shown["best"] = 100 * shown["best"]
    return (
        shown.rename(columns={"best": "best %"}).rename_axis(None).to_string(float_format="{:.1f}".format, na_rep="-")
    )


def _unique(league: Iterable[Part]) -> list[_Game]:
    """The games of all parts, each once: parts may overlap, and references are shared."""
    found: dict[tuple, _Game] = {}
    for part in league:
        for each in part.settings():
            for seed in part.seed_list():
                for game in _games(part, each, seed):
                    found.setdefault(tuple(game.row.items()), game)
    return list(found.values())


def _games(part: Part, setting: Setting, seed: int) -> Iterator[_Game]:
    """The runs of a part on one case with one seed. Each opponent brings the two references, which meet no attack."""
    playing = entrants(part.rules)
    own = setting.options() | {"n": part.n, "seed": seed}
    own |= {} if part.qv_size is None else {"qv_size": part.qv_size}
    for foe in part.opponents(setting.steps, seed):
        source = QV_SOURCES.get(foe.attack_name, "golden")
        options = own | {"qv_source": source}
        where = {"case": setting.case.name, "n": part.n, "qv_source": source, "seed": seed}
        alone = where | {"attack_name": "", "attack": "", "schedule": "", "ratio": 0.0, "roles": ""}
        roles = {"schedule": foe.schedule, "ratio": foe.ratio, "roles": repr(foe.roles)}
        cell = where | {"attack_name": foe.attack_name, "attack": label(foe.attack)} | roles
        yield _game(setting, {"name": "ServerOnly", **alone}, ServerOnly(), options)
        yield _game(setting, {"name": "Oracle", **alone, **roles}, Oracle(), options | {"roles": foe.roles})
        most = max(int(foe.roles(step).sum()) for step in range(setting.steps))
        for entrant in playing:
            row = {"name": entrant.name, **cell}
            try:
                rule = entrant.rule(part.n, most)
            except GaaError as error:
                yield _Game(row, reason=str(error))
            else:
                yield _game(setting, row, rule, options | {"attack": foe.attack, "roles": foe.roles})


def _game(setting: Setting, row: dict, rule: Callable, options: dict) -> _Game:
    labels = {key: row[key] for key in ("name", "attack_name", "schedule", "ratio")}
    return _Game(row, experiment(setting.case, rule, labels=labels, **options))
