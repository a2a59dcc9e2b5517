"""Lesson 5, reading traces: sealed runs whose roles are hidden, and checks that know them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from gaa_core import roles
from gaa_core.aggregators import GAA
from gaa_core.attacks import GradientReversion
from gaa_core.cases import MNIST
from gaa_core.errors import UnknownName
from gaa_core.lessons import checking
from gaa_core.lessons.checking import NotYet, compare, right, tensor
from gaa_core.simulator import run
from gaa_core.trace import Trace

__all__ = [
    "check_alarm",
    "check_alike",
    "check_gangs",
    "check_precision_recall",
    "check_suspects",
    "check_turn",
    "reveal",
    "sealed",
]

EARLY, LATE = (2, 5, 9), (0, 4, 7, 8)  # of ten workers; the late ones turn at half time


def _two_gangs(steps: int) -> Callable[[int], Tensor]:
    def who(step: int) -> Tensor:
        bad = torch.zeros(10, dtype=torch.bool)
        bad[list(EARLY)] = True
        bad[list(LATE)] = step >= steps // 2
        return bad

    return who


#: Case -> (roles, seed). A was chosen for its clarity, B is the same story with another seed, C has no story.
_CASES = {
    "A": (_two_gangs, 3),
    "B": (_two_gangs, 4),
    "C": (lambda steps: roles.resampled(10, 0.7, period=1, seed=5), 5),
}


@functools.cache
def _opened(case: str, steps: int, lr: float, batch_size: int) -> Trace:
    if case not in _CASES:
        raise UnknownName("sealed case", case, _CASES)
    schedule, seed = _CASES[case]
    options = {"steps": steps, "lr": lr, "batch_size": batch_size, "seed": seed}
    trace = run(MNIST, GAA(), attack=GradientReversion(), roles=schedule(steps), n=10, **options)
    trace.settings.update(sealed=case)
    return trace


def sealed(case: str, steps: int = 240, lr: float = 0.05, batch_size: int = 64) -> Trace:
    """The trace of a run under reversed gradients, as the server sees it: the true roles are taken out."""
    trace = _opened(case, steps, lr, batch_size)
    table = trace.steps.assign(byzantine_ratio=np.nan, loss=np.nan)  # both would tell
    settings = trace.settings | {"roles": "sealed"}
    return dataclasses.replace(trace, settings=settings, steps=table, byzantine=np.zeros_like(trace.byzantine))


def reveal(trace: Trace) -> Trace:
    """The same trace with its true roles."""
    settings = trace.settings
    return _opened(settings["sealed"], settings["steps"], settings["lr"], settings["batch_size"])


def check_suspects(suspects: Callable, trace: Trace) -> None:
    """`suspects(credits [steps, n]) -> list of workers` whose mean credit in the last 20 rows is under half of 1/n."""
    made_up = np.full((60, 5), 0.2)
    made_up[-20:] = [0.05, 0.11, 0.42, 0.09, 0.33]
    made_up[-1] = [0.2, 0.2, 0.2, 0.2, 0.2]
    answer = _workers(checking.call(suspects, "suspects", made_up), "suspects", 5)
    by_mean, by_last = {0, 3}, {int(i) for i in np.flatnonzero(made_up[-1] < 0.1)}
    hints = {
        frozenset(by_last): "You looked at the last row only; average the last 20, since single rows jump.",
        frozenset(): "Nobody? Half of an equal share of 5 workers is 0.1.",
        frozenset({0, 1, 3}): "You accuse whoever is under an equal share; asked for is under *half* of it.",
        frozenset({1, 2, 4}): "You name those whom the agent trusts. Suspects are those with *little* credit.",
        frozenset(range(5)) - by_mean: "You name those whom the agent trusts. Suspects are those with *little* credit.",
    }
    if set(answer) != by_mean:
        hint = hints.get(frozenset(answer), "Average the last 20 rows for each worker, then compare with 0.5 / n.")
        raise NotYet(f"In a made-up run of 5 workers, 0 and 3 are under half of 1/5; you name {sorted(answer)}. {hint}")
    named = set(_workers(checking.call(suspects, "suspects", trace.credits), "suspects", trace.credits.shape[1]))
    truth = set(np.flatnonzero(reveal(trace).byzantine[-1]).tolist())
    right(f"You accuse {sorted(named)} of case {trace.settings['sealed']}. {_verdict(named, truth)}")


def check_precision_recall(function: Callable) -> None:
    """`precision_recall(accused, guilty) -> (precision, recall)`, both sets of workers."""
    answer = checking.call(function, "precision_recall", {0, 1, 2, 3}, {2, 3, 4, 5, 6})
    found = tensor(
        list(answer) if isinstance(answer, tuple) else answer, (2,), "precision_recall", "Return two numbers."
    )
    mistakes = {
        "They are the wrong way round: precision is the share of the *accused* who are guilty.": torch.tensor(
            [0.4, 0.5]
        ),
        "You counted the accused as a share of the guilty; count those who are both.": torch.tensor([0.5, 0.8]),
        "Those are numbers of workers; divide by how many are accused, and by how many are guilty.": torch.tensor(
            [2.0, 2.0]
        ),
    }
    compare(found, torch.tensor([0.5, 0.4]), "precision_recall", mistakes)
    right("Of four accused two are guilty (0.5); of five guilty two are accused (0.4).")


def check_alarm(alarm: Callable) -> None:
    """`alarm(loss [steps], window) -> step`: the first t at which log loss[t] - log loss[t - window] is greatest."""
    for turn, window in ((40, 5), (70, 8)):
        loss = np.exp(-np.arange(100) / 40)
        loss[turn:] *= np.exp(np.minimum(np.arange(100 - turn) + 1, window) * 0.2)
        found = round(checking.number(checking.call(alarm, "alarm", loss, window), "alarm"))
        rise = np.log(loss[window:]) - np.log(loss[:-window])
        expected = window + int(rise.argmax())
        if found == expected:
            continue
        plain = window + int((loss[window:] - loss[:-window]).argmax())
        hints = {
            expected
            - window: "You give the *start* of the rise: position 0 of the differences belongs to step `window`.",
            window + int(rise.argmin()): "You give the greatest *fall*; take the later minus the earlier.",
            int(rise.argmin()): "You give the greatest *fall*; take the later minus the earlier.",
            plain: "Take differences of *logarithms*: a rise from 0.1 to 0.2 is as bad as one from 1 to 2.",
        }
        told = f"On a made-up curve that rises from step {turn} on, `alarm` gives {found}; expected {expected}."
        raise NotYet(f"{told} {hints.get(found, 'Compare each step with the one `window` steps before.')}")
    right("It rings where f_B rises fastest.")


def check_turn(step: object, trace: Trace) -> None:
    """A reading of the step at which the second gang turned, within a tenth of the run."""
    value = checking.number(step, "turned_at")
    steps = len(trace.credits)
    truth = steps // 2
    if abs(value - truth) > steps / 10:
        way = "earlier" if value > truth else "later"
        raise NotYet(
            f"Step {value:g} is too far from the turn: look {way}, where credits that were steady begin to fall."
        )
    right(
        f"You read step {value:g}; the second gang turned at step {truth}. Reading is allowed to be "
        f"{steps // 10} steps off."
    )


def check_alike(alike: Callable) -> None:
    """`alike(moves [steps, n]) -> [n, n]`: cosines between the columns."""
    moves = np.cumsum(np.random.default_rng(0).normal(size=(50, 4)) + np.array([0.3, 0.3, -0.3, 0.0]), axis=0)
    found = tensor(
        _as_tensor(checking.call(alike, "alike", moves)), (4, 4), "alike", "A row and a column for each worker."
    )
    products = moves.T @ moves
    lengths = np.linalg.norm(moves, axis=0)
    mistakes = {
        "Those are plain products; divide each by both columns' lengths, so that the diagonal is 1.": products,
        "That is the correlation about each worker's mean. Here all start from 0, and the way *from there* counts.": (
            np.corrcoef(moves.T)
        ),
        "You divided by one length only; the cosine divides by both.": products / lengths,
        "You compared steps, not workers: it is moves.T @ moves.": (moves @ moves.T)[:4, :4],
    }
    hints = {hint: torch.as_tensor(wrong) for hint, wrong in mistakes.items()}
    compare(found, torch.as_tensor(products / np.outer(lengths, lengths)), "alike", hints)
    right("1 is the same way, -1 the opposite way.")


def check_gangs(first: object, second: object, trace: Trace) -> None:
    """Who attacked from the start, and who joined later."""
    checking.require(first, "first_gang")
    checking.require(second, "second_gang")
    truth = reveal(trace).byzantine
    early = set(np.flatnonzero(truth[0]).tolist())
    late = set(np.flatnonzero(truth[-1]).tolist()) - early
    named = [
        set(_workers(gang, name, truth.shape[1])) for gang, name in ((first, "first_gang"), (second, "second_gang"))
    ]
    if named == [late, early]:
        raise NotYet(
            "Both gangs are right, and the wrong way round: the first is the one that attacked from the start."
        )
    if named[0] & named[1]:
        raise NotYet(
            f"Worker(s) {sorted(named[0] & named[1])} are in both gangs. Who had fallen before the turn is "
            "in the first only."
        )
    for found, gang, name in zip(named, (early, late), ("first_gang", "second_gang"), strict=True):
        if found != gang:
            missed, wronged = len(gang - found), len(found - gang)
            raise NotYet(
                f"`{name}`: {missed} member(s) missing, {wronged} named who do not belong. Compare the two "
                "pictures again."
            )
    right(f"{sorted(early)} attacked from the start, {sorted(late)} turned together at step {len(truth) // 2}.")


def _verdict(named: set[int], truth: set[int]) -> str:
    innocent, missed = sorted(named - truth), sorted(truth - named)
    if not innocent and not missed:
        return "Every one of them is Byzantine at the end, and nobody is missing."
    wrong = f"Wrongly accused: {innocent}." if innocent else "Nobody is wrongly accused."
    return f"{wrong} " + (f"Not found: {missed}." if missed else "Nobody is missing.")


def _workers(answer: object, name: str, n: int) -> list[int]:
    """A list of worker numbers."""
    if isinstance(answer, Tensor | np.ndarray) and answer.dtype in (torch.bool, np.dtype(bool)):
        raise NotYet(
            f"`{name}` must give numbers of workers, such as [0, 3]; found a mask. np.flatnonzero turns it "
            "into numbers."
        )
    if not isinstance(answer, Iterable) or isinstance(answer, str):
        raise NotYet(f"`{name}` must be a list of workers, such as [0, 3]; found {answer!r}.")
    found = [int(worker) for worker in answer]
    strange = [worker for worker in found if not 0 <= worker < n]
    if strange:
        raise NotYet(f"`{name}`: workers have the numbers 0 to {n - 1}; found {strange}.")
    return found


def _as_tensor(answer: object) -> object:
    return torch.as_tensor(answer) if isinstance(answer, np.ndarray) else answer
