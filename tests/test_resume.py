"""A run that was stopped at any step goes on to the trace that it would have had."""

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from collections import deque
from pathlib import Path

import numpy as np
import pytest
import torch

from gaa_core import aggregators as a
from gaa_core import checkpoint, conformance, roles, run
from gaa_core.aggregators.gaa_plus.watchdog import Watchdog
from gaa_core.attacks import MimicThenTurn, RandomFault, SlowDrift
from gaa_core.cases import MNIST
from gaa_core.errors import DataError, GaaError
from gaa_core.simulator import Simulation

SMALL = {"n": 10, "steps": 13, "batch_size": 8, "lr": 0.05, "eval_every": 4}
ATTACK = {"attack": RandomFault(std=1.0), "roles": roles.static(10, 3)}

LEARNING = [
    *(rule for rule in conformance.examples(f=2) if isinstance(rule, a.LearningAggregator)),
    a.GAA(norm_bound=2.0, policy_lr=0.05),
    a.NearestNeighbourMixing(f=2) | a.GAA(),
    a.Krum(f=3),  # remembers nothing
]


def same(one, other) -> bool:
    columns = [name for name in one.steps if name != "seconds"]
    return (
        one.steps[columns].equals(other.steps[columns])
        and np.array_equal(one.credits, other.credits, equal_nan=True)
        and np.array_equal(one.byzantine, other.byzantine)
        and one.extras.keys() == other.extras.keys()
        and all(np.array_equal(one.extras[name], other.extras[name], equal_nan=True) for name in one.extras)
    )


def stopped(path, rule, after: int, **options):
    """The trace of a run that is written down after some steps, forgotten, and gone on with by fresh objects."""
    torch.set_num_threads(1)
    simulation = Simulation(MNIST, rule, **options)
    for _ in range(after):
        simulation.advance()
    simulation.save(path)
    for _ in range(2):  # lost by the crash
        simulation.advance()
    return run(MNIST, rule, checkpoint=path, resume=True, **options)


@pytest.mark.parametrize("rule", LEARNING, ids=repr)
def test_every_rule_with_a_memory_goes_on_to_the_same_trace(rule, tmp_path):
    whole = run(MNIST, rule, **SMALL, **ATTACK)
    assert same(whole, stopped(tmp_path / "run.pt", rule, 7, **SMALL, **ATTACK))  # 7: in the middle of a segment


def test_the_agent_can_be_stopped_at_any_step(tmp_path):
    options = {**SMALL, **ATTACK, "record_distances": True}
    whole = run(MNIST, a.GAA(), **options)
    for after in range(1, 13):
        assert same(whole, stopped(tmp_path / "run.pt", a.GAA(), after, **options)), after


@pytest.mark.parametrize("attack", [SlowDrift(), MimicThenTurn(until=9)], ids=repr)
def test_attacks_remember_too(attack, tmp_path):
    options = {**SMALL, "attack": attack, "roles": roles.static(10, 4)}
    assert same(run(MNIST, a.GAA(), **options), stopped(tmp_path / "run.pt", a.GAA(), 7, **options))


def test_a_rollback_after_the_stop_finds_the_state_kept_before_it(tmp_path, monkeypatch):
    monkeypatch.setattr(Watchdog, "lost", lambda watchdog: watchdog.since == 8)
    rule = a.GAAPlus(off=("warm up",))
    whole = run(MNIST, rule, **SMALL)
    assert whole.steps["rolled_back"].sum() == 1 and whole.steps["rolled_back"][7]
    assert same(whole, stopped(tmp_path / "run.pt", rule, 6, **SMALL))


def test_resuming_without_a_file_is_beginning(tmp_path):
    path = tmp_path / "run.pt"
    first = run(MNIST, a.GAA(), checkpoint=path, checkpoint_every=5, resume=True, **SMALL)
    assert checkpoint.read(path)["server"]["step"] == 10
    assert same(first, run(MNIST, a.GAA(), **SMALL))


def test_a_checkpoint_of_another_run_and_a_damaged_one_are_refused_in_words(tmp_path):
    for options in ({"resume": True}, {"checkpoint": "x", "checkpoint_every": 0}):
        with pytest.raises(GaaError, match="checkpoint"):
            run(MNIST, a.Mean(), **options)
    run(MNIST, a.Mean(), checkpoint=tmp_path / "run.pt", checkpoint_every=5, **SMALL)
    with pytest.raises(GaaError, match=r"was written by a run with lr=0.05; this one has 0.1"):
        run(MNIST, a.Mean(), checkpoint=tmp_path / "run.pt", resume=True, **{**SMALL, "lr": 0.1})
    with pytest.raises(GaaError, match=r"rule='Mean\(\)'; this one has 'GAA\(\)'"):
        run(MNIST, a.GAA(), checkpoint=tmp_path / "run.pt", resume=True, **SMALL)

    path = tmp_path / "run.pt"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"run.pt is not a checkpoint"):
        run(MNIST, a.Mean(), checkpoint=path, resume=True, **SMALL)


def test_a_write_that_fails_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    checkpoint.write(path, {"step": 1})

    def full(self, content):
        with self.open("wb") as file:
            file.write(content[:9])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.write(path, {"step": 2})
    assert checkpoint.read(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_generators_and_containers_come_back(tmp_path):
    generator = torch.Generator().manual_seed(5)
    torch.rand(3, generator=generator)
    value = {"draws": generator, "last": deque([1, (2.5, None)], maxlen=3), 4: np.arange(3), "flag": True}
    checkpoint.write(tmp_path / "x.pt", value)
    back = checkpoint.read(tmp_path / "x.pt")
    assert torch.equal(torch.rand(4, generator=back["draws"]), torch.rand(4, generator=generator))
    assert back["last"] == value["last"]
    assert back["last"].maxlen == 3
    assert np.array_equal(back[4], np.arange(3))
    assert back["flag"] is True


class Stranger:
    pass


def test_what_cannot_be_written_down_is_refused_in_words(tmp_path):
    with pytest.raises(GaaError, match=r"cannot hold .*Stranger"):
        checkpoint.write(tmp_path / "x.pt", [Stranger()])


@pytest.mark.parametrize("named", [os.system, checkpoint.write, Stranger, torch.load])
def test_a_file_cannot_name_what_it_likes(named, tmp_path):
    (tmp_path / "x.pt").write_bytes(pickle.dumps(named))
    with pytest.raises(DataError, match="which no state of a run is made of"):
        checkpoint.read(tmp_path / "x.pt")


SCRIPT = """
from gaa_core import roles, run
from gaa_core.aggregators import GAA
from gaa_core.attacks import RandomFault
from gaa_core.cases import MNIST
trace = run(MNIST, GAA(), steps=120, batch_size=16, lr=0.05, attack=RandomFault(std=1.0), roles=roles.static(10, 3),
            checkpoint={path!r}, checkpoint_every=7, resume=True)
trace.steps.drop(columns="seconds").to_csv({table!r}, index=False)
"""


@pytest.mark.slow
def test_a_server_that_is_killed_goes_on_to_the_same_trace(tmp_path):
    def start(name):
        script = textwrap.dedent(SCRIPT).format(path=str(tmp_path / name), table=str(tmp_path / f"{name}.csv"))
        return subprocess.Popen([sys.executable, "-c", script])

    assert start("whole").wait(timeout=300) == 0
    process = start("killed")
    deadline = time.monotonic() + 300
    while not (tmp_path / "killed").exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed.csv").exists()
    assert start("killed").wait(timeout=300) == 0
    assert (tmp_path / "killed.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_an_unfinished_restore_changes_nothing_of_the_user_s_attack(tmp_path):
    attack = SlowDrift()
    options = {**SMALL, "attack": attack, "roles": roles.static(10, 4)}
    simulation = Simulation(MNIST, a.Mean(), **options)
    for _ in range(4):
        simulation.advance()
    simulation.save(tmp_path / "run.pt")
    Simulation(MNIST, a.Mean(), **options).load(tmp_path / "run.pt")
    assert "_course" not in vars(attack)
