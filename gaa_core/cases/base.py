"""The shape of a case study: data, model and settings of one task, as a frozen constant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor, nn


@dataclass(frozen=True, eq=False)
class Split:
    """Samples with their classes: inputs [m, ...] float32, targets [m] int64."""

    inputs: Tensor
    targets: Tensor
    raw: Any = None  # the samples as a person reads them: a list of sentences, a table's rows; None for images

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
    """What a case trains and tests on, and where it came from."""

    train: Split
    test: Split
    classes: tuple[str, ...]  # the classes' names, in the order of their numbers
    source: str  # one phrase for captions and tables, e.g. "MNIST, 60,000 + 10,000 (GAA_DATA)"
    fingerprint: str  # digest of the data, part of every cached result's key
    stand_in: bool = False  # True where the data is not what the paper's case names
    encode: Callable[[Any], Tensor] | None = None  # raw samples -> inputs, where the case has raw samples
    other: Split | None = None  # samples of another stratum that came with the data; neither trained nor tested on


@dataclass(frozen=True)
class Settings:
    """Defaults of a case; every one can be overridden in `run`."""

    lr: float = 0.01  # model step size (plain SGD)
    batch_size: int = 256  # per worker
    steps: int = 1000
    n: int = 10  # workers
    qv_size: int = 10  # quasi-validation samples
    cooldown: float = 0.0  # the last share of the steps, over which lr falls linearly to nothing (ours)

    def lr_at(self, step: int) -> float:
        """The model step size at one step."""
        span = self.steps - round(self.steps * (1.0 - self.cooldown))
        left = self.steps - step
        return self.lr if span == 0 or left >= span else self.lr * max(0, left) / span


@dataclass(frozen=True)
class CaseStudy:
    """One task of the paper's evaluation."""

    name: str  # "mnist"
    title: str  # "MNIST", for captions
    load: Callable[[], CaseData]  # memoised; raises DataError with the file's name
    model: Callable[[CaseData], nn.Module]  # a fresh network; the caller seeds it
    settings: Settings
    similar: Callable[[CaseData], Split] | None = None  # samples of a similar, not identical, domain for the QV set
    similar_style: Callable[[CaseData, Split, Generator], Split] | None = None  # instead: held-out samples in its style
    similar_title: str = ""  # what they are, e.g. "8x8 digits of scikit-learn, upscaled"
    shift: Callable[[CaseData, Split, Generator], Split] | None = None  # the same samples, restyled or corrupted
    shift_title: str = ""  # how, e.g. "moved, blurred and noisy"
