"""The few networks of the case studies. None has batch statistics: a gradient belongs to one worker's batch alone."""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional


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


class Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2016, figure 5 left), normalised over channel groups."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.GroupNorm(8, outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.GroupNorm(8, outputs),
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.GroupNorm(8, outputs))
        )

    def forward(self, images: Tensor) -> Tensor:  # [m, inputs, h, w] -> [m, outputs, h / stride, w / stride]
        return functional.relu(self.body(images) + self.shortcut(images))


def resnet18(classes: int = 10, width: int = 64) -> nn.Sequential:
    """ResNet-18 for 32x32 images (3x3 stem, no first pooling), with GroupNorm where the paper has BatchNorm.

    BatchNorm would make a sample's gradient depend on who else is in the batch, and keeps running averages
    that are no gradient at all: neither belongs to what a worker submits, and a Byzantine one could forge both.
    """
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.GroupNorm(8, width), nn.ReLU()]
    channels = width
    for stage in range(4):
        outputs = width * 2**stage
        layers += [Residual(channels, outputs, stride=1 if stage == 0 else 2), Residual(outputs, outputs, stride=1)]
        channels = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


class EmbeddingBag(nn.Module):
    """The sum of word vectors, weighted by the words' counts, then a linear layer (as fastText's classifier).

    Its input is the same [m, words] table of counts or TF-IDF weights that the linear model reads.
    """

    def __init__(self, words: int, width: int, classes: int):
        super().__init__()
        self.words = nn.Linear(words, width, bias=False)  # its weight's columns are the word vectors
        nn.init.normal_(self.words.weight, std=0.1)  # by the vectors' width, not by the number of words
        self.out = nn.Linear(width, classes)

    def forward(self, counts: Tensor) -> Tensor:  # [m, words] -> [m, classes]
        return self.out(self.words(counts))
