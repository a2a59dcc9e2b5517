"""A race of rules in a thread: the same traces as `run`, turned workers included, and no thread left behind."""

import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
import torch

from gaa_core import run
from gaa_core.aggregators import GAA, CoordinateMedian, Krum, Mean
from gaa_core.attacks import MimicThenTurn
from gaa_core.widgets import race as module
from gaa_core.widgets.race import EVAL_EVERY, Race
from gaa_core.widgets.setup import Setup

SMALL = {"n": 5, "batch_size": 4, "qv_size": 4, "ratio": 0.4}


@pytest.fixture
def race():
    """A race of three rules, closed afterwards."""
    made = Race(Setup(rules=(GAA(), Krum(f=1), CoordinateMedian()), **SMALL))
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


def rerun(race: Race) -> list:
    """The traces of `run` with the same settings, compared with the race's own."""
    setup = race.setup
    options = {name: getattr(setup, name) for name in ("attack", "n", "lr", "batch_size", "qv_size", "seed")}
    options |= {"roles": race.roles if race.roles.changes else race.roles.base, "cooldown": 0.0}
    traces = [run(setup.case, rule, steps=race.step, eval_every=EVAL_EVERY, **options) for rule in setup.rules]
    for mine, again in zip(race.traces(), traces, strict=True):
        assert_same(mine, again)
    return traces


def test_a_run_gives_the_same_traces(race):
    """Workers are turned before the start, between two starts and back again."""
    race.turn(4)
    finish(race, 7)
    race.turn(0)
    race.turn(4)
    assert race.roles_next().tolist() == [False, True, False, False, False]
    finish(race, 6)
    byzantine = rerun(race)[0].byzantine
    assert byzantine[0].tolist() == [True, True, False, False, True]
    assert byzantine[12].tolist() == [False, True, False, False, False]


@pytest.mark.parametrize(
    "settings",
    [{"schedule": "pretense"}, {"schedule": "randomized"}, {"schedule": "resampled"}, {"attack": MimicThenTurn()}],
    ids=str,
)
def test_so_it_does_for_schedules_and_attacks_with_a_memory(settings):
    race = Race(Setup(**SMALL, **settings))
    race.turn(4)
    finish(race, 23)
    rerun(race)


def test_pause_ends_the_thread_and_start_goes_on(race):
    assert (race.state, race.step, races_running()) == ("ready", 0, [])
    seen = threading.Event()
    race.watch = lambda _: seen.set()
    race.start()
    assert seen.wait(60)
    race.start()  # it runs already
    assert len(races_running()) == 1
    race.pause()
    assert race.state == "paused"
    race.wait()
    assert races_running() == []
    race.close()
    race.start()
    assert races_running() == []


def test_one_race_trains_at_a_time():
    """The start of another pauses the first; both share a rule with a state, and have the traces of their code."""
    before = torch.get_num_threads()
    rules = (GAA(),)
    first, second = (Race(Setup(rules=rules, seed=seed, **SMALL)) for seed in (1, 2))
    first.start()
    finish(second, 6)
    first.wait()
    assert (first.state, torch.get_num_threads()) == ("paused", before)
    finish(first, 6)
    rerun(first)
    rerun(second)
    second.start()
    Race(Setup(**SMALL))
    assert second.state == "paused"


def test_a_failure_is_one_sentence_and_ends_the_race():
    race = Race(Setup(rules=(lambda gradients: gradients,), **SMALL))
    race.start()
    race.wait()
    assert race.state == "failed"
    assert "tensor of shape" in race.error
    assert races_running() == []


def test_an_attack_without_byzantine_workers_waits_for_a_click_and_a_race_ends_by_itself(monkeypatch):
    monkeypatch.setattr(module, "MAX_STEPS", 3)
    race = Race(Setup(rules=(Mean(),), **SMALL | {"ratio": 0.0}))
    finish(race, 2)
    race.turn(3)
    finish(race, 9)
    assert race.traces()[0].byzantine.sum() == 1
    assert (race.state, race.step) == ("finished", 3)


@pytest.mark.slow
def test_an_interpreter_that_ends_ends_the_race():
    code = "from gaa_core.widgets.race import *; race = Race(Setup()); race.start(); time.sleep(1); print('end')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")
