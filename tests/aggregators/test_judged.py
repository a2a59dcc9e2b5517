"""The rules that look with the server's own data, against a server whose loss is a bowl; most attack."""

import pytest
import torch

from gaa_core import aggregators as a
from gaa_core.conformance import QuadraticServer
from gaa_core.errors import GaaError, TooFewWorkers

SERVER_GRADIENT = torch.tensor([2.0, 0.0])
ROWS = torch.tensor([[1.0, 0.0], [3.0, 4.0], [-5.0, 0.0], [0.0, 7.0], [-1.0, -1.0]])


def fresh(rule, n=5, d=2, gradient=SERVER_GRADIENT):
    rule.reset(n, d, torch.Generator().manual_seed(0))
    rule.observe(QuadraticServer(-gradient, torch.zeros(n).bool()))
    return rule


def test_fl_trust_by_hand():
    """Cosines 1, 0.6, -1, 0, <0: trust 1/1.6 and 0.6/1.6 of the directions, at norm 2."""
    update, credits = fresh(a.FLTrust()).decide(ROWS)
    torch.testing.assert_close(credits, torch.tensor([0.625, 0.375, 0.0, 0.0, 0.0]))
    torch.testing.assert_close(update, torch.tensor([0.625 * 2 + 0.375 * 1.2, 0.375 * 1.6]))


def test_zeno_by_hand():
    """f_B after a step of 0.1: least for those that go furthest along the gradient, less rho times the squared norm."""
    update, credits = fresh(a.Zeno(f=3, rho=0.0)).decide(ROWS)
    assert credits.tolist() == [0.5, 0.5, 0.0, 0.0, 0.0]
    torch.testing.assert_close(update, torch.tensor([2.0, 2.0]))
    _, credits = fresh(a.Zeno(f=4, rho=0.0)).decide(ROWS)  # (2 - .3)^2 + .4^2 = 3.05 < (2 - .1)^2 = 3.61
    assert credits.tolist() == [0.0, 1.0, 0.0, 0.0, 0.0]
    _, credits = fresh(a.Zeno(f=4, rho=0.1)).decide(ROWS)  # 1.525 + 2.5 > 1.805 + 0.1
    assert credits.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    with pytest.raises(TooFewWorkers):
        fresh(a.Zeno(f=4), n=4).decide(ROWS[:4])


def test_zeno_plus_plus_by_hand():
    """Rescaled to norm 2, <v, U_i> is 4, 2.4, -4, 0, <0; lr <v, U_i> - rho 4 >= 0 for the first two, or the first."""
    update, credits = fresh(a.ZenoPlusPlus(rho=0.05)).decide(ROWS)
    assert credits.tolist() == [0.5, 0.5, 0.0, 0.0, 0.0]
    torch.testing.assert_close(update, torch.tensor([(2.0 + 1.2) / 2, 0.8]))
    assert fresh(a.ZenoPlusPlus(rho=0.08)).decide(ROWS)[1].tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert fresh(a.ZenoPlusPlus(rho=0.05, epsilon=2.0)).decide(ROWS)[1][3] == pytest.approx(1 / 3)


def test_by_gars_by_hand():
    """Reputation starts at 0 and goes a tenth of the way to cosine / n; a reversed worker is used in reverse."""
    rule = fresh(a.ByGARS(rate=0.1))
    update, first = rule.decide(ROWS)
    cosines = torch.tensor([1.0, 0.6, -1.0, 0.0, -(0.5**0.5)])
    torch.testing.assert_close(first, 0.1 * cosines / 5)
    units = ROWS / ROWS.norm(dim=1, keepdim=True)
    torch.testing.assert_close(update, 2.0 * (first @ units))
    _, second = rule.decide(ROWS)
    torch.testing.assert_close(second, 0.9 * first + 0.1 * cosines / 5)
    torch.testing.assert_close(fresh(rule).decide(ROWS)[1], first)  # nothing is left after reset


def test_fed_greed_by_hand():
    """Losses order the workers 1, 0, 3...; the mean of 1 and 0 is no better than 1 with lr 0.1, so 1 stays alone."""
    update, credits = fresh(a.FedGreed()).decide(ROWS)
    assert credits.tolist() == [0.0, 1.0, 0.0, 0.0, 0.0]
    assert torch.equal(update, ROWS[1])
    rows = torch.tensor([[3.0, 4.0], [3.0, -4.0], [-9.0, 0.0]])  # their mean is better than either
    update, credits = fresh(a.FedGreed(), n=3).decide(rows)
    assert credits.tolist() == [0.5, 0.5, 0.0]
    torch.testing.assert_close(update, torch.tensor([3.0, 0.0]))


JUDGED = [a.FLTrust(), a.Zeno(f=4), a.ZenoPlusPlus(), a.ByGARS(), a.FedGreed()]


@pytest.mark.parametrize("rule", JUDGED, ids=repr)
def test_rule_survives_a_majority_of_reversed_submissions(rule):
    generator = torch.Generator().manual_seed(1)
    gradient = torch.randn(60, generator=generator)
    honest = gradient + 0.5 * torch.randn(3, 60, generator=generator)
    rows = torch.cat([honest[:2], -10.0 * honest, honest[2:] * torch.nan, honest[2:]])
    rule.reset(7, 60, torch.Generator())
    with pytest.raises(GaaError, match="needs a quasi-validation set"):
        rule(rows)
    update, credits = fresh(rule, n=7, d=60, gradient=gradient).decide(rows)
    assert torch.nn.functional.cosine_similarity(update, gradient, dim=0) > 0.5
    assert credits[2:5].max() <= 0.0 and credits[5] == 0.0


@pytest.mark.parametrize("rule", [a.FLTrust(), a.ZenoPlusPlus()], ids=repr)
def test_no_trust_means_no_update(rule):
    update, credits = fresh(rule, n=2).decide(-SERVER_GRADIENT.repeat(2, 1))
    assert torch.equal(update, torch.zeros(2)) and torch.equal(credits, torch.zeros(2))


def test_by_gars_refuses_another_number_of_workers():
    with pytest.raises(GaaError, match="reset for 4 workers; found 5"):
        fresh(a.ByGARS(), n=4).decide(ROWS)
