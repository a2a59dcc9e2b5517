"""run(): reproducible to the bit, one generator per purpose, and helpful about bad input."""

import numpy as np
import pytest
import torch

from gaa_core import roles, run
from gaa_core.aggregators import GAA, CoordinateMedian, Krum, Mean, Oracle, ServerOnly
from gaa_core.attacks import GradientReversion, RandomFault
from gaa_core.cases import MNIST
from gaa_core.cases.base import Settings
from gaa_core.errors import GaaError, TooFewWorkers, UnknownName
from gaa_core.options import label
from gaa_core.simulator import Simulation

SMALL = {"steps": 12, "batch_size": 8, "lr": 0.05}
ATTACK = {"attack": RandomFault(std=1.0), "roles": roles.static(10, 3)}


def same(one, other) -> bool:
    columns = [name for name in one.steps if name != "seconds"]
    return (
        one.steps[columns].equals(other.steps[columns])
        and np.array_equal(one.credits, other.credits, equal_nan=True)
        and np.array_equal(one.byzantine, other.byzantine)
    )


@pytest.mark.parametrize("rule", [Mean(), Krum(f=3), GAA(), GAA(norm_bound=2.0)], ids=repr)
def test_same_seed_gives_the_same_trace_to_the_bit(rule):
    assert same(run(MNIST, rule, **SMALL, **ATTACK), run(MNIST, rule, **SMALL, **ATTACK))


def test_another_seed_gives_another_trace():
    assert not same(run(MNIST, Mean(), **SMALL), run(MNIST, Mean(), **SMALL, seed=1))


def test_the_rule_and_the_attack_leave_the_batches_as_they_are():
    plain = Simulation(MNIST, Mean(), **SMALL)
    attacked = Simulation(MNIST, GAA(), **SMALL, **ATTACK)
    for _ in range(3):
        plain.advance(), attacked.advance()
    for step in (0, 2, 60):
        for ours, theirs in zip(plain.engine.batch(step), attacked.engine.batch(step), strict=True):
            assert torch.equal(ours, theirs)
    assert torch.equal(plain.server.qv.inputs, attacked.server.qv.inputs)


def test_the_thread_count_of_the_caller_is_restored():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run(MNIST, Mean(), **SMALL)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_rewards_are_the_falls_of_the_qv_loss():
    trace = run(MNIST, GAA(), **SMALL)
    falls = -np.diff(trace.steps["qv_loss"])
    np.testing.assert_allclose(trace.steps["reward"][:-1], falls)
    assert np.isfinite(trace.steps["reward"].iloc[-1])


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


def test_oracle_skips_steps_without_a_benign_worker():
    simulation = Simulation(MNIST, Oracle(), **SMALL, attack=RandomFault(), roles=roles.static(10, 10))
    before = simulation.server.parameters.clone()
    simulation.advance()
    assert torch.equal(simulation.server.parameters, before)


def test_server_only_ignores_the_workers():
    plain = run(MNIST, ServerOnly(), **SMALL)
    attacked = run(MNIST, ServerOnly(), **SMALL, **ATTACK)
    assert plain.accuracy == attacked.accuracy
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


def test_a_step_with_no_finite_submission_leaves_the_model_as_it_is():
    simulation = Simulation(MNIST, lambda g: g.mean(0), **SMALL, attack=nan_rows, roles=roles.static(10, 10))
    before = simulation.server.parameters.clone()
    simulation.advance()
    assert torch.equal(simulation.server.parameters, before)


def test_too_few_finite_submissions_to_choose_among_skip_the_step():
    simulation = Simulation(MNIST, Krum(f=3), **SMALL, attack=nan_rows, roles=roles.static(10, 9))
    before = simulation.server.parameters.clone()
    simulation.advance()
    assert torch.equal(simulation.server.parameters, before)
    assert (simulation.trace().credits == 0).all()


def test_evaluation_is_where_it_was_asked_for_and_at_the_end():
    trace = run(MNIST, Mean(), **SMALL, eval_every=5)
    assert list(np.flatnonzero(trace.steps["accuracy"].notna())) == [4, 9, 11]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1; found 0"),
        ({"n": 0}, "n must be"),
        ({"lr": -1.0}, "lr must be greater than 0"),
        ({"batch_size": 2.5}, "batch_size must be"),
        ({"roles": roles.static(4, 1)}, "n=10"),
        ({"attack": GradientReversion}, "instance"),
        ({"qv_source": "goldn"}, "golden"),
        ({"partition": "dirichlett"}, "dirichlet"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_words(options, words):
    with pytest.raises(GaaError, match=words):
        run(MNIST, Mean(), **options)


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(UnknownName, match="batch_size"):
        run(MNIST, Mean(), batchsize=3)


def test_too_many_declared_attackers_name_rule_need_and_found():
    with pytest.raises(TooFewWorkers, match=r"Krum\(f=4\) needs at least 11 workers; found 10"):
        run(MNIST, Krum(f=4), steps=3)


def test_a_class_in_place_of_a_rule_is_refused():
    with pytest.raises(GaaError, match=r"write Mean\(...\)"):
        run(MNIST, Mean, steps=3)


@pytest.mark.parametrize("bad", [lambda own, honest, generator: own[:1], lambda own, honest, generator: None])
def test_an_attack_of_the_wrong_shape_is_named(bad):
    with pytest.raises(GaaError, match="must return a tensor of shape"):
        run(MNIST, Mean(), steps=2, attack=bad, roles=roles.static(10, 3))


def test_a_function_rule_of_the_wrong_shape_is_named():
    with pytest.raises(GaaError, match="must return a real tensor of shape"):
        run(MNIST, lambda g: g.mean(1), steps=2)


def test_progress_counts_the_steps():
    seen = []
    run(MNIST, Mean(), **SMALL, progress=seen.append)
    assert seen == list(range(1, 13))


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
    with pytest.raises(GaaError, match="a share of the steps, must be from 0 to 1; found 2"):
        run(MNIST, Mean(), cooldown=2.0)
