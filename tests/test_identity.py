"""One identity for all that decides a run: by value, equal in every process, other for whatever could act otherwise."""

import functools
import importlib
import os
import pickle
import subprocess
import sys
import threading
from dataclasses import replace

import cloudpickle
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gaa_core import cases, run
from gaa_core.aggregators import GAA, Mean
from gaa_core.errors import GaaError
from gaa_core.identity import identity, is_library

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


def trimmed(f):
    def rule(gradients):
        return gradients.sort(dim=0).values[f : len(gradients) - f].mean(dim=0)

    return rule


def written(code: str, name: str = "rule", **scope):
    """What a notebook cell leaves under a name."""
    exec(code, scope)
    return scope[name]


HALF = "def rule(g):\n    return g.mean(dim=0) / 2"
CLASS = "class rule:\n    def __call__(self, g):\n        return g.mean(dim=0) * {factor}"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(trimmed(2), trimmed(3), id="closure"),
        pytest.param(written(HALF), written(HALF.replace("2", "3")), id="edited function"),
        pytest.param(written(CLASS.format(factor=1)), written(CLASS.format(factor=2)), id="edited class"),
        pytest.param(written(CLASS.format(factor=1))(), written(CLASS.format(factor=2))(), id="edited class, instance"),
        pytest.param(written("def rule(g, f=1): return g[f]"), written("def rule(g, f=2): return g[f]"), id="default"),
        pytest.param(written("def rule(g): return g[f]", f=1), written("def rule(g): return g[f]", f=2), id="global"),
        pytest.param(
            written("def rule(g): return help(g)", help=trimmed(1)),
            written("def rule(g): return help(g)", help=trimmed(2)),
            id="helper's closure",
        ),
        pytest.param(functools.partial(torch.quantile, q=0.5), functools.partial(torch.quantile, q=0.4), id="partial"),
        pytest.param(functools.cache(trimmed(1)), functools.cache(trimmed(2)), id="cached"),
        pytest.param(torch.zeros(3), torch.zeros(3, dtype=torch.float64), id="dtype"),
        pytest.param(np.zeros(3), np.zeros((3, 1)), id="shape"),
        pytest.param(cases.CMS, replace(cases.CMS, model=lambda data: nn.Linear(28, 2)), id="network"),
        pytest.param(cases.CMS, replace(cases.CMS, loss=nn.MultiMarginLoss()), id="loss"),
        pytest.param(GAA(), GAA(policy_lr=0.5), id="hyper-parameter"),
        pytest.param("1", 1, id="type"),
        pytest.param([1, [2]], [[1], 2], id="nesting"),
    ],
)
def test_what_acts_otherwise_has_another_identity(one, other):
    assert identity(one) != identity(other)


def test_what_is_written_twice_has_one_identity():
    moved = "\n\n# moved down, with a remark\n"
    assert identity(trimmed(2)) == identity(trimmed(2))
    assert identity(written(HALF)) == identity(written(moved + HALF))
    assert identity({"a": 1, "b": {2, 3}}) == identity({"b": {3, 2}, "a": 1})
    assert identity(np.float64(0.1)) == identity(0.1) and identity(np.int32(3)) == identity(3)
    circle: list = []
    circle.append(circle)
    assert identity(circle) == identity(circle)


def test_an_edited_module_counts_once_it_is_loaded_again(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "helpers_of_mine.py").write_text("SIZE = 2\ndef scale(g):\n    return g * SIZE\n")
    module = importlib.import_module("helpers_of_mine")
    rule = written("def rule(g):\n    import helpers_of_mine\n    return helpers_of_mine.scale(g).mean(dim=0)")
    before = identity(rule), identity(module.scale)
    (tmp_path / "helpers_of_mine.py").write_text("SIZE = 3\ndef scale(g):\n    return g * SIZE\n")
    assert (identity(rule), identity(module.scale)) == before, "the session still has the former code"
    importlib.reload(module)
    assert identity(rule) != before[0] and identity(module.scale) != before[1]


def test_code_of_this_package_that_a_run_uses_counts(monkeypatch):
    before, mean = identity(run), identity(GAA())
    monkeypatch.setattr("gaa_core.kernels.finite_rows", lambda rows: torch.ones(len(rows), dtype=torch.bool))
    assert identity(run) != before
    assert identity(GAA()) != mean


def test_training_changes_no_identity():
    rule = GAA()
    before = [identity(each) for each in (run, cases.CMS, rule)]
    run(cases.CMS, rule, steps=2, batch_size=4)
    assert [identity(each) for each in (run, cases.CMS, rule)] == before


@pytest.mark.parametrize(
    "value",
    [threading.Lock(), sys.__stdout__, (g for g in ()), nn.Linear(2, 2).parameters()],
    ids=["lock", "open file", "generator", "iterator"],
)
def test_what_has_no_lasting_value_is_refused_with_its_place(value):
    for held in (value, [value], written("def rule(g): return held", held=value), lambda g: value):
        with pytest.raises(GaaError, match="no lasting value"):
            identity(held)
    with pytest.raises(GaaError, match=r"^rule\['x'\]\[0\] is or holds a"):
        identity({"x": [value]}, "rule")


@given(PLAIN)
def test_any_plain_value_keeps_its_identity_when_it_is_sent_elsewhere(value):
    assert identity(value) == identity(pickle.loads(pickle.dumps(value)))


@pytest.mark.parametrize("value", [trimmed(2), written(CLASS.format(factor=1))(), cases.MNIST, Mean(), run])
def test_code_keeps_its_identity_when_it_is_sent_elsewhere(value):
    assert identity(value) == identity(pickle.loads(cloudpickle.dumps(value)))


ELSEWHERE = """
from gaa_core import cases, run
from gaa_core.aggregators import GAAPlus
from gaa_core.identity import identity, is_library
print(identity([run, cases.CMS, GAAPlus(), {"a", "b", "c"}, lambda x: x in {"p", "q", "r"}]))
"""


def test_it_is_the_same_in_every_process():
    command = [sys.executable, "-c", ELSEWHERE]
    hashed = [os.environ | {"PYTHONHASHSEED": seed} for seed in ("1", "2")]
    one, other = (subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout for env in hashed)
    assert one == other


def test_a_key_is_the_same_before_and_after_a_function_has_imported_what_it_uses():
    # The drawn stand-in of CIFAR-10 is imported when it is first drawn: its sweeps found "other code" in every worker.
    code = (
        "from gaa_core.cases import CIFAR10; from gaa_core.identity import identity; "
        "before = identity(CIFAR10); CIFAR10.load(); print(before == identity(CIFAR10))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GAA_DATA"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "True", done.stderr


def test_a_library_is_known_wherever_it_is_installed(tmp_path, monkeypatch):
    """By a path file, with --user or --system-site-packages: else a run on torch could not be identified there."""
    for folder, expected in (("site-packages", True), ("project", False)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"in_{folder[:4]}.py").write_text("")
        monkeypatch.syspath_prepend(tmp_path / folder)
        importlib.import_module(f"in_{folder[:4]}")
        assert is_library(f"in_{folder[:4]}") == expected
