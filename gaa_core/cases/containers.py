"""Samples out of the usual containers: pairs of tensors, arrays or frames, a Dataset, a DataLoader."""

from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler, SequentialSampler, Subset, SubsetRandomSampler

from gaa_core.cases import checks
from gaa_core.cases.base import Split
from gaa_core.errors import GaaError, explained, one_of

TAKEN = "a pair (inputs, targets), a Split, a Dataset, a DataLoader, or a DataFrame with target=..."


def pair(samples: Any, part: str, target: str | None) -> tuple[Any, Any]:
    """(inputs, targets) of any container, in its own order: a DataLoader is not shuffled. `target` names a column."""
    if isinstance(samples, Split):
        return samples.inputs, samples.targets
    if isinstance(samples, tuple | list) and len(samples) == 2:
        return samples[0], samples[1]
    if hasattr(samples, "columns") and hasattr(samples, "drop"):
        return _of_frame(samples, part, target)
    if isinstance(samples, DataLoader):
        return _of_batches(_in_order(samples, part), part)
    if isinstance(samples, Dataset) and hasattr(samples, "__len__") and hasattr(samples, "__getitem__"):
        tensors = getattr(samples, "tensors", None)
        if tensors is not None and len(tensors) == 2:
            return tensors
        return _of_batches(([row[None] for row in _row(sample, part)] for sample in _each(samples)), part)
    raise GaaError(f"{part} must be {TAKEN}; found {type(samples).__name__}.")


def _of_frame(frame: Any, part: str, target: str | None) -> tuple[Any, Any]:
    if target is None:
        raise GaaError(f"{part} is a DataFrame: name the column of its targets by target=...")
    one_of(f"column of {part}", target, frame.columns)
    return frame.drop(columns=target), frame[target]


def _each(dataset: Dataset) -> Any:
    return (dataset[place] for place in range(len(dataset)))


def _in_order(loader: DataLoader, part: str) -> DataLoader:
    """The loader without shuffling, so that the same data have the same order in every run."""
    dataset, sampler = loader.dataset, loader.sampler
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise GaaError(f"{part} must have a length and samples by number; found {type(dataset).__name__}.")
    if isinstance(sampler, SubsetRandomSampler):
        dataset = Subset(dataset, sorted(int(place) for place in sampler.indices))
    elif not isinstance(sampler, SequentialSampler | RandomSampler):
        raise GaaError(
            f"{part} is a DataLoader with a {type(sampler).__name__}: pass a Dataset of its samples instead."
        )
    return DataLoader(dataset, batch_size=loader.batch_size or 1, collate_fn=loader.collate_fn)


def _of_batches(batches: Any, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Batches (inputs, targets), one after another."""
    found = [[checks.tensor(half, part) for half in _row(batch, part)] for batch in batches]
    if not found:
        raise GaaError(f"The {part} set is empty: expected at least one sample.")
    with explained(f"{part} samples must have one shape"):
        inputs, targets = (torch.cat(column) for column in zip(*found, strict=True))
    return inputs, targets


def _row(sample: Any, part: str) -> list[Any]:
    """The two halves of a sample or batch, as tensors or arrays."""
    if not isinstance(sample, tuple | list) or len(sample) != 2:
        size = f" of {len(sample)}" if isinstance(sample, tuple | list | dict) else ""
        raise GaaError(f"{part} must give pairs (input, target); found a {type(sample).__name__}{size}.")
    return [half if isinstance(half, torch.Tensor) else np.asarray(half) for half in sample]
