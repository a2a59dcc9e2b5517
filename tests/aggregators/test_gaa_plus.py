"""GAAPlus: its credits, its switches, its declared protocol with the server, and what it survives."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gaa_core import conformance, roles, run, seeding
from gaa_core.aggregators import GAA, GAAPlus, Oracle
from gaa_core.aggregators.gaa_plus.direction import DirectionMemory, survey
from gaa_core.aggregators.gaa_plus.evidence import YOUNG, Calibration, Lengths, multiplicity, weighted_median
from gaa_core.aggregators.gaa_plus.mind import Mind
from gaa_core.aggregators.gaa_plus.reputation import Reputation
from gaa_core.aggregators.gaa_plus.sight import Sight, foretold_spread
from gaa_core.aggregators.gaa_plus.watchdog import Bearings, Watchdog
from gaa_core.attacks import ALittleIsEnough, GradientReversion, OneCoordinate, RandomFault
from gaa_core.cases import CMS, MNIST
from gaa_core.errors import GaaError
from gaa_core.models import FlatModel
from gaa_core.qv import draw_qv
from gaa_core.server import ParameterServer

SWITCHES = [field.name for field in dataclasses.fields(GAAPlus) if field.name.startswith("use_")]
SHORT = {"steps": 12, "batch_size": 8, "lr": 0.05}
LEAGUE = {"steps": 150, "batch_size": 32, "lr": 0.05, "seed": 103}
RUN = {"steps": 120, "batch_size": 64, "lr": 0.05, "seed": 104}  # a seed of the tuning, which no table reports


def answer(rule: GAAPlus, submissions: torch.Tensor, honest: int, steps: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """The last of some steps with the same submissions [n, d], of which the first `honest` make the QV gradient.

    Warm-up comes before them.
    """
    n, d = submissions.shape
    byzantine = torch.arange(n) >= honest
    server = conformance.QuadraticServer(-submissions[:honest].mean(dim=0), byzantine)
    rule.reset(n, d, seeding.generator(0, "agent"))
    for _ in range(rule.warm_up + steps):
        rule.observe(server)
        update, credits = rule.decide(submissions)
    return update, credits


def submissions(n: int = 10, honest: int = 3, d: int = 300) -> torch.Tensor:
    """Honest rows about a common direction, then the same reversed."""
    rows = 1.0 + torch.randn(n, d, generator=seeding.generator(n, "submissions"))
    rows[honest:] *= -1.0
    return rows


def test_conforms():
    assert "row order" in conformance.check_aggregator(GAAPlus())


def test_liars_get_exactly_nothing_and_the_rest_sums_to_one():
    update, credits = answer(GAAPlus(), submissions(), honest=3)
    assert torch.equal(credits[3:], torch.zeros(7))
    assert credits.sum().item() == pytest.approx(1)
    assert (update > 0).float().mean() > 0.8


def test_silence_when_nobody_deserves_credit():
    rows = submissions(honest=0)
    server = conformance.QuadraticServer(rows.mean(dim=0), torch.ones(10, dtype=torch.bool))
    rule = GAAPlus()
    rule.reset(*rows.shape, seeding.generator(0, "agent"))
    for _ in range(rule.warm_up + 1):
        rule.observe(server)
        update, credits = rule.decide(rows)
    assert credits.sum() < 0.05 and update.norm() < 0.05 * rows[0].norm()


def test_renumbering_workers_renumbers_credits():
    rows = submissions()
    order = torch.randperm(10, generator=seeding.generator(1, "order"))
    plain, renumbered = GAAPlus(), GAAPlus()
    server = conformance.QuadraticServer(-rows[:3].mean(dim=0), torch.zeros(10, dtype=torch.bool))
    for rule in (plain, renumbered):
        rule.reset(*rows.shape, seeding.generator(0, "agent"))
    for step in range(12):
        noisy = rows + torch.randn(rows.shape, generator=seeding.generator(step, "noise"))
        plain.observe(server), renumbered.observe(server)
        update, credits = plain.decide(noisy)
        other_update, other_credits = renumbered.decide(noisy[order])
        torch.testing.assert_close(other_credits, credits[order], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(other_update, update, rtol=1e-4, atol=1e-4)
    assert credits.sum() > 0.9


def test_twins_count_once_and_not_beside_a_single_one():
    rows = submissions(n=10, honest=10)
    rows[3:] = rows[:3].mean(dim=0) - 0.3  # seven the same, of the honest direction
    _, credits = answer(GAAPlus(), rows, honest=3)
    assert credits[3:].sum() < 0.05
    _, together = answer(GAAPlus(use_twins=False), rows, honest=3)
    assert together[3:].sum() > 0.5


def test_when_all_say_the_same_it_is_done():
    rows = submissions(n=10, honest=10)[:1].repeat(10, 1)
    update, credits = answer(GAAPlus(), rows, honest=10)
    torch.testing.assert_close(update, rows[0])
    torch.testing.assert_close(credits, torch.full((10,), 0.1))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_gets_nothing(value):
    rows = submissions(honest=10)
    rows[4, 7] = value
    update, credits = answer(GAAPlus(), rows, honest=3, steps=3)
    assert credits[4] == 0 and update.isfinite().all() and credits.sum() > 0.9
    _, credits = answer(GAAPlus(), torch.full((4, 5), value), honest=0 + 4)
    assert torch.equal(credits, torch.zeros(4))


def test_a_submission_of_many_times_the_length_gets_nothing():
    rows = submissions(honest=10)
    rows[5:] *= 1e6
    _, credits = answer(
        GAAPlus(use_qv=False, use_memory=False, use_peers=False, use_twins=False), rows, honest=5, steps=5
    )
    assert credits[5:].sum() < 0.05


@pytest.mark.parametrize("switch", SWITCHES)
def test_every_part_can_be_switched_off(switch):
    rule = dataclasses.replace(GAAPlus(), **{switch: False})
    trace = run(MNIST, rule, **SHORT, attack=GradientReversion(), roles=roles.static(10, 3))
    assert np.isfinite(trace.credits).all() and repr(rule) == f"GAAPlus({switch}=False)"
    assert (trace.credits >= 0).all() and (trace.credits.sum(axis=1) <= 1 + 1e-5).all()


def test_same_run_same_trace():
    rule = GAAPlus()
    attack = {"attack": RandomFault(std=1.0), "roles": roles.resampled(10, 0.5, seed=3)}
    first, second = (run(MNIST, rule, **SHORT, **attack) for _ in range(2))
    assert np.array_equal(first.credits, second.credits)
    assert first.steps["qv_loss"].equals(second.steps["qv_loss"])


def test_needs_a_run():
    with pytest.raises(GaaError, match="learns during a run"):
        GAAPlus()(torch.ones(3, 4))
    rule = GAAPlus()
    rule.reset(3, 4, seeding.generator(0, "agent"))
    with pytest.raises(GaaError, match="observe"):
        rule(torch.ones(3, 4))


class Model:
    """f_B(theta) = theta^2 / 2 in one dimension."""

    def parts(self, theta):
        return [theta]

    def loss(self, theta, inputs, targets):
        return float(theta.square().sum() / 2)


def test_the_server_rolls_back_to_the_older_kept_state_and_counts_it():
    qv = dataclasses.make_dataclass("Qv", ["inputs", "targets"])(None, None)
    server = ParameterServer(Model(), qv, torch.tensor([3.0]), lr=1.0)
    with pytest.raises(GaaError, match="keep"):
        server.rollback()
    for _ in range(3):
        server.keep()
        server.update(torch.tensor([1.0]))
    server.refuse()
    server.rollback()
    assert server.parameters.item() == 2.0 and server.step == 3
    assert server.qv_loss() == 2.0
    assert server.interventions() == {"refused": True, "rolled_back": True, "alone": False}
    assert server.interventions() == {"refused": False, "rolled_back": False, "alone": False}
    server.rollback(to_start=True)
    assert server.parameters.item() == 3.0 and server.interventions()["rolled_back"]
    server.update(torch.tensor([1.0]))
    server.rollback()  # what was kept before is forgotten
    assert server.parameters.item() == 3.0


def test_refusals_and_rollbacks_are_in_the_trace(monkeypatch):
    verdicts = iter(["accept", "accept", "refuse", "roll back", *["accept"] * 20])
    keeps = iter([True, *[False] * 20])
    monkeypatch.setattr(Watchdog, "judge", lambda *arguments: next(verdicts))
    monkeypatch.setattr(Watchdog, "wants_to_keep", lambda *arguments: next(keeps))
    trace = run(MNIST, GAAPlus(use_warm_up=False), **SHORT)
    assert trace.steps["refused"].sum() == 1 and trace.steps["rolled_back"].sum() == 1
    assert trace.steps["refused"][2] and trace.steps["rolled_back"][3]
    assert (trace.credits[2:4] == 0).all()
    assert trace.steps["qv_loss"][3] == trace.steps["qv_loss"][2]  # refused: theta stayed
    assert trace.steps["qv_loss"][4] == trace.steps["qv_loss"][0]  # rolled back to what was kept first


def test_the_watchdog_refuses_a_jump_and_gives_in_to_a_lasting_rise():
    watchdog = Watchdog()
    for _ in range(20):
        assert watchdog.judge(1.0, 1.0) == "accept"
    verdicts = [watchdog.judge(1.0, 3.0) for _ in range(40)]
    assert verdicts[:4] == ["refuse"] * 3 + ["roll back"]
    assert watchdog.judge(1.0, float("nan")) != "accept"
    assert watchdog.tolerance > watchdog.alarm
    assert watchdog.wants_to_keep(9.0) is False


def test_the_watchdog_never_tolerates_everything():
    watchdog = Watchdog()
    watchdog.judge(1.0, 1.0)
    verdicts = {watchdog.judge(1.0, 2000.0) for _ in range(400)}
    assert verdicts == {"refuse", "roll back"}
    assert watchdog.tolerance == watchdog.most


def test_no_state_is_kept_that_is_worse_than_the_start():
    watchdog = Watchdog()
    assert watchdog.wants_to_keep(1.0)
    for step in range(60):
        assert watchdog.judge(1.0 + 0.01 * step, 1.01 + 0.01 * step) == "accept"  # creeping upwards: never a jump
        assert not watchdog.wants_to_keep(1.01 + 0.01 * step)
    assert watchdog.wants_to_keep(0.99)


def test_reputation_learns_which_horizon_to_believe():
    fixed, fickle = Reputation(4, (1, 1000)), Reputation(4, (1, 1000))
    generator = seeding.generator(0, "roles")
    for _ in range(30):
        fixed.learn(torch.tensor([2.0, 2.0, -2.0, -2.0], dtype=torch.float64), torch.ones(4).double())
        fickle.learn(
            4.0 * (torch.rand(4, generator=generator, dtype=torch.float64) < 0.5) - 2.0, torch.ones(4).double()
        )
    assert fixed.prior()[0] > 3 and fixed.prior()[2] < -3
    assert fickle.prior().abs().max() < 2.5
    assert Reputation(4, (1, 1000)).settled() == 0.0
    assert fixed.settled() > 0.8 and fickle.settled() < 0.4


def test_one_step_adds_no_more_to_a_reputation_than_its_cap():
    sure, capped = (Mind(GAAPlus(step_cap=1.5), 2, 3, seeding.generator(0, "agent")).beliefs.reputation for _ in "ab")
    sure.learn(torch.tensor([9.0, -9.0]).double(), torch.ones(2).double())
    capped.learn(torch.tensor([1.5, -1.5]).double(), torch.ones(2).double())
    assert torch.equal(sure.honest, capped.honest)


def test_one_honest_worker_in_ten_another_at_every_step_is_no_error_about_ten_liars():
    """What one step adds is capped; where that cap also told horizons apart, all ten would be Byzantine workers for
    good.
    """
    ones, found = torch.ones(10).double(), {}
    for cap in (2.0, 4.0):
        reputation = Reputation(10, (1, 10, 100, 1000), step_cap=2.0, cap=cap)
        generator = seeding.generator(0, "roles")
        for _ in range(100):
            odds = torch.full((10,), -4.0).double()
            odds[torch.randint(10, (1,), generator=generator)] = 4.0
            reputation.learn(odds, ones)
        found[cap] = reputation.prior()
    assert found[4.0].min() > -4 and found[2.0].median() < -6, found  # what evidence at its cap outweighs, and not


def test_who_gives_himself_away_says_nothing_of_the_share_of_the_honest():
    reputation = Reputation(4, (1, 1000))
    for _ in range(60):
        reputation.learn(torch.tensor([3.0, 3.0, -9.0, -9.0]).double(), torch.tensor([1.0, 1.0, 0.0, 0.0]).double())
    assert reputation.base > 0.85
    before = reputation.base
    reputation.learn(torch.full((4,), -9.0).double(), torch.zeros(4).double())
    assert reputation.base == before  # no worker hides: nothing is learned


def test_whoever_gives_himself_away_by_his_length_has_no_vote_among_peers():
    """Byzantine workers who are true gradients but for one coordinate: to agree with them speaks against no worker."""
    mind = Mind(GAAPlus(), 6, 3, seeding.generator(0, "agent"))
    mind.yardstick, mind.beliefs.lengths.usual, mind.beliefs.lengths.strange = 1.0, 1.0, 0.5
    mind.beliefs.agreement.mean, mind.beliefs.agreement.variance = 0.5, 0.01
    rows, one = torch.ones(6, 3), torch.ones(6, dtype=torch.float64)
    cosine = torch.full((6, 6), 0.5, dtype=torch.float64).fill_diagonal_(1.0)
    for length, heard in ((9.0, False), (1.0, True)):
        lengths = torch.tensor([1.0] * 2 + [length] * 4).double()
        sight = Sight(rows, torch.ones(6, dtype=torch.bool), rows, lengths, {}, cosine, one, one, 0.0)
        mind.beliefs.reputation.honest[:, 2:] = mind.beliefs.reputation.base = 0.02
        peers = mind.weigh_evidence(sight)["peers"][:2]
        assert (peers <= 0).all() if heard else (peers > 0.5).all(), peers


def test_late_in_training_weak_evidence_does_not_undo_what_is_known_of_the_horizons():
    kept, faded = Reputation(2, (1, 1000)), Reputation(2, (1, 1000), late=0.98)
    for reputation in (kept, faded):
        for step in range(YOUNG + 200):
            odds = torch.tensor([2.0, -2.0]) if step < YOUNG else torch.zeros(2)
            reputation.learn(odds.double(), torch.ones(2).double())
    assert kept.prior()[0] > 2 > 1.5 > faded.prior()[0]


def test_calibration_finds_liars_whose_evidence_is_narrow():
    kind = Calibration(horizon=10, cap=4.0, floor=0.0)
    honest = 0.2 + 0.1 * torch.randn(5, generator=seeding.generator(0, "honest"), dtype=torch.float64)
    for _ in range(30):
        values = torch.cat([honest, torch.zeros(5, dtype=torch.float64)])
        kind.log_odds(values)
        kind.learn(values, torch.tensor([1.0] * 5 + [0.0] * 5).double(), torch.tensor([0.0] * 5 + [1.0] * 5).double())
    odds = kind.log_odds(torch.tensor([0.2, 0.08, 0.0, -0.2], dtype=torch.float64))
    assert odds[0] > 0 and odds[1] > 0 and odds[2] < 0 and odds[3] < 0


def test_the_witness_does_not_listen_to_coordinates_that_swing():
    memory = DirectionMemory(2, horizon=50, damping=0.01)
    for step in range(40):
        swing = 1.0 if step % 2 else -1.0
        rows = torch.tensor([[0.1, swing]]).repeat(3, 1)
        memory.note(rows, rows.norm(dim=1).double())
        memory.accept(rows[0])
    assert memory.witness()[0] > 10 * memory.witness()[1].abs()


def test_a_memory_that_the_qv_gradient_contradicts_turns_round():
    memory = DirectionMemory(2, horizon=50, damping=0.1)
    memory.accept(torch.tensor([1.0, 0.0]))
    own, one = torch.tensor([0.5, 0.4], dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    assert not memory.vote(own, [own], one, 1.0) and memory.credibility() > 0
    turned = [memory.vote(own, [-own, -own], one, 1.0) for _ in range(4)]
    assert turned.count(True) == 1 and memory.average[0] < 0


def noted(loss: float, steps: int, first: float = 1.0) -> Bearings:
    bearings = Bearings()
    bearings.note(first)
    for _ in range(steps):
        bearings.note(loss)
    return bearings


def test_a_run_is_lost_when_f_b_stays_above_its_first_value():
    unsure = {"standing": 1.0, "reputation": 1.0}
    assert not noted(1.1, 100).lost(**unsure)
    assert noted(1.5, 30).lost(**unsure)
    assert not noted(1.5, 10).lost(**unsure)  # not at once
    assert noted(float("inf"), 30).lost(**unsure)
    assert not noted(1.5, 30).lost(standing=5.0, reputation=3.0)  # ten samples against all that was learned
    assert noted(3.0, 30).lost(standing=5.0, reputation=3.0)
    bearings = noted(2.0, 30)
    bearings.begin_anew()
    assert not bearings.lost(**unsure)


def test_silence_for_long_says_more_of_the_evidence_than_of_the_workers():
    assert Bearings().stuck(silent=11, accepted=20)
    assert not Bearings().stuck(silent=10, accepted=20)
    assert not Bearings().stuck(silent=1000, accepted=151)  # it has learned: silence can be right


def test_silence_while_nobody_is_of_an_ordinary_length_is_no_error_not_even_once_somebody_is():
    mind = Mind(GAAPlus(), 4, 3, seeding.generator(0, "agent"))
    mind.yardstick, mind.beliefs.lengths.usual = 1.0, 1.0
    nothing, no_worker = torch.zeros(3), torch.zeros(4, dtype=torch.float64)
    for _ in range(20):
        mind.remember(nothing, no_worker, ordinary=False)
    mind.remember(nothing, no_worker, ordinary=True)
    assert mind.beliefs.lengths.usual > 0.6
    for _ in range(mind.bearings.longest):
        mind.remember(nothing, no_worker, ordinary=True)
    assert mind.beliefs.lengths.usual == 0  # so long no worker among them can be honest: what is believed is wrong


def test_what_the_qv_samples_do_not_agree_on_is_not_believed():
    """Two classes that pull apart, in one coordinate each: what a sample says of the others says nothing of a batch."""
    quiet, noisy = Calibration(10, 4.0), Calibration(10, 4.0)
    noisy.noise = 1.0
    values = torch.tensor([0.1, -0.1, 0.08, 0.02], dtype=torch.float64)
    assert quiet.log_odds(values).abs().max() > 2
    assert noisy.log_odds(values).abs().max() < 0.1


def test_the_spread_of_honest_cosines_is_foretold():
    """Golden samples of logistic regression: the foretold spread is of the true one's size."""
    data = CMS.load()
    model = FlatModel(CMS.model(data))
    theta = model.initial()
    qv, _ = draw_qv(CMS, data, "golden", 10, torch.Generator().manual_seed(0))
    rule = GAAPlus()
    rule.reset(40, len(theta), torch.Generator().manual_seed(0))
    rule.observe(ParameterServer(model, qv, theta, lr=0.1))
    draw = torch.Generator().manual_seed(1)
    batches = torch.randint(len(data.train), (40, 32), generator=draw)
    honest = torch.stack(
        [model.gradient(theta, data.train.inputs[rows], data.train.targets[rows])[0] for rows in batches]
    )
    gradient = rule._state.server.qv_gradient()
    cosine = (honest @ gradient) / honest.norm(dim=1) / gradient.norm()
    foretold = foretold_spread(rule._state.server, honest.norm(dim=1).double(), rule._state.yardstick)
    assert 0.5 < foretold / float(cosine.std()) < 4


def test_one_kind_cut_in_two_is_not_believed_where_evidence_has_to_be_apart():
    kinds = {apart: Calibration(10, 4.0, apart=apart) for apart in (None, 2.5)}
    values = torch.linspace(-1, 1, 11, dtype=torch.float64) + 0.3
    trust = torch.sigmoid(2 * (values - 0.3))  # softly cut, as trust does
    for kind in kinds.values():
        kind.log_odds(values)
        for _ in range(40):
            kind.learn(values, trust, 1 - trust)
    told = {apart: float(kind.log_odds(values).abs().mean()) for apart, kind in kinds.items()}
    assert told[2.5] < told[None]


def test_silence_where_liars_could_be_told_and_cannot_any_more():
    bearings = Bearings()
    assert not any(bearings.unclear(0.7, 1.0, 3.0, 0.5) for _ in range(20))  # never clear: nothing was lost
    assert not bearings.unclear(0.7, float("inf"), 3.0, 0.5)  # nor by knowing nothing yet
    assert not bearings.unclear(0.7, 1.0, 3.0, 0.5)
    assert not bearings.unclear(0.7, 5.0, 3.0, 0.5)
    assert bearings.unclear(0.7, 1.0, 3.0, 0.5)
    assert not bearings.unclear(0.7, 1.0, 3.0, 4.0)  # reputations know who they are
    assert not any([bearings.unclear(0.0, 1.0, 3.0, 0.5) for _ in range(30)][-5:])  # no Byzantine workers about


def test_clarity_by_hand():
    seen = Calibration(horizon=4, cap=4.0, floor=0.0)
    assert seen.clarity() == float("inf")
    values = torch.tensor([0.4, 0.6, -0.4, -0.6], dtype=torch.float64)
    honest = torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    for _ in range(200):
        seen.log_odds(values)
        seen.learn(values, honest, 1 - honest)
    assert seen.clarity() == pytest.approx(1.0 / 0.1)  # means at +-0.5, spreads of 0.1


def test_lengths_are_judged_by_the_qv_gradient_first_and_by_the_trusted_later():
    lengths = Lengths(horizon=10, cap=4.0)
    odds = lengths.log_odds(torch.tensor([1.0, 0.3, 2.7], dtype=torch.float64), yardstick=1.0)
    assert odds[0] == odds[1] > -0.1 and odds[2] < -2  # a mean over more samples is rather shorter
    assert lengths.follow(0.4, yardstick=1.0) == 0.4
    seen = torch.tensor([0.4, 0.7, 0.9, 0.05], dtype=torch.float64)
    odds = lengths.log_odds(seen, yardstick=1.0)
    assert odds[0] == odds[1] and odds[2] < odds[0] and odds[3] < -4
    scattered = torch.tensor([0.1, 0.3, 0.8, 1.0], dtype=torch.float64)
    lengths.learn(scattered, torch.zeros(4), trust=torch.ones(4).double(), distrust=torch.zeros(4))
    assert lengths.longest() == 3.0 and lengths.log_odds(seen, yardstick=1.0)[2] == odds[0]
    for _ in range(100):
        lengths.relax(yardstick=3.0)
    assert lengths.usual == pytest.approx(2.0, rel=1e-3)


def test_a_run_that_went_the_wrong_way_is_rolled_back_and_turned_round():
    class Wrong(conformance.QuadraticServer):
        def qv_loss(self, parameters=None):
            return 3.0 * self.first if parameters is None and self.far else self.first

    server, rule = Wrong(torch.ones(300), torch.arange(10) >= 3), GAAPlus()
    server.first, server.far = 1.0, False
    rule.reset(10, 300, seeding.generator(0, "agent"))
    for step in range(50):
        server.far = step > 15
        rule.observe(server)
        average = rule._state.memory.average.clone()
        credits = rule.decide(submissions())[1]
        if average.any() and torch.equal(rule._state.memory.average, -average):
            break
    assert 15 <= step < 49
    assert not credits.any()


def test_survey_is_exact_where_squares_overflow():
    rows = torch.randn(6, 500, generator=seeding.generator(0, "rows"))
    rows[1] *= 1e30
    rows[2] *= 1e-30
    rows[3] = 0.0
    vector = torch.randn(500, generator=seeding.generator(0, "vector"))
    lengths, cosines = survey(rows, [vector, -vector])
    exact = torch.nn.functional.cosine_similarity(rows.double(), vector.double()[None], eps=1e-300)
    torch.testing.assert_close(cosines[:, 0], exact, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(cosines[:, 1], -cosines[:, 0])
    torch.testing.assert_close(lengths, rows.double().norm(dim=1), rtol=1e-5, atol=0.0)


def test_multiplicity_and_weighted_median_by_hand():
    same = torch.tensor([[1.0, 1.0, 0.2], [1.0, 1.0, 0.2], [0.2, 0.2, 1.0]])
    assert multiplicity(same).tolist() == [2.0, 2.0, 1.0]
    assert weighted_median(torch.tensor([5.0, 1.0, 3.0]), torch.tensor([0.4, 0.4, 0.2])) == 3.0


def test_kept_memory_stays_within_twice_the_submissions():
    n, d = 20, 200_000
    rows = torch.randn(n, d, generator=seeding.generator(0, "rows"))
    rule = GAAPlus()
    answer(rule, rows, honest=n, steps=3)
    state = rule._state
    assert state.scout is None  # and with it its two directions
    held = [state.qv, state.memory.average, state.memory.square, state.last[0]]
    held += [torch.zeros(d)]  # where there are copies, how they differ
    held += [part for kept, _ in state.checkpoints.states for part in kept[:2]]
    assert sum(part.numel() for part in held) <= 2 * n * d


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attack", "schedule"),
    [
        (GradientReversion(scale=10.0), roles.static(10, 9)),
        (GradientReversion(scale=1.0), roles.resampled(10, 0.7, seed=104)),
        (ALittleIsEnough(), roles.static(10, 7)),
    ],
    ids=["reversion x10 static", "reversion resampled", "a little is enough"],
)
def test_stays_near_the_oracle(attack, schedule):
    oracle, ours, theirs = (
        run(MNIST, rule, attack=attack, roles=schedule, **RUN) for rule in (Oracle(), GAAPlus(), GAA())
    )
    assert ours.accuracy > oracle.accuracy - 0.03
    assert theirs.accuracy < ours.accuracy + 0.03


@pytest.mark.slow
def test_is_the_mean_when_nobody_attacks():
    assert run(MNIST, GAAPlus(), **RUN).accuracy > run(MNIST, Oracle(), **RUN).accuracy - 0.01


@pytest.mark.slow
@pytest.mark.parametrize("attack", [RandomFault(), OneCoordinate()], ids=["random fault", "one coordinate"])
def test_survives_twenty_steps_without_anybody_honest(attack):
    """Long Byzantine workers among themselves, before and after it knows how long the honest are: silence, and no
    forgetting.
    """
    schedule = roles.resampled(10, 0.9, period=20, seed=103)
    oracle, ours = (run(MNIST, rule, attack=attack, roles=schedule, **LEAGUE) for rule in (Oracle(), GAAPlus()))
    assert ours.accuracy > oracle.accuracy - 0.05


def test_the_length_of_what_is_refused_does_not_become_usual():
    rule, n, d = GAAPlus(use_warm_up=False), 4, 50
    rule.reset(n, d, seeding.generator(0, "agent"))
    server = conformance.QuadraticServer(torch.ones(d), torch.ones(n, dtype=torch.bool))
    rows = 1000.0 * torch.randn(n, d, generator=seeding.generator(0, "Byzantine workers"))
    rule.observe(server)
    update, _ = rule.decide(rows)
    assert not update.any() and rule._state.beliefs.lengths.usual == 0.0
