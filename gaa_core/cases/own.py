"""case(): a case study from your own model, data, loss and metric, in a notebook cell or a script."""

import contextlib
import copy
import dataclasses
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gaa_core.cases import checks
from gaa_core.cases.base import CaseData, CaseStudy, Settings, Split, accuracy, r2
from gaa_core.cases.containers import pair
from gaa_core.cases.labels import numbered
from gaa_core.datasets import fingerprint
from gaa_core.errors import GaaError, UnknownName

SETTINGS = [each.name for each in dataclasses.fields(Settings)]


def case(
    model: nn.Module | Callable[..., nn.Module],
    train: Any,
    test: Any,
    *,
    loss: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
    metric: Callable[[Tensor, Tensor], float] | None = None,
    name: str = "mine",
    title: str = "",
    target: str | None = None,
    classes: Sequence[str] | None = None,
    similar: Any = None,
    shift: Callable[[Tensor], Tensor] | None = None,
    **settings: float,
) -> CaseStudy:
    """A case study of your own, for `run`, sweeps, the league and plots.

    `model` is a network, from whose weights every run starts, or a function that makes one (with the CaseData as its
    argument, if it takes one), seeded by each run. `train`, `test` and `similar` (QV samples of a similar domain) are
    pairs (inputs, targets) of tensors, arrays or frames, a Dataset, a DataLoader, or a DataFrame with the column
    `target`. `loss` maps (outputs, targets) to the mean over a batch, `metric` to a number of which more is better
    (default: accuracy for classes, R^2 for numbers). `shift` maps QV inputs to shifted ones. `settings` are fields of
    Settings: lr, batch_size, steps, n, qv_size, cooldown.

    With a loss that takes class numbers, targets may be labels of any kind (strings, numbers from 1 or -1, bools,
    one-hot rows): they are numbered in sorted order, or in that of `classes`. Elsewhere integers are class numbers from
    0, and floats are numbers. Raises GaaError for anything that cannot be trained on.
    """
    if unknown := set(settings) - set(SETTINGS):
        raise UnknownName("option of case", min(unknown), [*inspect.signature(case).parameters, *SETTINGS])
    for what, value in (("loss", loss), ("metric", metric), ("shift", shift)):
        if isinstance(value, type) or not (value is None or callable(value)):
            raise GaaError(f"{what} must be a function or an instance that can be called; found {value!r}.")
    classes = None if classes is None else checks.names(classes)
    parts = {"train": train, "test": test, **({} if similar is None else {"similar": similar})}
    pairs = {part: pair(samples, part, target) for part, samples in parts.items()}
    build = _factory(model)
    data = _fitted(build, _data(pairs, loss, classes, title or name), loss, f"case '{name}'")
    data = replace(data, fingerprint=_digest(data))
    return CaseStudy(
        name=name,
        title=title or name,
        load=lambda: data,
        model=build,
        settings=Settings(**settings),
        similar=None if similar is None else lambda data: data.other,
        similar_title="" if similar is None else "samples of a similar domain",
        shift=None
        if shift is None
        else lambda _data, samples, _generator: Split(shift(samples.inputs), samples.targets),
        shift_title="" if shift is None else getattr(shift, "__name__", "shifted"),
        loss=loss,
        metric=metric or (accuracy if data.classes else r2),
    )


def _data(pairs: dict[str, tuple], loss: Callable, classes: Sequence[str] | None, title: str) -> CaseData:
    """The pairs of all parts as data whose targets are numbered alike."""
    names, targets = numbered({part: targets for part, (_, targets) in pairs.items()}, loss, classes)
    splits = {part: Split(inputs, targets[part]) for part, (inputs, _) in pairs.items()}
    source = f"{title}, {len(splits['train']):,} + {len(splits['test']):,}"
    return CaseData(splits["train"], splits["test"], names, source, "", other=splits.get("similar"))


def _digest(data: CaseData) -> str:
    parts = []
    for split in (data.train, data.test, data.other):
        for tensor in () if split is None else (split.inputs, split.targets):
            parts += [
                f"{tensor.dtype} {list(tensor.shape)}",
                tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes(),
            ]
    return fingerprint(*parts)


def _factory(model: nn.Module | Callable[..., nn.Module]) -> Callable[[CaseData], nn.Module]:
    """The model as a function of the data. Whether a function takes the data is read from its signature."""
    if isinstance(model, nn.Module):
        return lambda _data: copy.deepcopy(model)
    if not callable(model):
        raise GaaError(f"model must be a torch.nn.Module, or a function that makes one; found {model!r}.")
    try:
        needed = [
            each
            for each in inspect.signature(model).parameters.values()
            if each.default is each.empty and each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        ]
    except ValueError:  # a callable without a signature
        needed = []
    if len(needed) > 1:
        raise GaaError(f"model must be a function of nothing or of the data; found one of {len(needed)} arguments.")
    return lambda data: copy.deepcopy(model(data) if needed else model())  # a function may give one network every time


def _fitted(factory: Callable[[CaseData], nn.Module], data: CaseData, loss: Callable, who: str) -> CaseData:
    """The data in the network's floating type; integers stay where the network embeds them."""
    with torch.random.fork_rng(devices=[]):
        network = checks.built(factory, data, who)
    embeds = any(isinstance(layer, nn.Embedding | nn.EmbeddingBag) for layer in network.modules())
    dtype = next((each.dtype for each in network.parameters() if each.is_floating_point()), torch.float32)

    def fit(split: Split | None) -> Split | None:
        if split is None:
            return None
        kept = embeds and not split.inputs.is_floating_point()
        inputs = split.inputs if kept else split.inputs.to(dtype)
        return Split(inputs, split.targets if data.classes else split.targets.to(dtype))

    data = replace(data, train=fit(data.train), test=fit(data.test), other=fit(data.other))
    if data.classes:
        return data
    return _aligned(data, checks.outputs(network, data.train.inputs[:1], who).shape[1:], loss, who)


def _aligned(data: CaseData, shape: Sequence[int], loss: Callable, who: str) -> CaseData:
    """The data with targets [m] as columns [m, 1] where the outputs are columns, or the reverse."""

    def align(split: Split | None) -> Split | None:
        return None if split is None else Split(split.inputs, split.targets.reshape(-1, *shape))

    found = data.train.targets.shape[1:]
    if found == shape or found.numel() != shape.numel():
        return data
    with contextlib.suppress(GaaError):
        if not checks.broadcasts(loss, data.train.targets, shape, who):
            return data
    return replace(data, train=align(data.train), test=align(data.test), other=align(data.other))
