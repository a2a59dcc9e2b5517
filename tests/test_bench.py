"""The benchmark's plumbing, on sizes that take no time."""

from __future__ import annotations

import json
import sys
import types
from dataclasses import replace

import pandas as pd
import pytest
import torch

from gaa_core import bench
from gaa_core.bench import timing
from gaa_core.errors import GaaError, UnknownName

SMALL = ["--n", "11", "--d", "50", "--f", "2", "--repeats", "1"]


def test_every_rule_is_timed(capsys):
    threads = torch.get_num_threads()
    assert bench.main(SMALL) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in bench.OURS)
    assert torch.get_num_threads() == threads


@pytest.fixture
def byzfl(monkeypatch):
    """A stand-in for the library, with a mean that returns what ours does."""
    rules = types.ModuleType("byzfl.aggregators")
    rules.Average = lambda: lambda rows: rows.mean(dim=0)
    monkeypatch.setitem(sys.modules, "byzfl", types.ModuleType("byzfl"))
    monkeypatch.setitem(sys.modules, "byzfl.aggregators", rules)
    monkeypatch.setitem(bench.PEERS, "byzfl", {"mean": lambda peer, f: peer.Average()})


def test_a_peer_gets_a_column_where_it_has_the_rule(capsys, byzfl):
    bench.main(["mean", "bulyan", "--against", "byzfl", *SMALL])
    lines = capsys.readouterr().out.splitlines()
    assert "byzfl, ms" in lines[2] and "ratio" in lines[2]
    mean, bulyan = (next(line for line in lines if line.split()[0] == name) for name in ("mean", "bulyan"))
    assert len(mean.split()) == len(bulyan.split()) + 2


def test_a_missing_peer_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "byzfl", None)
    with pytest.raises(GaaError, match="pip install --no-deps byzfl"):
        bench.main(["mean", "--against", "byzfl", *SMALL])


def test_every_line_of_the_requirements_is_timed():
    assert set(bench.TARGETS) | set(bench.SECONDS) <= set(bench.OURS)
    assert bench.TARGETS["krum"].passes == 10 and bench.TARGETS["centered_clipping"].passes == 3


def test_bounds_are_judged_at_their_own_size_only(monkeypatch):
    small = bench.speed_table(["krum", "mda"], 11, 50, 2, repeats=1)
    assert small["met"].tolist() == ["", "yes"]
    monkeypatch.setattr(timing, "STANDARD", (11, 50, 2))
    least = {name: replace(target, passes=1e-9) for name, target in bench.TARGETS.items()}
    monkeypatch.setattr(timing, "TARGETS", least)
    assert bench.speed_table(["krum"], 11, 50, 2, repeats=1)["met"].tolist() == ["no"]


def test_two_threads_are_compared_with_one():
    before = torch.get_num_threads()
    table = bench.speed_table(["mean"], 11, 50, 2, repeats=1, threads=2)
    assert {"one_thread_ms", "speedup"} <= set(table)
    assert torch.get_num_threads() == before


def test_slow_contenders_run_once():
    now = iter(range(0, 1000, 3))
    runs = []
    best = timing.take_turns({"slow": lambda: runs.append(1)}, 5, lambda: next(now))
    assert best == {"slow": 3} and len(runs) == 1


def test_the_table_and_the_figure_are_saved(tmp_path, byzfl):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{bench.BEGIN}\nold\n{bench.END}\nafter\n")
    options = ["mean", "krum", "--against", "byzfl", "--save", str(tmp_path), "--readme", str(readme), *SMALL]
    assert bench.main(options) == 0
    table = pd.read_csv(tmp_path / "speed.csv")
    assert table["rule"].tolist() == ["mean", "krum"] and table["setting"].str.contains("torch").all()
    assert (tmp_path / "speed.png").stat().st_size < 250_000
    assert json.loads((tmp_path / "speed.json").read_text())["figure"] == "speed.png"
    text = readme.read_text()
    assert bench.markdown(table) in text and text.startswith("before") and text.endswith("after\n")


def test_an_unknown_rule_is_named():
    with pytest.raises(UnknownName, match="Did you mean 'krum'"):
        bench.main(["krumm", *SMALL])
