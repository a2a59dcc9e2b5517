"""Gradients of all workers at once: equal to each worker's own, whichever way they are computed."""

import pytest
import torch
from torch import nn

from gaa_core.models import FlatModel


def networks():
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    conv = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3))
    return {"dense": (dense, (6,)), "conv": (conv, (1, 6, 6))}


@pytest.mark.parametrize("name", ["dense", "conv"])
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
    }
    found = {name: FlatModel(network).choose_method("auto", *shapes[name]) for name, (network, _) in networks().items()}
    assert found == {"dense": ("analytic", ""), "conv": ("analytic", "")}
