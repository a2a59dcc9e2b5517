"""A rule leaves its input alone and gives one answer, whatever the memory layout and the settings of torch."""

import pytest
import torch
from torch import nn

from gaa_core import aggregators as a
from gaa_core import conformance
from gaa_core.aggregators.base import decide
from gaa_core.conformance import Subject
from gaa_core.errors import GaaError

RULES = [
    *(rule for rule in conformance.examples(f=1) if not isinstance(rule, a.SMEA)),
    a.NearestNeighbourMixing(f=1) | a.TrimmedMean(f=1),
    a.ARC(f=1) | a.CoordinateMedian(),
]
by_rule = pytest.mark.parametrize("rule", RULES, ids=repr)


def layouts(rows):
    """The same numbers [n, d] in other places of memory."""
    n, d = rows.shape
    gaps = torch.full((2 * n, 3 * d), torch.nan)
    gaps[::2, 1::3] = rows
    return {
        "row-major": rows,
        "column-major": torch.stack(list(rows), dim=1).T,
        "strided": gaps[::2, 1::3],
        "one column": rows[:, :1],
        "expanded": rows[:1].expand(n, d),
    }


@by_rule
@pytest.mark.parametrize("n", [10, 64, 65, 200])
def test_input_is_left_alone_in_every_layout(rule, n):
    rows = torch.randn(n, 7, generator=torch.Generator().manual_seed(n))
    for name, submissions in layouts(rows).items():
        before = submissions.clone()
        found = Subject(rule, n, 1).answer(submissions)
        assert torch.equal(submissions, before), f"{name}: the input was changed"
        expected = Subject(rule, n, 1).answer(before.clone(memory_format=torch.contiguous_format))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, msg=name)


@by_rule
def test_deterministic_algorithms_are_no_obstacle(rule):
    """Near-equal submissions, as colluders send them, are computed again."""
    rows = torch.randn(11, 30, generator=torch.Generator().manual_seed(0))
    rows[1] = rows[0] + 1e-7
    expected = Subject(rule, 11, 1).answer(rows)
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.equal(Subject(rule, 11, 1).answer(rows), expected)
    finally:
        torch.use_deterministic_algorithms(False)


ROWS = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


def sorts_in_place(rows):
    rows.copy_(rows.sort(dim=0).values)
    return rows[2].clone()


class Middle(nn.Module):
    def __init__(self):
        super().__init__()
        self.shares = nn.Parameter(torch.full((5,), 0.2))

    def forward(self, rows):
        return self.shares @ rows


def test_a_callable_works_on_a_copy_and_without_a_tape():
    rows = ROWS.clone()
    update, weights = decide(sorts_in_place, rows)
    assert torch.equal(rows, ROWS) and weights is None
    assert torch.equal(update, ROWS.median(dim=0).values)
    assert not decide(Middle(), rows)[0].requires_grad
    assert torch.equal(decide(sorts_in_place, rows * torch.nan)[0], torch.zeros(3))
    assert decide(lambda rows: rows.double().mean(dim=0), rows)[0].dtype == torch.float32


def test_workers_that_were_not_asked_have_no_weight():
    asked = torch.tensor([True, False, True, True, False])
    update, weights = decide(a.Mean(), ROWS, asked)
    torch.testing.assert_close(update, ROWS[asked].mean(dim=0))
    assert (weights > 0).tolist() == asked.tolist()
    torch.testing.assert_close(decide(lambda rows: rows.mean(dim=0), ROWS, asked)[0], update)


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        (lambda rows: rows, r"found \(5, 3\)"),
        (lambda rows: rows[0].long(), "torch.int64"),
        (lambda rows: rows.mean(dim=0).numpy(), "found ndarray"),
        (lambda rows: None, "found NoneType"),
        (lambda rows: rows[0] / 0.0, "found NaN or infinity"),
    ],
)
def test_what_a_callable_returns_is_checked(rule, found):
    with pytest.raises(GaaError, match=found):
        decide(rule, ROWS)


def test_a_class_that_changes_the_submissions_is_found_out():
    class Sorting(a.Aggregator):
        def aggregate(self, gradients):
            return sorts_in_place(gradients)

        __repr__ = object.__repr__

    with pytest.raises(GaaError, match="must not change the submissions"):
        decide(Sorting(), ROWS.clone())
