"""Sizes and properties of the few networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gaa_core.cases import networks


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        (networks.mlp(784, 32, 10), 25_450),
        (networks.lenet(), 62_006),
        (networks.cnn(), 431_080),
        (networks.linear(100, 2), 202),
        (networks.EmbeddingBag(100, 8, 2), 100 * 8 + 8 * 2 + 2),
        (networks.resnet18(), 11_173_962),
    ],
    ids=["mlp", "lenet", "cnn", "linear", "embedding bag", "resnet18"],
)
def test_number_of_parameters(model, parameters):
    assert size(model) == parameters


@pytest.mark.parametrize("build", [networks.lenet, lambda: networks.resnet18(width=8)], ids=["lenet", "resnet18"])
def test_a_sample_is_judged_by_itself(build):
    """No batch statistics: the outputs, and so the gradients, of a sample do not depend on its companions."""
    torch.manual_seed(0)
    model, images = build(), torch.randn(4, 3, 32, 32)
    together = model(images)
    assert together.shape == (4, 10)
    assert torch.allclose(together[:1], model(images[:1]), atol=1e-5)


def test_residuals_keep_and_halve():
    images = torch.randn(2, 8, 16, 16)
    assert networks.Residual(8, 8, stride=1)(images).shape == (2, 8, 16, 16)
    assert networks.Residual(8, 16, stride=2)(images).shape == (2, 16, 8, 8)
