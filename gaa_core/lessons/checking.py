"""How answers are checked: an empty one is recognised, a known mistake gets its own hint, the rest a measure."""

from __future__ import annotations

import numbers
import textwrap
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gaa_core.errors import GaaError

#: Said of every empty answer; tests look for it.
EMPTY = "is still empty"


class NotYet(GaaError):
    """An answer that is missing or not right yet; the message is for the learner, who sees it without a traceback."""

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows instead of a traceback."""
        return _lines(f"Not yet. {self}")


def right(message: str) -> None:
    """Tell the learner that an answer is right, and what to make of it."""
    print("\n".join(_lines(f"Right. {message}")))


def is_empty(answer: object) -> bool:
    """Whether an answer is what the stub had: nothing, or three dots."""
    return answer is None or answer is ...


def require(answer: object, name: str) -> None:
    """Refuse an empty answer."""
    if is_empty(answer):
        raise NotYet(f"`{name}` {EMPTY}: replace the three dots (...) in the cell above by your answer, and run it.")


def call(function: Callable, name: str, *arguments: object) -> object:
    """What the learner's function answers; empty answers and errors are told in words."""
    require(function, name)
    if not callable(function):
        raise NotYet(f"`{name}` must be a function (or an object that can be called); found {type(function).__name__}.")
    try:
        answer = function(*arguments)
    except NotYet:
        raise
    except Exception as error:  # whatever the learner's code may raise is to be explained
        sizes = ", ".join(_size(argument) for argument in arguments)
        raise NotYet(f"`{name}({sizes})` raised {type(error).__name__}: {error}") from error
    require(answer, name)
    return answer


def tensor(answer: object, shape: Sequence[int], name: str, hint: str = "") -> Tensor:
    """The answer as a float tensor of this shape; another shape or a NaN is told, with the hint."""
    shape = tuple(shape)
    if not isinstance(answer, Tensor | Sequence | numbers.Real):
        raise NotYet(
            f"`{name}` must give a tensor of shape {list(shape)}; found {type(answer).__name__}. {hint}".strip()
        )
    try:
        found = torch.as_tensor(answer).detach().to(torch.float64)
    except (TypeError, ValueError) as error:
        raise NotYet(f"`{name}` must give a tensor of shape {list(shape)}: {error}. {hint}".strip()) from error
    if found.shape != shape:
        raise NotYet(f"`{name}` must give shape {list(shape)}; found {list(found.shape)}. {hint}".strip())
    if not found.isfinite().all():
        raise NotYet(f"`{name}` gave numbers that are not finite (inf or NaN). {hint}".strip())
    return found


def number(answer: object, name: str) -> float:
    """The answer as a number."""
    require(answer, name)
    if isinstance(answer, bool) or not isinstance(answer, numbers.Real | Tensor):
        raise NotYet(f"`{name}` must be a number; found {answer!r}.")
    return float(answer)


def share(answer: object, name: str) -> float:
    """A guess of an accuracy, between 0 and 1. Any such guess is welcome: it is made before the run."""
    value = number(answer, name)
    if not 0 <= value <= 1:
        raise NotYet(f"`{name}` is an accuracy: a number between 0 and 1, such as 0.85; found {value:g}.")
    return value


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> bool:
    """Whether two tensors agree up to rounding in single precision."""
    expected = expected.to(torch.float64)
    return bool((found - expected).norm() <= tolerance * (1.0 + expected.norm()))


def compare(found: Tensor, expected: Tensor, name: str, mistakes: dict[str, Tensor], otherwise: str = "") -> None:
    """Raise NotYet unless `found` is as expected: with the hint of the mistake that it equals, else with its distance.

    `mistakes` are what common mistakes would have answered, by their hints.
    """
    if close(found, expected):
        return
    for hint, wrong in mistakes.items():
        if close(found, wrong) and not close(wrong.to(torch.float64), expected):
            raise NotYet(hint)
    distance = float((found - expected.to(torch.float64)).norm())
    raise NotYet(
        f"`{name}` is off by {distance:.3g}: expected {shown(expected)}, found {shown(found)}. {otherwise}".strip()
    )


def shown(values: Tensor) -> str:
    """A tensor as a learner reads it, cut where it is long."""
    flat = [f"{value:.3g}" for value in values.flatten()[:6].tolist()]
    return f"({', '.join(flat)}{', ...' if values.numel() > 6 else ''})"


def check_guess(guess: object, name: str) -> None:
    """Ask for a guess before the run that will answer it."""
    share(guess, name)


def guessed(guess: object, measured: float, name: str, remark: str = "") -> None:
    """Compare a guess made before the run with what was measured. No guess is wrong; an empty one is asked for."""
    value = share(guess, name)
    apart = 100 * abs(value - measured)
    verdict = "well predicted" if apart <= 10 else "a surprise worth a minute's thought"
    print("\n".join(_lines(f"You said {value:.0%}; it came to {measured:.0%}: {verdict}. {remark}".strip())))


def _lines(text: str) -> list[str]:
    """Broken between words, which Jupyter does not do for outputs."""
    return textwrap.wrap(text, 100, break_long_words=False, break_on_hyphens=False)


def _size(argument: object) -> str:
    return f"tensor {list(argument.shape)}" if isinstance(argument, Tensor) else type(argument).__name__
