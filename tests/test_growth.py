"""Times and their growth: exponents of known powers, what is timed, and memory of a known size."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from gaa_core import growth
from gaa_core.aggregators import GAA, Krum, Mean
from gaa_core.cases import MNIST
from gaa_core.errors import GaaError


def power_law(rule, along, exponent, sizes=(10, 100, 1000)):
    return pd.DataFrame(
        [{"rule": rule, "n": 10, "d": 10, along: size, "seconds": 1e-9 * size**exponent} for size in sizes]
    )


@pytest.mark.parametrize(("along", "exponent"), [("d", 1.0), ("n", 2.0), ("n", 0.5)])
def test_the_slope_of_a_power_is_its_exponent(along, exponent):
    found = growth.slopes(power_law("Krum", along, exponent), along, least=0)
    assert found.loc["Krum", "measured"] == pytest.approx(exponent)
    assert found.loc["Krum", "stated"] == {"n": 2, "d": 1}[along]


def test_small_sizes_do_not_count_and_one_size_has_no_slope():
    table = power_law("GAA", "d", 1.0)
    table.loc[0, "seconds"] = 1.0  # a fixed cost
    assert growth.slopes(table, "d", least=100).loc["GAA", "measured"] == pytest.approx(1)
    assert math.isnan(growth.slopes(table, "d", least=1000).loc["GAA", "measured"])
    assert math.isnan(growth.slopes(power_law("Mean", "n", 1.0), "n", least=0).loc["Mean", "stated"])
    with pytest.raises(GaaError, match="'n' or 'd'"):
        growth.slopes(table, "m", least=0)


@pytest.mark.parametrize("n", [5, 10, 50, 100])
def test_every_rule_to_time_admits_its_n(n):
    rules = growth.rules_to_time(n)
    for rule in rules:
        rule.check_workers(n)
    assert len({growth._name(rule) for rule in rules}) == len(rules)
    assert ("BruteForce" in [growth._name(rule) for rule in rules]) == (n <= 10)


def test_times_have_a_row_per_rule_and_size():
    before = torch.get_num_threads()
    table = growth.aggregation_times([(5, 100), (10, 100)], repeats=1, rules=lambda n: [Mean(), GAA()])
    assert list(table["rule"]) == ["Mean", "GAA"] * 2
    assert (table["seconds"] > 0).all()
    assert torch.get_num_threads() == before


def test_a_segment_of_a_learning_rule_includes_its_learning():
    rule = GAA()
    call, steps = growth.one_round(rule, growth.submissions(4, 50))
    assert steps == rule.horizon == 5
    weights = rule._state.agent.policy.weight.detach().clone()
    call()
    call()  # a segment closes one observation later
    assert not torch.equal(weights, rule._state.agent.policy.weight)


def test_whole_steps_are_those_of_training():
    table = growth.step_times(MNIST, lambda n: [Mean(), Krum(f=1)], [5], steps=10, batch_size=8)
    assert table.groupby("rule").size().to_dict() == {"Krum": 8, "Mean": 8}
    assert (table["seconds"] > 0).all()


def test_memory_of_a_known_size_is_seen():
    found = growth.peak_memory(lambda: np.ones(8_000_000).sum())  # 64 MB
    if math.isnan(found):
        pytest.skip("this system does not tell the peak of its memory")
    assert 50e6 < found < 100e6
    table = growth.memory_table(10, 1000, [Mean()])
    assert list(table["rule"]) == ["Mean"]
