"""The few networks of the case studies. None has batch statistics: a gradient belongs to one worker's batch alone."""

from collections import OrderedDict

from torch import nn


def mlp(inputs: int, hidden: int, classes: int) -> nn.Sequential:
    """A ReLU network of one hidden layer; 784-32-10 has 25,450 parameters (reconstruction)."""
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


def lenet(classes: int = 10) -> nn.Sequential:
    """The LeNet-style network for 32x32 colour images, 62,006 parameters (reconstruction)."""
    return nn.Sequential(
        OrderedDict(
            convolution1=nn.Conv2d(3, 6, 5),  # [m, 3, 32, 32] -> [m, 6, 28, 28]
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),  # -> [m, 6, 14, 14]
            convolution2=nn.Conv2d(6, 16, 5),  # -> [m, 16, 10, 10]
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),  # -> [m, 16, 5, 5]
            flatten=nn.Flatten(),  # -> [m, 400]
            full1=nn.Linear(400, 120),
            relu3=nn.ReLU(),
            full2=nn.Linear(120, 84),
            relu4=nn.ReLU(),
            out=nn.Linear(84, classes),  # -> [m, classes]
        )
    )


def cnn(classes: int = 10) -> nn.Sequential:
    """The small network of the field's MNIST experiments, 431,080 parameters, for images in rows of 784 pixels.

    Caffe's LeNet with ReLU; used e.g. by El Mhamdi et al. 2021, "Distributed momentum for Byzantine-resilient SGD".
    """
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),  # [m, 784] -> [m, 1, 28, 28]
        nn.Conv2d(1, 20, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),  # -> [m, 20, 12, 12]
        nn.Conv2d(20, 50, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),  # -> [m, 50, 4, 4]
        nn.Flatten(),  # -> [m, 800]
        nn.Linear(800, 500),
        nn.ReLU(),
        nn.Linear(500, classes),
    )
