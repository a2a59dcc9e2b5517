"""Grids and tables of the evaluation: what is run, and verdicts by the rule that was written down."""

import pandas as pd
import pytest

from gaa_core import plots, report, studies
from gaa_core.aggregators import GAA, Krum, Mean
from gaa_core.cases import MNIST
from gaa_core.errors import UnknownName


def test_attacked_is_the_whole_grid_with_its_labels():
    runs = studies.attacked(
        MNIST,
        [Mean(), GAA()],
        range(3),
        ratios=[0.1, 0.9],
        attacks=["switcher"],
        schedules=["static", "resampled"],
        steps=4,
    )
    assert len(runs) == 2 * 3 * 2 * 2
    labels = {tuple(dict(each.labels).items()) for each in runs}
    assert (("attack_name", "switcher"), ("schedule", "resampled"), ("ratio", 0.9)) in labels
    assert dict(runs[0].options)["roles"](0).sum() == 1
    with pytest.raises(UnknownName, match="switcher"):
        studies.attacked(MNIST, [Mean()], [0], ratios=[0.1], attacks=["swicher"], steps=4)


def test_schedules_are_those_of_the_method():
    assert studies.schedule("pretense", 10, 0.7, 300, 0)(99).sum() == 0
    assert studies.schedule("pretense", 10, 0.7, 300, 0)(100).sum() == 7
    for kind in studies.SCHEDULES:  # the paper's threat model: a fixed set is compromised
        assert not studies.schedule(kind, 10, 0.7, 300, 0).table(300)[:, 7:].any()
    with pytest.raises(UnknownName, match="pretense"):
        studies.schedule("pretence", 10, 0.7, 300, 0)


def rows(rule, values, **columns):
    where = {"attack_name": "reversion x1", "schedule": "static", "ratio": 0.7} | columns
    return [{"rule": rule, "accuracy": value, "seed": seed, **where} for seed, value in enumerate(values)]


CLEAN = pd.DataFrame(rows("Mean()", [0.90, 0.92, 0.1]))


def test_claims_are_judged_setting_by_setting_and_counted_without_stress():
    attacked = pd.DataFrame(
        rows("GAA()", [0.90, 0.92], ratio=0.5)
        + rows("GAA()", [0.80, 0.81])
        + rows("Krum(f=3)", [0.1, 0.1], attack_name="random fault")
    )
    claims = report.Claims("unused", "mnist")
    judge = {"case": MNIST, "data_source": "made up"}
    studies.claim_good_as_unattacked(claims, "C3", attacked, CLEAN, rules=[GAA()], name=plots.rule_name, **judge)
    studies.claim_good_as_unattacked(claims, "C3", attacked, CLEAN, rules=[Krum(f=3)], note="; stress", **judge)
    first, second, third = claims.rows
    assert (first["setting"], first["verdict"]) == ("GAA; reversion x1, static; 50%", "holds")
    assert second["gap"] == pytest.approx(10.5) and second["verdict"] == "fails"
    assert third["setting"].endswith("stress") and third["gap"] == pytest.approx(81.0)


def test_tables_keep_the_order_of_the_rules():
    table = pd.DataFrame(
        rows("Mean()", [0.5, 0.7], ratio=0.1) + rows("GAA()", [0.9, 0.9], ratio=0.1) + rows("Mean()", [0.1, 0.1])
    )
    final = studies.final_table(table)
    assert list(final.index) == ["Mean()", "GAA()"]
    assert final.loc["Mean()", 0.1] == "60.0 ± 10.0"
