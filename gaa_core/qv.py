"""The quasi-validation set: the few samples by which the server judges updates, and where they may come from.

Whatever the source, samples that were drawn are neither trained on nor tested on: `draw_qv` returns which training
samples remain, and never looks at the test set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from gaa_core.errors import GaaError, one_of, whole
from gaa_core.seeding import precision

if TYPE_CHECKING:
    from gaa_core.cases.base import CaseData, CaseStudy, Split

SOURCES = ("golden", "similar", "shifted", "missing_classes", "wrong_labels")


def draw_qv(
    case: CaseStudy,
    data: CaseData,
    source: str,
    size: int,
    generator: Generator,
) -> tuple[Split, Tensor]:
    """The quasi-validation set of `size` samples, and a bool mask [m] of the training samples that remain.

    Classes are balanced as far as `size` allows. When it does not divide, the classes with one more are drawn; with
    fewer samples than classes, so are the classes that are missing (nine of ten samples: one class).

    - `golden`: held out of the training set.
    - `similar`: from the case's similar domain, and the training set stays whole; where a case has no such domain
      (CIFAR-10), held out of the training set and drawn in another style.
    - `shifted`: held out of the training set, then restyled or corrupted by the case.
    - `missing_classes`: golden, but without the upper half of the classes.
    - `wrong_labels`: golden inputs, each with a class that is not its own.
    """
    one_of("QV source", source, SOURCES)
    if source not in (known := sources(case, data)):
        raise GaaError(f"The case '{case.name}' has no QV samples '{source}'; it has {', '.join(known)}.")
    who, size, classes = f"draw_qv({case.name}, {source})", whole(size, "qv_size"), list(range(len(data.classes)))
    with precision(data.train.inputs.dtype):
        if source == "similar" and case.similar is not None:
            domain = case.similar(data)
            chosen = balanced(domain.targets, size, classes, generator, who)
            return domain.take(chosen), torch.ones(len(data.train), dtype=torch.bool)
        if source == "missing_classes":
            classes = classes[: (len(classes) + 1) // 2]
        chosen = balanced(data.train.targets, size, classes, generator, who)
        remain = torch.ones(len(data.train), dtype=torch.bool)
        remain[chosen] = False
        if not remain.any():
            raise GaaError(f"{who} leaves no training sample: expected fewer QV samples; found {size}.")
        samples = data.train.take(chosen)
        if source == "wrong_labels":
            samples = _mislabelled(samples, len(data.classes), generator)
        style = {"similar": case.similar_style, "shifted": case.shift}.get(source)
        return samples if style is None else style(data, samples, generator), remain


def sources(case: CaseStudy, data: CaseData) -> tuple[str, ...]:
    """The QV sources that a case has: those of classes need classes, the others samples of their own."""
    has = {
        "similar": case.similar is not None or case.similar_style is not None,
        "shifted": case.shift is not None,
        "missing_classes": len(data.classes) > 0,
        "wrong_labels": len(data.classes) > 0,
    }
    return tuple(source for source in SOURCES if has.get(source, True))


def balanced(targets: Tensor, size: int, classes: Sequence[int], generator: Generator, who: str = "balanced") -> Tensor:
    """Indices of `size` samples, as even over `classes` as size and supply allow, in shuffled order.

    Without classes (regression), any samples. Which classes get one more, or none, is drawn.
    """
    if not classes:
        pools = {None: torch.arange(len(targets))}
    else:
        pools = {label: (targets == label).nonzero().flatten() for label in classes}
    available = sum(len(pool) for pool in pools.values())
    if not 1 <= size <= available:
        raise GaaError(f"{who} needs a size from 1 to {available}, the samples there are; found {size}.")
    quota = _quotas({label: len(pool) for label, pool in pools.items()}, size, generator)
    chosen = [pool[torch.randperm(len(pool), generator=generator)[: quota[label]]] for label, pool in pools.items()]
    chosen = torch.cat(chosen)
    return chosen[torch.randperm(len(chosen), generator=generator)]


def _quotas(supply: dict[int, int], size: int, generator: Generator) -> dict[int, int]:
    """How many of each class: rounds of one each, to classes that still have samples; the last round is drawn."""
    quota = dict.fromkeys(supply, 0)
    left = size
    while left:
        able = [label for label in supply if quota[label] < supply[label]]
        each = min(left // len(able), min(supply[label] - quota[label] for label in able))
        if each == 0:
            able = [able[place] for place in torch.randperm(len(able), generator=generator)[:left].tolist()]
            each = 1
        for label in able:
            quota[label] += each
        left -= each * len(able)
    return quota


def _mislabelled(samples: Split, classes: int, generator: Generator) -> Split:
    step = torch.randint(1, classes, samples.targets.shape, generator=generator)
    return replace(samples, targets=(samples.targets + step) % classes)
