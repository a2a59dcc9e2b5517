"""Adaptive attacks: what they know, what they minimise, and that they do what they are for."""

import dataclasses

import numpy as np
import pytest
import torch

from gaa_core import roles, run
from gaa_core.aggregators import GAA, Mean, Oracle
from gaa_core.attacks import DefenceAware, LabelFlip, MimicThenTurn, MissingLabel, SlowDrift
from gaa_core.attacks.base import Attack, Knowledge
from gaa_core.attacks.lean import lean
from gaa_core.cases import MNIST
from gaa_core.cases.base import Split
from gaa_core.errors import GaaError, UnknownName
from gaa_core.simulator import Simulation

SMALL = {"steps": 6, "batch_size": 8, "lr": 0.05, "eval_every": 6}
OWN = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
HONEST = torch.tensor([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]])  # mean (1, 1)
ALL = torch.ones(5, dtype=torch.bool)


def knowledge(step=0, **known):
    return Knowledge(**{"step": step, "parameters": torch.zeros(2), "byzantine": ALL, "classes": 4} | known)


def forge(attack, own=OWN, honest=HONEST):
    return attack.forge(own, honest, torch.Generator().manual_seed(0))


@dataclasses.dataclass(frozen=True)
class Spy(Attack):
    """Honest, and writes down what it is told."""

    leak: str = "none"
    seen: list = dataclasses.field(default_factory=list)

    def informed(self, knowledge):
        self.seen.append(knowledge)
        return self


def spied(leak, **options):
    spy = Spy(leak)
    simulation = Simulation(MNIST, options.pop("rule", Mean()), attack=spy, roles=roles.static(10, 3), **SMALL)
    simulation.advance(), simulation.advance()
    return spy.seen, simulation


def test_each_level_of_leak_tells_more():
    (none, _), _ = spied("none")
    assert none.composition is None and none.samples is None and none.classes == 10
    (labels, _), simulation = spied("labels")
    assert labels.composition.tolist() == [1] * 10 and labels.samples is None
    (other, _), _ = spied("distribution")
    assert other.composition is not None and len(other.samples) == 10
    assert not torch.equal(other.samples.inputs, simulation.server.qv.inputs)
    assert torch.bincount(other.samples.targets).tolist() == [1] * 10
    (exact, second), simulation = spied("samples")
    assert torch.equal(exact.samples.inputs, simulation.server.qv.inputs)
    server = simulation.server
    torch.testing.assert_close(second.qv_gradient(), server.qv_gradient(second.parameters))
    with pytest.raises(GaaError, match="leak="):
        labels.qv_gradient()


def test_knowledge_is_of_the_step():
    (first, second), _ = spied("none", rule=GAA())
    assert (first.step, second.step) == (0, 1)
    assert first.credits is None and second.credits.shape == (10,)
    assert not torch.equal(first.parameters, second.parameters)
    assert first.byzantine.tolist() == [True] * 3 + [False] * 7
    with pytest.raises(UnknownName, match="labels"):
        spied("lables")


@dataclasses.dataclass(frozen=True)
class Upwards(Attack):
    """Minimises minus the loss."""

    def objective(self, losses, targets):
        return -losses.mean(dim=1)


@dataclasses.dataclass(frozen=True)
class Usual(Attack):
    """The default objective, written out."""

    def objective(self, losses, targets):
        return losses.mean(dim=1)


@pytest.mark.parametrize("method", ["vmap", "loop"])
@pytest.mark.parametrize(("attack", "sign"), [(Upwards(), -1), (Usual(), 1)])
def test_an_objective_changes_byzantine_gradients_and_no_others(attack, sign, method):
    plain = Simulation(MNIST, Mean(), **SMALL, method=method)
    byzantine = roles.static(10, 3)(0)
    theta = plain.server.parameters
    honest, losses = plain.engine.gradients(theta, 0, None, byzantine)
    changed, others = plain.engine.gradients(theta, 0, attack, byzantine)
    assert torch.equal(changed[3:], honest[3:]) and torch.equal(losses[3:], others[3:])
    torch.testing.assert_close(changed[:3], sign * honest[:3], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(others[:3], sign * losses[:3])


def test_missing_label_objective_by_hand():
    attack = MissingLabel(covered=10.0).informed(knowledge(composition=torch.tensor([1, 1, 0, 0])))
    losses = torch.tensor([[1.0, 2.0, 3.0, 6.0], [1.0, 1.0, 1.0, 5.0]])
    targets = torch.tensor([[0, 1, 0, 3], [1, 0, 1, 1]])
    assert attack.objective(losses, targets).tolist() == [10 * 2 - 6, 10 * 2 - 0]


@pytest.mark.parametrize(
    ("attack", "steps"),
    [
        (MissingLabel(), range(12)),
        (MissingLabel(covered=2.0, start=5), range(5, 12)),
        (MissingLabel(period=5, last=2), [3, 4, 8, 9]),
    ],
)
def test_missing_label_keeps_its_schedule(attack, steps):
    losses, targets = torch.tensor([[1.0, 5.0]]), torch.tensor([[0, 3]])
    active = []
    for step in range(12):
        attack = attack.informed(knowledge(step, composition=torch.tensor([1, 1, 0, 0])))
        if attack.objective(losses, targets).item() != 3.0:
            active.append(step)
    assert active == list(steps)


def test_missing_label_unlearns_the_missing_classes_and_the_trace_tells():
    options = {"steps": 60, "batch_size": 32, "qv_source": "missing_classes", "eval_every": 60}
    options |= {"attack": MissingLabel(), "roles": roles.static(10, 7)}
    attacked, clean = run(MNIST, Mean(), **options, lr=0.005), run(MNIST, Oracle(), **options, lr=0.05)
    assert attacked.extras["qv_composition"].tolist() == [2] * 5 + [0] * 5
    assert attacked.extras["class_accuracy"].shape == (10,)
    assert attacked.missing_accuracy < 0.1 < 0.5 < clean.missing_accuracy
    assert attacked.extras["class_accuracy"][:5].mean() > 0.5
    assert attacked.summary()["missing_accuracy"] == attacked.missing_accuracy
    counts = np.bincount(MNIST.load().test.targets)
    assert (clean.extras["class_accuracy"] * counts).sum() / counts.sum() == pytest.approx(clean.accuracy)
    with pytest.raises(GaaError, match="missing_classes"):
        run(MNIST, Mean(), attack=MissingLabel(), roles=roles.static(10, 1), **SMALL)
    with pytest.raises(GaaError, match="last <= period"):
        MissingLabel(period=3, last=4)


def test_lean_is_the_farthest_that_is_allowed():
    generator = torch.Generator().manual_seed(0)
    against, witness = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    for cosine in (0.0, 0.3):
        found = lean(against, witness, cosine)
        assert found.norm().item() == pytest.approx(1)
        assert (found @ witness / witness.norm()).item() >= cosine - 1e-9
        tried = torch.randn(20_000, 5, generator=generator, dtype=torch.float64)
        tried = tried / tried.norm(dim=1, keepdim=True)
        allowed = tried[tried @ witness / witness.norm() >= cosine]
        assert (allowed @ against).min() > found @ against - 1e-9
    assert lean(torch.tensor([0.0, 2.0]), torch.zeros(2), 0.5).tolist() == [0.0, -1.0]


def aware(gradient, **options):
    samples = Split(torch.zeros(1), torch.zeros(1))
    told = knowledge(samples=samples, slope=lambda *_: torch.tensor(gradient))
    return DefenceAware(**options).informed(told)


def test_defence_aware_by_hand():
    torch.testing.assert_close(forge(aware([1.0, 0.0])), torch.tensor([[0.0, -(2**0.5)]] * 2))
    torch.testing.assert_close(forge(aware([-1.0, 0.0], scale=2.0)), torch.tensor([[-2.0, -2.0]] * 2))
    torch.testing.assert_close(forge(aware([1.0, 0.0], cosine=0.6)), torch.tensor([[0.6, -0.8]] * 2) * 2**0.5)


def test_defence_aware_that_knows_labels_only_weighs_its_own_samples():
    attack = DefenceAware(leak="labels").informed(knowledge(composition=torch.tensor([1, 3, 0, 0])))
    losses = torch.tensor([[1.0, 2.0, 7.0]])
    assert attack.objective(losses, torch.tensor([[0, 1, 2]])).tolist() == [7 / 4]  # (1 * 1 + 3 * 2) / 4
    torch.testing.assert_close(forge(attack), torch.tensor([[0.0, -(2**0.5)]] * 2))  # witness: own mean (2, 0)
    with pytest.raises(UnknownName, match="labels"):
        DefenceAware(leak="none")


@pytest.mark.parametrize("leak", ["labels", "distribution", "samples"])
def test_defence_aware_passes_the_test_that_it_knows(leak):
    simulation = Simulation(MNIST, Mean(), attack=DefenceAware(leak=leak), roles=roles.static(10, 7), **SMALL)
    byzantine, server = simulation.roles(0), simulation.server
    simulation._inform(byzantine)
    computed, _ = simulation.engine.gradients(server.parameters, 0, simulation.attack, byzantine)
    forged = simulation.engine.ask(server.parameters, 0, simulation.attack, byzantine).submissions[byzantine][0]
    gradient, mean = server.qv_gradient(), computed[7:].mean(dim=0)
    agreement = float(forged @ gradient / forged.norm() / gradient.norm())
    assert agreement > (-1e-5 if leak == "samples" else -0.6)
    assert forged @ mean < 0


def test_slow_drift_by_hand():
    attack = SlowDrift(cosine=0.6, decay=0.5).informed(knowledge())
    assert forge(attack).tolist() == OWN.tolist()  # nothing remembered yet: honest
    attack = attack.informed(knowledge(1, parameters=torch.tensor([-1.0, 0.0])))
    torch.testing.assert_close(forge(attack), torch.tensor([[0.6, -0.8]] * 2) * 2**0.5)


def test_slow_drift_turns_a_memory_that_follows_it():
    own, truth, attack = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.2]]), SlowDrift(cosine=0.3, decay=0.0)
    theta, seen = torch.zeros(2), []
    for step in range(4):
        attack = attack.informed(knowledge(step, parameters=theta))
        accepted = forge(attack, own, truth)[0]
        seen.append(float(accepted @ own[0]))
        theta = theta - accepted
    assert seen[0] == 1.0 and seen == sorted(seen, reverse=True) and seen[-1] < -0.5


def test_mimic_then_turn_by_hand():
    byzantine = torch.tensor([True, False, False, True, False])
    credits = torch.tensor([0.5, 0.1, 0.3, 0.0, 0.1])  # of the honest 1, 2 and 4: most at 2
    attack = MimicThenTurn(until=3, scale=2.0).informed(knowledge(2, credits=credits, byzantine=byzantine))
    assert forge(attack).tolist() == [[0.0, 2.0]] * 2
    assert forge(attack.informed(knowledge(3, credits=credits, byzantine=byzantine))).tolist() == [[-2.0, -2.0]] * 2
    assert forge(MimicThenTurn().informed(knowledge(0))).tolist() == [[2.0, 0.0]] * 2
    assert forge(MimicThenTurn().informed(knowledge(0)), honest=HONEST[:0]).tolist() == [[1.0, 0.0]] * 2


@pytest.mark.parametrize(
    "attack", [DefenceAware(), DefenceAware(leak="labels"), SlowDrift(), MimicThenTurn(until=3), LabelFlip()], ids=repr
)
def test_an_attack_that_remembers_starts_every_run_anew(attack):
    options = {**SMALL, "attack": attack, "roles": roles.static(10, 7)}
    first, second = run(MNIST, GAA(), **options), run(MNIST, GAA(), **options)
    assert np.array_equal(first.credits, second.credits)
    assert first.accuracy == second.accuracy != run(MNIST, GAA(), **SMALL).accuracy
    assert first.settings["attack"] == repr(attack)


def test_attacks_that_remember_work_without_a_benign_worker():
    for attack in (DefenceAware(), SlowDrift(), MimicThenTurn(until=1)):
        trace = run(MNIST, Mean(), attack=attack, roles=roles.static(10, 10), **SMALL)
        assert trace.steps["qv_loss"].nunique() == SMALL["steps"] and np.isfinite(trace.steps["qv_loss"]).all()
