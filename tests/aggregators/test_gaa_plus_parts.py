"""The parts of GAAPlus against values computed by hand, by autograd and by simulation."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gaa_core import seeding
from gaa_core.agent import EvidencePolicy, sigmoid
from gaa_core.aggregators import GAAPlus
from gaa_core.aggregators.gaa_plus.all_workers import AllWorkers
from gaa_core.aggregators.gaa_plus.beliefs import Beliefs
from gaa_core.aggregators.gaa_plus.evidence import CAP, YOUNG, Calibration, Mirror
from gaa_core.aggregators.gaa_plus.measuring import PRIOR
from gaa_core.aggregators.gaa_plus.momentum import Momentum
from gaa_core.aggregators.gaa_plus.peers import Agreement, Lengths
from gaa_core.aggregators.gaa_plus.predicted_decrease import PredictedDecrease
from gaa_core.aggregators.gaa_plus.state import State
from gaa_core.aggregators.gaa_plus.statistics import counted, identical, multiplicity, weighted_median
from gaa_core.aggregators.gaa_plus.warm_up import Axis
from gaa_core.aggregators.gaa_plus.watchdog import Watchdog
from gaa_core.aggregators.gaa_plus.workers import START, Ledger, Reputation

ALL = np.ones(10, dtype=bool)


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(count)


def test_copies_and_medians_by_hand():
    assert multiplicity(np.array([[1.0, 0.995, 0.2], [0.995, 1.0, 0.2], [0.2, 0.2, 1.0]])).tolist() == [2, 2, 1]
    alike = np.array([2.0, 2.0, 1.0])
    assert identical(alike).tolist() == pytest.approx([1, 1, 0], abs=1e-6)
    counts, beside = counted(alike, np.zeros(3), known=0.0)
    assert counts.tolist() == pytest.approx([0, 0, 1], abs=1e-6)  # beside a single one: not at all
    assert beside == pytest.approx(1)
    assert counted(alike[:2], np.zeros(2), known=0.0)[0].tolist() == pytest.approx([0.5, 0.5])  # alone: as one
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 3.0])) == 2.0
    assert weighted_median(np.ones(2), np.zeros(2)) == math.inf


def test_calibration_learns_both_laws():
    law = Calibration()
    for _ in range(40):
        told = np.arange(10) < 5
        law.learn(np.where(told, 0.4 + 0.05 * noise(10), -0.3), 1.0 * told, 1.0 * ~told)
    odds = law.log_odds(np.array([0.4, -0.3, 5.0]))
    assert odds.tolist() == pytest.approx([CAP, -CAP, CAP])
    assert law.other_mean == pytest.approx(-0.3, abs=1e-6) and law.known == pytest.approx(10, rel=0.6)


def test_one_kind_cut_in_two_is_not_believed():
    values = noise(200)
    told = 1.0 * (values > 0)
    whole, careful = Calibration(), Calibration(apart=5.0)
    for law in (whole, careful):
        for _ in range(30):
            law.learn(values + 1, told, 1 - told)
    assert abs(float(careful.log_odds(np.zeros(1))[0])) < 0.6 * abs(float(whole.log_odds(np.zeros(1))[0]))


def test_a_robust_law_is_not_that_of_one_worker_far_from_the_others():
    """One that always submits the same agrees with the momentum for ever; late in training benign workers do not."""
    values, told = np.append(0.05 + 0.02 * noise(9), 0.9), np.ones(10)
    plain, robust = Calibration(), Calibration(robust=True)
    for law in (plain, robust):
        for _ in range(30):
            law.learn(values, told, 1 - told)
    assert plain.mean > 0.1 and robust.mean == pytest.approx(0.05, abs=0.02)
    assert robust.variance**0.5 < 0.06 < plain.variance**0.5
    assert (robust.log_odds(values)[:9] > plain.log_odds(values)[:9]).all()


def test_a_mirrored_law_needs_no_signs():
    mirror = Mirror(window=1e6)
    mirror.learn(np.sign(noise(20000)) * 0.5 + 0.2 * noise(20000, 1), np.ones(20000))
    assert mirror.mean == pytest.approx(0.5, abs=0.01) and mirror.variance == pytest.approx(0.04, abs=0.005)
    assert float(mirror.log_odds(np.array([0.1]))[0]) == pytest.approx(2 * 0.5 / 0.04 * 0.1, rel=0.1)
    one_kind = Mirror(window=1e6)
    one_kind.learn(noise(20000, 2), np.ones(20000))
    assert one_kind.apart() < 1 and one_kind.leaning(np.ones(1))[0] > 0


def test_an_ordinary_length_says_nothing_and_a_gross_one_outweighs_all():
    lengths = Lengths()
    odds = lengths.log_odds(np.array([0.5, 1.9, 6.0, 0.01]), yardstick=1.0)
    assert odds[:2].tolist() == [0, 0] and odds[2] <= -4 * CAP and odds[3] <= -4 * CAP
    assert Lengths().log_odds(np.array([6.0, 7.0]), yardstick=1.0).tolist() == [0, 0]  # the yardstick fits none


def test_a_pair_counts_for_one_unit():
    agreement = Agreement()
    agreement.learn(np.full((4, 4), 0.5), np.ones(4))
    odds = agreement.log_odds(np.full((4, 4), 0.9), np.array([1.0, 1.0, -1.0, 0.0]))
    assert odds.tolist() == pytest.approx([0, 0, 2, 1])
    assert (agreement.log_odds(np.full((4, 4), 0.9), -np.ones(4)) == 0).all()  # all against all


def test_filters_learn_at_which_rate_roles_change():
    static, changing = Reputation(10), Reputation(10)
    for step in range(60):
        told = np.where(np.arange(10) < 3, 3.0, -3.0)
        static.learn(told, np.ones(10))
        changing.learn(np.random.default_rng(step).permutation(told), np.ones(10))
    assert (static.prior()[:3] > 3).all() and (static.prior()[3:] < -3).all() and static.settled() > 0.9
    assert np.abs(changing.prior()).max() < 1.5 and changing.settled() < 0.3
    assert changing.base == pytest.approx(0.3, abs=0.12)
    for _ in range(400):  # late in training nothing tells benign from Byzantine, but for errors that all share
        static.learn(np.full(10, -0.1), np.ones(10))
    assert (static.prior()[:3] > 1.5).all() and (static.prior()[3:] < -2.5).all()
    static.forget()
    assert static.prior().tolist() == pytest.approx([math.log(START / (1 - START))] * 10)


@pytest.mark.parametrize("moving", [False, True])
def test_the_ledger_finds_who_works_against_f_b_unless_roles_move(moving):
    ledger = Ledger(10)
    for step in range(60):
        slopes = np.where(np.arange(10) < 4, 0.6, -0.6) + noise(10, step)
        ledger.learn(np.random.default_rng(step).permutation(slopes) if moving else slopes, np.ones(10), ALL)
    odds = ledger.log_odds()
    assert np.abs(odds).max() < 1 if moving else (odds[:4] >= 0).all() and (odds[4:] <= 0).all() and odds.max() > 1


def test_what_is_known_of_copies_is_told_to_the_role_filters():
    """A switching majority of copies looked like changing roles: half of its submissions are true gradients."""
    beliefs, policy = Beliefs(3), EvidencePolicy(PRIOR, lr=0.02)
    odds = {kind: np.full(3, 2.0 * (kind == "qv")) for kind in PRIOR}
    sole, everyone = np.array([0.0, 0.0, 1.0]), np.ones(3, dtype=bool)
    told = {"values": {}, "lengths": np.ones(3), "alike": np.array([2.0, 2.0, 1.0]), "cosine": np.eye(3)}
    for _ in range(10):
        beliefs.learn(SimpleNamespace(finite=everyone, **told), odds, sole, sole, policy, young=False)
    prior = beliefs.reputation.prior()
    assert prior[2] > 2 and (prior[:2] < -2).all()


def test_what_is_forgotten_does_not_take_the_usual_length_with_it():
    """After a silence gross submissions would have looked ordinary."""
    beliefs = Beliefs(3)
    beliefs.lengths.follow(2.0, yardstick=2.0)
    beliefs.forget()
    assert beliefs.lengths.usual == 2.0 and beliefs.laws["qv"].steps == 0


def test_f_b_is_asked_of_all_workers_only_where_their_update_is_apart():
    asked = []

    def losses(theta, *samples):
        asked.append(theta)
        return theta.repeat(5)

    samples = SimpleNamespace(inputs=None, targets=torch.zeros(5))
    server = SimpleNamespace(qv=samples, model=SimpleNamespace(losses=losses), parameters=torch.zeros(1), lr=1.0)
    all_workers, update = AllWorkers(), torch.ones(1)
    for _ in range(20):
        all_workers.follow(server, update, 1e30 * update, slope=1.0)
    assert not asked
    for _ in range(20):
        all_workers.follow(server, update, -update, slope=1.0)
    assert asked and not all_workers.believed  # apart, but f_B does not fall by theirs


def test_the_momentum_turns_when_the_votes_speak_against_it():
    momentum, own = Momentum(3), np.array([0.5, 0.5, -0.5])
    momentum.adopt(torch.tensor([1.0, 0.0, 0.0]), 5, standing=1.0)
    assert not momentum.vote(own, own, np.ones(3)) and momentum.standing > 2
    assert any(momentum.vote(own, -own, np.ones(3)) for _ in range(9))
    assert momentum.average.tolist() == [-1, 0, 0] and momentum.standing >= 2
    assert 0 < momentum.credibility() < 1


@pytest.mark.parametrize(
    ("updates", "left", "known", "turns"),
    [(YOUNG, 0.9, True, True), (YOUNG + 1, 0.9, False, False), (YOUNG, 0.4, True, False), (YOUNG, 0.4, False, True)],
)
def test_late_votes_do_not_turn_the_momentum(updates, left, known, turns):
    """Late in training samples are fitted or unlike the others: their gradient turned what 400 steps had proven."""
    state = State(GAAPlus(), 10, 3, seeding.generator(0, "agent"))
    state.one_class, state.watchdog.first, state.server = False, 1.0, SimpleNamespace(qv_loss=lambda: left)
    state.momentum.adopt(torch.tensor([1.0, 0.0, 0.0]), updates, standing=1.0)
    for _ in range(40 * known):
        state.beliefs.reputation.learn(np.where(np.arange(10) < 5, 3.0, -3.0), np.ones(10))
    own = np.where(np.arange(10) < 5, 0.5, -0.5)
    turned = False
    for _ in range(9):
        state._try_momentum({"memory": own, "qv": -own}, np.ones(10))
        turned |= bool(state.momentum.average[0] < 0)
    assert turned == turns


def test_an_axis_is_signed_by_votes_and_by_the_many():
    axis = Axis(2)
    axis.counted, axis.along = 10.0, 9.0
    assert axis.log_odds() == pytest.approx(0.5 * 0.8) and axis.sign() == 1
    axis.product = -1.0
    assert axis.sign() == -1


def test_credits_leave_out_the_chance_that_no_worker_is_benign():
    assert State._share_out(np.array([0.5, 0.5, 0.0]), np.ones(3)).tolist() == pytest.approx([0.375, 0.375, 0])
    copies = State._share_out(np.array([0.5, 0.5]), np.full(2, 2.0))
    assert copies.tolist() == pytest.approx([0.25, 0.25])


def test_no_loss_falls_by_more_than_it_was():
    predicted = PredictedDecrease(2)
    finite, theta = np.ones(2, dtype=bool), torch.zeros(1)
    gradients, trust = torch.tensor([[1.0], [-1.0]]), np.array([0.0, 1.0])
    broken = [predicted.broken(theta + 0.2 * step, gradients, trust, finite, first=1.0) for step in range(9)]
    assert broken.index(True) == 7  # 0.2 of the first value a step, from the second on: 1.4 > 1.25
    assert np.sign(predicted.log_odds()).tolist() == [1, -1]


def test_the_watchdog_refuses_jumps_and_gives_in_to_a_lasting_rise():
    watchdog = Watchdog()
    assert watchdog.admits(1.0, 1.1)
    assert [watchdog.admits(1.0, 9.0) for _ in range(4)] == [False, False, False, True]
    assert not watchdog.admits(1.0, 9.0)  # one that passed does not make jumps usual
    assert not any(watchdog.admits(1.0, math.nan) for _ in range(9))


def test_a_run_is_lost_when_f_b_stays_above_its_first_value():
    watchdog = Watchdog()
    found = []
    for _ in range(40):
        watchdog.note(1.0 if not found else 1.6)
        found.append(watchdog.lost())
    assert found.index(True) == 18  # after 15 steps, and by a moving average


def test_the_weights_follow_the_gradient_of_shares():
    """Against central differences of sum_i slopes_i p_i / sum_j p_j, up to a positive factor."""
    policy = EvidencePolicy({"a": 1.0, "b": 0.5}, lr=1e-3, return_rate=0.0)
    odds, slopes = np.array([[0.3, -0.4, 0.2], [-0.2, 0.5, 0.1]]), np.array([1.0, -2.0, 3.0])
    nudges = 1e-6 * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    shares = sigmoid((policy.weights + nudges) @ odds)
    own, *moved = shares / shares.sum(axis=1, keepdims=True)
    policy.remember(dict(zip("ab", odds, strict=True)), own, np.ones(3, dtype=bool))
    policy.learn(slopes)
    found, expected = policy.weights - policy.prior, np.array([moved[0] - moved[1], moved[2] - moved[3]]) @ slopes
    assert found @ expected / np.linalg.norm(found) / np.linalg.norm(expected) == pytest.approx(1, rel=1e-6)
