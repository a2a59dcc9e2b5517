"""Errors that help: what is wrong, what was expected, what was found, the nearest valid name."""

import difflib
import math
import operator
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any


class GaaError(ValueError):
    """Bad input to this package. The message is one clear sentence for a person, on one line."""

    def __init__(self, message: str = ""):
        super().__init__(" ".join(message.splitlines()))


class UnknownName(GaaError):
    """A name that is not registered, with the nearest that is."""

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        known = sorted(known)
        near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.4)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        super().__init__(f"Unknown {kind} '{name}'.{hint} Known: {', '.join(known) or 'none'}.")


def one_of(kind: str, name: Any, known: Iterable[str]) -> Any:
    """The name; UnknownName where it is not among those `known`."""
    if name not in (known := list(known)):
        raise UnknownName(kind, str(name), map(str, known))
    return name


class TooFewWorkers(GaaError):
    """A rule's constraint on the number of workers is broken (Table 1 of the paper)."""

    def __init__(self, rule: object, needed: int, found: int):
        super().__init__(f"{rule!r} needs at least {needed} workers; found {found}.")


class DataError(GaaError):
    """A data file is missing, truncated or not what its format says. Names the file."""


def whole(value: Any, name: str, least: int = 1, most: int | None = None) -> int:
    """A whole number from `least` to `most` as an int, from Python, numpy or torch; anything else raises GaaError."""
    try:
        found = None if _is_bool(value) else operator.index(value)
    except (TypeError, RuntimeError):
        found = None
    if found is None or found < least or (most is not None and found > most):
        limits = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise GaaError(f"{name} must be a whole number {limits}; found {value!r}.")
    return found


def number(value: Any, name: str, least: float = -math.inf, most: float = math.inf) -> float:
    """A finite number from `least` to `most` as a float, from Python, numpy or torch; anything else raises GaaError."""
    try:
        found = math.nan if _is_bool(value) or isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise GaaError(f"{name} must be a finite number; found {value!r}.")
    if not least <= found <= most:
        limits = f"{least:g} or more" if most == math.inf else f"from {least:g} to {most:g}"
        raise GaaError(f"{name} must be {limits}; found {value!r}.")
    return found


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool) or str(getattr(value, "dtype", "")) in ("bool", "torch.bool")


@contextmanager
def explained(sentence: str, kind: type[GaaError] = GaaError, typed: bool = False) -> Iterator[None]:
    """Tell any error but a GaaError as one: the sentence, a colon, what the error says (`typed`: its type first)."""
    try:
        yield
    except GaaError:
        raise
    except Exception as error:
        name = f"{type(error).__name__}: " if typed else ""
        raise kind(f"{sentence}: {name}{reason(error)}.") from error


def blame(part: str, value: object) -> AbstractContextManager[None]:
    """Tell an error of the user's own rule, attack, schedule... in one sentence that names it."""
    return explained(f"{part} {named(value)} failed", typed=True)


def reason(error: Exception, most: int = 160) -> str:
    """What an error says, or its type, in one line of at most `most` letters without its full stop."""
    return " ".join(str(error).split())[:most].rstrip(".") or type(error).__name__


def named(value: object) -> str:
    """The name of a plain function, the repr of anything else."""
    return getattr(value, "__name__", None) or repr(value)
