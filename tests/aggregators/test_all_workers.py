"""Whether GAAPlus tells workers whose data are unlike from Byzantine workers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from gaa_core import seeding
from gaa_core.aggregators import GAAPlus
from gaa_core.aggregators.gaa_plus.all_workers import AllWorkers
from gaa_core.aggregators.gaa_plus.mind import Mind
from gaa_core.cases.base import Split

TRUSTED, ALL = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
SCATTER = torch.linspace(-1.0, 1.0, 10)  # spread of the mean: 0.2


class Told:
    """A model at theta = 0 whose samples' losses fall by what is told along either of the two updates."""

    def __init__(self, by_trusted: torch.Tensor, by_all: torch.Tensor, loss: float):
        self.gains, self.loss = torch.stack([by_trusted, by_all]), loss

    def losses(self, theta, inputs, targets):
        return self.loss + theta @ self.gains


def server(by_trusted: torch.Tensor, by_all: torch.Tensor, targets=None, loss: float = 5.0) -> SimpleNamespace:
    targets = torch.arange(10) % 2 if targets is None else targets
    model = Told(by_trusted, by_all, loss)
    return SimpleNamespace(model=model, qv=Split(torch.zeros(10, 1), targets), parameters=torch.zeros(2), lr=1.0)


def followed(all_workers: AllWorkers, *args, steps: int = AllWorkers.youngest, loss: float = 5.0, slope=0.0) -> bool:
    for _ in range(steps):
        all_workers.follow(server(*args, loss=loss), TRUSTED, ALL, slope)
    return all_workers.believed


NONE = torch.zeros(10)


def test_everybody_is_believed_where_f_b_falls_by_all_and_not_by_the_trusted():
    all_workers = AllWorkers()
    assert not followed(all_workers, NONE, 0.4 + SCATTER, steps=AllWorkers.youngest - 1)
    assert followed(all_workers, NONE, 0.4 + SCATTER, steps=1)


@pytest.mark.parametrize(
    ("by_trusted", "by_all", "targets"),
    [
        (NONE + 0.2, 0.6 + SCATTER, None),  # the trusted gain a third
        (NONE - 0.6, SCATTER - 0.1, None),  # all workers' mean is bad, if not as bad
        (NONE, 0.2 + SCATTER, None),  # one spread
        (NONE, 0.4 + SCATTER, torch.zeros(10)),  # samples of one class
        (NONE, 0.04 + 0.01 * SCATTER, None),  # next to nothing
    ],
)
def test_otherwise_it_is_not(by_trusted, by_all, targets):
    assert not followed(AllWorkers(), by_trusted, by_all, targets, steps=20)


def test_where_everybody_says_what_the_trusted_say_nobody_contradicts_them():
    all_workers = AllWorkers()
    for _ in range(10):
        all_workers.follow(server(NONE, 0.4 + SCATTER), 3 * TRUSTED, 3 * TRUSTED + ALL, slope=0.0)
    assert not all_workers.believed


@pytest.mark.parametrize(("slope", "believed"), [(4.9, True), (5.1, False)])
def test_it_has_to_gain_a_part_of_what_the_gradient_of_f_b_promises(slope, believed):
    """0.4 by an update of length 1 at a rate of 1: 0.08 of what a slope of 5 predicted decreases."""
    assert followed(AllWorkers(), NONE, 0.4 + SCATTER, steps=10, slope=slope) is believed
    all_workers, long = AllWorkers(), server(NONE, 0.4 + SCATTER)
    long.lr = 0.5
    for _ in range(10):
        all_workers.follow(long, TRUSTED, 2 * ALL, slope)
    assert all_workers.believed is believed and all_workers.prediction == pytest.approx(slope)


def test_losses_that_are_not_finite_are_left_out():
    all_workers = AllWorkers()
    assert not followed(all_workers, NONE, torch.full((10,), torch.inf))
    assert followed(all_workers, NONE, 0.4 + SCATTER)


def test_it_is_believed_until_the_trusted_clearly_gain_more():
    all_workers = AllWorkers()
    assert followed(all_workers, NONE, 0.4 + SCATTER)
    all_workers.begin()
    assert followed(all_workers, NONE + 0.2, SCATTER, steps=20, loss=4.0)  # one spread more
    assert not followed(all_workers, NONE + 0.8, SCATTER, steps=20, loss=4.0)


def test_belief_by_which_f_b_does_not_fall_fails_its_trial_and_rests():
    all_workers = AllWorkers()
    assert followed(all_workers, NONE, 0.4 + SCATTER) and all_workers.on_trial()
    bad = server(NONE, 0.4 + SCATTER, loss=4.6)
    failed = [all_workers.follow(bad, TRUSTED, ALL, slope=0.0) for _ in range(all_workers.trial)]
    assert failed.index(True) == all_workers.trial - 1 and sum(failed) == 1 and not all_workers.believed
    assert not followed(all_workers, NONE, 0.4 + SCATTER, steps=all_workers.rest)
    assert followed(all_workers, NONE, 0.4 + SCATTER, steps=10)
    assert followed(all_workers, NONE, 0.4 + SCATTER, steps=60, loss=4.4) and not all_workers.on_trial()


def test_belief_ends_when_f_b_is_again_what_it_was_before():
    all_workers = AllWorkers()
    assert followed(all_workers, NONE, 0.4 + SCATTER, loss=5.0)
    assert followed(all_workers, NONE, 0.4 + SCATTER, steps=all_workers.trial - 1, loss=5.1)  # on trial
    assert followed(all_workers, NONE, 0.4 + SCATTER, steps=9, loss=4.4)
    assert followed(all_workers, NONE, 0.4 + SCATTER, steps=9, loss=4.9)  # passed: no more than it was
    assert all_workers.follow(server(NONE, 0.4 + SCATTER, loss=5.1), TRUSTED, ALL, slope=0.0)
    assert not all_workers.believed and all_workers.steps == -all_workers.rest


def test_belief_is_followed_while_nobody_is_trusted_too():
    mind, heard = believer(), []
    for credits in [torch.ones(4)] * AllWorkers.youngest + [torch.zeros(4)] * 25:
        heard.append(mind.follows_all_workers(TRUSTED, ALL, credits))
    assert sum(heard) == AllWorkers.trial and not heard[-1]
    unsure = believer()
    assert not any(unsure.follows_all_workers(TRUSTED, ALL, torch.zeros(4)) for _ in range(9))
    assert unsure.all_workers.steps == 0


def believer() -> Mind:
    """A mind beside a server where all workers seems to gain and f_B does not fall."""
    mind = Mind(GAAPlus(), 4, 2, seeding.generator(0, "agent"))
    mind.server, mind.yardstick = server(NONE, 0.4 + SCATTER), 0.0
    mind.server.rollback, mind.server.keep = lambda to_start: None, lambda: None
    mind.checkpoints.keep(mind.server, mind.memory, mind.beliefs)
    return mind


def test_a_failed_trial_rolls_the_server_back_and_keeps_no_state_of_it():
    mind, back, credits = believer(), [], torch.ones(4)
    mind.server.rollback = back.append
    heard = [mind.follows_all_workers(TRUSTED, ALL, credits) for _ in range(25)]
    assert sum(heard) == AllWorkers.trial and back == [False] and not heard[-1]


def test_who_knows_of_insiders_does_not_ask_the_samples():
    mind, credits = believer(), torch.ones(4)
    assert any(mind.follows_all_workers(TRUSTED, ALL, credits) for _ in range(6))
    mind.leakage.known = True
    assert not mind.follows_all_workers(TRUSTED, ALL, credits)
