"""GAAPlus: its credits, its switches, its declared protocol with the server, and what it survives."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gaa_core import conformance, roles, run, seeding
from gaa_core.agent import EvidencePolicy
from gaa_core.aggregators import GAA, GAAPlus, Oracle
from gaa_core.aggregators.gaa_plus.beliefs import Beliefs
from gaa_core.aggregators.gaa_plus.gaa_plus import PARTS
from gaa_core.aggregators.gaa_plus.state import GIVEN_UP
from gaa_core.aggregators.gaa_plus.statistics import survey
from gaa_core.aggregators.gaa_plus.watchdog import Watchdog
from gaa_core.attacks import ALittleIsEnough, GradientReversion, OneCoordinate, RandomFault
from gaa_core.cases import MNIST
from gaa_core.errors import GaaError
from gaa_core.server import ParameterServer

SHORT = {"steps": 12, "batch_size": 8, "lr": 0.05}
LEAGUE = {"steps": 150, "batch_size": 32, "lr": 0.05, "seed": 103}
RUN = {"steps": 120, "batch_size": 64, "lr": 0.05, "seed": 104}  # a seed of the tuning, which no table reports


def answer(rule: GAAPlus, submissions: torch.Tensor, honest: int, steps: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """The last step of some after warm-up, with the same submissions; the first `honest` make the QV gradient."""
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


def test_byzantine_workers_get_exactly_nothing_and_the_rest_sums_to_one():
    update, credits = answer(GAAPlus(), submissions(), honest=3)
    assert torch.equal(credits[3:], torch.zeros(7))
    assert credits.sum().item() == pytest.approx(1)
    assert (update > 0).float().mean() > 0.8


def test_abstains_when_no_worker_deserves_credit():
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
    _, together = answer(GAAPlus(off=("copies",)), rows, honest=3)
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
    _, credits = answer(GAAPlus(off=("qv", "memory", "peers", "copies")), rows, honest=5, steps=5)
    assert credits[5:].sum() < 0.05


@pytest.mark.parametrize("part", PARTS)
def test_every_part_can_be_switched_off(part):
    rule = GAAPlus(off=(part,))
    trace = run(MNIST, rule, **SHORT, attack=GradientReversion(), roles=roles.static(10, 3))
    assert np.isfinite(trace.credits).all() and repr(rule) == f"GAAPlus(off=({part!r},))"
    assert (trace.credits >= 0).all() and (trace.credits.sum(axis=1) <= 1 + 1e-5).all()


def test_needs_a_run():
    with pytest.raises(GaaError, match="learns during a run"):
        GAAPlus()(torch.ones(3, 4))
    rule = GAAPlus()
    rule.reset(3, 4, seeding.generator(0, "agent"))
    with pytest.raises(GaaError, match="observe"):
        rule(torch.ones(3, 4))


def test_the_server_rolls_back_to_the_older_kept_state_and_counts_it():
    qv, half_square = SimpleNamespace(inputs=None, targets=None), lambda theta, *_: float(theta.square().sum() / 2)
    model = SimpleNamespace(loss=half_square, parts=lambda theta: [theta])
    server = ParameterServer(model, qv, torch.tensor([3.0]), lr=1.0)
    with pytest.raises(GaaError, match="keep"):
        server.rollback()
    for _ in range(3):
        server.keep()
        server.update(torch.tensor([1.0]))
    server.refuse()
    server.rollback()
    assert server.parameters.item() == 2.0 and server.step == 3
    assert server.qv_loss() == 2.0
    assert server.interventions() == {"refused": True, "rolled_back": True}
    assert server.interventions() == {"refused": False, "rolled_back": False}


def test_what_is_refused_and_a_run_that_begins_anew_are_in_the_trace(monkeypatch):
    admitted, lost = iter([True, True, False, *[True] * 20]), iter([False] * 4 + [True] + [False] * 20)
    monkeypatch.setattr(Watchdog, "admits", lambda *arguments: next(admitted))
    monkeypatch.setattr(Watchdog, "lost", lambda watchdog: next(lost))
    trace = run(MNIST, GAAPlus(off=("warm up",)), **SHORT)
    assert trace.steps["refused"].sum() == 1 and trace.steps["rolled_back"].sum() == 1
    assert trace.steps["refused"][2] and trace.steps["rolled_back"][4]
    assert (trace.credits[[2, 4]] == 0).all()
    assert trace.steps["qv_loss"][3] == trace.steps["qv_loss"][2]  # refused: theta stayed
    assert trace.steps["qv_loss"][5] == trace.steps["qv_loss"][0]  # lost: back to where the run began


def test_long_silence_ends_in_forgetting_and_not_in_a_deadlock(monkeypatch):
    """Laws and role filters that speak against all workers confirmed each other to the end of a run."""
    forgotten = []
    monkeypatch.setattr(EvidencePolicy, "trust", lambda policy, odds: np.zeros_like(odds["qv"]))
    monkeypatch.setattr(Beliefs, "forget", lambda beliefs: forgotten.append(beliefs))
    run(MNIST, GAAPlus(off=("warm up", "watchdog")), **SHORT | {"steps": GIVEN_UP})
    assert not forgotten
    run(MNIST, GAAPlus(off=("warm up", "watchdog")), **SHORT | {"steps": 2 * GIVEN_UP})
    assert len(forgotten) == 1


def test_survey_is_exact_where_squares_overflow():
    rows = torch.randn(6, 500, generator=seeding.generator(0, "rows"))
    rows[1] *= 1e30
    rows[2] *= 1e-30
    rows[3] = 0.0
    vector = torch.randn(500, generator=seeding.generator(0, "vector"))
    lengths, cosines = survey(rows, [vector, -vector])
    exact = torch.nn.functional.cosine_similarity(rows.double(), vector.double()[None], eps=1e-300)
    np.testing.assert_allclose(cosines[:, 0], exact, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(cosines[:, 1], -cosines[:, 0])
    np.testing.assert_allclose(lengths, rows.double().norm(dim=1), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attack", "schedule"),
    [
        (GradientReversion(scale=10.0), roles.static(10, 9)),
        (GradientReversion(scale=1.0), roles.resampled(10, 0.7, seed=104)),
        (ALittleIsEnough(), roles.static(10, 7)),
        (None, roles.none(10)),
    ],
    ids=["reversion x10 static", "reversion resampled", "a little is enough", "no attack"],
)
def test_stays_near_the_oracle(attack, schedule):
    oracle, ours, theirs = (
        run(MNIST, rule, attack=attack, roles=schedule, **RUN) for rule in (Oracle(), GAAPlus(), GAA())
    )
    assert ours.accuracy > oracle.accuracy - 0.03
    assert theirs.accuracy < ours.accuracy + 0.03


@pytest.mark.slow
@pytest.mark.parametrize("attack", [RandomFault(), OneCoordinate()], ids=["random fault", "one coordinate"])
def test_survives_twenty_steps_without_benign_workers(attack):
    """Silence, and no forgetting, before and after it knows how long benign submissions are."""
    schedule = roles.resampled(10, 0.9, period=20, seed=103)
    oracle, ours = (run(MNIST, rule, attack=attack, roles=schedule, **LEAGUE) for rule in (Oracle(), GAAPlus()))
    assert ours.accuracy > oracle.accuracy - 0.05
