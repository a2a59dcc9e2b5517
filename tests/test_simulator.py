"""run(): reproducible to the bit, one generator per purpose, and helpful about bad input."""

import numpy as np
import pytest
import torch

from gaa_core import roles, run
from gaa_core.aggregators import GAA, CoordinateMedian, Krum, Mean, Oracle, ServerOnly
from gaa_core.attacks import GradientReversion, RandomFault
from gaa_core.cases import MNIST
from gaa_core.cases.base import Settings
from gaa_core.errors import GaaError
from gaa_core.options import label
from gaa_core.simulator import Simulation

SMALL = {"steps": 12, "batch_size": 8, "lr": 0.05}
ATTACK = {"attack": RandomFault(std=1.0), "roles": roles.static(10, 3)}


@pytest.mark.parametrize("rule", [Mean(), Krum(f=3), GAA(), GAA(norm_bound=2.0)], ids=repr)
def test_same_seed_gives_the_same_trace_to_the_bit(rule):
    first, again, other = (run(MNIST, rule, **SMALL, **ATTACK, seed=seed) for seed in (0, 0, 1))
    tables = [trace.steps.drop(columns="seconds") for trace in (first, again, other)]
    assert tables[0].equals(tables[1]) and not tables[0].equals(tables[2])
    assert np.array_equal(first.credits, again.credits, equal_nan=True)


def test_the_rule_and_the_attack_leave_the_batches_as_they_are():
    plain = Simulation(MNIST, Mean(), **SMALL)
    attacked = Simulation(MNIST, GAA(), **SMALL, **ATTACK)
    for _ in range(3):
        plain.advance(), attacked.advance()
    for step in (0, 2, 60):
        for ours, theirs in zip(plain.engine.batch(step), attacked.engine.batch(step), strict=True):
            assert torch.equal(ours, theirs)
    assert torch.equal(plain.server.qv.inputs, attacked.server.qv.inputs)


def test_rewards_are_the_falls_of_the_qv_loss_and_progress_counts_the_steps():
    seen, before = [], torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        trace = run(MNIST, GAA(), **SMALL, progress=seen.append, eval_every=5)
        assert torch.get_num_threads() == 2, "the thread count of the caller is restored"
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(trace.steps["reward"][:-1], -np.diff(trace.steps["qv_loss"]))
    assert np.isfinite(trace.steps["reward"].iloc[-1])
    assert seen == list(range(1, 13))
    assert list(np.flatnonzero(trace.steps["accuracy"].notna())) == [4, 9, 11], "where it was asked for and at the end"


def test_credits_of_byzantine_workers_fall_under_their_share():
    attackers = roles.static(10, 7)
    trace = run(MNIST, GAA(), steps=150, batch_size=64, lr=0.05, attack=GradientReversion(), roles=attackers)
    late = trace.credits[-30:].mean(axis=0)  # [n]
    assert (late[:7] < 1 / 10).all()
    assert trace.accuracy > 0.7


def test_one_of_ten_breaks_the_mean_and_not_the_oracle():
    attack = {"attack": RandomFault(), "roles": roles.static(10, 1)}
    broken = run(MNIST, Mean(), steps=60, batch_size=32, lr=0.05, **attack)
    sound = run(MNIST, Oracle(), steps=60, batch_size=32, lr=0.05, **attack)
    assert broken.accuracy < 0.6 < sound.accuracy
    assert (sound.credits[:, 0] == 0).all()


def test_server_only_ignores_the_workers():
    attacked = run(MNIST, ServerOnly(), **SMALL, **ATTACK)
    assert run(MNIST, ServerOnly(), **SMALL).accuracy == attacked.accuracy
    assert (attacked.credits == 0).all()


def nan_rows(own, honest, generator):
    return own * float("nan")


@pytest.mark.parametrize(
    "rule", [Mean(), CoordinateMedian(), Krum(f=3), GAA(), Oracle(), lambda g: g.mean(0)], ids=label
)
def test_submissions_that_are_not_finite_are_masked_and_counted(rule):
    trace = run(MNIST, rule, **SMALL, attack=nan_rows, roles=roles.static(10, 3))
    assert (trace.steps["nonfinite"] == 3).all()
    assert np.isfinite(trace.steps["qv_loss"]).all()
    if trace.has_credits:
        assert (trace.credits[:, :3] == 0).all()


@pytest.mark.parametrize(
    ("rule", "attack", "byzantine"),
    [
        (Krum(f=3), nan_rows, 9),  # too few to choose among
        (lambda g: g.mean(0), nan_rows, 10),
        (Oracle(), RandomFault(), 10),
    ],
    ids=["one finite", "none finite", "none benign"],
)
def test_a_step_without_enough_submissions_leaves_the_model_as_it_is(rule, attack, byzantine):
    simulation = Simulation(MNIST, rule, **SMALL, attack=attack, roles=roles.static(10, byzantine))
    before = simulation.server.parameters.clone()
    simulation.advance()
    assert torch.equal(simulation.server.parameters, before)
    assert not simulation.trace().credits.any() or byzantine == 10


@pytest.mark.parametrize(
    ("rule", "options", "words"),
    [
        (Mean(), {"steps": 0}, "steps must be a whole number of at least 1; found 0"),
        (Mean(), {"n": 0}, "n must be"),
        (Mean(), {"lr": -1.0}, "lr must be greater than 0"),
        (Mean(), {"batch_size": 2.5}, "batch_size must be"),
        (Mean(), {"roles": roles.static(4, 1)}, "n=10"),
        (Mean(), {"attack": GradientReversion}, "instance"),
        (Mean(), {"qv_source": "goldn"}, "golden"),
        (Mean(), {"partition": "dirichlett"}, "dirichlet"),
        (Mean(), {"batchsize": 3}, "batch_size"),
        (Mean(), {"cooldown": 2.0}, "from 0 to 1; found 2"),
        (Krum(f=4), {}, r"Krum\(f=4\) needs at least 11 workers; found 10"),
        (Mean, {}, r"write Mean\(...\)"),
        (lambda g: g.mean(1), {}, "must return a real tensor of shape"),
        (Mean(), {"attack": lambda own, *_: own[:1], "roles": roles.static(10, 3)}, "must return a tensor of shape"),
        (Mean(), {"attack": lambda own, *_: None, "roles": roles.static(10, 3)}, "must return a tensor of shape"),
    ],
)
def test_what_cannot_be_is_refused_in_words(rule, options, words):
    with pytest.raises(GaaError, match=words):
        run(MNIST, rule, **({"steps": 2} | options))


def test_the_step_size_comes_to_rest_over_the_last_share_of_the_steps():
    settings = Settings(lr=0.5, steps=10, cooldown=0.4)
    assert [settings.lr_at(step) for step in range(10)] == pytest.approx([0.5] * 7 + [0.375, 0.25, 0.125])
    assert [Settings(lr=0.5, steps=10).lr_at(step) for step in (0, 9)] == [0.5, 0.5]
    rates = []
    simulation = Simulation(MNIST, Mean(), steps=4, batch_size=2, lr=0.1, cooldown=0.5)
    while simulation.server.step < 4:
        simulation.advance()
        rates.append(simulation.server.lr)
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.05])
