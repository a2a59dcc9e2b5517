"""Warm-up of GAAPlus: one direction from submissions of both signs, and its sign from a poor witness."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch

from gaa_core import conformance, seeding
from gaa_core.aggregators import GAAPlus
from gaa_core.aggregators.gaa_plus.direction import DirectionMemory, survey
from gaa_core.aggregators.gaa_plus.evidence import YOUNG, MirroredCalibration
from gaa_core.aggregators.gaa_plus.mind import PRIOR, Mind
from gaa_core.aggregators.gaa_plus.sight import Sight, classes
from gaa_core.aggregators.gaa_plus.warm_up import UNANIMITY, WarmUp
from gaa_core.cases.base import Split

D, N = 2000, 10


def scene(seed: int, byzantine: float, steps: int = 8):
    """Steps of submissions [N, D] +-u + noise, who is honest [N], and a QV gradient that tells them apart poorly."""
    generator = seeding.generator(seed, "scene")
    truth = torch.randn(D, generator=generator) / D**0.5
    qv = 0.07 * truth + torch.randn(D, generator=generator) / D**0.5
    for _ in range(steps):
        honest = torch.rand(N, generator=generator) >= byzantine
        signs = torch.where(honest, 1.0, -1.0)[:, None]
        yield truth, qv, signs * truth + 6 * torch.randn(N, D, generator=generator) / D**0.5, honest


@pytest.mark.parametrize("byzantine", [0.0, 0.3, 0.5, 0.7, 0.9])
def test_one_direction_tells_more_than_the_qv_gradient_does(byzantine):
    told, by_qv, right = [], [], 0
    for seed in range(5):
        scout = WarmUp(D, longest=8, cap=4.0)
        for truth, qv, rows, honest in scene(seed, byzantine):
            lengths, cosine = survey(rows, [qv, truth])
            values = {"qv": cosine[:, 0]}
            scout.look(rows, lengths, values, torch.ones(N).double(), calm=lambda v: v, doubt=lambda p: p)
            by_qv += ((cosine[:, 0] > 0) == honest).tolist()
        found = scout.best.sign() * scout.best.average
        own = survey(rows, [found])[1][:, 0]
        told += ((own > 0) == honest).tolist()
        right += float(found @ truth) > 0
    assert sum(by_qv) / len(by_qv) < 0.75
    assert right >= 4 and sum(told) / len(told) > 0.85


def test_it_ends_when_clear_and_no_later_than_it_may():
    scout = WarmUp(D, longest=8, cap=4.0)
    rows = torch.randn(1, D, generator=seeding.generator(0, "rows")).repeat(N, 1)
    rows += 0.1 * torch.randn(N, D, generator=seeding.generator(1, "rows"))
    rows[4:] *= -1
    lengths, cosine = survey(rows, [rows[0]])
    looks = {"values": {"qv": cosine[:, 0]}, "calm": lambda v: v, "doubt": lambda p: p}
    scout.look(rows, lengths, counts=torch.ones(N).double(), **looks)
    assert not scout.over()  # nothing is known of a direction after one step
    found = scout.look(rows, lengths, counts=torch.ones(N).double(), **looks)
    assert scout.over() and found.clear
    assert ((found.odds > 0) == (cosine[:, 0] > 0)).all()
    assert 0.4 < scout.share() < 0.8  # four of ten, drawn to what is usual
    nothing = WarmUp(D, longest=3, cap=4.0)
    for step in range(3):
        noise = torch.randn(N, D, generator=seeding.generator(step, "noise"))
        lengths, cosine = survey(noise, [rows[0]])
        looks["values"] = {"qv": cosine[:, 0]}
        nothing.look(noise, lengths, counts=torch.ones(N).double(), **looks)
    assert nothing.over() and 0.2 < nothing.share() < 0.9


def test_nobody_gets_credit_before_it_is_over_and_the_honest_do_after():
    rows = 1.0 + torch.randn(N, 300, generator=seeding.generator(N, "submissions"))
    rows[3:] *= -1.0
    server = conformance.QuadraticServer(-rows[:3].mean(dim=0), torch.arange(N) >= 3)
    rule = GAAPlus()
    rule.reset(N, 300, seeding.generator(0, "agent"))
    given = []
    for _ in range(rule.warm_up + 1):
        rule.observe(server)
        update, credits = rule.decide(rows)
        given.append(float(credits.sum()))
        assert given[-1] > 0 or not update.any()
    assert given[:2] == [0.0, 0.0] and given[-1] == pytest.approx(1.0)
    assert (credits[3:] == 0).all()
    assert GAAPlus(use_warm_up=False).warm_up == GAAPlus(use_qv=False).warm_up == 0


def test_a_run_taken_up_in_the_middle_of_it_goes_on_the_same():
    first, second = GAAPlus(), GAAPlus()
    for rule in (first, second):
        rule.reset(N, D, seeding.generator(0, "agent"))
    for step, (truth, _, rows, honest) in enumerate(scene(3, 0.7, steps=14)):
        rows = rows / 6  # as long as the QV gradient
        server = conformance.QuadraticServer(-truth, ~honest, lr=1e-4)
        if step == 3:
            second.observe(server)
            second._state.load_state(copy.deepcopy(first._state.state()))
        first.observe(server)
        update, credits = first.decide(rows)
        if step >= 3:
            second.observe(server)
            again = second.decide(rows)
            assert torch.equal(again[0], update) and torch.equal(again[1], credits)
    assert first._state.scout is None and first._state.memory.accepted > 8


def test_two_mirrored_kinds_by_hand():
    kinds = MirroredCalibration(cap=4.0)
    kinds.learn(torch.tensor([0.5, -0.5, -0.5, -0.5]).double(), torch.ones(4).double())
    assert kinds.mean == pytest.approx(0.5)  # (3 (1/4)^2 - 1/16) / 2 = 1/16
    assert kinds.variance == pytest.approx(0.15**2)  # no less than 0.3 of the mean
    assert kinds.apart() == pytest.approx(0.5 / 0.15)
    gain = 2 * 0.5 / 0.15**2 * 4 / 14
    assert kinds.log_odds(torch.tensor([0.1]).double()).item() == pytest.approx(0.1 * gain)
    assert kinds.log_odds(torch.tensor([-9.0]).double()).item() == -4.0


def test_one_kind_of_noise_is_not_two_kinds():
    noise = MirroredCalibration(cap=4.0)
    mixed = MirroredCalibration(cap=4.0)
    for step in range(10):
        values = torch.randn(10, generator=seeding.generator(step, "values"), dtype=torch.float64)
        noise.learn(values, torch.ones(10).double())
        mixed.learn(values.where(torch.arange(10) < 3, values - 6) + 3, torch.ones(10).double())
    assert noise.apart() < 1.5 < 2.5 < mixed.apart()
    values = torch.tensor([0.7], dtype=torch.float64)
    assert mixed.mean == pytest.approx(3, abs=0.3) and mixed.leaning(values).item() == mixed.log_odds(values).item()


def test_the_memory_follows_liars_of_the_opposite_too_but_nobody_whom_trust_contradicts():
    mind = Mind(GAAPlus(), 4, 3, seeding.generator(0, "agent"))
    rows = torch.eye(4, 3)
    rows[1] = torch.tensor([-2.0, 0.0, 0.0])
    sight = type("Sight", (), {"lengths": rows.norm(dim=1).double(), "counts": torch.ones(4).double()})
    leaning = torch.tensor([50.0, -50.0, 50.0, -50.0], dtype=torch.float64)
    trust = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    sides = mind.compare(sight, leaning, trust)
    assert sides.tolist() == [1.0, -0.5, 0.0, 0.0]  # at length 1; the fourth is zero, and believed
    assert (sides.float() @ rows).tolist() == [2.0, 0.0, 0.0]


@pytest.mark.parametrize(("targets", "count"), [([1], 1), ([0, 0, 0], 1), ([0, 2, 0], 2), ([], 0)])
def test_of_how_many_classes_the_qv_samples_are(targets, count):
    qv = Split(torch.zeros(len(targets), 1), torch.tensor(targets))
    assert classes(SimpleNamespace(qv=qv)) == count and classes(SimpleNamespace()) == 0


def test_a_memory_adopts_what_was_found():
    memory = DirectionMemory(3, horizon=50, damping=0.1)
    memory.adopt(torch.tensor([0.0, 1.0, 0.0]), 8, 3.0)
    assert memory.accepted == 8 and memory.credibility() > 0.9
    memory.accept(torch.tensor([0.0, 0.0, 9.0]))
    torch.testing.assert_close(memory.average, torch.tensor([0.0, 8 / 9, 1 / 9]))


def test_who_sends_what_is_not_finite_is_thought_neither_better_nor_worse_of():
    mind = Mind(GAAPlus(), 3, 3, seeding.generator(0, "agent"))
    finite = torch.tensor([True, False, True])
    for _ in range(20):
        mind.beliefs.tell_reputation(finite, torch.tensor([2.0, -2.0]).double(), torch.ones(2).double())
    prior = mind.beliefs.reputation.prior()
    assert prior[0] > 2 > prior[1] > -2 > prior[2]


def test_a_crowd_that_says_the_same_votes_once_on_the_memory():
    own = torch.tensor([0.4, 0.4, 0.4, 0.4, 0.3], dtype=torch.float64)
    judge = torch.tensor([-0.1, -0.1, -0.1, -0.1, 0.3], dtype=torch.float64)
    alone, crowd = DirectionMemory(2, 50, 0.1), DirectionMemory(2, 50, 0.1)
    alone.vote(own, [judge], torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0]).double(), 1.0)
    crowd.vote(own, [judge], torch.ones(5).double(), 1.0)
    assert crowd.standing < 0 < alone.standing == pytest.approx(1.15)


@pytest.mark.parametrize("factor", [6.0, 1 / 30])
def test_where_nobody_is_as_long_as_the_qv_gradient_lengths_say_nothing(factor):
    rule = GAAPlus()
    rule.reset(N, 500, seeding.generator(0, "agent"))
    server = conformance.QuadraticServer(-torch.full((500,), 0.5), torch.arange(N) < 7, lr=1e-4)
    for step in range(14):
        rows = 0.5 + torch.randn(N, 500, generator=seeding.generator(step, "rows"))
        rows[:7] *= -1
        rule.observe(server)
        credits = rule.decide(factor * rows)[1]
    assert credits[7:].sum() > 0.9


def test_what_was_apart_once_and_is_no_more_is_worn():
    kinds = MirroredCalibration(cap=4.0, window=20.0)
    two = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0], dtype=torch.float64)
    kinds.learn(two, torch.ones(5).double())
    assert kinds.was_apart and not kinds.worn
    for step in range(12):
        noise = torch.randn(20, generator=seeding.generator(step, "noise"), dtype=torch.float64)
        kinds.learn(noise, torch.ones(20).double())
        if kinds.worn:
            break
    assert kinds.worn
    for _ in range(5):
        kinds.learn(two, torch.ones(5).double())
    assert kinds.worn and not kinds.renewed(100.0).worn  # for good, unless all begins anew


def test_late_in_training_it_is_worn_in_any_case():
    kinds = MirroredCalibration(cap=4.0, window=20.0)
    two = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0], dtype=torch.float64)
    for _ in range(YOUNG):
        kinds.learn(two, torch.ones(5).double())
    assert not kinds.worn
    kinds.learn(two, torch.ones(5).double())
    assert kinds.worn


def test_where_the_qv_gradient_says_nothing_the_many_are_favoured_a_little():
    idea = WarmUp(D, longest=8, cap=4.0).ideas["mean"]
    idea.chorus.counted, idea.along = 10.0, 2.0
    assert idea.believed() == pytest.approx(-0.3) and idea.sign() == -1
    idea.for_it = 0.5  # about a log-odds of one for it
    assert idea.sign() == 1


@pytest.mark.parametrize(
    ("along", "log_odds"), [(9.5, 0.45 + 4), (8.5, 0.35 + 2), (7.5, 0.25), (2.5, -0.25), (1.5, -0.35 - 2), (0.0, -4.5)]
)
def test_what_nearly_all_say_weighs_more_where_the_qv_samples_are_of_one_class(along, log_odds):
    idea = WarmUp(D, longest=8, cap=4.0).ideas["mean"]
    idea.unanimity, idea.chorus.counted, idea.along = UNANIMITY, 10.0, along
    assert idea.believed() == pytest.approx(log_odds)


@pytest.mark.parametrize(("exposed", "one_class", "asked"), [(False, True, 4), (False, False, 0), (True, True, 0)])
def test_of_unanimity_is_asked_with_samples_of_one_class_unless_liars_were_trusted(exposed, one_class, asked):
    scout = WarmUp(D, longest=8, cap=4.0, exposed=exposed)
    rows = torch.randn(N, D, generator=seeding.generator(0, "rows"))
    lengths, cosine = survey(rows, [rows[0]])
    looks = {"values": {"qv": cosine[:, 0]}, "calm": lambda v: v, "doubt": lambda p: p, "one_class": one_class}
    scout.look(rows, lengths, counts=torch.ones(N).double(), **looks)
    assert [idea.unanimity for idea in scout.ideas.values()] == [asked, asked]


def test_no_other_evidence_outweighs_a_gross_length():
    mind = Mind(GAAPlus(), 2, 3, seeding.generator(0, "agent"))
    mind.beliefs.lengths.usual = 1.0
    odds = mind.beliefs.lengths.log_odds(torch.tensor([1.0, 50.0]).double(), yardstick=1.0)
    most = {kind: torch.full((2,), 7.0 if kind == "reputation" else 4.0).double() for kind in PRIOR}
    assert mind.policy.trust({**most, "length": odds}).tolist() == [1.0, 0.0]


def test_who_knows_workers_trusts_the_memory_as_far_as_it_has_served_with_them():
    mind = Mind(GAAPlus(), 4, 3, seeding.generator(0, "agent"))
    mind.memory.standing, mind.yardstick = 5.0, 1.0
    one, cosine = torch.ones(4, dtype=torch.float64), torch.tensor([0.3, 0.3, -0.3, -0.3], dtype=torch.float64)
    rows, all_workers = torch.ones(4, 3), torch.ones(4, dtype=torch.bool)
    sight = Sight(rows, all_workers, rows, one, {"memory": cosine}, torch.eye(4).double(), one, one, 0.0)
    mind.mirror.learn(cosine.repeat(25), one.repeat(25))
    assert mind.weigh_evidence(sight)["memory"][0] > 3.5  # knows the direction, no worker's reputation
    for _ in range(30):
        mind.beliefs.reputation.learn(torch.tensor([2.0, 2.0, -2.0, -2.0]).double(), one)
        mind.beliefs.kinds["memory"].learn(
            torch.tensor([0.3, -0.3, 0.3, -0.3]).double(), *torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1]]).double()
        )
    assert mind.weigh_evidence(sight)["memory"].abs().max() < 1  # with the honest it points to and fro
