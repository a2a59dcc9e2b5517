"""The benchmark's plumbing, on sizes that take no time."""

from __future__ import annotations

import sys
import types

import pytest
import torch

from gaa_core import bench
from gaa_core.errors import GaaError, UnknownName

SMALL = ["--n", "11", "--d", "50", "--f", "2", "--repeats", "1"]


def test_every_rule_is_timed(capsys):
    threads = torch.get_num_threads()
    assert bench.main(SMALL) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in bench.OURS)
    assert torch.get_num_threads() == threads


def test_a_peer_gets_a_column_where_it_has_the_rule(capsys, monkeypatch):
    class Average:
        def __call__(self, rows):
            return rows.mean(dim=0)

    peer = types.ModuleType("byzfl")
    peer.Average = Average
    monkeypatch.setitem(sys.modules, "byzfl", peer)
    bench.main(["mean", "bulyan", "--against", "byzfl", *SMALL])
    lines = capsys.readouterr().out.splitlines()
    assert "ratio" in lines[1]
    mean, bulyan = (next(line for line in lines if line.startswith(name)) for name in ("mean", "bulyan"))
    assert len(mean.split()) == 5 and len(bulyan.split()) == 3


def test_a_missing_peer_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "byzfl", None)
    with pytest.raises(GaaError, match="pip install byzfl"):
        bench.main(["mean", "--against", "byzfl", *SMALL])


def test_an_unknown_rule_is_named():
    with pytest.raises(UnknownName, match="Did you mean 'krum'"):
        bench.main(["krumm", *SMALL])
