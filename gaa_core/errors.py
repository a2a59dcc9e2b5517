"""Errors that help: what is wrong, what was expected, what was found, the nearest valid name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GaaError(ValueError):
    """Bad input to this package. The message is one clear sentence for a person."""


class UnknownName(GaaError):
    """A name that nobody registered, with the nearest that somebody did."""

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        known = sorted(known)
        near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.4)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        super().__init__(f"Unknown {kind} '{name}'.{hint} Known: {', '.join(known) or 'none'}.")


class TooFewWorkers(GaaError):
    """A rule's constraint on the number of workers is broken (Table 1 of the paper)."""

    def __init__(self, rule: object, needed: int, found: int):
        super().__init__(f"{rule!r} needs at least {needed} workers; found {found}.")


class DataError(GaaError):
    """A data file is missing, truncated or not what its format says. Names the file."""
