"""How answers are checked in all lessons: what is missing, what went wrong, and which known mistake it is, in words."""

from __future__ import annotations

import numbers
import re
import textwrap
import traceback
from collections.abc import Callable, Mapping, Sequence

import IPython
import numpy as np
import torch
from torch import Tensor

from gaa_core.errors import GaaError

EMPTY = "is still empty"
WELL_PREDICTED = 10.0  # percentage points between a guess and the measurement

#: What PyTorch says -> what it means. Its own messages are for those who know its insides.
_MEANINGS = {
    r"[Dd]imension out of range": "there is no such dimension; a table [n, d] has the dimensions 0 and 1",
    r"out of bounds|out of range": "an index lies outside the table",
    r"does not require grad|backward": "nothing to differentiate; was `.detach()` called too early?",
    r"dtype|scalar type": "numbers of two kinds meet, such as whole numbers and floats",
    r"size|shape|must match|expand|inconsistent": "two shapes do not fit together; print `.shape` of both",
}

#: Names that a cell with a syntax error was to define -> the error. The namespace still holds the old answer.
_unreadable: dict[str, str] = {}


class NotYet(GaaError):
    """An answer that is missing or not right yet; the message is for the learner, who sees it without a traceback."""

    def _render_traceback_(self) -> list[str]:  # what Jupyter shows
        return _lines(f"Not yet. {self}")


def right(message: str) -> None:
    """Print that an answer is right, and what to make of it."""
    print("\n".join(_lines(f"Right. {message}")))


def note(result) -> None:
    """After each cell: which names a syntax error kept from being defined, and which are defined now."""
    source, error = result.info.raw_cell or "", result.error_before_exec
    for name in filter(None, sum(re.findall(r"^(?:def|class) +(\w+)|^(\w+) *=", source, re.M), ())):
        if isinstance(error, SyntaxError):
            _unreadable[name] = f"{error.msg}, line {error.lineno}"
        elif result.success:
            _unreadable.pop(name, None)


if IPython.get_ipython() is not None:
    IPython.get_ipython().events.register("post_run_cell", note)


def require(answer: object, name: str) -> None:
    """Refuse an answer that is empty, None, or older than a cell that Python could not read."""
    if name in _unreadable:
        raise NotYet(f"Python cannot read the cell of `{name}` ({_unreadable[name]}): nothing new to check yet.")
    if answer is ...:
        raise NotYet(f"`{name}` {EMPTY}: replace the three dots (...) in the cell above by your answer, and run it.")
    if answer is None:
        raise NotYet(f"`{name}` gives None: is the word `return` missing before your answer?")


def made(answer: object, base: type, name: str) -> None:
    """Refuse what is not an instance of a class built on `base`."""
    require(answer, name)
    if isinstance(answer, type):
        raise NotYet(f"Make one first: {answer.__name__}(), with the brackets.")
    if not isinstance(answer, base):
        raise NotYet(f"The class must build on {base.__name__}: class {type(answer).__name__}({base.__name__}).")
    require(answer, type(answer).__name__)


def name_of(function: object, name: str = "") -> str:
    """The learner's own name of a function, or `name` for anything without one."""
    return name or getattr(function, "__name__", "the answer")


def call(function: Callable, *arguments: object, name: str = "", nothing: bool = False) -> object:
    """The answer of the learner's function; empty answers and errors are told in words. `nothing`: None is right."""
    name = name_of(function, name)
    require(function, name)
    if not callable(function):
        raise NotYet(f"`{name}` must be a function; found {type(function).__name__}.")
    try:
        answer = function(*arguments)
    except NotYet:
        raise
    except Exception as error:  # whatever the learner's code raises is to be explained
        sizes = ", ".join(f"{list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__ for x in arguments)
        raise NotYet(f"`{name}({sizes})` stopped{_place(error)}: {_meaning(error)}.") from error
    if not (nothing and answer is None):
        require(answer, name)
    return answer


def _place(error: Exception) -> str:
    """The line of the learner's cell in which an error was raised."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "ipykernel" in frame.filename]
    return f" in the line `{frames[-1].line}`" if frames and frames[-1].line else ""


def _meaning(error: Exception) -> str:
    text = str(error)
    if not isinstance(error, RuntimeError | IndexError) and "\n" not in text and "got (" not in text:
        return f"{type(error).__name__}: {text.rstrip('.')}"
    found = (meaning for pattern, meaning in _MEANINGS.items() if re.search(pattern, text))
    return next(found, "a function was given what it does not take")


def tensor(answer: object, shape: Sequence[int], name: str, hint: str = "") -> Tensor:
    """The answer as a float64 tensor of this shape; another shape or a NaN is told, with the hint."""
    wanted = f"`{name}` must give {'a number' if not len(shape) else f'a tensor of shape {list(shape)}'}"
    try:
        found = torch.as_tensor(np.asarray(answer) if not isinstance(answer, Tensor) else answer).detach().double()
    except (TypeError, ValueError):
        raise NotYet(f"{wanted}; found {type(answer).__name__}. {hint}".strip()) from None
    if found.shape != tuple(shape):
        raise NotYet(f"{wanted}; found shape {list(found.shape)}. {hint}".strip())
    if not found.isfinite().all():
        raise NotYet(f"`{name}` gave numbers that are not finite (inf or NaN). {hint}".strip())
    return found


def number(answer: object, name: str) -> float:
    """The answer as a number."""
    require(answer, name)
    if isinstance(answer, bool) or not isinstance(answer, numbers.Real | Tensor):
        raise NotYet(f"`{name}` must be a number; found {answer!r}.")
    return float(answer)


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> bool:
    """Whether two tensors agree up to rounding in single precision."""
    expected = torch.as_tensor(expected).double()
    return found.shape == expected.shape and bool((found - expected).norm() <= tolerance * (1.0 + expected.norm()))


def compare(found: Tensor, expected: Tensor, name: str, mistakes: Mapping[str, Tensor], otherwise: str = "") -> None:
    """Raise NotYet unless `found` is as expected: with the hint of the mistake that it equals, else with both."""
    expected = torch.as_tensor(expected).double()
    if close(found, expected):
        return
    for hint, wrong in mistakes.items():
        if close(found, wrong) and not close(torch.as_tensor(wrong).double(), expected):
            raise NotYet(hint)
    off = float((found - expected).norm())
    raise NotYet(f"`{name}` is off by {off:.3g}: expected {shown(expected)}, found {shown(found)}. {otherwise}".strip())


def judge(
    function: Callable,
    *trials: tuple,
    truth: Callable,
    mistakes: Mapping[str, Callable] | None = None,
    hint: str = "",
    otherwise: str = "",
) -> None:
    """Try a function on several inputs against `truth`; `mistakes` are what common slips answer, by their hints."""
    for inputs in trials:
        expected = torch.as_tensor(truth(*inputs))
        answer = tensor(call(function, *inputs), expected.shape, name_of(function), hint)
        slips = {text: torch.as_tensor(wrong(*inputs)) for text, wrong in (mistakes or {}).items()}
        compare(answer, expected, name_of(function), slips, otherwise)


def shown(values: Tensor) -> str:
    """A tensor as a learner reads it, cut where it is long."""
    flat = [f"{value:.3g}" for value in values.flatten()[:6].tolist()]
    return f"({', '.join(flat)}{', ...' if values.numel() > 6 else ''})"


def check_guess(guess: object, name: str) -> float:
    """A guess of an accuracy, asked for before the run that answers it. Any number between 0 and 1 is welcome."""
    value = number(guess, name)
    if not 0 <= value <= 1:
        raise NotYet(f"`{name}` is an accuracy: a number between 0 and 1, such as 0.85; found {value:g}.")
    return value


def guessed(guess: object, measured: float, name: str, remark: str = "") -> None:
    """Compare a guess made before the run with what was measured. No guess is wrong; an empty one is asked for."""
    value = check_guess(guess, name)
    near = 100 * abs(value - measured) <= WELL_PREDICTED
    verdict = "well predicted" if near else "a surprise worth a minute's thought"
    print("\n".join(_lines(f"You said {value:.0%}; it came to {measured:.0%}: {verdict}. {remark}".strip())))


def _lines(text: str) -> list[str]:
    """Broken between words, which Jupyter does not do for outputs."""
    return textwrap.wrap(text, 100, break_long_words=False, break_on_hyphens=False)
