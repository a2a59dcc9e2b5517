"""Sweeps: each run once, failures isolated, nothing half-written taken for done."""

import functools
import importlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from gaa_core import roles, run
from gaa_core.aggregators import GAA, Krum, Mean
from gaa_core.attacks import GradientReversion
from gaa_core.cases import CMS, MNIST, CaseData, CaseStudy, Settings, Split
from gaa_core.datasets.medicare import CHRONIC
from gaa_core.errors import GaaError
from gaa_core.sweep import SweepFailed, experiment, pending, sweep

SMALL = {"steps": 4, "batch_size": 8, "lr": 0.05}


def small(rule, **options):
    return experiment(MNIST, rule, **{**SMALL, **options})


def test_a_second_sweep_computes_nothing_and_gives_the_same_table_from_records_only(tmp_path, monkeypatch):
    runs = [small(rule, seed=seed) for rule in (Mean(), GAA()) for seed in range(2)]
    first = sweep(runs, results=tmp_path, jobs=1)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    second = sweep(runs, results=tmp_path, jobs=1)
    assert first.table.equals(second.table)
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    monkeypatch.setattr("joblib.Parallel", None)
    for name in ("config.json", "metrics.npz", "credits.npz"):  # a thousand runs must load in seconds
        (tmp_path / runs[0].key / name).unlink()
    assert sweep(runs, results=tmp_path, jobs=2).table.equals(first.table)


def test_worker_processes_load_nothing_that_they_rarely_need():
    """Starting them is most of what a sweep costs beside its runs."""
    asked = "import sys, gaa_core.sweep; print(sorted({'scipy', 'matplotlib', 'papermill'} & {*sys.modules}))"
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=300)
    assert answer.stdout.strip() == "[]"


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
    with pytest.raises(SweepFailed, match=r"1 of 3 runs failed.*needs at least 11 workers"):
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


def test_a_half_written_run_is_done_again_and_asking_for_too_much_helps(tmp_path):
    runs = [small(Mean(), seed=seed) for seed in range(3)]
    done = sweep(runs, results=tmp_path, jobs=1)
    (tmp_path / runs[1].key / "record.json").unlink()
    assert pending(runs, tmp_path) == [runs[1]]
    assert sweep(runs, results=tmp_path, jobs=1).table.equals(done.table)
    with pytest.raises(GaaError, match="column of this sweep's table 'sede'"):
        done.traces(sede=1)
    with pytest.raises(GaaError, match="names 3 runs"):
        done.trace(rule="Mean()")


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_rules_and_networks_that_differ_by_what_they_hold_get_results_of_their_own(tmp_path, jobs):
    """Two trimmed means made by one function, and one case with two networks, had each the other's result."""

    def trimmed(f):
        return lambda gradients: gradients.sort(dim=0).values[f : len(gradients) - f].mean(dim=0)

    wide = replace(CMS, model=lambda data: nn.Sequential(nn.Linear(data.train.inputs.shape[1], 9), nn.Linear(9, 2)))
    runs = [(CMS, trimmed(0)), (CMS, trimmed(2)), (wide, trimmed(0))]
    done = sweep([experiment(case, rule, **SMALL) for case, rule in runs], results=tmp_path, jobs=jobs)
    assert list(done.table["qv_loss"]) == [run(case, rule, **SMALL).summary()["qv_loss"] for case, rule in runs]
    assert done.table["qv_loss"].nunique() == 3


def made_up(number: float) -> CaseStudy:
    """A case as a notebook cell makes one, whose fingerprint says nothing."""

    @functools.cache
    def load():
        targets = torch.arange(60) % 3
        inputs = number * torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
        split = Split(inputs + nn.functional.one_hot(targets, 8), targets)
        return CaseData(split, split, ("a", "b", "c"), "mine", "mine")

    return CaseStudy("mine", "Mine", load, lambda data: nn.Linear(8, 3), Settings(n=5, qv_size=3))


@pytest.mark.slow
def test_a_case_made_in_a_cell_is_swept_and_its_data_is_part_of_the_key(tmp_path):
    runs = [experiment(made_up(number), Mean(), **SMALL) for number in (1.0, 2.0)]
    assert runs[0].key != runs[1].key
    table = sweep(runs, results=tmp_path, jobs=2).table
    assert list(table["qv_loss"]) == [run(each.case, Mean(), **SMALL).summary()["qv_loss"] for each in runs]


@pytest.mark.slow
def test_workers_follow_the_session_to_other_data_and_code(tmp_path, monkeypatch):
    """Processes of an earlier sweep live on; they trained on the data and code of their first moment."""
    monkeypatch.delenv("GAA_DATA", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "rules_of_mine.py").write_text("def rule(g):\n    return g.mean(dim=0)\n")
    mine = importlib.import_module("rules_of_mine")

    def losses(rule, jobs):
        return sweep([experiment(CMS, rule, seed=seed, **SMALL) for seed in (0, 1)], results=tmp_path / "r", jobs=jobs)

    first = losses(mine.rule, 2).table
    (tmp_path / "rules_of_mine.py").write_text("def rule(g):\n    return 3 * g.mean(dim=0)\n")
    importlib.reload(mine)
    edited = losses(mine.rule, 2).table
    assert list(edited["qv_loss"]) == [run(CMS, mine.rule, seed=s, **SMALL).summary()["qv_loss"] for s in (0, 1)]
    assert list(first["qv_loss"]) != list(edited["qv_loss"])

    (tmp_path / "data" / "cms").mkdir(parents=True)
    names = [each.name for each in CHRONIC.features] + [CHRONIC.target.name]
    rows = [[1 + i % 2, 2 + i % 5, *(i * k % 2 for k in range(13)), 97 * i % 20000] for i in range(200)]
    lines = "\n".join(",".join(map(str, row)) for row in [names, *rows])
    (tmp_path / "data" / "cms" / "2010_Chronic_Conditions_PUF.csv").write_text(lines + "\n")
    monkeypatch.setenv("GAA_DATA", str(tmp_path / "data"))
    found = {trace.settings["fingerprint"] for trace in losses(mine.rule, 2).traces()}
    assert found == {CMS.load().fingerprint} and "GAA_DATA" in CMS.load().source


def test_no_run_begins_with_what_an_earlier_one_left_in_its_rule(tmp_path):
    class Counting:
        calls = 0

        def __call__(self, gradients):
            self.calls += 1
            return gradients.mean(dim=0) * self.calls

    rule = Counting()
    table = sweep([small(rule, seed=seed) for seed in (0, 1)], results=tmp_path, jobs=1).table
    assert list(table["accuracy"]) == [run(MNIST, Counting(), seed=s, **SMALL).accuracy for s in (0, 1)]
    assert rule.calls == 0


def test_scalars_of_numpy_and_torch_are_numbers_and_what_cannot_be_saved_is_refused_before_training(tmp_path):
    plain = small(Mean(), seed=1)
    assert small(Mean(), lr=np.float64(SMALL["lr"]), steps=torch.tensor(4), seed=np.int64(1)).key == plain.key
    table = sweep([small(Mean(), lr=np.float32(0.05))], results=tmp_path, jobs=1).table
    assert table["lr"].item() == np.float32(0.05)


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
    process, deadline = start("killed"), time.monotonic() + 300
    while len(list((tmp_path / "killed").glob("*/record.json"))) < 2 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)  # somewhere inside the third run
    process.wait()
    assert start("killed").wait(timeout=300) == 0
    assert (tmp_path / "killed.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
