"""The table of disagreements: what it says of us is so, and what it says of ByzFL is so where that is installed."""

from __future__ import annotations

import pytest
import torch

from gaa_core import bench
from gaa_core.disagreements import AGREED, DIFFERENT, VERSIONS, table
from gaa_core.errors import GaaError

CASES = DIFFERENT + AGREED


@pytest.mark.parametrize("case", AGREED, ids=[repr(case.ours) for case in AGREED])
def test_agreements_are_such(case):
    assert case.answer() == pytest.approx(case.others["byzfl"], abs=1e-3)


def test_disagreements_are_such_or_say_what_else_differs():
    same = {repr(case.ours) for case in DIFFERENT if case.answer() in case.others.values() and len(case.others) == 1}
    assert same == {"NormClipping(bound=2.0)"}  # the same numbers, written over the input
    assert all(case.why for case in DIFFERENT)


def test_our_answers_are_pinned():
    answers = {f"{case.ours!r} {len(case.rows)}": case.answer() for case in DIFFERENT}
    assert answers["Krum(f=2) 8"] == [14.0]
    assert answers["Krum(f=1) 3"] == "Krum(f=1) needs at least 5 workers; found 3."
    assert answers["CoordinateMedian() 4"] == [2.0]
    assert answers["SMEA(f=1) 3"] == [2.5, 3.5, 4.5]


def test_the_table_has_every_library_with_its_version():
    assert {f"{name} {version}" for name, version in VERSIONS.items()} <= set(table(DIFFERENT))


@pytest.mark.parametrize("case", [case for case in CASES if case.byzfl], ids=lambda case: f"{case.byzfl}")
def test_byzfl_says_what_the_table_says(case):
    try:
        library = bench.load_peer("byzfl")
    except GaaError:
        pytest.skip("byzfl is not installed")
    name, *arguments = case.byzfl
    gradients = torch.tensor(case.rows)
    theirs = getattr(library, name)(*arguments)(gradients).flatten().tolist()
    assert theirs == pytest.approx(case.others["byzfl"], abs=1e-3)
