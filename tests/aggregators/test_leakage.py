"""Whether GAAPlus finds out that attackers know its quasi-validation samples."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from gaa_core import aggregators as a
from gaa_core import run, seeding, studies
from gaa_core.aggregators.gaa_plus.direction import unit
from gaa_core.aggregators.gaa_plus.leakage import Leakage, sample_slopes
from gaa_core.aggregators.gaa_plus.sight import Sight
from gaa_core.aggregators.gaa_plus.warm_up import WarmUp
from gaa_core.attacks import Blend
from gaa_core.cases import MNIST
from gaa_core.cases.base import Split
from gaa_core.league import NAMED, SETTINGS
from gaa_core.models import FlatModel
from gaa_core.server import ParameterServer

D, SAMPLES, BATCH = 160, 10, 16


class Points:
    """A model whose loss on a point x is |theta - x|^2 / 2: the gradient there is theta - x."""

    def parts(self, theta):
        return [theta]

    def losses(self, theta, inputs, targets):
        return ((theta - inputs) ** 2).sum(dim=1) / 2

    def loss(self, theta, inputs, targets):
        return float(self.losses(theta, inputs, targets).mean())

    def gradient(self, theta, inputs, targets):
        return theta - inputs.mean(dim=0), self.loss(theta, inputs, targets)

    def softened(self, temperature):
        return self


def world(seed: int, far: float = 3.0) -> tuple[ParameterServer, torch.Generator, torch.Tensor]:
    """A server at 0 with ten points about a centre at a distance; the centre is what all workers should move to."""
    draw = seeding.generator(seed, "points")
    centre = torch.randn(D, generator=draw)
    centre *= far / centre.norm()
    points = centre + torch.randn(SAMPLES, D, generator=draw)
    return ParameterServer(Points(), Split(points, torch.zeros(SAMPLES)), torch.zeros(D), lr=0.1), draw, centre


def honest(draw: torch.Generator, centre: torch.Tensor, n: int = 10) -> torch.Tensor:
    return -(centre + torch.randn(n, BATCH, D, generator=draw).mean(dim=1))


def sight(rows: torch.Tensor, alike: float = 1.0) -> Sight:
    n = len(rows)
    one = torch.ones(n, dtype=torch.float64)
    return Sight(
        rows, torch.arange(n), rows, rows.norm(dim=1).double(), {}, torch.eye(n), alike * one, one, beside=0.0
    )  # fmt: skip


def as_it_is(direction: torch.Tensor) -> torch.Tensor:
    return direction


EQUAL = torch.full((10,), 0.1, dtype=torch.float64)


def test_slopes_are_the_products_with_each_samples_gradient():
    case = MNIST.load()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = FlatModel(MNIST.model(case))
    inputs, targets = case.train.inputs[:5], case.train.targets[:5]
    theta = model.initial()
    server = ParameterServer(model, Split(inputs, targets), theta, lr=0.1)
    direction = 7 * model.gradient(theta, inputs[:2], targets[:2])[0]
    expected = [
        float(model.gradient(theta, inputs[i : i + 1], targets[i : i + 1])[0] @ direction / direction.norm())
        for i in range(5)
    ]
    assert sample_slopes(server, direction).tolist() == pytest.approx(expected, abs=0.01 * max(expected))
    assert float(model.losses(theta, inputs, targets).mean()) == pytest.approx(model.loss(theta, inputs, targets))


def test_nothing_is_said_where_nothing_can_be():
    server, _, centre = world(0)
    assert sample_slopes(server, torch.zeros(D)) is None
    assert sample_slopes(server, torch.full((D,), math.inf)) is None
    assert sample_slopes(object(), centre) is None
    few = dataclasses.replace(server, qv=Split(server.qv.inputs[:3], server.qv.targets[:3]))
    assert sample_slopes(few, centre) is None
    server.parameters = torch.full((D,), 1e30)  # where losses overflow
    assert sample_slopes(server, centre) is None


@pytest.mark.parametrize("seed", range(5))
def test_honest_workers_are_not_too_good_and_who_copies_the_gradient_is(seed):
    server, draw, centre = world(seed, far=0.5)
    told, q = Leakage(), -server.qv.inputs.mean(dim=0)
    assert not any(told.too_good(server, sight(honest(draw, centre))) for _ in range(8))
    byzantine = Leakage()
    copied = 0.5 * q / q.norm()  # as long as what the honest say, and noisy as they are
    assert any(byzantine.too_good(server, sight(honest(draw, -copied))) for _ in range(8))
    reversed_ones = Leakage()
    assert not any(reversed_ones.too_good(server, sight(-honest(draw, centre))) for _ in range(8))


@pytest.mark.parametrize("byzantine", [3, 5])
@pytest.mark.parametrize("seed", range(5))
def test_honest_workers_are_not_too_good_beside_some_who_reverse(seed, byzantine):
    """A worker that reverses shortens the sum of all, not what the samples say along it."""
    server, draw, centre = world(seed, far=12.0)
    told = Leakage()
    for step in range(8):
        rows = honest(draw, centre)
        if step % 2 or byzantine < 5:  # five of ten at every step sum up to nothing in particular
            rows[:byzantine] *= -1
        assert not told.too_good(server, sight(rows))


def test_what_a_submission_says_along_the_sum_is_said_without_its_own_part():
    """Of twenty rows that have nothing in common, each is .9 of the sum's direction, by itself alone."""
    draw = seeding.generator(0, "points")
    rows = 4 * torch.nn.functional.normalize(torch.randn(20, D, generator=draw))
    points = -0.6 * unit(rows.sum(dim=0)) + 0.05 * torch.randn(SAMPLES, D, generator=draw)
    server = ParameterServer(Points(), Split(points, torch.zeros(SAMPLES)), torch.zeros(D), lr=0.1)
    assert Leakage().too_good(server, sight(rows)), "the samples say .6 along it, by less than .1 each"


@pytest.mark.parametrize("seed", range(5))
def test_gross_noise_is_not_too_good(seed):
    """Of noise alone, the products of pairs are below 0 as often as above."""
    server, draw, _ = world(seed)
    leakage = Leakage()
    assert not any(leakage.too_good(server, sight(1e4 * honest(draw, torch.zeros(D)))) for _ in range(8))


@pytest.mark.parametrize("byzantine", [False, True])
def test_liars_are_exposed_once_the_samples_are_fitted_and_the_rest_is_not(byzantine):
    server, draw, centre = world(1)
    leakage = Leakage()
    for _ in range(40):
        rows = honest(draw, centre - server.parameters)
        if byzantine:  # they lead to the samples' mean, and go on as if that were far
            rows = honest(draw, 4 * unit(server.qv.inputs.mean(dim=0)))
        update = rows.mean(dim=0)
        leakage.follow(server, sight(rows), update, EQUAL, as_it_is)
        server.update(update)
    assert leakage.too_bad() is byzantine


def test_liars_with_whom_the_samples_never_agreed_are_no_insiders():
    server, draw, _ = world(1)
    aside = torch.randn(D, generator=draw)
    aside = 4 * unit(aside - (aside @ unit(server.qv.inputs.mean(dim=0))) * unit(server.qv.inputs.mean(dim=0)))
    leakage = Leakage()
    for _ in range(20):
        rows = honest(draw, aside)
        leakage.follow(server, sight(rows), rows.mean(dim=0), EQUAL, as_it_is)
    assert leakage.surprise < -3 and leakage.said > 3
    assert not leakage.too_bad()


def fed(leakage: Leakage, server: ParameterServer, *, alike: float, credits: torch.Tensor = EQUAL) -> Leakage:
    rows = torch.ones(10, D)
    for _ in range(10):
        leakage.follow(server, sight(rows, alike), rows[0], credits, as_it_is)
    return leakage


def test_steps_of_copies_and_of_silence_say_nothing():
    server, _, _ = world(0)
    assert fed(Leakage(), server, alike=1.0).steps == 9
    assert fed(Leakage(), server, alike=10.0).steps == 0
    assert fed(Leakage(), server, alike=1.0, credits=EQUAL / 10).steps == 0


def test_what_they_say_is_taken_per_credit():
    server, _, _ = world(0)
    leakage = fed(Leakage(), server, alike=1.0, credits=EQUAL / 2)
    assert leakage.said == pytest.approx(2 * D**0.5) == leakage.first


def test_less_than_usual_speaks_for_a_worker_once_they_are_known():
    leakage = Leakage()
    values = {"qv": torch.tensor([0.6, 0.6, 0.0]), "memory": torch.tensor([0.1, 0.2, 0.3])}
    turned = leakage.turned(values)
    assert turned["qv"].tolist() == pytest.approx([-0.2, -0.2, 0.4])
    assert turned["memory"] is values["memory"]


def league_run(rule: a.GAAPlus, attack: Blend, kind: str, ratio: float, seed: int, case: str = "mnist"):
    own = SETTINGS[case]
    options = {"steps": own.steps, "eval_every": own.steps, "lr": own.lr, "batch_size": own.batch_size, "seed": seed}
    roles = studies.schedule(kind, 10, ratio, own.steps, seed)
    return run(own.case, rule, attack=attack, roles=roles, **options)


@pytest.mark.parametrize("foe", ["QV-aligned", "QV-aligned, late"])
def test_courtiers_in_the_majority_are_exposed_and_survived(foe):
    rule = a.GAAPlus()
    trace = league_run(rule, NAMED[foe], "static", 0.9, seed=100)
    assert trace.steps["rolled_back"].any() and rule._state.leakage.known
    assert trace.accuracy > 0.85
    assert trace.credits[-20:, trace.byzantine[-1]].sum() < 0.1 * trace.credits[-20:].sum()
    assert league_run(a.GAAPlus(use_leakage=False), NAMED[foe], "static", 0.9, seed=100).accuracy < 0.4


def test_no_insiders_are_found_among_those_who_know_nothing():
    rule = a.GAAPlus()
    league_run(rule, NAMED["reversion x1"], "resampled", 0.7, seed=100)
    assert not rule._state.leakage.known and rule._state.leakage.alarms == 0


def alarmed(mind, course: torch.Tensor) -> None:
    """A mind past warm-up whose trusted are about to be exposed."""
    mind.scout, mind.bearings.usual, mind.leakage.course = None, 0.0, course
    mind.leakage.too_bad = lambda: True


def begun() -> tuple[a.GAAPlus, ParameterServer, torch.Generator, torch.Tensor]:
    server, draw, centre = world(0)
    rule = a.GAAPlus()
    rule.reset(10, D, seeding.generator(0, "agent"))
    rule.observe(server)
    return rule, server, draw, centre


def test_at_the_third_alarm_the_samples_are_believed_again():
    """Twice it goes back to what was kept; then nothing that was kept is worth it."""
    rule, server, draw, centre = begun()
    mind, rolled = rule._state, []
    mind.checkpoints.keep(server, mind.memory, mind.beliefs)
    server.rollback = lambda to_start=False: rolled.append(to_start)
    for known, rollbacks in ((True, [False]), (True, [False, False]), (False, [False, False, True])):
        rule.observe(server)
        alarmed(mind, centre)
        update, credits = rule.decide(honest(draw, centre))
        assert not credits.any() and mind.leakage.known is known and rolled == rollbacks
        assert not update.any() and not server.interventions()["alone"], "it looks around first"
        assert mind.scout.exposed is known
        del mind.leakage.too_bad


def test_after_the_first_alarm_the_opposite_of_what_the_exposed_said_is_remembered():
    rule, server, draw, centre = begun()
    alarmed(rule._state, centre)
    rule.decide(honest(draw, centre))
    del rule._state.leakage.too_bad
    assert float(unit(rule._state.memory.average) @ unit(centre)) == pytest.approx(-1)
    rule.observe(server)
    rule.decide(honest(draw, centre))
    assert rule._state.scout is not None
    assert rule._state.memory.standing == 2.0  # grad f_B has no vote on it


def test_no_alarm_before_f_b_has_fallen():
    rule, _, draw, centre = begun()
    alarmed(rule._state, centre)
    rule._state.bearings.usual = rule._state.bearings.first
    rule.decide(honest(draw, centre))
    assert rule._state.leakage.alarms == 0


def left_alone(**choices) -> tuple[a.GAAPlus, ParameterServer, torch.Tensor]:
    """attackers that know the QV set are known, warm-up is over, and nothing of all that was submitted is admitted."""
    server, draw, centre = world(0)
    rule = a.GAAPlus(**choices)
    rule.reset(10, D, seeding.generator(0, "agent"))
    rule.observe(server)
    rule._state.scout, rule._state.leakage.known = None, True
    return rule, server, 1e6 * honest(draw, centre)


def after_own_step(server: ParameterServer) -> float:
    return server.qv_loss(server.parameters - server.lr * server.qv_gradient())


def test_where_insiders_leave_nobody_the_server_steps_by_its_own_gradient():
    rule, server, rows = left_alone()
    update, credits = rule.decide(rows)
    assert not credits.any()
    assert torch.equal(update, server.qv_gradient())
    assert server.interventions()["alone"]


@pytest.mark.parametrize("why", ["no leakage", "looks around", "half fitted", "switched off", "somebody is trusted"])
def test_silence_stays_silence(why):
    rule, server, rows = left_alone(use_own_steps=why != "switched off")
    mind = rule._state
    if why == "no leakage":
        mind.leakage.known = False
    elif why == "looks around":
        mind.scout = mind.sent_out()
    elif why == "half fitted":
        mind.bearings.first = 2 * after_own_step(server)
    elif why == "somebody is trusted":
        mind.listen = lambda gradients, finite: (gradients[0], torch.eye(10)[0] * 0.1)
    update, _ = rule.decide(rows)
    assert not server.interventions()["alone"]
    assert torch.equal(update, rows[0]) if why == "somebody is trusted" else not update.any()


def test_just_before_the_samples_are_half_fitted_the_server_still_steps():
    rule, server, rows = left_alone()
    rule._state.bearings.first = 1.99 * after_own_step(server)
    assert torch.equal(rule.decide(rows)[0], server.qv_gradient())


def test_a_careful_step_keeps_its_share_of_the_update():
    rule, server, rows = left_alone()
    rule._state.listen = lambda gradients, finite: (0.04 * gradients[0], torch.eye(10)[0] * 0.04)
    update, credits = rule.decide(rows)
    assert torch.allclose(update, 0.04 * rows[0] + 0.96 * server.qv_gradient())
    assert credits.sum() == pytest.approx(0.04)


@pytest.mark.parametrize("known", [True, False])
def test_own_steps_do_not_shorten_what_an_honest_submission_is_measured_by(known):
    rule, server, _ = left_alone()
    mind = rule._state
    mind.leakage.known = known
    long = mind.yardstick
    server.update(0.9 * server.qv_gradient() / server.lr)  # a tenth of it is left
    rule.observe(server)
    assert mind.yardstick == pytest.approx(long if known else long / 10, rel=1e-4)


def test_against_courtiers_who_leave_one_honest_worker_own_steps_save_the_run():
    """Packaged Medicare stays, 90 % QV-aligned attackers resampled at every step."""
    saved, silent = (
        league_run(rule, NAMED["QV-aligned"], "resampled", 0.9, 126, case="cms")
        for rule in (a.GAAPlus(), a.GAAPlus(use_own_steps=False))
    )
    assert saved.steps["alone"].any() and not silent.steps["alone"].any()
    assert (saved.credits[saved.steps["alone"]].sum(axis=1) < 0.1).all()
    assert saved.accuracy > silent.accuracy + 0.1


@pytest.mark.parametrize(("surprise", "kept"), [(-3.0, 0), (-1.0, 1)])
def test_no_state_is_kept_while_the_trusted_are_in_doubt(surprise, kept):
    rule, server, draw, centre = begun()
    rule._state.scout, rule._state.leakage.surprise = None, surprise
    rule.decide(honest(draw, centre))
    assert len(server.kept) == kept


def test_reconnaissance_after_an_exposure_asks_what_the_exposed_had_said():
    draw = seeding.generator(0, "rows")
    scout = WarmUp(D, longest=8, cap=4.0, exposed=True)
    truth = unit(torch.randn(D, generator=draw))
    kind = torch.tensor([1.0] + [-1.0] * 9)[:, None]  # one honest
    one = torch.ones(10, dtype=torch.float64)
    for _ in range(4):
        rows = 2 * kind * truth + 0.05 * torch.randn(10, D, generator=draw)
        noise = torch.randn(10, generator=draw, dtype=torch.float64)
        told = kind[:, 0].double() - kind.mean()
        values = {"qv": 0.1 * noise, "memory": told}
        found = scout.look(rows, rows.norm(dim=1).double(), values, one, as_it_is, as_it_is)
    assert scout.best is scout.ideas["contrast"]
    assert found.odds[0] > 2 and found.odds[1:].max() < -2
    assert scout.best.for_it > 1


def test_the_attack_needs_to_know_the_samples():
    """The same blend without the QV gradient is a sign flip with noise: no worker is exposed."""
    rule = a.GAAPlus()
    league_run(rule, Blend(jitter=1.0), "static", 0.7, 100)
    assert not rule._state.leakage.known
