"""Plain sequences of layers: which networks are one, and the gradients of one layer for many workers at once."""

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Layers without parameters that treat every sample by itself, so that all workers' batches may pass them together.
_BY_SAMPLE = (
    *(nn.Identity, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softplus),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)

#: Gradients of fewer numbers are computed in one piece and copied: where rows lie apart, a call for each costs more.
LITTLE = 2**16

#: torch's number for losses that are not added up, and for a target that counts for nothing.
_NO_REDUCTION, _UNTOLD = 0, -100

#: Layers whose slopes are one operation; those of others are left to autograd.
BY_HAND = (nn.Linear, nn.ReLU)


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


def apply(layer: nn.Module, inputs: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """The outputs of a layer; of a linear or convolutional one with other parameters than its own."""
    if isinstance(layer, nn.Linear):
        return functional.linear(inputs, weight, bias)
    if isinstance(layer, nn.Conv2d):
        return functional.conv2d(inputs, weight, bias, layer.stride, layer.padding, layer.dilation)
    return torch.relu(inputs) if type(layer) is nn.ReLU else layer(inputs)


def slopes_before(layer: nn.Module, given: Tensor, weight: Tensor | None, found: Tensor, delta: Tensor) -> Tensor:
    """The slopes of a layer's inputs `given` from those of its outputs `found`; a graph between is for autograd."""
    if type(layer) is nn.Linear:
        return delta @ weight
    if type(layer) is nn.ReLU:
        return torch.ops.aten.threshold_backward(delta, found, 0)
    return torch.autograd.grad(found, given, delta)[0]


def layer_gradients(layer: nn.Module, given: Tensor, delta: Tensor, n: int, rooms: list[Tensor]) -> None:
    """Write the gradients of one layer of n workers, from inputs and slopes [n * batch, ...].

    Bias and weight go into the last of the `rooms`, [n, size of a parameter] each, which are taken off.
    """
    linear = isinstance(layer, nn.Linear)
    by_sample = delta if linear else delta.sum(dim=(2, 3))
    slopes = by_sample.reshape(n, -1, by_sample.shape[-1])
    if layer.bias is not None:
        torch.sum(slopes, dim=1, out=rooms.pop())
    room = rooms.pop()
    if linear:
        room, inputs = room.view(n, *layer.weight.shape), given.reshape(n, -1, given.shape[-1])
        if n > 1 and room.numel() < LITTLE:
            room.copy_(slopes.transpose(1, 2) @ inputs)
        else:
            torch.bmm(slopes.transpose(1, 2), inputs, out=room)
        return
    settings = (None, layer.stride, layer.padding, layer.dilation, False, [0, 0], 1, (False, True, False))
    for mine, slopes, inputs in zip(room, delta.chunk(n), given.chunk(n), strict=True):
        found = torch.ops.aten.convolution_backward(slopes, inputs, layer.weight.detach(), *settings)[1]
        mine.copy_(found.reshape(-1))


def cross_entropy_slopes(outputs: Tensor, targets: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Each sample's loss [m], and its slopes times `share` [m, classes], by autograd's own operations."""
    # a sample a column, [classes, m]: over rows of few numbers it takes seven times as long
    log = torch.log_softmax(outputs.t().contiguous(), dim=0)
    told = targets, None, _NO_REDUCTION, _UNTOLD  # no weights of classes
    losses, weight = torch.ops.aten.nll_loss_forward(log.t(), *told)
    delta = torch.ops.aten.nll_loss_backward(torch.full_like(losses, share), log.t(), *told, weight)
    return losses, torch.ops.aten._log_softmax_backward_data(delta.t(), log, 0, log.dtype).t()
