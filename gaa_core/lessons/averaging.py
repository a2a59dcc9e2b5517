"""Lesson 1, why averaging breaks: one submission steers every fixed weighting wherever it likes (Proposition 1)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gaa_core.lessons import checking
from gaa_core.lessons.checking import NotYet, check_guess, compare, guessed, right, tensor
from gaa_core.seeding import generator

__all__ = [
    "check_attack",
    "check_average",
    "check_forge",
    "check_forge_linear",
    "check_guess",
    "check_standstill",
    "guessed",
    "submissions",
    "weights",
]

#: The gradient that honest workers estimate, in the plane.
TRUE = (3.0, 1.0)


def submissions(workers: int = 9, seed: int = 0, d: int = 2) -> Tensor:  # [workers, d]
    """Honest estimates of one gradient: TRUE, repeated to d numbers, and noise of deviation 1."""
    noise = torch.randn(workers, d, generator=generator(seed, "lesson", 1))
    return torch.tensor(TRUE).repeat(d // 2 + 1)[:d] + noise


def weights(n: int, seed: int = 0) -> Tensor:  # [n]
    """Fixed weights that are positive, unequal and sum to 1."""
    return torch.softmax(torch.randn(n, generator=generator(seed, "lesson weights", 1)), dim=0)


def check_average(average: Callable) -> None:
    """`average(gradients [n, d]) -> [d]`."""
    for n, d in ((10, 2), (3, 5)):
        rows = submissions(n, seed=n, d=d)
        hint = "There is one number for each coordinate: average over the workers, which are dimension 0."
        found = tensor(checking.call(average, "average", rows), (d,), "average", hint)
        mistakes = {
            f"You added the {n} rows up; divide by their number {n} as well.": rows.sum(dim=0),
            "You divided by 10, but n is not always 10: ask the tensor, with len(gradients).": rows.sum(dim=0) / 10,
            "That is the median of each coordinate. The mean adds everything up.": rows.median(dim=0).values,
        }
        compare(found, rows.mean(dim=0), "average", mistakes)
    right("Every worker has the same say: a tenth, where they are ten.")


def check_standstill(factor: object) -> None:
    """How many times the mean of the nine the tenth must send for an average of zero."""
    value = checking.number(factor, "factor")
    left = (9 + value) / 10  # of the honest mean
    if value == 9:
        raise NotYet("The size is right, the direction is not: the tenth must pull against the other nine.")
    if value == -10:
        raise NotYet(
            "That is one too many. The liar's own row counts in the ten, but it has no honest part to undo: nine do."
        )
    if abs(left) > 1e-6:
        raise NotYet(
            f"With {value:g} times their mean, the average is (9 {'+' if value >= 0 else '-'} "
            f"{abs(value):g}) / 10 = {left:g} "
            "times the honest mean, not 0. What must be added to 9 to give 0?"
        )
    right(
        "One liar at nine times the usual length cancels nine honest workers. Anything longer turns the average round."
    )


def check_forge(forge: Callable) -> None:
    """`forge(target [d], others [n-1, d]) -> [d]`, so that the plain mean of all n is the target."""
    for n, d in ((10, 2), (4, 6)):
        others = submissions(n - 1, seed=n, d=d)
        target = -others.mean(dim=0)
        found = tensor(checking.call(forge, "forge", target, others), (d,), "forge", "The liar sends one row.")
        end = torch.cat([others, found.to(others)[None]]).mean(dim=0)
        away = float((end - target).norm())
        if away <= 1e-4 * (1 + float(target.norm())):
            continue
        for hint, wrong in {
            "You sent the target itself. It counts for one vote among n: the others outvote it.": target,
            "You have undone the others' sum, but the target is divided by n as well: it must be sent n "
            "times as long.": (target - others.sum(dim=0)),
            "You subtracted the *mean* of the others; in n times the average stands their *sum*.": n * target
            - others.mean(0),
            "You counted n - 1 workers. With the liar they are n = len(others) + 1.": (n - 1) * target
            - others.sum(dim=0),
        }.items():
            if checking.close(found, wrong):
                raise NotYet(f"Your forged gradient makes the mean end at distance {away:.2g} from the target. {hint}")
        raise NotYet(
            f"Your forged gradient makes the mean end at distance {away:.2g} from the target. Remember that "
            "the others add "
            f"up to {checking.shown(others.sum(dim=0))}, and that all {n} rows together must add up to {n} "
            "times the target."
        )
    right("Whatever the target, the average lands on it. Nobody but you chose it.")


def check_forge_linear(forge: Callable) -> None:
    """`forge_linear(target [d], others [n-1, d], alpha [n]) -> [d]`: the liar's weight is alpha[0]."""
    for n, d in ((10, 2), (5, 1000)):
        others, alpha = submissions(n - 1, seed=n, d=d), weights(n, seed=n)
        target = -3.0 * others.mean(dim=0)
        found = tensor(checking.call(forge, "forge_linear", target, others, alpha), (d,), "forge_linear")
        part = alpha[1:] @ others
        mistakes = {
            "You forgot to divide by the liar's own weight alpha[0]: what it sends is scaled by it.": target - part,
            "You divided before subtracting: the others' part must be divided by alpha[0] too.": target / alpha[0]
            - part,
            "That is right for equal weights only. Use alpha: the others add up to alpha[1:] @ others.": (
                n * target - others.sum(dim=0)
            ),
            "You used alpha[:-1] for the others. The liar stands first: theirs are alpha[1:].": (
                (target - alpha[:-1] @ others) / alpha[0]
            ),
        }
        expected = (target - part) / alpha[0]
        end = alpha[0].double() * found + part.double()
        away = f"With it the weighted sum ends at distance {float((end - target).norm()):.2g} from the target."
        compare(found, expected, "forge_linear", mistakes, away)
    right("That is Proposition 1: it worked for two different weightings, and in 1,000 dimensions as in two.")


def check_attack(attack: Callable) -> None:
    """`attack(own [b, d], honest [h, d], generator) -> [b, d]`: the mean of all n becomes minus the honest mean."""
    rows = submissions(10, seed=7, d=6)
    own, honest = rows[:1], rows[1:]
    answer = checking.call(attack, "attack", own, honest, generator(0, "lesson attack"))
    hint = "One row for each liar: even a single one is a table [1, d]. Index with [None] to make a row a table."
    found = tensor(answer, own.shape, "attack", hint).to(rows)
    end, wanted = torch.cat([found, honest]).mean(dim=0), -honest.mean(dim=0)
    if not checking.close(end.double(), wanted):
        if checking.close(end.double(), honest.mean(dim=0)):
            raise NotYet(
                "The mean ends exactly where the honest point. The target must be their mean with a minus sign."
            )
        away = float((end - wanted).norm())
        raise NotYet(f"The mean of all ten ends at distance {away:.2g} from minus the mean of the honest nine.")
    right("The server will now walk uphill, exactly as fast as it would have walked downhill.")
