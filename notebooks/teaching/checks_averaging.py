"""Lesson 1, why averaging breaks: one submission steers every fixed weighting wherever it likes (Proposition 1)."""

from __future__ import annotations

from collections.abc import Callable

import pictures
import torch
from checking import NotYet, check_guess, close, compare, guessed, judge, number, right, tensor
from checking import call as ask
from torch import Tensor

from gaa_core import plots
from gaa_core.seeding import generator

__all__ = ["check_guess", "guessed"]

#: The gradient that honest workers estimate, in the plane.
TRUE = (3.0, 1.0)
TARGETS = ((0.0, 4.0), (-3.0, 2.0), (-2.0, -3.0), (5.0, -3.0))


def submissions(workers: int = 9, seed: int = 0, d: int = 2) -> Tensor:  # [workers, d]
    """Honest estimates of one gradient: TRUE, repeated to d numbers, and noise of deviation 1."""
    noise = torch.randn(workers, d, generator=generator(seed, "lesson", 1))
    return torch.tensor(TRUE).repeat(d // 2 + 1)[:d] + noise


def weights(n: int, seed: int = 0) -> Tensor:  # [n]
    """Fixed weights that are positive, unequal and sum to 1."""
    return torch.softmax(torch.randn(n, generator=generator(seed, "lesson weights", 1)), dim=0)


def check_average(average: Callable) -> None:
    """`average(gradients [n, d]) -> [d]`."""
    judge(
        average,
        (submissions(10, seed=10),),
        (submissions(3, seed=3, d=5),),
        truth=lambda rows: rows.mean(dim=0),
        mistakes={
            "You added the rows up; divide by their number as well.": lambda rows: rows.sum(dim=0),
            "You divided by 10, but n is not always 10: use len(gradients).": lambda rows: rows.sum(dim=0) / 10,
            "That is the median. The mean adds everything up.": lambda rows: rows.median(dim=0).values,
        },
        hint="One number for each coordinate: average over the workers, which are dimension 0.",
    )
    right("Every worker has the same weight: a tenth, where they are ten.")


def check_standstill(factor: object) -> None:
    """How many times the mean of the nine the tenth must send for an average of zero."""
    value = number(factor, "factor")
    if value == 9:
        raise NotYet("The size is right, the direction is not: the tenth must pull against the other nine.")
    if value == -10:
        raise NotYet("That is one too many: the attacker's own row has no honest part to undo, nine others have.")
    if value != -9:
        left = f"(9 {value:+g}) / 10 = {(9 + value) / 10:g} times the honest mean"
        raise NotYet(f"With {value:g} times their mean the average is {left}, not 0. What must be added to 9?")
    right("One attacker at nine times the usual length cancels nine honest workers. A longer row reverses the average.")


def check_forge(forge: Callable) -> None:
    """`forge(target [d], others [n-1, d]) -> [d]`, so that the plain mean of all n is the target."""
    trials = [(-others.mean(dim=0), others) for others in (submissions(9, seed=10), submissions(3, seed=4, d=6))]
    judge(
        forge,
        *trials,
        truth=lambda target, others: (len(others) + 1) * target - others.sum(dim=0),
        mistakes={
            "You sent the target itself. It counts once among n: the others outvote it.": lambda target, others: target,
            "The target is divided by n as well: it must be sent n times as long.": (
                lambda target, others: target - others.sum(dim=0)
            ),
            "You subtracted the *mean* of the others; n times the average holds their *sum*.": (
                lambda target, others: (len(others) + 1) * target - others.mean(dim=0)
            ),
            "You counted n - 1 workers. With the attacker they are n = len(others) + 1.": (
                lambda target, others: len(others) * target - others.sum(dim=0)
            ),
        },
        hint="The attacker sends one row.",
        otherwise="All n rows together must add up to n times the target.",
    )
    right("The average lands on any target. The attacker alone chose it.")


def check_forge_linear(forge: Callable) -> None:
    """`forge_linear(target [d], others [n-1, d], alpha [n]) -> [d]`: the attacker's weight is alpha[0]."""
    sizes = ((10, 2), (5, 1000))
    rows = [(submissions(n - 1, seed=n, d=d), weights(n, seed=n)) for n, d in sizes]
    judge(
        forge,
        *[(-3.0 * others.mean(dim=0), others, alpha) for others, alpha in rows],
        truth=lambda target, others, alpha: (target - alpha[1:] @ others) / alpha[0],
        mistakes={
            "You forgot to divide by the attacker's own weight alpha[0]: what it sends is scaled by it.": (
                lambda target, others, alpha: target - alpha[1:] @ others
            ),
            "The others' part must be divided by alpha[0] too.": (
                lambda target, others, alpha: target / alpha[0] - alpha[1:] @ others
            ),
            "That is right for equal weights only. Here the others add up to alpha[1:] @ others.": (
                lambda target, others, alpha: len(alpha) * target - others.sum(dim=0)
            ),
            "You used alpha[:-1] for the others. The attacker stands first: theirs are alpha[1:].": (
                lambda target, others, alpha: (target - alpha[:-1] @ others) / alpha[0]
            ),
        },
    )
    right("That is Proposition 1: it worked for two different weightings, and in 1,000 dimensions as in two.")


def check_attack(attack: Callable) -> None:
    """`attack(own [b, d], honest [h, d], generator) -> [b, d]`: the mean of all n becomes minus the honest mean."""
    rows = submissions(10, seed=7, d=6)
    own, honest = rows[:1], rows[1:]
    hint = "One row for each attacker: even a single one is a table [1, d]. Index with [None] to make a row a table."
    found = tensor(ask(attack, own, honest, generator(0, "lesson attack")), own.shape, "attack", hint)
    end, wanted = torch.cat([found, honest.double()]).mean(dim=0), -honest.mean(dim=0)
    if close(end, -wanted):
        raise NotYet("The mean ends exactly where the honest point. The target is their mean with a minus sign.")
    compare(end, wanted, "the mean of all ten", {}, "It must be minus the mean of the honest nine.")
    right("The server will now ascend exactly as fast as it would have descended.")


def expected(honest: Tensor) -> None:
    """The picture of exercise 3 from the reference answer: the mean lands on each of four targets."""
    _, axes = plots.panels(len(TARGETS), columns=2, height=2.6)
    for target, ax in zip(torch.tensor(TARGETS), axes, strict=True):
        row = ((len(honest) + 1) * target - honest.sum(dim=0))[None]
        answers = {"mean": torch.cat([honest, row]).mean(dim=0)}
        pictures.plane(honest, attackers=row, answers=answers, ax=ax, title="expected", legend=ax is axes[0])
