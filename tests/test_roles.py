"""Role schedules: pure, of the right shape, and with the statistics that they state."""

import numpy as np
import pytest
import torch

from gaa_core import roles
from gaa_core.errors import GaaError

SCHEDULES = [
    roles.static(10, 7),
    roles.pretense(10, 7, until=30),
    roles.randomized(10, 7, seed=3),
    roles.randomized(10, 7, period=20, seed=3),
    roles.resampled(10, 0.7, period=20, seed=3),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_a_schedule_is_a_pure_function_of_the_step(schedule):
    forwards = [schedule(step) for step in range(60)]
    backwards = [schedule(step) for step in reversed(range(60))][::-1]
    assert all(torch.equal(one, other) for one, other in zip(forwards, backwards, strict=True))
    assert all(row.dtype == torch.bool and row.shape == (10,) for row in forwards)


def test_static_and_pretense_are_what_they_say():
    assert roles.static(5, 2)(0).tolist() == [True, True, False, False, False]
    assert not roles.none(5)(0).any()
    assert not roles.pretense(5, 2, until=10)(9).any()
    assert roles.pretense(5, 2, until=10)(10).tolist() == [True, True, False, False, False]


def test_randomized_moves_within_the_compromised_set():
    """The paper's threat model: the set is fixed, and the ratio at a step is anything up to its share."""
    table = roles.randomized(10, 7, seed=0).table(2000)
    assert not table[:, 7:].any()
    assert table[:, :7].float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert set(table.sum(dim=1).tolist()) == set(range(8))
    assert torch.equal(roles.randomized(10, 7, probability=1.0)(3), roles.static(10, 7)(3))


def test_resampled_draws_every_worker_and_passes_through_the_extremes():
    table = roles.resampled(4, 0.7, seed=0).table(2000)
    assert table.float().mean().item() == pytest.approx(0.7, abs=0.02)
    assert {0, 4} <= set(table.sum(dim=1).tolist())


@pytest.mark.parametrize("make", [lambda p: roles.randomized(10, 7, p), lambda p: roles.resampled(10, 0.5, p)])
def test_a_period_holds_the_roles(make):
    table = make(20).table(100)
    assert all((table[start : start + 20] == table[start]).all() for start in range(0, 100, 20))
    assert not torch.equal(table[0], table[20])


def test_integers_of_other_libraries_give_the_same_schedule():
    plain = roles.randomized(10, 7, 2, seed=3)
    other = roles.randomized(np.int64(10), torch.tensor(7), np.int32(2), seed=np.uint8(3))
    assert other == plain and repr(other) == repr(plain)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: roles.static(10, 11), "byzantine must be a whole number from 0 to 10; found 11"),
        (lambda: roles.static(0, 0), "n of a role schedule must be a whole number of at least 1; found 0"),
        (lambda: roles.randomized(10, 0.7), "byzantine must be a whole number from 0 to 10; found 0.7"),
        (lambda: roles.randomized(10, 7, probability=float("nan")), "probability must be a finite number; found nan"),
        (lambda: roles.resampled(10, 1.5), "beta must be from 0 to 1; found 1.5"),
        (lambda: roles.resampled(10, 0.5, period=0), "period must be a whole number of at least 1; found 0"),
        (lambda: roles.pretense(10, 7, until=-1), "until must be a whole number of at least 0; found -1"),
        (lambda: roles.scripted(roles.none(2), [(0, 2, True)]), "worker must be a whole number from 0 to 1; found 2"),
    ],
)
def test_impossible_schedules_are_refused(call, words):
    with pytest.raises(GaaError, match=words):
        call()
