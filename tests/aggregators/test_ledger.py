"""What following each worker would have earned of f_B: sums of slopes, late in training."""

from __future__ import annotations

import math

import pytest
import torch

from gaa_core import run, seeding, studies
from gaa_core.aggregators.gaa_plus import GAAPlus, ledger
from gaa_core.aggregators.gaa_plus.evidence import YOUNG
from gaa_core.aggregators.gaa_plus.ledger import Ledger
from gaa_core.aggregators.gaa_plus.mind import Mind
from gaa_core.aggregators.gaa_plus.sight import Sight
from gaa_core.attacks import GradientReversion
from gaa_core.cases import CMS

ALL = torch.ones(4, dtype=torch.bool)
EACH = torch.ones(4, dtype=torch.float64)


def late(n: int = 4, horizon: int = 100) -> Ledger:
    """One that counts from the next step on."""
    found = Ledger(n, horizon)
    found.steps = YOUNG
    return found


def told(found: Ledger, *steps: list[float], cap: float = 4.0) -> list[float]:
    n = len(steps[0])
    for slopes in steps:
        found.learn(torch.tensor(slopes).double(), torch.ones(n).double(), torch.ones(n, dtype=torch.bool))
    return found.log_odds(cap).tolist()


def test_by_hand():
    """After 4 equal steps at horizon 2: sums 1.875 x, squares 1.875 x^2, so t^2 = 1.875 for all.

    Half of that is less than 1, so it says nothing. Without fading t^2 = steps: after 6 faith is 1, and each gets
    +-(6 / 2 - 1).
    """
    assert told(late(horizon=2), *[[1.0, 1.0, -1.0, -1.0]] * 4) == [0.0] * 4
    assert told(late(horizon=10**9), *[[1.0, 1.0, -1.0, -1.0]] * 6) == pytest.approx([2.0, 2.0, -2.0, -2.0])
    assert told(late(horizon=10**9), *[[1.0, 1.0, -1.0, -1.0]] * 4) == pytest.approx([1.0, 1.0, -1.0, -1.0])
    # after 2.5 units of t^2 in all faith is three quarters: 2.5 / 2 - 1 = 0.25
    found = late()
    found.sums = torch.tensor([1.0, -1.0]).double().repeat(2, 2) * 2.5**0.5
    found.squares = torch.ones(2, 4).double()
    assert found.log_odds(4.0).tolist() == pytest.approx([0.1875, -0.1875] * 2)


def test_it_says_nothing_while_a_run_is_young():
    found = Ledger(4)
    for _ in range(YOUNG):
        assert told(found, [1.0, 1.0, -1.0, -1.0]) == [0.0] * 4
    assert not found.sums.any()
    assert max(map(abs, told(found, *[[1.0, 1.0, -1.0, -1.0]] * 20))) > 1


def test_the_steps_at_which_much_is_at_stake_outweigh_the_others():
    """Of 40 steps, 30 speak against the honest by a little, and ten for them by much: 3 to 1, were they cosines."""
    steps = [[-0.1] * 3 + [0.1] * 7] * 3 + [[2.0] * 3 + [-2.0] * 7]
    found = torch.tensor(told(late(n=10), *steps * 10))
    assert found[:3].min() > 2 and found[3:].max() < -2


def test_who_is_on_the_same_side_of_zero_and_of_the_others_is_told():
    """All gain: no worker is distrusted for gaining less. All lose: no worker is trusted for losing less."""
    gains = torch.tensor(told(late(), *[[1.0, 2.0, 3.0, 4.0]] * 30))
    assert gains.min() == 0 < gains.max()
    losses = torch.tensor(told(late(), *[[-1.0, -2.0, -3.0, -4.0]] * 30))
    assert losses.max() == 0 > losses.min()


def test_roles_drawn_anew_leave_it_silent():
    """70 % lie at every step, others each time: over 100 steps what it says is next to nothing."""
    generator = torch.Generator().manual_seed(124)
    found, said = late(n=10), []
    for _ in range(200):
        lie = torch.rand(10, generator=generator) < 0.7
        slopes = torch.where(lie, -1.0, 1.0) * torch.rand(10, generator=generator)
        said.append(max(map(abs, told(found, slopes.tolist()))))
    assert sum(said) / len(said) < 0.1


def test_it_follows_workers_who_change_sides():
    found = late()
    assert told(found, *[[1.0, 1.0, -1.0, -1.0]] * 60)[0] > 3
    assert told(found, *[[-1.0, 1.0, 1.0, -1.0]] * 200)[::2] == pytest.approx([-4.0, 4.0])


def test_renumbered_workers_get_the_same():
    generator = torch.Generator().manual_seed(125)
    steps = torch.randn(50, 10, generator=generator, dtype=torch.float64) + torch.linspace(-1, 1, 10)
    order = torch.randperm(10, generator=generator)
    straight, mixed = (torch.tensor(told(late(n=10), *each.tolist())) for each in (steps, steps[:, order]))
    assert torch.allclose(straight[order], mixed)


def test_who_sends_what_is_not_finite_teaches_nothing():
    found = late()
    finite = torch.tensor([True, False, True, True])
    for _ in range(20):
        found.learn(torch.tensor([1.0, -1.0, -1.0]).double(), EACH[:3], finite)
    odds = found.log_odds(4.0)
    assert odds[1] == 0 and odds[0] > 2 and odds[2:].max() < -2


@pytest.mark.parametrize("counts", [torch.zeros(4).double(), EACH])
def test_nothing_at_all_is_no_error(counts):
    found = late()
    found.learn(torch.zeros(4).double(), counts, ALL)
    assert found.log_odds(4.0).tolist() == [0.0] * 4


def mind_and_sight(lengths: list[float]) -> tuple[Mind, Sight]:
    mind = Mind(GAAPlus(), 4, 3, seeding.generator(0, "agent"))
    mind.yardstick = 2.0
    rows, values = torch.ones(4, 3), {"qv": torch.tensor([0.5, 0.5, -0.5, -0.5]).double()}
    lengths = torch.tensor(lengths).double()
    return mind, Sight(rows, ALL, rows, lengths, values, torch.eye(4).double(), EACH, EACH, 0.0)


def test_a_slope_is_the_product_of_cosine_and_lengths():
    """And no submission counts as longer than three medians."""
    mind, seen = mind_and_sight([1.0, 1.0, 3.0, 10.0])
    assert mind.slopes(seen).tolist() == [1.0, 1.0, -3.0, -3.0]


def test_it_speaks_with_reputations_and_teaches_them_nothing():
    mind, seen = mind_and_sight([1.0] * 4)
    mind.ledger.steps, mind.ledger.keep = YOUNG, 1.0
    before = mind.beliefs.reputation.prior()
    for _ in range(6):
        odds = mind.weigh_evidence(seen)
    assert (odds["reputation"] - before).tolist() == pytest.approx([2.0, 2.0, -2.0, -2.0])
    assert mind.beliefs.reputation.prior().equal(before)


@pytest.mark.parametrize("why", ["attackers that know the QV set", "switched off", "no QV gradient"])
def test_it_is_silent_where_the_samples_are_not_to_be_heard(why):
    """Attackers who know the samples earn whatever they like by them."""
    mind, seen = mind_and_sight([1.0] * 4)
    mind.ledger.steps = YOUNG
    mind.leakage.known = why == "attackers that know the QV set"
    if why == "switched off":
        mind.rule = GAAPlus(use_ledger=False)
    if why == "no QV gradient":
        del seen.values["qv"]
    for _ in range(20):
        odds = mind.weigh_evidence(seen)
    assert mind.ledger.steps == YOUNG and odds["reputation"].equal(mind.beliefs.reputation.prior())


def options(steps: int, seed: int, kind: str) -> dict:
    return {
        "n": 10, "steps": steps, "seed": seed, "lr": 0.1, "batch_size": 64, "eval_every": steps, "qv_source": "golden",
        "attack": GradientReversion(1.0), "roles": studies.schedule(kind, 10, 0.7, steps, seed),
    }  # fmt: skip


def test_short_runs_are_the_same_without_it(monkeypatch):
    """The league's are: what it says of the ledger holds for later steps alone. And it is asked at these."""
    asked = []
    monkeypatch.setattr(ledger.Ledger, "log_odds", lambda self, cap: asked.append(self.steps) or torch.zeros(10))
    steps = 30
    found = [run(CMS, GAAPlus(use_ledger=use), **options(steps, 126, "static")) for use in (True, False)]
    assert 0 < len(asked) < steps <= YOUNG, "there is some warm-up first"
    assert found[0].steps["loss"].tolist() == found[1].steps["loss"].tolist()


def test_beliefs_do_not_turn_into_their_opposite_late_in_training():
    """Seven of ten turn at step 200 of 600, when the samples are fitted: 83 % without the ledger, 88 with it.

    Those are means of tuning seeds 124 to 131; single runs part from the last digits on from one processor to another.
    """
    with_it, without = (
        [run(CMS, GAAPlus(use_ledger=use), **options(600, seed, "pretense")).accuracy for seed in (124, 126, 127, 129)]
        for use in (True, False)
    )
    assert math.fsum(with_it) > 4 * 0.84
    assert math.fsum(without) < math.fsum(with_it) - 4 * 0.01
