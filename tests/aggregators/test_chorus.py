"""Whether all who are heard say the same, and what GAAPlus makes of it where its QV samples say otherwise."""

from __future__ import annotations

import pytest
import torch

from gaa_core import conformance, seeding
from gaa_core.aggregators import GAAPlus
from gaa_core.aggregators.gaa_plus.chorus import Chorus
from gaa_core.aggregators.gaa_plus.direction import DirectionMemory, survey
from gaa_core.aggregators.gaa_plus.warm_up import WarmUp
from gaa_core.aggregators.gaa_plus.watchdog import Bearings

N = 10


def chorus(against: float, *, steps: int = 8, heard: int = N, copies: bool = False, sign: float = 1.0) -> Chorus:
    """Cosines of .3 +- .1 from `heard` of ten workers, of whom a share `against` says the opposite at every step."""
    generator, found = seeding.generator(0, "chorus"), Chorus()
    for _ in range(steps):
        cosines = 0.3 + 0.1 * torch.randn(N, generator=generator, dtype=torch.float64)
        cosines[: round(heard * against)] *= -1
        counts = torch.zeros(N, dtype=torch.float64)
        counts[:heard] = 1 / heard if copies else 1.0
        found.hear(sign * cosines, counts, N)
    return found


@pytest.mark.parametrize(
    ("options", "log_odds"),
    [
        ({"against": 0.0}, 2.0),  # no worker was detected: all may be Byzantine workers
        ({"against": 0.0, "sign": -1.0}, -2.0),
        ({"against": 0.0, "steps": 1}, 0.5),  # there may have been no worker honest
        ({"against": 0.1}, 0.0),
        ({"against": 0.9}, 0.0),
        ({"against": 0.5}, 0.0),
        ({"against": 0.0, "heard": 5}, 4.0),  # the others were detected
        ({"against": 0.0, "heard": 1}, 4.0),  # who is left
        ({"against": 0.2, "heard": 5}, 0.0),
        ({"against": 0.0, "copies": True}, 0.0),  # one voice, said ten times
    ],
)
def test_one_kind_or_two(options, log_odds):
    assert chorus(**options).log_odds() == pytest.approx(log_odds)


def test_log_odds_by_hand():
    """Cosines 1, 1, 1, .5: E x = .875, E x^2 = .8125, E x^4 = .765625; three voices of four would say .5 of m."""
    found = Chorus()
    found.hear(torch.tensor([1.0, 1.0, 1.0, 0.5]).double(), torch.ones(4).double(), workers=8)
    mean = ((3 * 0.8125**2 - 0.765625) / 2) ** 0.25
    variance = max(0.8125 - mean**2, (0.3 * mean) ** 2)
    said = 0.875 / mean
    wanted = ((said - 0.5) ** 2 - (said - 1) ** 2) / 2 * 4 * mean**2 / variance
    assert wanted > 0.5 and found.log_odds() == 0.5  # a step proves no more
    for _ in range(7):
        found.hear(torch.tensor([0.01, -0.01, 0.01, -0.01]).double(), torch.ones(4).double(), workers=8)
    assert found.log_odds() == 0.0


def test_nobody_heard_says_nothing():
    no_worker = Chorus()
    assert no_worker.log_odds() == 0.0
    no_worker.hear(torch.zeros(3).double(), torch.zeros(3).double(), workers=3)
    no_worker.hear(torch.zeros(3).double(), torch.ones(3).double(), workers=3)
    assert no_worker.log_odds() == 0.0


@pytest.mark.parametrize(("exposed", "right"), [(False, True), (True, False)])
def test_all_workers_outweigh_qv_samples_that_speak_against_them_a_little(exposed, right):
    """Unless Byzantine workers had been trusted before, who may be all."""
    generator = seeding.generator(1, "scene")
    truth = torch.randn(500, generator=generator)
    scout = WarmUp(500, longest=6, cap=4.0, exposed=exposed)
    for _ in range(6):
        rows = truth + 4 * torch.randn(N, 500, generator=generator)
        lengths, cosine = survey(rows, [truth])
        values = {"qv": 0.04 * torch.randn(N, generator=generator, dtype=torch.float64) - 0.05 * cosine[:, 0]}
        scout.look(rows, lengths, values, torch.ones(N).double(), calm=lambda v: v, doubt=lambda p: p, workers=N)
    assert exposed or scout.best.for_it < 0
    assert (float(scout.best.sign() * scout.best.average @ truth) > 0) == right
    assert (scout.agreed() > 1) == right


def test_what_all_say_speaks_for_the_sign_that_was_taken():
    scout = WarmUp(3, longest=6, cap=4.0)
    assert scout.agreed() == 0.0
    idea = scout.best = scout.ideas["contrast"]  # which may point against all workers
    idea.chorus = chorus(0.0, sign=-1.0)
    assert idea.sign() == -1.0 and scout.agreed() == 2.0
    idea.for_it = 5.0
    assert idea.sign() == 1.0 and scout.agreed() == -2.0


def test_it_turns_with_the_memory_and_ends_with_what_was_believed():
    rule = GAAPlus()
    rule.reset(N, 4, seeding.generator(0, "agent"))
    rule.observe(conformance.QuadraticServer(torch.ones(4), torch.zeros(N, dtype=torch.bool)))
    mind = rule._state
    mind.memory.adopt(torch.ones(4), 5, -3.9)
    mind.agreed = 2.0
    own = torch.full((N,), 0.5, dtype=torch.float64)
    mind.try_memory({"memory": own, "qv": -own}, torch.ones(N).double())
    assert mind.memory.average[0] < 0 and mind.agreed == -2.0
    mind.turn_round()
    assert mind.agreed == 0.0


def test_votes_against_what_all_agreed_on_have_to_outweigh_it():
    own, one = torch.tensor([0.5, 0.4], dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    needed = []
    for agreed in (0.0, 2.0):
        memory = DirectionMemory(2, horizon=50, damping=0.1)
        memory.accept(torch.tensor([1.0, 0.0]))
        needed.append([memory.vote(own, [-own], one, 1.0, agreed) for _ in range(9)].index(True))
    assert needed[1] > needed[0]


def test_a_run_in_which_all_agreed_is_not_lost_so_soon():
    bearings = Bearings()
    for loss in [1.0] + 40 * [1.6]:
        bearings.note(loss)
    assert bearings.lost(standing=1.0, reputation=1.0)
    assert not bearings.lost(standing=1.0, reputation=1.0, agreed=2.0)
    for _ in range(40):
        bearings.note(2.5)
    assert bearings.lost(standing=1.0, reputation=1.0, agreed=2.0)
