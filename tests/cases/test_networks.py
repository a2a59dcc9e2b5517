"""Sizes and properties of the few networks."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from gaa_core.cases import CIFAR10, MNIST, MNIST_CNN, Yelp, networks


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        (networks.mlp(784, 32, 10), 25_450),
        (networks.lenet(), 62_006),
        (networks.cnn(), 431_080),
        (networks.linear(100, 2), 202),
    ],
    ids=["mlp", "lenet", "cnn", "linear"],
)
def test_number_of_parameters(model, parameters):
    assert size(model) == parameters


def test_a_sample_is_judged_by_itself():
    """No batch statistics: the outputs, and so the gradients, of a sample do not depend on its companions."""
    torch.manual_seed(0)
    model, images = networks.lenet(), torch.randn(4, 3, 32, 32)
    together = model(images)
    assert together.shape == (4, 10)
    assert torch.allclose(together[:1], model(images[:1]), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "steps", "batch", "bounds"),
    [
        (replace(MNIST, settings=replace(MNIST.settings, lr=0.2)), 150, 250, (0.85, 1)),
        (MNIST_CNN, 40, 128, (0.7, 1)),
        (CIFAR10, 100, 128, (0.3, 0.85)),  # the stand-in; a start: a thousand and more steps reach 0.84
        (Yelp, None, None, (0.77, 1)),
    ],
    ids=["MLP", "CNN", "LeNet", "linear"],
)
def test_networks_learn_the_packaged_data(packaged, trained, case, steps, batch, bounds):
    assert bounds[0] < trained(case, packaged(case), steps=steps, batch=batch) < bounds[1]
