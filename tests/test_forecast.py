"""What a notebook would run, told without running it: the right statements, the right runs, nothing computed."""

import ast
import json
from pathlib import Path

import pytest

from gaa_core import forecast as machinery
from gaa_core import reproduce
from gaa_core.plan import read_plan

PLAN = read_plan(Path(__file__).resolve().parents[1] / "notebooks")

CODE = """\
from functools import partial
from gaa_core import run, studies
from gaa_core.aggregators import GAA, Mean
from gaa_core.cases import MNIST
from gaa_core.sweep import sweep

train = partial(run, MNIST, steps=4, batch_size=8)
settings = {"steps": 4, "batch_size": 8}
settings["lr"] = 0.05
first = sweep(studies.unattacked(MNIST, range(seeds), **settings), results=results_dir, jobs=jobs)
table = first.table.groupby("seed")["accuracy"].mean()
runs = []
for rule in (Mean(), GAA()):
    runs += studies.unattacked(MNIST, range(seeds), [rule], **settings)
for rule in table:
    print("drawn", rule)
second = sweep(runs, results=results_dir, jobs=jobs)
alone = train(Mean())
"""


@pytest.fixture
def small(project, monkeypatch):
    monkeypatch.setenv("GAA_BATCH", "")  # set by a run; put back afterwards
    project.notebook("small", CODE)
    project.plan("notebooks: [{name: small, title: Small}]")
    return project


def told(**options) -> list[str]:
    lines: list[str] = []
    reproduce.reproduce("smoke", dry_run=True, say=lines.append, **options)
    return [line.split("about")[0].strip(" ,:") for line in lines]


def test_runs_are_counted_once_and_those_that_are_done_are_cached(small):
    before = told(seeds=2)
    assert before[1:-1] == ["first: 2 runs, 0 cached", "second: 4 runs, 2 cached", "single runs: 1 runs, 0 cached"]
    assert [path.name for path in (small.folder / "results").iterdir()] == ["step_times.json"], "nothing was run"
    (outcome,) = reproduce.reproduce("smoke", seeds=2, jobs=1, say=lambda line: None)
    assert outcome.status == "done"
    assert told(seeds=2) == ["small: is up to date", "All runs to do"]
    assert told(seeds=3)[1:3] == ["first: 3 runs, 2 cached", "second: 6 runs, 5 cached"]


def test_times_are_measured_once(small, monkeypatch):
    told(seeds=1)
    monkeypatch.setattr(machinery, "_measure", None)
    told(seeds=1)
    times = json.loads((small.folder / "results" / "step_times.json").read_text())
    assert len(times) == 2  # the mean and the agent; the single run is of the same kind as those of the sweep


def test_only_what_decides_the_runs_is_executed():
    kept = [ast.unparse(statement) for statement in machinery.relevant(ast.parse(CODE).body)]
    assert not any("table" in line or "drawn" in line for line in kept)
    assert "settings['lr'] = 0.05" in kept
    assert sum("sweep(" in line for line in kept) == 2 and any("runs +=" in line for line in kept)


def test_a_grid_that_depends_on_results_is_told(small):
    chosen = "best = first.table['rule'].iloc[0]\nthird = sweep([best], results=results_dir)\n"
    small.notebook("small", CODE + chosen)
    assert "small cannot be told beforehand: its grid depends on '.table' of runs that are not done." in told()


@pytest.mark.parametrize("notebook", PLAN, ids=lambda notebook: notebook.name)
def test_every_notebook_of_the_plan_can_be_told(notebook):
    for profile in ("smoke", "paper"):
        parameters = notebook.resolve(profile, {"profile": profile, "figures_dir": "nowhere"}, {})
        assert all(runs for _, runs, _ in machinery._asked(notebook, parameters))
