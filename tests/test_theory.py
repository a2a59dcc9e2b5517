"""The statements that a notebook derives, on small sizes: equal where they are equalities, under their bounds else."""

import torch

from gaa_core import roles, seeding, theory
from gaa_core.aggregators import Mean
from gaa_core.attacks import GradientReversion, MimicThenTurn
from gaa_core.cases import MNIST
from gaa_core.qv import draw_qv
from gaa_core.simulator import Simulation

SMALL = {"batch_size": 8, "lr": 0.05}


def test_one_worker_of_any_weight_decides_and_pays_with_length():
    table = theory.steering([0.5, 0.1, 1e-4])
    assert (table["missed"] < 1e-9).all()
    assert (table["length"] <= table["at most"]).all() and table["length"].is_monotonic_increasing


def test_regret_stays_under_its_bound_whatever_the_attackers_do():
    for attack in (GradientReversion(), MimicThenTurn(until=15)):
        table, accuracy = theory.regret(MNIST, steps=30, n=10, attack=attack, roles=roles.static(10, 7), **SMALL)
        assert len(table) == 30 and (table["regret"] <= table["bound"]).all()
        assert 0 <= accuracy <= 1


def test_credits_follow_past_losses_only():
    weights = theory.ExponentialWeights(2, 8)
    submissions, reference = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([1.0, 0.0])
    first, second = weights.decide(submissions, reference), weights.decide(submissions, reference)
    assert first.tolist() == [0.0, 0.0]
    assert weights.losses[0].tolist() == [0.0, 1.0]
    share = 1 / (1 + torch.tensor(-weights.eta).exp())  # after one loss of 1
    torch.testing.assert_close(second[0], 2 * share - 1)


def test_wrong_signs_are_bounded_and_a_reversed_kind_is_wrong():
    simulation = Simulation(MNIST, Mean(), steps=3, **SMALL)
    sets = [draw_qv(MNIST, simulation.data, "golden", 10, seeding.generator(k, "draws"))[0] for k in range(20)]
    table = theory.wrong_signs(simulation, {"golden": sets}, [0, 2])
    assert table["step"].tolist() == [0, 2]
    assert (table["measured"] <= table["bound"]).all() and (table["measured"] < 0.3).all()
    turned = [type(each)(each.inputs, (each.targets + 5) % 10) for each in sets]
    assert (theory.wrong_signs(simulation, {"turned": turned}, [0])["measured"] > table["measured"].max()).all()
