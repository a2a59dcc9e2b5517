"""Gradients of all workers at once: equal to each worker's own, whichever way they are computed."""

import pytest
import torch
from torch import nn

import gaa_core
from gaa_core.aggregators import Mean
from gaa_core.errors import GaaError
from gaa_core.models import FlatModel


def networks():
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    conv = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3))
    first, second = nn.Conv2d(1, 2, 3, bias=False), nn.Linear(8, 4, bias=False)
    mixed = nn.Sequential(
        nn.ReLU(), first, nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), second, nn.Tanh(), nn.Linear(4, 3)
    )
    return {"dense": (dense, (6,)), "conv": (conv, (1, 6, 6)), "mixed": (mixed, (1, 6, 6))}


@pytest.mark.parametrize("name", ["dense", "conv", "mixed"])
@pytest.mark.parametrize("method", ["analytic", "vmap", "loop"])
def test_worker_gradients_equal_plain_backward(name, method):
    network, shape = networks()[name]
    model = FlatModel(network)
    inputs, targets = torch.randn(4, 7, *shape), torch.randint(3, (4, 7))
    gradients, losses = model.worker_gradients(model.initial(), inputs, targets, method)
    for i in range(4):
        network.zero_grad()
        loss = nn.functional.cross_entropy(network(inputs[i]), targets[i])
        loss.backward()
        expected = torch.cat([parameter.grad.reshape(-1) for parameter in network.parameters()])
        torch.testing.assert_close(gradients[i], expected, rtol=1e-4, atol=1e-6)
        assert losses[i].item() == pytest.approx(loss.item(), rel=1e-5)


def test_theta_alone_decides():
    network, shape = networks()["dense"]
    model = FlatModel(network)
    inputs = torch.randn(5, *shape)
    assert not torch.equal(model.outputs(model.initial(), inputs), model.outputs(torch.zeros(model.d), inputs))
    assert model.d == sum(parameter.numel() for parameter in network.parameters())


def test_the_method_follows_from_the_network_alone():
    shapes = {
        "dense": (torch.randn(4, 6), torch.tensor([0, 1, 2, 0])),
        "conv": (torch.randn(4, 1, 6, 6), torch.ones(4).long()),
        "mixed": (torch.randn(4, 1, 6, 6), torch.ones(4).long()),
    }
    found = {name: FlatModel(network).choose_method("auto", *shapes[name]) for name, (network, _) in networks().items()}
    assert found == dict.fromkeys(networks(), ("analytic", ""))


class Branching(nn.Module):
    """Depends on its data, which vmap does not allow; a part of it takes no part in the loss."""

    def __init__(self):
        super().__init__()
        self.layer, self.unused = nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, inputs):
        return self.layer(inputs) if inputs.sum() > 0 else self.layer(-inputs)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.memory, self.layer = nn.GRU(2, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, inputs):
        return self.layer(self.memory(inputs.unflatten(1, (3, 2)))[0][:, -1])


SAMPLES = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])
TWO = SAMPLES[0].expand(2, 4, 6), SAMPLES[1].expand(2, 4)


def transformer() -> nn.Module:
    """An encoder of six words with attention, which vmap would go through sample by sample, warning each time."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return nn.Sequential(
        nn.Unflatten(1, (6, 1)), nn.Linear(1, 8), nn.TransformerEncoder(layer, 1), nn.Flatten(), nn.Linear(48, 3)
    )


@pytest.mark.parametrize(
    "network",
    [Branching(), Recurrent(), nn.Sequential(nn.Dropout(), nn.Linear(6, 3)), transformer()],
    ids=["branching", "recurrent", "dropout", "transformer"],
)
@pytest.mark.filterwarnings("ignore:There is a performance drop")  # by default they are no errors
def test_what_cannot_be_vmapped_is_looped_with_one_sentence(network):
    method, words = FlatModel(network).choose_method("auto", *SAMPLES)
    assert method == "loop" and words.startswith("The workers' gradients are computed one by one")
    with pytest.raises(GaaError, match="not possible for this network"):
        FlatModel(network).choose_method("vmap", *SAMPLES)


def test_a_parameter_that_takes_no_part_in_the_loss_has_gradient_zero():
    model = FlatModel(Branching())
    theta = model.initial()
    for found in (model.worker_gradients(theta, *TWO, "loop")[0][0], model.gradient(theta, *SAMPLES)[0]):
        used, unused = found.split([21, 21])
        assert used.norm() > 0 and not unused.any()


def test_dropout_draws_from_the_seed_of_a_worker_in_training_and_does_nothing_in_evaluation():
    model = FlatModel(nn.Sequential(nn.Dropout(0.9), nn.Linear(6, 3)))
    theta, before = model.initial(), torch.get_rng_state()
    first, again, other = (model.worker_gradients(theta, *TWO, "loop", seeds)[0] for seeds in ([1, 2], [1, 2], [3, 2]))
    assert torch.equal(first, again) and not torch.equal(first[0], first[1]) and not torch.equal(first[0], other[0])
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(model.predict(theta, SAMPLES[0]), model.network[1](SAMPLES[0]))


def test_frozen_layers_are_not_trained_and_layers_that_keep_statistics_are_refused():
    frozen = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3))
    frozen[0].requires_grad_(False)
    mine = gaa_core.case(lambda: frozen, SAMPLES, SAMPLES, steps=3, batch_size=2, n=3, qv_size=1)
    trained = gaa_core.run(mine, Mean()).model
    assert torch.equal(trained[0].weight, frozen[0].weight) and not torch.equal(trained[1].weight, frozen[1].weight)
    with pytest.raises(GaaError, match=r"keeps statistics of its batches.*GroupNorm"):
        FlatModel(nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))).choose_method("auto", *SAMPLES)
