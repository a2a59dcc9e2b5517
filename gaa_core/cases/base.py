"""The shape of a case study: data, model and settings of one task, as a frozen constant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Split:
    """Samples with their classes: inputs [m, ...] float32, targets [m] int64."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True, eq=False)
class CaseData:
    """What a case trains and tests on, and where it came from."""

    train: Split
    test: Split
    classes: tuple[str, ...]  # the classes' names, in the order of their numbers
    source: str  # one phrase for captions and tables, e.g. "MNIST, 60,000 + 10,000 (GAA_DATA)"
    fingerprint: str  # digest of the data, part of every cached result's key
    stand_in: bool = False  # True where the data is not what the paper's case names


@dataclass(frozen=True)
class Settings:
    """Defaults of a case; every one can be overridden in `run`."""

    lr: float = 0.01  # model step size (plain SGD)
    batch_size: int = 256  # per worker
    steps: int = 1000
    n: int = 10  # workers
    qv_size: int = 10  # quasi-validation samples


@dataclass(frozen=True)
class CaseStudy:
    """One task of the paper's evaluation."""

    name: str  # "mnist"
    title: str  # "MNIST", for captions
    load: Callable[[], CaseData]  # memoised; raises DataError with the file's name
    model: Callable[[CaseData], nn.Module]  # a fresh network; the caller seeds it
    settings: Settings
    similar: Callable[[CaseData], Split] | None = None  # samples of a similar, not identical, domain for the QV set
    similar_title: str = ""  # what they are, e.g. "8x8 digits of scikit-learn, upscaled"
