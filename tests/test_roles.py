"""Role schedules: pure, of the right shape, and with the statistics that they promise."""

import pytest
import torch

from gaa_core import roles
from gaa_core.errors import GaaError

SCHEDULES = [
    roles.static(10, 7),
    roles.pretense(10, 7, until=30),
    roles.randomized(10, 0.7, period=1, seed=3),
    roles.randomized(10, 0.7, period=20, seed=3),
    roles.flipping(10, 7, period=20, seed=3),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_a_schedule_is_a_pure_function_of_the_step(schedule):
    forwards = [schedule(step) for step in range(60)]
    backwards = [schedule(step) for step in reversed(range(60))][::-1]
    assert all(torch.equal(one, other) for one, other in zip(forwards, backwards, strict=True))
    assert all(row.dtype == torch.bool and row.shape == (10,) for row in forwards)


def test_static_and_pretense_are_what_they_say():
    assert roles.static(5, 2)(0).tolist() == [True, True, False, False, False]
    assert not roles.pretense(5, 2, until=10)(9).any()
    assert roles.pretense(5, 2, until=10)(10).tolist() == [True, True, False, False, False]


def test_randomized_draws_every_worker_anew_and_passes_through_the_extremes():
    table = roles.randomized(4, 0.7, period=1, seed=0).table(2000)
    assert table.float().mean().item() == pytest.approx(0.7, abs=0.02)
    assert {0, 4} <= set(table.sum(dim=1).tolist())


def test_a_period_holds_the_roles():
    table = roles.randomized(10, 0.5, period=20, seed=0).table(100)
    assert all((table[start : start + 20] == table[start]).all() for start in range(0, 100, 20))
    assert not torch.equal(table[0], table[20])


def test_flipping_changes_roles_with_probability_one_half_and_spares_the_honest():
    table = roles.flipping(10, 7, period=5, seed=0).table(5000)
    assert table[0].tolist() == [True] * 7 + [False] * 3
    assert not table[:, 7:].any()
    changes = (table[5::5, :7] != table[:-5:5, :7]).float().mean().item()
    assert changes == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: roles.static(10, 11), "between 0 and n=10; found 11"),
        (lambda: roles.static(0, 0), "at least one worker"),
        (lambda: roles.randomized(10, 1.5), "0 <= beta <= 1; found 1.5"),
        (lambda: roles.flipping(10, 7, period=0), "period >= 1; found 0"),
        (lambda: roles.pretense(10, 7, until=-1), "until >= 0; found -1"),
    ],
)
def test_impossible_schedules_are_refused(call, words):
    with pytest.raises(GaaError, match=words):
        call()
