"""Targets as people have them: names, numbers from 1 or -1, bools, one-hot rows, columns; numbers for regression."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gaa_core.cases import checks
from gaa_core.errors import GaaError

MOST_CLASSES = 1000  # more labels than these are numbers, or identifiers


def numbered(parts: dict[str, Any], loss: Callable, classes: Sequence[str] | None) -> tuple[tuple[str, ...], dict]:
    """The classes' names, () for regression, and each part's targets as class numbers or as numbers.

    torch's losses say which they take. With a loss of one's own, floats are numbers and integers are classes.
    """
    by_class = checks.kind(loss) in checks.CLASS_LOSSES
    of_numbers = checks.is_of_torch(loss) and not by_class
    arrays = {part: _array(targets, part) for part, targets in parts.items()}
    named = any(array.dtype == object for array in arrays.values())
    if named and of_numbers:
        raise GaaError(f"The loss {checks.kind(loss)} takes targets that are numbers; found names of classes.")
    if named or by_class:
        return _by_name({part: _column(array, part) for part, array in arrays.items()}, classes)
    whole = all(array.dtype.kind in "biu" for array in arrays.values())
    if of_numbers or not whole or classes == ():
        return (), {part: torch.from_numpy(array.astype(np.float64)) for part, array in arrays.items()}
    seen = np.concatenate([[0, 1], *(array.reshape(-1) for array in arrays.values())])
    if seen.min() < 0 or seen.max() >= MOST_CLASSES:
        found = f"found {seen.min()} to {seen.max()}"
        raise GaaError(
            f"Integer targets of a loss of your own must be class numbers from 0, numbers be float; {found}."
        )
    names = tuple(map(str, classes or range(seen.max() + 1)))
    return names, {part: torch.from_numpy(array.astype(np.int64)) for part, array in arrays.items()}


def _array(targets: Any, part: str) -> np.ndarray:
    """Targets as an array of numbers, or of objects where all of them are names."""
    if not isinstance(targets, Tensor):
        with contextlib.suppress(ValueError):  # rows of unlike lengths, which `tensor` refuses in words
            found = np.asarray(targets)
            if found.size and found.ndim == 1 and all(isinstance(label, str) for label in found.tolist()):
                return found.astype(object)
    return checks.tensor(targets, f"{part} targets").cpu().numpy()


def _column(array: np.ndarray, part: str) -> np.ndarray:
    """Labels [m] out of a column [m, 1] or of one-hot rows; numbers become integers."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    elif array.ndim == 2 and checks.is_one_hot(torch.from_numpy(array)):
        array = array.argmax(1)
    if array.ndim != 1:
        raise GaaError(f"{part} targets must be classes [m] or one-hot rows; found shape {list(array.shape)}.")
    if array.dtype.kind == "f":
        checks.finite(torch.from_numpy(array), f"{part} targets")
        if (array != np.round(array)).any():
            raise GaaError(f"{part} targets are no classes but numbers: pass loss=torch.nn.functional.mse_loss.")
    return array if array.dtype == object else array.astype(np.int64)


def _by_name(columns: dict[str, np.ndarray], classes: Sequence[str] | None) -> tuple[tuple[str, ...], dict]:
    """Labels of any kind as numbers from 0, in the order of `classes`, else sorted."""
    if len({column.dtype for column in columns.values()}) > 1:
        raise GaaError("Targets must be all names or all numbers; found both.")
    labels = sorted({label for column in columns.values() for label in column.tolist()})
    names = tuple(map(str, labels if classes is None else classes))
    if len(labels) > MOST_CLASSES:
        raise GaaError(
            f"Targets must be of at most {MOST_CLASSES} classes; found {len(labels)}: do they need mse_loss?"
        )
    if {str(label) for label in labels} <= set(names):
        numbers = {label: names.index(str(label)) for label in labels}
    elif isinstance(labels[0], int) and labels[0] >= 0 and labels[-1] < len(names):
        numbers = {label: label for label in labels}
    else:
        raise GaaError(f"Targets must be among the classes {', '.join(names)}; found {labels[0]!r} to {labels[-1]!r}.")
    return names, {
        part: torch.tensor([numbers[label] for label in column.tolist()], dtype=torch.int64)
        for part, column in columns.items()
    }
