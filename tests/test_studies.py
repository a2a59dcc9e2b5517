"""Grids and tables of the evaluation: what is run, and verdicts by the rule that was written down."""

import pandas as pd
import pytest

from gaa_core import report, studies
from gaa_core.aggregators import GAA, Krum, Mean
from gaa_core.cases import MNIST
from gaa_core.errors import UnknownName


def test_table_one_is_admissible_at_its_largest_f():
    for n in (10, 11, 50):
        for rule in studies.table_one(n):
            rule.check_workers(n)
            if getattr(rule, "f", None) is not None:
                more = type(rule)(f=rule.f + 1)
                assert more.needs() > n, f"{rule!r} is not at its largest f for n={n}"


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


def test_schedules_are_those_of_the_method():
    assert studies.schedule("pretense", 10, 0.7, 300, 0)(99).sum() == 0
    assert studies.schedule("pretense", 10, 0.7, 300, 0)(100).sum() == 7
    with pytest.raises(UnknownName, match="pretense"):
        studies.schedule("pretence", 10, 0.7, 300, 0)


def rows(rule, values, **columns):
    return [{"rule": rule, "accuracy": value, "seed": seed, **columns} for seed, value in enumerate(values)]


def test_a_claim_is_judged_at_its_worst_ratio_seed_by_seed():
    clean = pd.DataFrame(rows("Mean()", [0.90, 0.92]))
    attacked = pd.DataFrame(
        rows("GAA()", [0.90, 0.92], attack_name="a", schedule="static", ratio=0.5)
        + rows("GAA()", [0.88, 0.89], attack_name="a", schedule="static", ratio=0.7)
        + rows("Krum(f=3)", [0.1, 0.1], attack_name="a", schedule="static", ratio=0.7)
    )
    claims = report.Claims("unused", "01_mnist")
    studies.claim_good_as_unattacked(
        claims, "C3", attacked, clean, case=MNIST, rules=[GAA(), Krum(f=3)], data_source="made up"
    )
    first, second = claims.rows
    assert first.gap == pytest.approx(2.5) and first.verdict == "fails" and "worst of 50%, 70%: 70%" in first.setting
    assert second.gap == pytest.approx(81.0)


def test_tables_keep_the_order_of_the_rules():
    table = pd.DataFrame(
        rows("Mean()", [0.5, 0.7], ratio=0.1)
        + rows("GAA()", [0.9, 0.9], ratio=0.1)
        + rows("Mean()", [0.1, 0.1], ratio=0.5)
    )
    final = studies.final_table(table)
    assert list(final.index) == ["Mean()", "GAA()"]
    assert final.loc["Mean()", 0.1] == "60.0 ± 10.0"
    gaps = studies.gap_table(table, pd.DataFrame(rows("Mean()", [0.9])), "ratio")
    assert gaps.loc["Mean()", 0.5] == pytest.approx(80)
