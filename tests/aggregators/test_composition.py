"""Pre-aggregators and the one way to put them before a rule."""

import pytest
import torch

from gaa_core import aggregators as a
from gaa_core.aggregators.base import LearningAggregator
from gaa_core.errors import GaaError

ROWS = torch.randn(9, 30, generator=torch.Generator().manual_seed(0))


def test_repr_is_how_it_is_written():
    rule = a.ARC(f=1) | a.NearestNeighbourMixing(f=2) | a.TrimmedMean(f=2)
    assert repr(rule) == "ARC(f=1) | NearestNeighbourMixing(f=2) | TrimmedMean(f=2)"
    assert rule.f == 2
    torch.testing.assert_close(rule(ROWS), (a.ARC(f=1) | (a.NearestNeighbourMixing(f=2) | a.TrimmedMean(f=2)))(ROWS))


@pytest.mark.parametrize(
    "before", [a.ARC(f=2), a.NormClipping(bound=3.0), a.NearestNeighbourMixing(f=2), a.Bucketing(size=2)], ids=repr
)
def test_weights_are_those_of_the_workers(before):
    """The update is the sum of the raw submissions by the weights that the pipe reports."""
    update, weights = (before | a.Krum(f=1)).decide(ROWS)
    torch.testing.assert_close(weights @ ROWS, update, rtol=1e-4, atol=1e-5)


def test_weights_of_a_spoilt_submission_are_zero():
    spoilt = ROWS.clone()
    spoilt[3, 3] = torch.inf
    _, weights = (a.NearestNeighbourMixing(f=2) | a.GeometricMedian()).decide(spoilt)
    assert weights[3] == 0.0 and weights.sum() == pytest.approx(1.0)
    assert (a.NearestNeighbourMixing(f=2) | a.CoordinateMedian()).decide(ROWS)[1] is None


def test_clipping_shortens_and_keeps_directions():
    mixing = a.NormClipping(bound=2.0).mixing(ROWS)
    clipped = a.NormClipping(bound=2.0).transform(mixing, ROWS)
    assert clipped.norm(dim=1).max() <= 2.0 + 1e-5
    torch.testing.assert_close(torch.nn.functional.cosine_similarity(clipped, ROWS), torch.ones(9))
    short = 0.01 * ROWS
    assert torch.equal(a.NormClipping(bound=2.0).transform(a.NormClipping(bound=2.0).mixing(short), short), short)


def test_a_learning_rule_keeps_its_workers_behind_a_pipe():
    class Server:
        step, lr, parameters = 0, 0.1, torch.zeros(30)

        def qv_gradient(self, parameters=None):
            return torch.ones(30)

    rule = a.NormClipping() | a.FLTrust()
    assert isinstance(rule, LearningAggregator)
    rule.reset(9, 30, torch.Generator())
    rule.observe(Server())
    rows = 1.0 + 0.5 * ROWS
    rows[4] = torch.nan
    _, credits = rule.decide(rows)
    assert credits[4] == 0.0 and (credits[:4] > 0.0).all() and (credits[5:] > 0.0).all()
    with pytest.raises(GaaError, match="one row a worker"):
        (a.Bucketing(size=2) | a.FLTrust()).reset(9, 30, torch.Generator())


def test_only_rules_come_behind():
    for first, second in ((a.ARC(f=1), 3), (a.Mean(), a.ARC(f=1))):
        with pytest.raises(TypeError):
            first | second
