"""A network as a function of one flat parameter vector: loss, gradient, and the gradients of all workers at once."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn import functional

from gaa_core.errors import GaaError, explained, one_of, reason
from gaa_core.kernels.layers import BY_HAND, apply, cross_entropy_slopes, layer_gradients, sequence_of, slopes_before

#: How per-worker gradients can be computed, the quickest first. All agree up to rounding.
METHODS = ("analytic", "vmap", "loop")

#: Images that pass the layers together in training: what lies between two layers then still fits a processor's cache.
_IMAGES_AT_ONCE = 256

#: Two ways to compute a gradient agree when they differ by less than this share of its length.
_AGREEMENT = 1e-3

#: Bytes of one chunk of an evaluation: what is computed from it still fits a processor's cache.
_CHUNK_BYTES = 2**20


class FlatModel:
    """A network seen as theta [d] -> outputs, where theta holds the parameters that require a gradient.

    `loss` maps (outputs [batch, ...], targets [batch]) to a mean over the batch. Frozen parameters and buffers stay in
    the network and are never changed. Gradients of workers are taken in training mode, all else in evaluation mode.
    """

    def __init__(self, network: nn.Module, loss: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy):
        trained = {name: each for name, each in network.named_parameters() if each.requires_grad}
        found = {each.dtype for each in trained.values()}
        if len(found) != 1 or not found <= {torch.float32, torch.float64}:
            names = ", ".join(sorted(map(str, found))) or "none"
            raise GaaError(f"A network needs trainable parameters of one type, float32 or float64; found {names}.")
        self.network, self.loss_function, self.dtype = network, loss, found.pop()
        self.names = list(trained)
        self.shapes = [each.shape for each in trained.values()]
        self.sizes = [each.numel() for each in trained.values()]
        self.layers = sequence_of(network)
        self._grad_and_value = grad_and_value(self._loss)

    @property
    def d(self) -> int:
        """The number of trained parameters."""
        return sum(self.sizes)

    def initial(self) -> Tensor:
        """The network's own initial parameters, [d]."""
        parameters = dict(self.network.named_parameters())
        return torch.cat([parameters[name].detach().reshape(-1) for name in self.names])

    def parts(self, theta: Tensor) -> list[Tensor]:
        """theta [d] as tensors of the parameters' shapes; views, no copies."""
        parts = zip(theta.split_with_sizes(self.sizes), self.shapes, strict=True)
        return [part if len(shape) == 1 else part.view(shape) for part, shape in parts]

    def trained(self, theta: Tensor) -> nn.Module:
        """A copy of the network with these parameters, in evaluation mode."""
        network = copy.deepcopy(self.network).eval()
        parameters = dict(network.named_parameters())
        with torch.no_grad():
            for name, part in zip(self.names, self.parts(theta), strict=True):
                parameters[name].copy_(part)
        return network

    def outputs(self, theta: Tensor, inputs: Tensor) -> Tensor:
        """Network outputs [batch, ...] at theta [d], in evaluation mode."""
        if self.layers:
            return self._through(theta, inputs)
        with self._mode(training=False):
            return functional_call(self.network, self._named(theta), (inputs,))

    def predict(self, theta: Tensor, inputs: Tensor) -> Tensor:
        """Outputs on many samples, without a graph, in chunks that fit the cache."""
        rows = max(32, _CHUNK_BYTES // max(1, inputs[:1].numel() * inputs.element_size()))
        with torch.inference_mode():
            return torch.cat([self.outputs(theta, chunk) for chunk in inputs.split(rows)]).clone()

    def loss(self, theta: Tensor, inputs: Tensor, targets: Tensor) -> float:
        """Mean loss on a batch, in evaluation mode."""
        with torch.no_grad():
            return float(self.loss_function(self.outputs(theta, inputs), targets))

    def losses(self, theta: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each sample of a batch, [batch]."""
        with torch.no_grad():
            outputs = self.outputs(theta, inputs)
            if self.loss_function is functional.cross_entropy:
                return functional.cross_entropy(outputs, targets, reduction="none")
            return vmap(self._sample_loss)(outputs, targets)

    def gradient(
        self, theta: Tensor, inputs: Tensor, targets: Tensor, out: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, float]:
        """(gradient [d], loss) of the mean loss on one batch; written into `out` where given.

        A parameter that takes no part in the loss has gradient 0.
        """
        out = theta.new_empty(self.d) if out is None else out
        if self.layers:
            return out, float(self._analytic(theta, inputs[None], targets[None], out[None]))
        leaves = [part.detach().requires_grad_() for part in self.parts(theta)]
        with torch.enable_grad(), self._mode(training):
            outputs = functional_call(self.network, dict(zip(self.names, leaves, strict=True)), (inputs,))
            loss = self.loss_function(outputs, targets)
        found = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
        torch.cat([part.reshape(-1) for part in found], out=out)
        return out, float(loss.detach())

    def minimising(self, objective: Callable[[Tensor, Tensor], Tensor]) -> FlatModel:
        """The same network with another loss: `objective` of the samples' losses [1, batch] and targets [1, batch]."""

        def loss(outputs: Tensor, targets: Tensor) -> Tensor:
            return objective(vmap(self._sample_loss)(outputs, targets)[None], targets[None])[0]

        return FlatModel(self.network, loss)

    def worker_gradients(
        self, theta: Tensor, inputs: Tensor, targets: Tensor, method: str, seeds: list[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Gradients [n, d] and losses [n] of n batches: inputs [n, batch, ...], targets [n, batch, ...].

        `theta` is [d], or [n, d] where every worker is somewhere else. `method` is one of METHODS. With "loop", worker
        i draws what its network draws (dropout) from the seed `seeds[i]`; the other methods admit no such networks.
        """
        if method == "analytic" and theta.ndim == 1:
            gradients = theta.new_empty(len(inputs), self.d)
            if inputs.ndim != 5:
                return gradients, self._analytic(theta, inputs, targets, gradients)
            at_once = max(1, _IMAGES_AT_ONCE // inputs.shape[1])
            chunks = zip(inputs.split(at_once), targets.split(at_once), gradients.split(at_once), strict=True)
            return gradients, torch.cat([self._analytic(theta, *chunk) for chunk in chunks])
        if method in ("analytic", "vmap"):
            parts = {
                name: part.unflatten(-1, shape)
                for name, part, shape in zip(self.names, theta.split(self.sizes, dim=-1), self.shapes, strict=True)
            }
            where = (None if theta.ndim == 1 else 0, 0, 0)
            with self._mode(training=True):
                found, losses = vmap(self._grad_and_value, in_dims=where)(parts, inputs, targets)
            return torch.cat([found[name].flatten(1) for name in self.names], dim=1), losses  # [n, d], [n]
        gradients, losses = theta.new_empty(len(inputs), self.d), []
        for worker, row in enumerate(gradients):
            own = theta if theta.ndim == 1 else theta[worker]
            with _seeded(None if seeds is None else seeds[worker]):
                losses.append(self.gradient(own, inputs[worker], targets[worker], out=row, training=True)[1])
        return gradients, torch.tensor(losses)

    def choose_method(self, method: str, inputs: Tensor, targets: Tensor) -> tuple[str, str]:
        """(one of METHODS, a sentence or "") for "auto" or a method of the user's, from the network alone.

        It tries the network on a few samples [m, ...] first, and refuses one that cannot be trained on them: outputs
        that the loss does not take, a layer that keeps statistics of its batches, a method that is not possible.
        """
        one_of("method", method, ("auto", *METHODS))
        batch = (inputs[:2].expand(2, *inputs[:2].shape), targets[:2].expand(2, *targets[:2].shape))
        theta = self.initial()
        self._try_one(theta, inputs[:2], targets[:2])
        convolutions = any(isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) for layer in self.network.modules())
        wanted = method if method != "auto" else "analytic" if self.layers else "loop" if convolutions else "vmap"
        if wanted == "loop":
            return wanted, ""
        try:
            if wanted == "analytic" and not self.layers:
                raise GaaError("it is not a plain sequence of linear, convolutional and sample-wise layers")
            with warnings.catch_warnings():
                # torch says so where vmap calls an operation, such as attention, sample by sample
                warnings.filterwarnings("error", message="There is a performance drop")
                quick = self.worker_gradients(theta, *batch, wanted)[0]
            plain = self.worker_gradients(theta, *batch, "loop", [0, 0])[0]
            if float((quick - plain).norm()) > _AGREEMENT * float(plain.norm()):
                raise GaaError("its gradients are other ones there")
        except Exception as error:
            why = reason(error, most=120)
            if method != "auto":
                raise GaaError(f"method='{method}' is not possible for this network ({why}); use 'loop'.") from error
            return "loop", f"The workers' gradients are computed one by one: vmap is not possible here ({why})."
        return wanted, ""

    def _try_one(self, theta: Tensor, inputs: Tensor, targets: Tensor) -> None:
        """Refuse a network that cannot be trained on these samples, or that changes its buffers in training."""
        before = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        with explained(f"The network or its loss cannot take inputs of shape {tuple(inputs.shape)}"), _seeded(0):
            self.gradient(theta, inputs, targets, training=True)
        changed = [name for name, each in self.network.named_buffers() if not _equal(each, before[name])]
        for name, buffer in self.network.named_buffers():
            buffer.copy_(before[name])
        if changed:
            raise GaaError(
                f"The layer of '{changed[0]}' keeps statistics of its batches, which no worker submits; use "
                "GroupNorm or LayerNorm, or track_running_stats=False."
            )

    def _analytic(self, theta: Tensor, inputs: Tensor, targets: Tensor, out: Tensor) -> Tensor:
        """One pass over the samples of all workers; then grad W_i = delta_i^T x_i, a batched product a layer.

        Writes the gradients [n, d] into `out` and returns the losses [n].
        """
        n = len(inputs)
        taps: list[tuple] = []  # of each layer: itself, what went in, its weight and what came out
        with torch.enable_grad():
            outputs = self._through(theta.detach(), inputs.flatten(0, 1), taps)  # [n * batch, ...]
            losses, delta = self._loss_slopes(outputs.detach(), targets)
        rooms = list(out.split_with_sizes(self.sizes, dim=1))
        while True:
            layer, given, weight, found = taps.pop()
            if weight is not None:
                layer_gradients(layer, given.detach(), delta, n, rooms)
                if not rooms:
                    return losses
            delta = slopes_before(layer, given, weight, found, delta)

    def _through(self, theta: Tensor, hidden: Tensor, taps: list | None = None) -> Tensor:
        """The outputs of a plain sequence of layers; with `taps` a graph of each layer that needs one."""
        weights = iter(self.parts(theta))
        if hidden.ndim == 4:
            hidden = hidden.contiguous(memory_format=torch.channels_last)  # convolutions and pools are quicker so
        for layer in self.layers:
            given = hidden if taps is None else hidden.detach()
            if taps is not None and type(layer) not in BY_HAND:
                given.requires_grad_()
            trained = isinstance(layer, (nn.Linear, nn.Conv2d))
            weight = next(weights) if trained else None
            hidden = apply(layer, given, weight, next(weights) if trained and layer.bias is not None else None)
            if taps is not None:
                taps.append((layer, given, weight, hidden))
        return hidden

    def _loss_slopes(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The losses [n] of n batches, targets [n, batch, ...], and the slopes of their sum, [n * batch, ...]."""
        if self.loss_function is functional.cross_entropy and targets.ndim == 2:
            losses, slopes = cross_entropy_slopes(outputs, targets.flatten(), 1 / targets.shape[1])
            return losses.view(targets.shape).mean(dim=1), slopes
        pairs = zip(outputs.requires_grad_().unflatten(0, targets.shape[:2]), targets, strict=True)
        losses = torch.stack([self.loss_function(*each) for each in pairs])
        return losses.detach(), torch.autograd.grad(losses.sum(), outputs)[0]

    def _sample_loss(self, output: Tensor, target: Tensor) -> Tensor:
        return self.loss_function(output[None], target[None])

    def _loss(self, parameters: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        return self.loss_function(functional_call(self.network, parameters, (inputs,)), targets)

    def _named(self, theta: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.names, self.parts(theta), strict=True))

    @contextmanager
    def _mode(self, training: bool) -> Iterator[None]:
        if self.network.training != training:
            self.network.train(training)
        yield


def _equal(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.nan_to_num(), other.nan_to_num())


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Draw torch's own random numbers from a seed inside the block, and leave the caller's generator as it was."""
    if seed is None:
        yield
        return
    before = torch.get_rng_state()
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)
