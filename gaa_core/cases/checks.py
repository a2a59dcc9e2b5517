"""What every case passes, built-in or brought: containers as tensors, targets in range, a network that fits."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from gaa_core.errors import GaaError, explained

if TYPE_CHECKING:
    from gaa_core.cases.base import CaseData

CLASS_LOSSES = ("cross_entropy", "nll_loss", "multi_margin_loss", "CrossEntropyLoss", "NLLLoss", "MultiMarginLoss")
PIXEL_DIMENSIONS = 3  # uint8 inputs [m, h, w] or [m, c, h, w] are images, of values up to 255


def tensor(values: Any, what: str) -> Tensor:
    """A tensor, array, frame, series or nested list of numbers as a tensor; arrays are copied."""
    if isinstance(values, Tensor):
        found = values.detach().cpu()
    else:
        with explained(f"{what} must be numbers in rows of one length; found"):
            values = values.astype(float).filled(np.nan) if isinstance(values, np.ma.MaskedArray) else values
            array = np.array(values.to_numpy() if hasattr(values, "to_numpy") else values)
            if array.dtype.kind == "O":
                array = array.astype(np.float64)
            if array.dtype.kind == "u" and array.dtype != np.uint8:
                array = array.astype(np.int64)
            found = torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
    if found.layout is not torch.strided or found.is_complex() or found.ndim == 0:
        kind = f"{found.dtype} of shape {list(found.shape)}".removeprefix("torch.")
        raise GaaError(f"{what} must be a dense tensor of real numbers, a sample a row; found {kind}.")
    return found


def inputs(values: Any) -> Tensor:
    """Inputs as float, or as int64 for an embedding. Images of uint8 are divided by 255, as torchvision does."""
    found = tensor(values, "inputs")
    if found.dtype == torch.uint8 and found.ndim >= PIXEL_DIMENSIONS:
        return found.to(torch.float32) / 255
    if found.dtype in (torch.bool, torch.uint8, torch.float16):
        return found.to(torch.float32)
    return found if found.is_floating_point() else found.to(torch.int64)


def names(classes: Any) -> tuple[str, ...]:
    """The names of classes; None is none of them, as regression has."""
    try:
        found = tuple(map(str, () if classes is None else classes))
    except TypeError:
        found = ("", "")
    if len(set(found)) < len(found):
        raise GaaError(f"classes must be the names of the classes in their order, each once; found {classes!r}.")
    return found


def counts(inputs: Tensor, targets: Tensor) -> None:
    """Refuse inputs and targets of different counts."""
    if len(inputs) != len(targets):
        raise GaaError(f"Samples need one target each; found {len(inputs)} inputs and {len(targets)} targets.")


def targets(values: Tensor, classes: int, part: str) -> Tensor:
    """Class numbers [m] int64 from 0 to `classes` - 1, or float targets where `classes` is 0.

    A column [m, 1], bools, whole floats and one-hot rows are converted.
    """
    if len(values) == 0 and part != "other":
        raise GaaError(f"The {part} set is empty: expected at least one sample.")
    if classes == 0:
        found = values if values.is_floating_point() else values.to(torch.float32)
        finite(found, f"{part} targets")
        return found
    if classes == 1:
        raise GaaError("A classification needs at least two classes; found one.")
    finite(values, f"{part} targets")
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2 and values.shape[1] == classes and is_one_hot(values):
        values = values.argmax(1)
    if values.ndim != 1:
        shape = list(values.shape)
        raise GaaError(f"{part} targets must be class numbers [m] or one-hot rows [m, {classes}]; found {shape}.")
    found = values.to(torch.int64)
    if len(found) and (found != values).any():
        raise GaaError(f"{part} targets must be whole class numbers; found {values[found != values][0].item()}.")
    if len(found) and not 0 <= found.min() <= found.max() < classes:
        span = f"{found.min().item()} to {found.max().item()}"
        raise GaaError(f"{part} targets must be class numbers from 0 to {classes - 1}; found {span}.")
    if part == "train" and (found == found[0]).all():
        raise GaaError(f"train targets must hold at least two classes; found class {found[0].item()} alone.")
    return found


def is_one_hot(values: Tensor) -> bool:
    """Whether every row [m, classes] has a single 1 and zeros else."""
    return values.numel() > 0 and bool(((values == 0) | (values == 1)).all() and (values.sum(1) == 1).all())


def finite(values: Tensor, what: str) -> None:
    """Refuse NaN and infinite values, with the first column that has them."""
    bad = ~values.isfinite()
    if bad.any():
        columns = bad.reshape(len(bad), -1)
        column = int(columns.any(0).nonzero()[0])
        rows = int(columns[:, column].sum())
        raise GaaError(f"{what} must be finite; found NaN or infinity in {rows} of {len(bad)} rows of column {column}.")


def alike(parts: dict[str, Tensor], what: str) -> dict[str, Tensor]:
    """The parts in one type, the widest of theirs. Samples of unlike shapes raise."""
    for part, tensor in parts.items():
        if tensor.shape[1:] != parts["train"].shape[1:]:
            found = f"samples of {list(parts['train'].shape[1:])} and of {list(tensor.shape[1:])}"
            raise GaaError(f"train and {part} {what} must have one shape; found {found}.")
    dtype = functools.reduce(torch.promote_types, (tensor.dtype for tensor in parts.values()))
    return {part: tensor.to(dtype) for part, tensor in parts.items()}


def kind(loss: Callable) -> str:
    """The name of a loss function or module, also within functools.partial."""
    loss = getattr(loss, "func", loss)
    return getattr(loss, "__name__", type(loss).__name__)


def is_of_torch(loss: Callable) -> bool:
    """Whether a loss is one of torch's own."""
    loss = getattr(loss, "func", loss)
    module = getattr(loss, "__module__", None) or type(loss).__module__
    return module.startswith("torch.")


def built(model: Callable[[CaseData], nn.Module], data: CaseData, who: str) -> nn.Module:
    """A network on the processor, which has something to train."""
    with explained(f"The model of {who} cannot be built"):
        network = model(data)
    if not isinstance(network, nn.Module):
        raise GaaError(f"The model of {who} must give a torch.nn.Module; found {type(network).__name__}.")
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise GaaError(f"The network of {who} has no parameter to train: expected one with requires_grad.")
    return network.cpu()


def outputs(network: nn.Module, samples: Tensor, who: str) -> Tensor:
    """The outputs of a network for some samples, in evaluation mode; its mode and torch's random state stay."""
    training = {module: module.training for module in network.modules()}
    told = f"{list(samples.shape[1:])} {samples.dtype}".replace("torch.", "")
    try:
        failing = explained(f"The network of {who} cannot take samples of {told}")
        with failing, torch.no_grad(), torch.random.fork_rng(devices=[]):
            found = network.eval()(samples)
    finally:
        for module, mode in training.items():
            module.training = mode
    if not isinstance(found, Tensor) or found.ndim == 0 or len(found) != len(samples):
        told = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise GaaError(f"The network of {who} must give a tensor with one row a sample; found {told}.")
    return found


def loss_of(loss: Callable, outputs: Tensor, targets: Tensor, who: str) -> Tensor:
    """The loss of a batch, one number. Shapes at which torch warns of broadcasting raise."""
    failing = explained(f"The loss of {who} fails on its outputs and targets")
    with failing, torch.no_grad(), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = loss(outputs, targets)
    if any("broadcasting" in str(each.message) for each in told):
        refuse_shapes(outputs, targets, who)
    if not isinstance(found, Tensor) or found.ndim:
        kind_found = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise GaaError(f"The loss of {who} must be one number, a tensor of shape []; found {kind_found}.")
    return found


def refuse_shapes(outputs: Tensor, targets: Tensor, who: str) -> None:
    """Raise for outputs and targets of unlike shapes, which a loss of numbers pairs each with each."""
    shapes = f"{list(outputs.shape[1:])} and {list(targets.shape[1:])}"
    raise GaaError(f"The loss of {who} needs outputs and targets of one shape; found {shapes} a sample.")


def rows_to_try(targets: Tensor, outputs: Sequence[int]) -> Tensor:
    """Positions of a few samples, the first two of unlike targets; as many as no other dimension has.

    A batch of another size than every dimension of a sample cannot fit by coincidence.
    """
    unlike = (targets != targets[0]).reshape(len(targets), -1).any(1).nonzero().flatten()
    first_two = [0, int(unlike[0]) if len(unlike) else len(targets) - 1]
    count = next(size for size in range(2, 9) if size not in (*outputs, *targets.shape[1:]))
    return torch.tensor(first_two + [place % len(targets) for place in range(2, count)])


def broadcasts(loss: Callable, targets: Tensor, outputs: Sequence[int], who: str) -> bool:
    """Whether the loss pairs every output with every target, as [m, 1] and [m] do: no mean over samples then."""
    rows = targets[rows_to_try(targets, outputs)]
    if rows.shape[1:] == torch.Size(outputs) or rows[0].numel() != math.prod(outputs):
        return False
    guesses = torch.linspace(0.2, 0.8, rows.numel()).reshape(len(rows), *outputs)
    together = loss_of(loss, guesses, rows, who)
    alone = torch.stack([loss_of(loss, guesses[row : row + 1], rows[row : row + 1], who) for row in range(len(rows))])
    return not torch.isclose(together, alone.mean(), rtol=1e-3, equal_nan=True)
