"""Lesson 5, reading traces: sealed runs whose roles are hidden, and checks that know them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable

import numpy as np
import torch
from checking import NotYet, compare, judge, number, require, right, tensor
from checking import call as ask
from torch import Tensor

from gaa_core import roles, run
from gaa_core.aggregators import GAA
from gaa_core.attacks import GradientReversion
from gaa_core.cases import MNIST
from gaa_core.errors import UnknownName
from gaa_core.trace import Trace

EARLY, LATE = (2, 5, 9), (0, 4, 7, 8)  # of ten workers; the late group turns at half time


def _two_groups(steps: int) -> Callable[[int], Tensor]:
    def byzantine(step: int) -> Tensor:
        bad = torch.zeros(10, dtype=torch.bool)
        bad[list(EARLY)] = True
        bad[list(LATE)] = step >= steps // 2
        return bad

    return byzantine


#: Case -> (roles, seed). A was chosen for its clarity, B is the same story with another seed, C has no story.
_CASES = {
    "A": (_two_groups, 3),
    "B": (_two_groups, 4),
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
    """The trace of a run under reversed gradients as the server has it: the true roles are taken out."""
    trace = _opened(case, steps, lr, batch_size)
    table = trace.steps.assign(byzantine_ratio=np.nan, loss=np.nan)  # both would tell
    settings = trace.settings | {"roles": "sealed"}
    return dataclasses.replace(trace, settings=settings, steps=table, byzantine=np.zeros_like(trace.byzantine))


def reveal(trace: Trace) -> Trace:
    """The same trace with its true roles."""
    settings = trace.settings
    return _opened(settings["sealed"], settings["steps"], settings["lr"], settings["batch_size"])


def _guilty(trace: Trace, step: int = -1) -> set[int]:
    return set(np.flatnonzero(reveal(trace).byzantine[step]).tolist())


def _workers(answer: object, name: str, n: int) -> set[int]:
    """The workers that an answer names."""
    require(answer, name)
    if isinstance(answer, Tensor | np.ndarray) and answer.dtype in (torch.bool, np.dtype(bool)):
        raise NotYet(f"`{name}` must give numbers of workers; found a mask. np.flatnonzero turns it into numbers.")
    if not isinstance(answer, Iterable) or isinstance(answer, str):
        raise NotYet(f"`{name}` must be a list of workers, such as [0, 3]; found {answer!r}.")
    found = {int(worker) for worker in answer}
    if not found <= set(range(n)):
        raise NotYet(f"`{name}`: workers have the numbers 0 to {n - 1}; found {sorted(found - set(range(n)))}.")
    return found


def check_suspects(suspects: Callable, trace: Trace) -> None:
    """`suspects(credits [steps, n]) -> list of workers` whose mean credit in the last 20 rows is under half of 1/n."""
    made_up = np.full((60, 5), 0.2)
    made_up[-20:], made_up[-1] = [0.05, 0.11, 0.42, 0.09, 0.33], 0.2
    named = _workers(ask(suspects, made_up), "suspects", 5)
    hints = {
        frozenset(): "None? Average the last 20 rows, since single rows jump; half of an equal share is 0.1.",
        frozenset({0, 1, 3}): "You accuse all under an equal share; the line is *half* of it.",
        frozenset({1, 2, 4}): "You name those whom the agent trusts. Suspects are those with *little* credit.",
    }
    if named != {0, 3}:
        hint = hints.get(frozenset(named), "Average the last 20 rows for each worker, then compare with 0.5 / n.")
        raise NotYet(f"In a made-up run 0 and 3 of 5 workers are under half of 1/5; you name {sorted(named)}. {hint}")
    named, truth = _workers(ask(suspects, trace.credits), "suspects", trace.credits.shape[1]), _guilty(trace)
    verdict = f"Wrongly accused: {sorted(named - truth) or 'none'}. Not found: {sorted(truth - named) or 'none'}."
    right(f"You accuse {sorted(named)} of case {trace.settings['sealed']}. {verdict}")


def check_precision_recall(function: Callable) -> None:
    """`precision_recall(accused, guilty) -> (precision, recall)`, both sets of workers."""
    mistakes = {
        "The wrong way round: precision is the share of the *accused* that are guilty.": lambda *sets: [0.4, 0.5],
        "You counted the accused as a share of the guilty; count those who are both.": lambda *sets: [0.5, 0.8],
        "Those are numbers of workers; divide by the accused, and by the guilty.": lambda *sets: [2.0, 2.0],
    }
    inputs = ({0, 1, 2, 3}, {2, 3, 4, 5, 6})
    truth = torch.tensor([0.5, 0.4])
    judge(function, inputs, truth=lambda *sets: truth, mistakes=mistakes, hint="Return two numbers.")
    right("Of four accused two are guilty (0.5); of five guilty two are accused (0.4).")


def check_alarm(alarm: Callable) -> None:
    """`alarm(loss [steps], window) -> step`: the first t at which log loss[t] - log loss[t - window] is greatest."""
    for turn, window in ((40, 5), (70, 8)):
        loss = np.exp(-np.arange(100) / 40)
        loss[turn:] *= np.exp(np.minimum(np.arange(100 - turn) + 1, window) * 0.2)
        found = round(number(ask(alarm, loss, window), "alarm"))
        rise, plain = np.log(loss[window:]) - np.log(loss[:-window]), loss[window:] - loss[:-window]
        expected = window + int(rise.argmax())
        hints = {
            expected - window: "You give the *start* of the rise: position 0 of the differences is step `window`.",
            window + int(rise.argmin()): "You give the greatest *fall*; take the later minus the earlier.",
            int(rise.argmin()): "You give the greatest *fall*; take the later minus the earlier.",
            window + int(plain.argmax()): "Take differences of *logarithms*: 0.1 to 0.2 is as bad as 1 to 2.",
        }
        if found != expected:
            told = f"On a made-up curve that rises from step {turn} on, `alarm` gives {found}; expected {expected}."
            raise NotYet(f"{told} {hints.get(found, 'Compare each step with the one `window` steps before.')}")
    right("It marks where f_B rises fastest.")


def check_turn(step: object, trace: Trace) -> None:
    """A reading of the step at which the second group turned, within a tenth of the run."""
    value, steps = number(step, "turned_at"), len(trace.credits)
    if abs(value - steps // 2) > steps / 10:
        way = "earlier" if value > steps // 2 else "later"
        raise NotYet(f"Step {value:g} is too far from the turn: look {way}, where steady credits begin to fall.")
    right(f"You read step {value:g}; the second group turned at step {steps // 2}. {steps // 10} steps off are fine.")


def check_alike(alike: Callable) -> None:
    """`alike(moves [steps, n]) -> [n, n]`: cosines between the columns."""
    moves = np.cumsum(np.random.default_rng(0).normal(size=(50, 4)) + np.array([0.3, 0.3, -0.3, 0.0]), axis=0)
    products, lengths = moves.T @ moves, np.linalg.norm(moves, axis=0)
    found = tensor(ask(alike, moves), (4, 4), "alike", "A row and a column for each worker.")
    mistakes = {
        "Those are plain products; divide each by both lengths, so that the diagonal is 1.": products,
        "That is the correlation about each worker's mean. Here all start from 0.": np.corrcoef(moves.T),
        "You divided by one length only; the cosine divides by both.": products / lengths,
        "You compared steps, not workers: it is moves.T @ moves.": (moves @ moves.T)[:4, :4],
    }
    compare(found, products / np.outer(lengths, lengths), "alike", mistakes)
    right("1 is the same way, -1 the opposite way.")


def check_groups(first: object, second: object, trace: Trace) -> None:
    """Which workers attacked from the start, and which joined later."""
    require(first, "first_group")
    n, early = trace.credits.shape[1], _guilty(trace, 0)
    late = _guilty(trace) - early
    named = _workers(first, "first_group", n), _workers(second, "second_group", n)
    if named == (late, early):
        raise NotYet("Both groups are right, and the wrong way round: the first attacked from the start.")
    if named[0] & named[1]:
        both = sorted(named[0] & named[1])
        raise NotYet(f"Worker(s) {both} are in both groups. Those that fell before the turn are in the first only.")
    for found, group, name in zip(named, (early, late), ("first_group", "second_group"), strict=True):
        if found != group:
            wrong = f"{len(group - found)} member(s) missing, {len(found - group)} named that do not belong"
            raise NotYet(f"`{name}`: {wrong}. Compare the two pictures again.")
    right(f"{sorted(early)} attacked from the start, {sorted(late)} turned together at step {len(trace.credits) // 2}.")
