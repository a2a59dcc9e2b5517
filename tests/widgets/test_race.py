"""A race of rules in a thread: the same traces as `run`, turned workers included, and no thread left behind."""

from __future__ import annotations

import threading
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch

from gaa_core.widgets import race as module
from gaa_core.widgets.race import CompactRecorder, Growing, Race
from gaa_core.widgets.setup import Setup

SMALL = {"n": 5, "f": 1, "batch_size": 4, "qv_size": 4, "ratio": 0.4}
THREE = ("GAA()", "Krum(f=1)", "CoordinateMedian()")


@pytest.fixture
def race():
    """A race of three rules, closed afterwards."""
    made = Race(Setup(rules=THREE, **SMALL))
    yield made
    made.close()


def finish(race: Race, rounds: int) -> None:
    race.start(rounds)
    race.wait()
    assert race.error == ""


def races_running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "gaa-race"]


def assert_same(one, other) -> None:
    """Equal in all but the seconds."""
    pd.testing.assert_frame_equal(one.steps.drop(columns="seconds"), other.steps.drop(columns="seconds"))
    np.testing.assert_array_equal(one.credits, other.credits)
    np.testing.assert_array_equal(one.byzantine, other.byzantine)
    assert one.settings == other.settings
    for name in one.extras:
        np.testing.assert_array_equal(one.extras[name], other.extras[name])


def test_the_copied_code_gives_the_same_traces(race):
    """Workers turned before the start, between two starts and back again are in the code."""
    race.turn(4)
    finish(race, 7)
    race.turn(0)
    race.turn(4)
    finish(race, 6)
    scope: dict = {}
    exec(race.code(), scope)
    for mine, again in zip(race.traces(), scope["traces"], strict=True):
        assert_same(mine, again)
    byzantine = scope["traces"][0].byzantine
    assert byzantine[0].tolist() == [True, True, False, False, True]
    assert byzantine[12].tolist() == [False, True, False, False, False]


@pytest.mark.parametrize("schedule", ["pretense", "randomized", "resampled"])
def test_so_it_does_for_every_schedule(schedule):
    race = Race(Setup(rules=("GAA()",), schedule=schedule, **SMALL))
    finish(race, 23)
    scope: dict = {}
    exec(race.code(), scope)
    assert_same(race.traces()[0], scope["traces"][0])


def test_so_it_does_for_an_attack_that_listens():
    """Its memory sees the credits of the step before, which the compact recorder must keep for it."""
    race = Race(Setup(rules=("GAA()",), attack="MimicThenTurn()", seed=2, **SMALL))
    finish(race, 8)
    scope: dict = {}
    exec(race.code(), scope)
    assert_same(race.traces()[0], scope["traces"][0])


def test_a_turn_asked_for_is_in_the_code_at_once(race):
    race.turn(4)
    assert "[(0, 4, True)]" in race.code()
    race.turn(4)
    assert "[(0, 4, True), (0, 4, False)]" in race.code()
    assert race.roles_next().tolist() == [True, True, False, False, False]


def test_nothing_trains_before_it_is_started(race):
    assert (race.state, race.step, race.recorders(), races_running()) == ("ready", 0, [], [])


def test_pause_ends_the_thread_and_start_goes_on(race):
    seen = threading.Event()
    race.watch, race.interval = lambda _: seen.set(), 0.0
    race.start()
    assert seen.wait(60)
    race.start()  # it runs already
    assert len(races_running()) == 1
    race.pause()
    assert race.state == "paused"
    race.wait()
    assert races_running() == []
    step = race.step
    finish(race, 2)
    assert race.step == step + 2


def test_close_is_for_good(race):
    race.start()
    race.close()
    assert races_running() == []
    race.start()
    assert races_running() == []


def test_two_races_do_not_disturb_each_other():
    """Side by side they give what each gives alone."""
    setups = [Setup(rules=("GAA()",), seed=seed, **SMALL) for seed in (1, 2)]
    together = [Race(setup) for setup in setups]
    for race in together:
        race.start(12)
    for race in together:
        race.wait()
    for setup, race in zip(setups, together, strict=True):
        alone = Race(setup)
        finish(alone, 12)
        assert_same(race.traces()[0], alone.traces()[0])


def test_a_failure_is_told_and_ends_the_race(monkeypatch):
    monkeypatch.setattr(Setup, "make_rules", lambda self: [lambda gradients: gradients])
    race = Race(Setup(**SMALL | {"rules": ("Mean()",)}))
    race.start()
    race.wait()
    assert race.state == "failed"
    assert "must return a tensor of shape" in race.error
    assert races_running() == []


def test_it_ends_by_itself(monkeypatch):
    monkeypatch.setattr(module, "MAX_STEPS", 3)
    race = Race(Setup(rules=("Mean()",), **SMALL))
    finish(race, None)
    assert (race.state, race.step) == ("finished", 3)


def test_the_number_of_threads_is_put_back(race):
    before = torch.get_num_threads()
    finish(race, 1)
    assert torch.get_num_threads() == before


def test_the_recorder_stays_small():
    """10,000 steps of ten workers take a few megabytes."""
    recorder = CompactRecorder({}, 10)
    row = {"loss": 1.0, "qv_loss": 1.0, "nonfinite": 0, "seconds": 0.01}
    byzantine, credits = torch.zeros(10, dtype=torch.bool), torch.full((10,), 0.1)
    tracemalloc.start()
    for _ in range(10_000):
        recorder.add(byzantine=byzantine.clone(), credits=credits.clone(), accuracy=None, **row)
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert grown < 5e6
    assert len(recorder.column("loss")) == 10_000
    assert len(recorder.credits) == 1


def test_growing_rows_keep_their_order():
    rows = Growing(2, np.float64)
    for place in range(1000):
        rows.append([place, -place])
    np.testing.assert_array_equal(rows.rows[:, 0], np.arange(1000))
    np.testing.assert_array_equal(rows.rows[:, 1], -np.arange(1000))
