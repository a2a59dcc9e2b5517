"""Lesson 2, robust statistics: median, Krum and Bulyan in the plane, and why all of them end at one half."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd
import pictures
import torch
from checking import NotYet, check_guess, close, guessed, judge, number, require, right, tensor
from checking import call as ask
from torch import Tensor

from gaa_core.aggregators import Bulyan, CoordinateMedian, Krum, Mean
from gaa_core.seeding import generator

__all__ = ["check_guess", "guessed"]

#: How many of eleven workers must be Byzantine before an answer can be carried away, for rules as lesson 2 sets them.
BREAKS_AT = {"mean": 1, "median": 6, "Krum": 6}
CLOUDS = 40  # tried for Krum


def cloud(
    honest: int = 8, attackers: int = 3, *, seed: int = 1, at: tuple[float, float] = (-6.0, -3.0), spread: float = 0.4
) -> tuple[Tensor, Tensor]:
    """Honest submissions [h, 2] about (3, 1) with deviation 1, and attackers [m, 2] that gather at one place."""
    draw = generator(seed, "lesson cloud", honest, attackers)
    good = torch.tensor([3.0, 1.0]) + torch.randn(honest, 2, generator=draw)
    return good, torch.tensor(at) + spread * torch.randn(attackers, 2, generator=draw)


def hidden(honest: int = 8, attackers: int = 3, d: int = 2000, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Honest submissions [h, d] about 0, and attackers [m, d] that differ by 0.2 sqrt(d) on coordinate 0 alone.

    Two honest rows are sqrt(2 d) apart, so that the difference hardly counts; on coordinate 0 it is far outside.
    """
    rows = torch.randn(honest + attackers, d, generator=generator(seed, "lesson hidden"))
    rows[honest:] = 0.9 * rows[honest:]  # a little closer to the middle, to be Krum's choice
    rows[honest:, 0] = 0.2 * d**0.5
    return rows[:honest], rows[honest:]


def breakdown(rules: Mapping[str, Callable], displacement: Callable, n: int = 11, far: float = 1e4) -> pd.DataFrame:
    """How far each rule is carried away by 1 to 7 of n workers that all go `far`: a row per number of attackers."""
    clouds = {count: cloud(n - count, count, at=(far, far)) for count in range(1, 8)}
    rows = {m: {name: float(displacement(rule, *each)) for name, rule in rules.items()} for m, each in clouds.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def _middle(rows: Tensor) -> Tensor:
    ordered = rows.sort(dim=0).values
    return (ordered[(len(rows) - 1) // 2] + ordered[len(rows) // 2]) / 2


def check_median(median: Callable) -> None:
    """`median(gradients [n, d]) -> [d]`, by coordinate, for odd and even n."""
    judge(
        median,
        *[(torch.cat(cloud(n - 2, 2, seed=n)),) for n in (7, 8, 10)],
        truth=_middle,
        mistakes={
            "For an even number two values stand in the middle: take the mean of both; torch.median takes one.": (
                lambda rows: rows.median(dim=0).values
            ),
            "For an even number two values stand in the middle: take the mean of both.": (
                lambda rows: rows.sort(dim=0).values[len(rows) // 2]
            ),
            "That is the mean.": lambda rows: rows.mean(dim=0),
            "That is the middle *row*. Sort each coordinate by itself first.": lambda rows: rows[len(rows) // 2],
        },
        hint="Sort along dimension 0, the workers.",
    )
    right("Two attackers of seven, eight or ten leave it among the honest.")


def check_displacement(displacement: Callable) -> None:
    """`displacement(rule, honest [h, d], attackers [m, d]) -> float`."""

    def away(rule: Callable, good: Tensor, bad: Tensor) -> Tensor:
        return rule(torch.cat([good, bad])) - good.mean(dim=0)

    judge(
        displacement,
        (lambda rows: rows.mean(dim=0), *cloud(6, 2, seed=4)),
        truth=lambda *inputs: away(*inputs).norm(),
        mistakes={
            "That is the squared distance; take the root (torch.linalg.vector_norm does).": (
                lambda *inputs: away(*inputs).square().sum()
            ),
            "The rule must see the attackers too, and the distance is from the honest alone.": lambda *inputs: 0.0,
            "Measure from the mean of the honest, not from the origin.": (
                lambda rule, good, bad: rule(torch.cat([good, bad])).norm()
            ),
            "That is the sum of absolute differences; the distance is the root of the sum of squares.": (
                lambda *inputs: away(*inputs).abs().sum()
            ),
        },
    )
    right("Now any rule can be put to the test.")


def check_breakdown_guess(guess: Mapping[str, object]) -> None:
    """How many attackers of 11 are enough, by rule; another guess is told which way to think."""
    require(guess, "breaks_at")
    thoughts = {
        "mean": "Lesson 1 did it with a single attacker.",
        "median": "The middle of eleven sorted values is the sixth: from how many attackers on is it one of theirs?",
        "Krum": "f = 4 gives each row 11 - 4 - 2 = 5 nearest neighbours: when are all of an attacker's five attackers?",
    }
    for name, truth in BREAKS_AT.items():
        if name not in guess:
            raise NotYet(f"`breaks_at` needs a number for '{name}'.")
        value = number(guess[name], f"breaks_at['{name}']")
        if value != truth:
            few = "fewer are not enough" if value < truth else "fewer do"
            raise NotYet(f"{name}: you said {value:g}, but {few}. {thoughts[name]}")
    right("One for the mean; for the others more than half. The picture below shows the jump.")


def _score(squares: Tensor, count: int, itself: bool = False) -> Tensor:
    """The sum over each row's `count` nearest, itself among them or not."""
    scored = squares if itself else squares.clone().fill_diagonal_(float("inf"))
    return scored.topk(count, dim=1, largest=False).values.sum(dim=1)


#: A slip in Krum -> the scores that it gives from squared distances, of which the least wins.
_SLIPS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "You took the *greatest* score; Krum takes the least.": lambda squares, k: -_score(squares, k),
    "Each row counted itself, at distance 0, among its nearest.": lambda squares, k: _score(squares, k, itself=True),
    "You added up distances; Krum adds up their *squares*.": lambda squares, k: _score(squares.sqrt(), k),
    "You took n - f neighbours; Krum takes n - f - 2.": lambda squares, k: _score(squares, k + 2),
    "You added up the distances to all others; Krum stops at the n - f - 2 nearest.": (
        lambda squares, k: squares.sum(dim=1)
    ),
}


def check_krum(krum: Callable) -> None:
    """`krum(gradients [n, d], f) -> [d]`: the row with the least Krum score."""
    f, wrong, suspected = 3, "", set(_SLIPS)
    for seed in range(CLOUDS):
        rows = torch.cat(cloud(6, 3, seed=seed, at=(0.0, -1.0), spread=1.5))
        found = tensor(ask(krum, rows.clone(), f), (2,), "krum", "Krum gives one of the submitted rows.")
        if not any(close(found, row) for row in rows):
            raise NotYet("`krum` must answer with one of the rows, unchanged: index the tensor by the winner's number.")
        squares, count = torch.cdist(rows.double(), rows.double()).square(), len(rows) - f - 2
        suspected = {hint for hint in suspected if close(found, rows[_SLIPS[hint](squares, count).argmin()])}
        best = rows[_score(squares, count).argmin()]
        if not wrong and not close(found, best):
            wrong = f"With {len(rows)} rows and f={f} Krum picks {shown_row(best)}, you picked {shown_row(found)}."
    if wrong:
        raise NotYet(" ".join([wrong, *sorted(suspected)]))
    right(f"{CLOUDS} clouds, and Krum's choice in each.")


def shown_row(row: Tensor) -> str:
    """Two numbers in brackets."""
    return f"({row[0]:.2f}, {row[1]:.2f})"


def _around(rows: Tensor, centre: Tensor, keep: int) -> Tensor:
    nearest = (rows - centre).abs().argsort(dim=0)[:keep]
    return rows.gather(0, nearest).mean(dim=0)


def check_mean_around_median(function: Callable) -> None:
    """`mean_around_median(values [r, d], keep) -> [d]`."""

    def trimmed(rows: Tensor, keep: int) -> Tensor:
        cut = (len(rows) - keep) // 2
        return rows.sort(dim=0).values[cut : cut + keep].mean(dim=0)

    judge(
        function,
        *[(torch.cat(cloud(r - 3, 3, seed=r)), keep) for r, keep in ((9, 5), (8, 3))],
        truth=lambda rows, keep: _around(rows, _middle(rows), keep),
        mistakes={
            "That is the median; take the mean of the `keep` values closest to it.": lambda rows, keep: _middle(rows),
            "That is the mean of all; only the `keep` closest to the median count.": (
                lambda rows, keep: rows.mean(dim=0)
            ),
            "You kept values closest to the *mean*, which an attacker can move.": (
                lambda rows, keep: _around(rows, rows.mean(dim=0), keep)
            ),
            "That trims both ends alike. Keep what is closest to the median, wherever it stands.": trimmed,
            "You added the kept values up; take their mean.": (
                lambda rows, keep: keep * _around(rows, _middle(rows), keep)
            ),
        },
    )
    right("Coordinate by coordinate: an outlier in one of them is not hidden by the others.")


def check_mirror(mirror: Callable) -> None:
    """`mirror(honest [h, d]) -> [h, d]`: forged rows that would be honest, were the truth the opposite one."""
    good = cloud(5, 1, seed=3)[0].double()
    forged = tensor(ask(mirror, good.float()), good.shape, "mirror", "As many forged rows as honest rows.")
    if close(forged, good):
        raise NotYet("These are the honest rows, which do no harm. What would be sent if the truth were -truth?")
    centre = float((forged.mean(dim=0) + good.mean(dim=0)).norm())
    if centre > 1e-4:
        raise NotYet(f"The forged rows must have minus the mean of the honest; theirs is {centre:.2g} away from it.")
    if forged.std(dim=0).max() < 1e-6:
        raise NotYet("All your rows are equal, which a rule can detect: honest rows have a spread.")
    if not torch.allclose(torch.cdist(forged, forged), torch.cdist(good, good), atol=1e-3):
        raise NotYet("A rule could tell: the distances among your rows are not those among honest rows.")
    right("Ten rows, two equal camps, each the mirror of the other. A rule is wrong in one of the two worlds.")


def expected() -> None:
    """The picture of the breakdown of four rules of the package."""
    rules = {"mean": Mean(), "median": CoordinateMedian(), "Krum": Krum(f=4), "Bulyan": Bulyan(f=2)}
    table = breakdown(rules, lambda rule, good, bad: (rule(torch.cat([good, bad])) - good.mean(dim=0)).norm())
    pictures.displacements(table, title="expected")
