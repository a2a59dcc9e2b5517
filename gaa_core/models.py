"""The few networks of the case studies. None has batch statistics: a gradient belongs to one worker's batch alone."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def mlp(inputs: int, hidden: int, classes: int) -> nn.Sequential:
    """A ReLU network of one hidden layer; 784-32-10 has 25,450 parameters (METHOD: reconstruction)."""
    return nn.Sequential(
        OrderedDict(
            hidden=nn.Linear(inputs, hidden),  # [m, inputs] -> [m, hidden]
            relu=nn.ReLU(),
            out=nn.Linear(hidden, classes),  # [m, hidden] -> [m, classes]
        )
    )


def linear(inputs: int, classes: int) -> nn.Linear:
    """Softmax regression, where the loss is the cross-entropy."""
    return nn.Linear(inputs, classes)
