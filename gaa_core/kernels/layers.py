"""Plain sequences of layers: which networks are one, and the gradients of one layer for many workers at once."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Layers without parameters that treat every sample by itself, so that all workers' batches may pass them together.
_BY_SAMPLE = (
    *(nn.Identity, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softplus),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)


def sequence_of(network: nn.Module) -> list[nn.Module]:
    """The layers of a plain sequence in which every parameter is trained; empty where the network is anything else."""
    if type(network).forward is nn.Sequential.forward:
        nested = [sequence_of(layer) for layer in network]
        return [] if not all(nested) else [layer for layers in nested for layer in layers]
    shaped = isinstance(network, nn.Linear) or (
        isinstance(network, nn.Conv2d) and network.groups == 1 and network.padding_mode == "zeros"
    )
    trained = all(each.requires_grad for each in network.parameters())
    plain = type(network) in _BY_SAMPLE and not getattr(network, "inplace", False)
    flat = type(network) is nn.Flatten and (network.start_dim, network.end_dim) == (1, -1)
    exact = type(network) in (nn.Linear, nn.Conv2d)
    hooked = network._forward_hooks or network._forward_pre_hooks or network._backward_hooks
    return [network] if not hooked and (plain or flat or (shaped and trained and exact)) else []


def apply(layer: nn.Module, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The outputs of a linear or convolutional layer with other parameters than its own."""
    if isinstance(layer, nn.Linear):
        return functional.linear(inputs, weight, bias)
    return functional.conv2d(inputs, weight, bias, layer.stride, layer.padding, layer.dilation)


def layer_gradients(layer: nn.Module, given: Tensor, delta: Tensor, n: int, rooms: Iterator[Tensor]) -> None:
    """Write the gradients of one layer, weight and bias, of n workers: from inputs and slopes [n * batch, ...]."""
    room = next(rooms)
    if isinstance(layer, nn.Linear):
        slopes, inputs = delta.reshape(n, -1, delta.shape[-1]), given.reshape(n, -1, given.shape[-1])
        torch.bmm(slopes.transpose(1, 2), inputs, out=room.view(n, *layer.weight.shape))
        bias = slopes.sum(dim=1)
    else:
        settings = (None, layer.stride, layer.padding, layer.dilation, False, [0, 0], 1, (False, True, False))
        for mine, slopes, inputs in zip(room, delta.chunk(n), given.chunk(n), strict=True):
            found = torch.ops.aten.convolution_backward(slopes, inputs, layer.weight.detach(), *settings)[1]
            mine.copy_(found.reshape(-1))
        bias = delta.sum(dim=(2, 3)).view(n, -1, delta.shape[1]).sum(dim=1)
    if layer.bias is not None:
        next(rooms).copy_(bias)
