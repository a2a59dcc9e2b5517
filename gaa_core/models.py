"""A network as a function of one flat parameter vector: loss, gradient, and the gradients of all workers at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap


class FlatModel:
    """A network seen as theta [d] -> outputs. Stateless: parameters live in theta alone.

    `loss` maps (outputs [batch, classes], targets [batch]) to a mean.
    """

    def __init__(self, network: nn.Module, loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy):
        self.network = network.train(False)
        self.loss_function = loss
        self.names = [name for name, _ in network.named_parameters()]
        self.shapes = [parameter.shape for parameter in network.parameters()]
        self.sizes = [parameter.numel() for parameter in network.parameters()]
        self._grad_and_value = grad_and_value(self._loss)

    @property
    def d(self) -> int:
        """The number of parameters."""
        return sum(self.sizes)

    def initial(self) -> Tensor:
        """The network's own initial parameters, [d]."""
        return torch.cat([parameter.detach().reshape(-1) for parameter in self.network.parameters()])

    def outputs(self, theta: Tensor, inputs: Tensor) -> Tensor:
        """Network outputs [batch, classes] at theta [d]."""
        return functional_call(self.network, self._unflatten(theta), (inputs,))

    def loss(self, theta: Tensor, inputs: Tensor, targets: Tensor) -> float:
        """Mean loss on a batch."""
        with torch.no_grad():
            return float(self.loss_function(self.outputs(theta, inputs), targets))

    def losses(self, theta: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each sample of a batch, [batch]."""
        with torch.no_grad():
            return vmap(self._sample_loss)(self.outputs(theta, inputs), targets)

    def gradient(
        self, theta: Tensor, inputs: Tensor, targets: Tensor, out: Tensor | None = None
    ) -> tuple[Tensor, float]:
        """(gradient [d], loss) of the mean loss on one batch; written into `out` where given."""
        leaves = [part.detach().requires_grad_() for part in self._unflatten(theta).values()]
        with torch.enable_grad():
            outputs = functional_call(self.network, dict(zip(self.names, leaves, strict=True)), (inputs,))
            loss = self.loss_function(outputs, targets)
        out = theta.new_empty(self.d) if out is None else out
        torch.cat([part.reshape(-1) for part in torch.autograd.grad(loss, leaves)], out=out)
        return out, float(loss.detach())

    def accuracy(self, theta: Tensor, inputs: Tensor, targets: Tensor, batch: int = 2000) -> float:
        """Share of samples whose greatest output is their class."""
        return int(self.class_hits(theta, inputs, targets, 1, batch).sum()) / len(targets)

    def class_hits(self, theta: Tensor, inputs: Tensor, targets: Tensor, classes: int, batch: int = 2000) -> Tensor:
        """How many samples of each class have it as their greatest output, int64 [at least classes]."""
        with torch.no_grad():
            right = torch.cat([self.outputs(theta, part).argmax(1) for part in inputs.split(batch)]) == targets
        return torch.bincount(targets[right], minlength=classes)

    def minimising(self, objective: Callable[[Tensor, Tensor], Tensor]) -> FlatModel:
        """The same network with another loss: `objective` of the samples' losses [1, batch] and targets [1, batch]."""

        def loss(outputs: Tensor, targets: Tensor) -> Tensor:
            return objective(vmap(self._sample_loss)(outputs, targets)[None], targets[None])[0]

        return FlatModel(self.network, loss)

    def softened(self, temperature: float) -> FlatModel:
        """The same network with its outputs divided by `temperature` before the loss."""
        return FlatModel(self.network, lambda outputs, targets: self.loss_function(outputs / temperature, targets))

    def worker_gradients(self, theta: Tensor, inputs: Tensor, targets: Tensor, method: str) -> tuple[Tensor, Tensor]:
        """Gradients [n, d] and losses [n] of n batches: inputs [n, batch, ...], targets [n, batch].

        `method` is "vmap" (all workers in one vectorised pass) or "loop" (one by one): same gradients up to rounding.
        """
        if method == "loop":
            gradients = theta.new_empty(len(inputs), self.d)
            losses = [
                self.gradient(theta, batch, classes, out=row)[1]
                for batch, classes, row in zip(inputs, targets, gradients, strict=True)
            ]
            return gradients, torch.tensor(losses)
        parts, losses = vmap(self._grad_and_value, in_dims=(None, 0, 0))(self._unflatten(theta), inputs, targets)
        return torch.cat([parts[name].flatten(1) for name in self.names], dim=1), losses  # [n, d], [n]

    def _sample_loss(self, output: Tensor, target: Tensor) -> Tensor:
        return self.loss_function(output[None], target[None])

    def _loss(self, parameters: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        return self.loss_function(functional_call(self.network, parameters, (inputs,)), targets)

    def _unflatten(self, theta: Tensor) -> dict[str, Tensor]:
        parts = theta.split(self.sizes)
        return {name: part.view(shape) for name, part, shape in zip(self.names, parts, self.shapes, strict=True)}


def static_method(network: nn.Module) -> str:
    """How per-worker gradients are computed for a network: "loop" for convolutions, "vmap" for all others.

    On a processor vmap is faster for small dense networks and slower for convolutions. The choice depends on the
    network alone: the two methods differ in the last bits, so a measured choice would change traces.
    """
    convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return "loop" if any(isinstance(layer, convolutions) for layer in network.modules()) else "vmap"
