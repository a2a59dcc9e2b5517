"""The score of a league, on tables made by hand."""

import numpy as np
import pandas as pd
import pytest

from gaa_core import analysis
from gaa_core.errors import GaaError


def runs(cells: dict[str, dict[str, list[float]]], oracle: float = 0.9) -> pd.DataFrame:
    """{rule: {attack: accuracies of the seeds}} as a table of runs; None instead of a list is a rule that cannot."""
    rows = []
    for rule, attacks in cells.items():
        for attack, values in attacks.items():
            for seed, value in enumerate(values or [np.nan, np.nan]):
                row = {"rule": rule, "case": "mnist", "n": 10, "attack_name": attack, "schedule": "static"}
                row |= {"ratio": 0.7, "seed": seed, "accuracy": value, "oracle": oracle, "server_only": 0.5}
                rows.append(row | {"reason": "" if values else "needs at least 13 workers; found 10."})
    return pd.DataFrame(rows)


TABLE = runs(
    {
        "first": {"a": [0.90, 0.88], "b": [0.80, 0.80], "c": [0.50, 0.50]},
        "near": {"a": [0.88, 0.88], "b": [0.80, 0.80], "c": [0.40, 0.42]},
        "cannot": {"a": [0.70, 0.70], "b": None, "c": [0.90, 0.90]},
    }
)


def test_gaps_are_points_below_the_oracle_and_exactly_one_point_behind_is_as_good_as_the_best():
    cells = analysis.cells(TABLE).set_index(["rule", "attack_name"])
    assert cells.loc[("first", "a"), "gap"] == pytest.approx(1.0)
    assert cells.loc[("first", "c"), "gap"] == pytest.approx(40.0)
    assert cells.loc[("near", "c"), "margin"] == pytest.approx(-9.0)
    assert cells.loc[("near", "a"), "seeds"] == 2
    assert cells.loc[("near", "a"), "behind"] == pytest.approx(1.0) and cells.loc[("near", "a"), "near_best"]
    assert cells.loc[("first", "b"), "near_best"] and cells.loc[("near", "b"), "near_best"], "ties are both best"
    more = runs({"first": {"a": [0.90]}, "second": {"a": [0.8899]}})
    assert analysis.cells(more)["near_best"].tolist() == [True, False]


def test_standings_by_hand():
    table = analysis.standings(TABLE)
    assert list(table.index) == ["cannot", "first", "near"], "least mean gap first, over the cells that were played"
    first = table.loc["first"]
    assert first["mean"] == pytest.approx((1 + 10 + 40) / 3)
    assert first["p95"] == pytest.approx(10 + 0.9 * 30)  # the 95th percentile of three lies 0.9 of the way to the last
    assert first["worst"] == pytest.approx(40) and first["worst_cell"] == "mnist, n=10, c, static, 70%"
    assert first["best"] == pytest.approx(2 / 3)
    assert first["low"] < first["mean"] < first["high"], "least and greatest seed"
    assert first["margin"] == pytest.approx(0.0)


def test_a_rule_that_cannot_run_is_never_best_and_keeps_its_reason():
    table = analysis.standings(TABLE)
    assert (table.loc["cannot", "cells"], table.loc["cannot", "cannot"]) == (2, 1)
    assert table.loc["cannot", "best"] == pytest.approx(1 / 3), "of all cells, not only of those that it played"
    cells = analysis.cells(TABLE).set_index(["rule", "attack_name"])
    assert "at least 13" in cells.loc[("cannot", "b"), "reason"] and np.isnan(cells.loc[("cannot", "b"), "gap"])
    refused = analysis.standings(runs({"first": {"a": [0.9]}, "never": {"a": None}}))
    assert refused.loc["never", "cells"] == 0 and np.isnan(float(refused.loc["never", "mean"]))


def test_rankings_compare_equal_cells_only():
    table = runs({"whole": {"a": [0.9], "b": [0.1]}, "part": {"a": [0.8]}})
    assert set(analysis.common(table)["attack_name"]) == {"a"}
    assert analysis.standings(analysis.common(table)).index[0] == "whole"
    assert set(analysis.widest(table)["rule"]) == {"whole"}
    assert analysis.common(TABLE).equals(TABLE), "a refusal is a row"


def test_hardest_cells_say_who_is_best_there_and_grids_tell_what_was_not_played_from_what_cannot_be():
    worst = analysis.hardest(TABLE, "first", count=1).iloc[0]
    assert (worst["attack_name"], worst["best_rule"], worst["best_gap"]) == ("c", "cannot", pytest.approx(0.0))
    grid = analysis.gap_grid(pd.concat([TABLE, runs({"late": {"a": [0.9]}})]), "attack_name")
    assert grid.loc["first", "b"] == pytest.approx(10.0)
    assert np.isinf(grid.loc["cannot", "b"]) and np.isnan(grid.loc["late", "b"])


def test_half_a_cell_is_no_cell_and_a_table_without_its_columns_is_refused():
    table = runs({"first": {"a": [0.9, 0.9]}})
    table.loc[1, ["accuracy", "reason"]] = [np.nan, "it failed"]
    assert analysis.cells(table)["gap"].isna().all()
    with pytest.raises(GaaError, match="oracle"):
        analysis.cells(TABLE.drop(columns="oracle"))
