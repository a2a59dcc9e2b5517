"""The shape of a case study: data, model, loss, metric and settings of one task, as a frozen constant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from gaa_core.cases import checks
from gaa_core.errors import GaaError, explained, number, whole
from gaa_core.seeding import precision


@dataclass(frozen=True, eq=False)
class Split:
    """Samples with their targets. Arrays, lists and frames become tensors; unequal counts raise GaaError.

    `inputs` [m, ...] are float, or int64 for a network that begins with an embedding. `targets` are class numbers
    [m] int64, or numbers [m, ...] float for regression.
    """

    inputs: Tensor
    targets: Tensor
    raw: Any = None  # the samples as a person reads them: a list of sentences, a table's rows; None for images

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", checks.inputs(self.inputs))
        object.__setattr__(self, "targets", checks.tensor(self.targets, "targets"))
        checks.counts(self.inputs, self.targets)

    def __len__(self) -> int:
        return len(self.targets)

    def to(self, device: str) -> Split:
        """The same samples on another device; no copy where they are there already."""
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device))

    def take(self, index: Tensor) -> Split:
        """The samples at these positions (indices or a mask), in this order, with their raw form."""
        if index.dtype == torch.bool:
            index = index.nonzero().flatten()
        raw = self.raw
        if isinstance(raw, list):
            raw = [raw[position] for position in index.tolist()]
        elif raw is not None:
            raw = raw.iloc[index.numpy()]
        return Split(self.inputs[index], self.targets[index], raw)


@dataclass(frozen=True, eq=False)
class CaseData:
    """What a case trains and tests on, and where it came from. Raises GaaError for data that cannot be trained on."""

    train: Split
    test: Split
    classes: tuple[str, ...]  # the classes' names, in the order of their numbers; () for regression
    source: str  # one phrase for captions and tables, e.g. "MNIST, 60,000 + 10,000 (GAA_DATA)"
    fingerprint: str  # digest of the data, part of every cached result's key
    stand_in: bool = False  # True where the data is not what the paper's case names
    encode: Callable[[Any], Tensor] | None = None  # raw samples -> inputs, where the case has raw samples
    other: Split | None = None  # samples of another stratum that came with the data; neither trained nor tested on

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", checks.names(self.classes))
        parts = {part: getattr(self, part) for part in ("train", "test", "other")}
        if parts["other"] is None:
            del parts["other"]
        for part, split in parts.items():
            if not isinstance(split, Split):
                raise GaaError(f"CaseData needs a Split as `{part}`; found {type(split).__name__}.")
            checks.finite(split.inputs, f"{part} inputs")
            parts[part] = replace(split, targets=checks.targets(split.targets, len(self.classes), part))
        inputs = checks.alike({part: split.inputs for part, split in parts.items()}, "inputs")
        targets = checks.alike({part: split.targets for part, split in parts.items()}, "targets")
        for part, split in parts.items():
            object.__setattr__(self, part, replace(split, inputs=inputs[part], targets=targets[part]))


@dataclass(frozen=True)
class Settings:
    """Defaults of a case; every one can be overridden in `run`."""

    lr: float = 0.01  # model step size (plain SGD)
    batch_size: int = 256  # per worker
    steps: int = 1000
    n: int = 10  # workers
    qv_size: int = 10  # quasi-validation samples
    cooldown: float = 0.0  # the last share of the steps, over which lr falls linearly to nothing (ours)

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps", "n", "qv_size"):
            object.__setattr__(self, name, whole(getattr(self, name), name))
        object.__setattr__(self, "lr", number(self.lr, "lr"))
        object.__setattr__(self, "cooldown", number(self.cooldown, "cooldown, a share of the steps,", 0, 1))
        if not self.lr > 0:
            raise GaaError(f"lr must be greater than 0; found {self.lr}.")

    def lr_at(self, step: int) -> float:
        """The model step size at one step."""
        span = self.steps - round(self.steps * (1.0 - self.cooldown))
        left = self.steps - step
        return self.lr if span == 0 or left >= span else self.lr * max(0, left) / span


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """The share of samples whose greatest output [m, classes] is that of their class [m]."""
    return float((outputs.argmax(1) == targets).double().mean())


def r2(outputs: Tensor, targets: Tensor) -> float:
    """The coefficient of determination: 1 for exact outputs, 0 for those no better than the targets' mean."""
    spread = (targets - targets.mean(0)).square().sum()
    return float(1 - (outputs.reshape(targets.shape) - targets).square().sum() / spread)


@dataclass(frozen=True)
class CaseStudy:
    """One task: data, network, loss, metric and default settings."""

    name: str  # "mnist"
    title: str  # "MNIST", for captions
    load: Callable[[], CaseData]  # memoised; raises DataError with the file's name
    model: Callable[[CaseData], nn.Module]  # a fresh network; `network` calls it
    settings: Settings
    similar: Callable[[CaseData], Split] | None = None  # samples of a similar, not identical, domain for the QV set
    similar_style: Callable[[CaseData, Split, Generator], Split] | None = None  # instead: held-out samples in its style
    similar_title: str = ""  # what they are, e.g. "8x8 digits of scikit-learn, upscaled"
    shift: Callable[[CaseData, Split, Generator], Split] | None = None  # the same samples, restyled or corrupted
    shift_title: str = ""  # how, e.g. "moved, blurred and noisy"
    loss: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy  # (outputs, targets) -> mean over the batch
    metric: Callable[[Tensor, Tensor], float] = accuracy  # (outputs, targets) -> one number; greater is better

    def network(self, data: CaseData) -> nn.Module:
        """A fresh network in the inputs' precision; the caller seeds it. Raises GaaError where it does not fit."""
        with precision(data.train.inputs.dtype):
            network = checks.built(self.model, data, f"case '{self.name}'")
        self._fits(network, data)
        return network

    def _fits(self, network: nn.Module, data: CaseData) -> None:
        """Try the network and the loss on a few samples, so that what cannot be trained is refused before step 1."""
        who, classes, targets = f"case '{self.name}'", len(data.classes), data.train.targets
        shape = checks.outputs(network, data.train.inputs[:1], who).shape[1:]
        samples = data.train.take(checks.rows_to_try(targets, shape))
        outputs = checks.outputs(network, samples.inputs, who)
        by_class = checks.kind(self.loss) in checks.CLASS_LOSSES
        if classes == 0 and (self.metric is accuracy or (by_class and targets.ndim < 2)):
            raise GaaError(f"{who} has numbers as targets: give it a loss such as mse_loss, and a metric such as r2.")
        if classes and (by_class or self.metric is accuracy) and (len(shape) != 1 or shape[0] < classes):
            raise GaaError(f"The network of {who} needs {classes} outputs a sample, one a class; found {list(shape)}.")
        if self.metric is r2 and (data.test.targets == data.test.targets[0]).all():
            raise GaaError(f"The metric r2 of {who} needs test targets that differ; found one value alone.")
        checks.loss_of(self.loss, outputs, samples.targets, who)
        fits_r2 = self.metric is not r2 or shape.numel() == targets.shape[1:].numel()
        if not fits_r2 or checks.broadcasts(self.loss, targets, shape, who):
            checks.refuse_shapes(outputs, samples.targets, who)

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """The metric of a test set's outputs. A metric that fails, or gives no number, raises GaaError."""
        with explained(f"The metric of case '{self.name}' fails"):
            return float(self.metric(outputs.detach(), targets))
