"""Sweeps: each run once, failures isolated, nothing half-written taken for done."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from gaa_core import roles
from gaa_core.aggregators import GAA, Krum, Mean
from gaa_core.attacks import GradientReversion
from gaa_core.cases import MNIST
from gaa_core.errors import GaaError
from gaa_core.sweep import SweepFailed, experiment, pending, sweep

SMALL = {"steps": 4, "batch_size": 8, "lr": 0.05}


def small(rule, **options):
    return experiment(MNIST, rule, **{**SMALL, **options})


def test_a_second_sweep_computes_nothing_and_gives_the_same_table(tmp_path):
    runs = [small(rule, seed=seed) for rule in (Mean(), GAA()) for seed in range(2)]
    first = sweep(runs, results=tmp_path, jobs=1)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    second = sweep(runs, results=tmp_path, jobs=1)
    assert first.table.equals(second.table)
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_a_cached_table_starts_no_process_and_reads_records_only(tmp_path, monkeypatch):
    runs = [small(Mean(), seed=seed) for seed in range(2)]
    first = sweep(runs, results=tmp_path, jobs=1)
    monkeypatch.setattr("joblib.Parallel", None)
    for name in ("config.json", "metrics.npz", "credits.npz"):  # a thousand runs must load in seconds
        (tmp_path / runs[0].key / name).unlink()
    assert sweep(runs, results=tmp_path, jobs=2).table.equals(first.table)


def test_worker_processes_load_nothing_that_they_rarely_need():
    """Starting them is most of what a sweep costs beside its runs."""
    asked = (
        "import sys, gaa_core.sweep; print(sorted({'sklearn', 'scipy', 'matplotlib', 'papermill'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=300)
    assert answer.stdout.strip() == "[]"


def test_parallel_processes_give_the_same_numbers_as_one(tmp_path):
    runs = [small(GAA(), seed=seed) for seed in range(3)]
    alone = sweep(runs, results=tmp_path / "one", jobs=1)
    together = sweep(runs, results=tmp_path / "two", jobs=2)
    assert alone.table.equals(together.table)


def test_keys_follow_what_is_computed():
    base = small(Mean())
    assert base.key == small(Mean(), labels={"ratio": 0.5}).key, "labels name a row, they change no run"
    others = [
        small(Krum(f=2)),
        small(Krum(f=3)),
        small(Mean(), seed=1),
        small(Mean(), steps=5),
        small(Mean(), attack=GradientReversion(), roles=roles.static(10, 3)),
        small(Mean(), attack=GradientReversion(scale=2.0), roles=roles.static(10, 3)),
        small(Mean(), attack=GradientReversion(), roles=roles.static(10, 4)),
    ]
    assert len({base.key, *(each.key for each in others)}) == 8


def test_what_cannot_be_identified_is_refused():
    lock = threading.Lock()
    with pytest.raises(GaaError, match=r"'lock', held by <lambda>, is or holds a lock.* Call run\(\)"):
        _ = small(lambda gradients: lock and gradients.mean(dim=0)).key


def test_a_failure_is_isolated_listed_and_never_done(tmp_path):
    runs = [small(Mean()), small(Krum(f=4)), small(Mean(), seed=1)]
    with pytest.raises(SweepFailed, match=r"1 of 3 runs failed.*\n.*needs at least 11 workers"):
        sweep(runs, results=tmp_path, jobs=1)
    assert pending(runs, tmp_path) == [runs[1]]
    listed = sweep(runs, results=tmp_path, jobs=1, strict=False)
    assert (listed.table["error"] != "").tolist() == [False, True, False]
    assert len(listed.traces(rule="Mean()")) == 2


def dies(gradients):
    """A rule whose process is killed from outside, as when memory runs out; only in a worker process of a pool."""
    import multiprocessing

    if multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return gradients.mean(dim=0)


@pytest.mark.slow
def test_a_run_whose_process_dies_is_the_only_one_that_fails(tmp_path):
    runs = [small(Mean()), small(dies), small(Mean(), seed=1), small(Mean(), seed=2)]
    listed = sweep(runs, results=tmp_path, jobs=2, strict=False)
    assert listed.table["error"].str.startswith("The process of this run died").tolist() == [False, True, False, False]
    assert pending(runs, tmp_path) == [runs[1]]


def test_a_half_written_run_is_done_again_and_the_others_are_kept(tmp_path):
    runs = [small(Mean(), seed=seed) for seed in range(3)]
    whole = sweep(runs, results=tmp_path, jobs=1).table
    (tmp_path / runs[1].key / "record.json").unlink()
    assert pending(runs, tmp_path) == [runs[1]]
    assert sweep(runs, results=tmp_path, jobs=1).table.equals(whole)


def test_asking_for_an_unknown_column_or_for_too_much_helps(tmp_path):
    done = sweep([small(Mean(), seed=seed) for seed in range(2)], results=tmp_path, jobs=1)
    with pytest.raises(GaaError, match="column of this sweep's table 'sede'"):
        done.traces(sede=1)
    with pytest.raises(GaaError, match="names 2 runs"):
        done.trace(rule="Mean()")


SCRIPT = """
from gaa_core.aggregators import GAA
from gaa_core.cases import MNIST
from gaa_core.sweep import experiment, sweep
runs = [experiment(MNIST, GAA(), steps=60, batch_size=16, lr=0.05, seed=seed) for seed in range(6)]
sweep(runs, results={folder!r}, jobs=1).table.to_csv({table!r}, index=False)
"""


@pytest.mark.slow
def test_killed_at_any_moment_and_started_again_gives_the_same_table(tmp_path):
    def start(name):
        script = textwrap.dedent(SCRIPT).format(folder=str(tmp_path / name), table=str(tmp_path / f"{name}.csv"))
        return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL)

    assert start("whole").wait(timeout=300) == 0
    for finished in (1, 3, 5):  # kill once that many runs are there, somewhere inside the next
        process = start("killed")
        deadline = time.monotonic() + 120
        while len(list((tmp_path / "killed").glob("*/record.json"))) < finished and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert start("killed").wait(timeout=300) == 0
    assert (tmp_path / "killed.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
