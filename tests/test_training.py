"""How the field trains: worker momentum, server optimizers, local steps, absent workers, a hook, the model."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from gaa_core import roles, run
from gaa_core.aggregators import GAA, Krum, Mean
from gaa_core.attacks import GradientReversion
from gaa_core.cases import CMS, MNIST, Settings
from gaa_core.errors import GaaError
from gaa_core.options import looking_interval
from gaa_core.simulator import Simulation

SMALL = {"steps": 6, "batch_size": 4, "n": 5, "lr": 0.1}


def adam(parameters):
    return torch.optim.Adam(parameters, 1e-2)


def steps_by_hand(make, steps: int):
    """The parameters after training with a torch optimizer on the mean gradient of the workers' own batches."""
    simulation = Simulation(CMS, Mean(), **SMALL)
    network = simulation.server.model.trained(simulation.server.parameters)
    optimizer = make(network.parameters())
    for step in range(steps):
        inputs, targets = simulation.engine.batch(step)
        optimizer.zero_grad()
        functional.cross_entropy(network(inputs.flatten(0, 1)), targets.flatten()).backward()
        optimizer.step()
    return torch.cat([parameter.detach().reshape(-1) for parameter in network.parameters()])


def parameters_of(trace):
    return torch.cat([parameter.detach().reshape(-1) for parameter in trace.model.parameters()])


def sgd(parameters):
    return torch.optim.SGD(parameters, 0.1, momentum=0.9, weight_decay=0.01, nesterov=True)


@pytest.mark.parametrize("make", [adam, sgd])
def test_a_server_optimizer_takes_the_aggregate_as_its_gradient(make):
    options = {name: value for name, value in SMALL.items() if name != "lr"}
    trace = run(CMS, Mean(), **options, optimizer=make)
    torch.testing.assert_close(parameters_of(trace), steps_by_hand(make, 6), rtol=1e-4, atol=1e-6)
    assert trace.settings["optimizer"] == make.__name__


def test_weight_decay_is_that_of_plain_sgd():
    wanted = steps_by_hand(lambda parameters: torch.optim.SGD(parameters, 0.1, weight_decay=0.05), 6)
    trace = run(CMS, Mean(), **SMALL, weight_decay=0.05)
    torch.testing.assert_close(parameters_of(trace), wanted, rtol=1e-4, atol=1e-6)


def test_a_scheduler_is_stepped_after_every_step():
    options = {name: value for name, value in SMALL.items() if name != "lr"}
    options["optimizer"] = lambda parameters: torch.optim.SGD(parameters, 1.0)
    options["scheduler"] = lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.1)
    simulation = Simulation(CMS, Mean(), **options)
    rates = []
    for _ in range(4):
        simulation.advance()
        rates.append(simulation.server.lr)
    assert rates == pytest.approx([1.0, 1.0, 0.1, 0.1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimizer": adam, "lr": 0.1}, "has its own step size"),
        ({"scheduler": lambda optimizer: None}, "needs an optimizer"),
        ({"optimizer": lambda parameters: "adam"}, r"torch\.optim\.Optimizer; found str"),
        ({"worker_momentum": 1.0}, "from 0 to below 1; found 1.0"),
        ({"local_steps": 0}, "local_steps must be a whole number of at least 1"),
        ({"participation": 0.0}, "a share above 0"),
        ({"participation": lambda step: torch.zeros(5, dtype=torch.bool)}, r"bool tensor \[5\] with a True"),
        ({"compress": lambda row: row[:3]}, "compress must return a tensor of shape"),
        ({"weight_decay": -1.0}, "weight_decay must be 0 or more"),
        ({"eval_every": 0}, "eval_every must be a whole number of at least 1"),
        ({"device": "gpu"}, "device 'gpu' cannot be used"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(options, words):
    settings = {name: value for name, value in SMALL.items() if name != "lr"} | {"steps": 1}
    with pytest.raises(GaaError, match=words):
        run(CMS, Mean(), **(settings | options))


def test_worker_momentum_is_a_running_mean_of_each_workers_gradients():
    momentum, plain = Simulation(CMS, Mean(), **SMALL, worker_momentum=0.9), Simulation(CMS, Mean(), **SMALL)
    theta, none = plain.server.parameters, torch.zeros(5, dtype=torch.bool)
    gradients = [plain.engine.ask(theta, step, None, none).submissions for step in range(3)]
    submitted = [momentum.engine.ask(theta, step, None, none).submissions for step in range(3)]
    wanted = 0.1 * (0.81 * gradients[0] + 0.9 * gradients[1] + gradients[2])
    torch.testing.assert_close(submitted[2], wanted, rtol=1e-4, atol=1e-7)


def test_an_attack_forges_momentum_and_leaves_the_memory_as_it_is():
    attack = {"attack": GradientReversion(scale=3.0), "roles": roles.static(5, 2)}
    simulation = Simulation(CMS, Mean(), **SMALL, **attack, worker_momentum=0.9)
    byzantine, theta = roles.static(5, 2)(0), simulation.server.parameters
    found = simulation.engine.ask(theta, 0, simulation.attack, byzantine).submissions
    torch.testing.assert_close(found[:2], -3 * simulation.engine.state()["momentum"][:2])


def test_local_steps_submit_the_way_of_plain_sgd_divided_by_its_step_size():
    # FedAvg, McMahan et al. 2017, algorithm 1: each worker walks by itself, the server averages where they arrive.
    simulation, byzantine = Simulation(CMS, Mean(), **SMALL, local_steps=3), torch.zeros(5, dtype=torch.bool)
    model, theta = simulation.server.model, simulation.server.parameters
    submitted = simulation.engine.ask(theta, 2, None, byzantine).submissions
    for worker in range(5):
        own = theta.clone()
        for local in range(3):
            inputs, targets = simulation.engine.batch(2 * 3 + local)
            own -= 0.1 * model.gradient(own, inputs[worker], targets[worker])[0]
        torch.testing.assert_close(submitted[worker], (theta - own) / 0.1, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("rule", [Mean(), Krum(f=1), GAA()], ids=repr)
def test_absent_workers_get_no_credit_and_use_up_no_f(rule):
    trace = run(CMS, rule, **(SMALL | {"n": 10}), participation=0.5)
    absent = trace.extras["absences"] > 0
    assert (absent.sum(axis=1) == 5).all() and len({tuple(row) for row in absent}) > 1
    assert (trace.credits[absent] == 0).all()
    np.testing.assert_allclose(trace.credits.sum(axis=1), 1, atol=1e-5)  # Krum(f=1) needs 5 workers, and has them


def test_compression_is_applied_to_every_row():
    simulation = Simulation(CMS, Mean(), **SMALL, compress=torch.sign)
    found = simulation.engine.ask(simulation.server.parameters, 0, None, torch.zeros(5, dtype=torch.bool)).submissions
    assert set(found.unique().tolist()) <= {-1.0, 0.0, 1.0}


def test_the_callback_gets_every_row_and_the_trace_has_the_trained_network():
    rows = []
    trace = run(CMS, GAA(), **SMALL, callback=lambda step, row: rows.append((step, row["qv_loss"], row["credits"])))
    assert [step for step, _, _ in rows] == list(range(6))
    assert [loss for _, loss, _ in rows] == trace.steps["qv_loss"].tolist()
    test = CMS.load().test
    with torch.no_grad():
        assert CMS.metric(trace.model(test.inputs), test.targets) == pytest.approx(trace.accuracy)


def test_a_run_with_an_optimizer_and_momentum_goes_on_to_the_same_trace(tmp_path):
    options = {"n": 5, "steps": 6, "batch_size": 4, "optimizer": adam, "worker_momentum": 0.9, "participation": 0.8}
    whole = run(CMS, GAA(), **options)
    simulation = Simulation(CMS, GAA(), **options)
    for _ in range(3):
        simulation.advance()
    simulation.save(tmp_path / "run.pt")
    resumed = run(CMS, GAA(), **options, checkpoint=tmp_path / "run.pt", resume=True)
    assert torch.equal(parameters_of(whole), parameters_of(resumed))

    def slower(parameters):
        return torch.optim.Adam(parameters, 1e-3)

    slower.__name__ = "adam"  # the settings of the two runs are the same, their code is not
    with pytest.raises(GaaError, match="other code of its rule"):
        run(CMS, GAA(), **(options | {"optimizer": slower}), checkpoint=tmp_path / "run.pt", resume=True)


def test_an_attack_without_roles_is_refused_and_one_that_begins_too_late_is_warned_of():
    # Measured as "no attack" otherwise, in a table that says attack=...
    with pytest.raises(GaaError, match=r"needs roles, which say who carries it out"):
        run(MNIST, Mean(), **SMALL, attack=GradientReversion())
    late = roles.pretense(5, 2, until=6)
    with pytest.warns(UserWarning, match="never acts"):
        run(MNIST, Mean(), **SMALL, attack=GradientReversion(), roles=late)


def test_a_run_that_never_accepted_a_submission_ends_with_an_error():
    with pytest.raises(GaaError, match="No submission was accepted in 2 steps"):
        run(CMS, Mean(), **(SMALL | {"steps": 2}), attack=lambda own, *_: own * torch.nan, roles=roles.static(5, 5))


def test_looking_at_the_test_set_takes_a_tenth_of_the_time_at_most():
    large = Settings(steps=3000, batch_size=64, n=10)  # 57 looks of 10,000 images would take a tenth: the most are 25
    assert looking_interval(large, 10_000, 1) == 120
    small = Settings(steps=400, batch_size=16, n=10)  # two looks would; five are the fewest
    assert looking_interval(small, 10_000, 1) == 80
