"""Lesson 2, robust statistics: median, Krum and Bulyan in the plane, and why all of them end at one half."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd
import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.krum import krum_scores
from gaa_core.lessons import checking
from gaa_core.lessons.checking import NotYet, check_guess, compare, guessed, right, tensor
from gaa_core.seeding import generator

__all__ = [
    "breakdown",
    "check_breakdown_guess",
    "check_displacement",
    "check_guess",
    "check_krum",
    "check_mean_around_median",
    "check_median",
    "check_mirror",
    "cloud",
    "guessed",
    "hidden",
]

#: How many of eleven workers must lie before an answer can be carried away, for rules as lesson 2 sets them.
BREAKS_AT = {"mean": 1, "median": 6, "Krum": 6}


def cloud(
    honest: int = 8, liars: int = 3, *, seed: int = 1, at: tuple[float, float] = (-6.0, -3.0), spread: float = 0.4
) -> tuple[Tensor, Tensor]:
    """Honest submissions [h, 2] about (3, 1) with deviation 1, and liars [m, 2] that gather at one place."""
    draw = generator(seed, "lesson cloud", honest, liars)
    good = torch.tensor([3.0, 1.0]) + torch.randn(honest, 2, generator=draw)
    return good, torch.tensor(at) + spread * torch.randn(liars, 2, generator=draw)


def hidden(honest: int = 8, liars: int = 3, d: int = 2000, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Honest submissions [h, d] about 0, and liars [m, d] that are honest but for 0.2 sqrt(d) on coordinate 0.

    Two honest rows are sqrt(2 d) apart, so that the lie hardly counts; on coordinate 0 it is far outside.
    """
    rows = torch.randn(honest + liars, d, generator=generator(seed, "lesson hidden"))
    rows[honest:] = 0.9 * rows[honest:]  # a little closer to the middle, to be Krum's choice
    rows[honest:, 0] = 0.2 * d**0.5
    return rows[:honest], rows[honest:]


def breakdown(rules: Mapping[str, Callable], displacement: Callable, n: int = 11, far: float = 1e4) -> pd.DataFrame:
    """How far each rule is carried away by 1 to 7 of n workers that all go `far`: a row per number of liars."""
    rows = {}
    for liars in range(1, 8):
        good, bad = cloud(n - liars, liars, at=(far, far))
        rows[liars] = {name: float(displacement(rule, good, bad)) for name, rule in rules.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def check_median(median: Callable) -> None:
    """`median(gradients [n, d]) -> [d]`, by coordinate, for odd and even n."""
    for n in (7, 8, 10):
        rows = torch.cat(cloud(n - 2, 2, seed=n))
        found = tensor(checking.call(median, "median", rows), (2,), "median", "Sort along dimension 0, the workers.")
        ordered = rows.sort(dim=0).values
        low, high = ordered[(n - 1) // 2], ordered[n // 2]
        mistakes = {
            f"For {n} workers, an even number, two values stand in the middle: take the mean of both. "
            "(torch.median takes the lower one.)": low,
            f"For {n} workers, an even number, two values stand in the middle: take the mean of both.": high,
            "That is the mean.": rows.mean(dim=0),
            "That is the middle *row*. Sort each coordinate by itself first.": rows[n // 2],
        }
        compare(found, (low + high) / 2, "median", mistakes, f"({n} workers)")
    right("Two liars of seven, eight or ten leave it where the honest are.")


def check_displacement(displacement: Callable) -> None:
    """`displacement(rule, honest [h, d], liars [m, d]) -> float`."""
    good, bad = cloud(6, 2, seed=4)

    def first_of_all(rows: Tensor) -> Tensor:
        return rows.mean(dim=0)

    found = tensor(checking.call(displacement, "displacement", first_of_all, good, bad), (), "displacement")
    everybody = torch.cat([good, bad]).mean(dim=0)
    away = everybody - good.mean(dim=0)
    mistakes = {
        "That is the squared distance; take the root (torch.linalg.vector_norm does).": away.square().sum(),
        "The rule must see the liars too: give it torch.cat([honest, liars]).": torch.tensor(0.0),
        "Measure from the mean of the honest, not from the origin.": everybody.norm(),
        "Measure from the mean of the honest alone: the liars are in yours.": torch.tensor(0.0),
        "That is the sum of absolute differences; the distance is the root of the sum of squares.": away.abs().sum(),
    }
    compare(found, away.norm(), "displacement", mistakes)
    right("Now any rule can be put to the test.")


def check_breakdown_guess(guess: Mapping[str, object]) -> None:
    """How many liars of 11 are enough, by rule; a guess below or above is told which way to think."""
    checking.require(guess, "breaks_at")
    for name, truth in BREAKS_AT.items():
        if name not in guess:
            raise NotYet(f"`breaks_at` needs a number for '{name}'.")
        value = checking.number(guess[name], f"breaks_at['{name}']")
        if value == truth:
            continue
        if name == "mean":
            raise NotYet(f"mean: you said {value:g}. Lesson 1 did it with a single liar.")
        if name == "median" and value == 5.5:
            raise NotYet("median: half a liar does not lie. How many whole ones are more than half of 11?")
        side = (
            "fewer are not enough, since the middle of the sorted values" if value < truth else "fewer do: the middle"
        )
        who = "is still between two honest ones" if value < truth else "already falls among the liars"
        if name == "median":
            raise NotYet(f"median: you said {value:g}, but {side} {who}. Which place, from 1 to 11, is the middle?")
        raise NotYet(
            f"Krum: you said {value:g}. Its f = 4 gives each row 11 - 4 - 2 = 5 nearest neighbours: how "
            "many liars in one "
            "place are needed until a liar's 5 neighbours are liars too?"
        )
    right("One for the mean; for the others more than half. The picture below shows the jump.")


def check_krum(krum: Callable) -> None:
    """`krum(gradients [n, d], f) -> [d]`: the row with the least Krum score."""
    f, wrong, suspected = 3, "", set(_KRUM_SLIPS)
    for seed in range(40):
        rows = torch.cat(cloud(6, 3, seed=seed, at=(0.0, -1.0), spread=1.5))
        found = tensor(checking.call(krum, "krum", rows, f), (2,), "krum", "Krum gives one of the submitted rows.")
        if not any(checking.close(found, row) for row in rows):
            raise NotYet(
                "`krum` must answer with one of the rows, unchanged: index the tensor with the winner's number."
            )
        squares = kernels.squared_distances(rows)
        best = rows[krum_scores(squares, f).argmin()]
        suspected = {hint for hint in suspected if checking.close(found, rows[_KRUM_SLIPS[hint](squares, f).argmin()])}
        if not checking.close(found, best):
            picks = f"Krum picks {checking.shown(best)}, you picked {checking.shown(found)}."
            wrong = wrong or f"With {len(rows)} rows and f={f} (cloud {seed}) {picks}"
    if wrong:
        raise NotYet(" ".join([wrong, *sorted(suspected)]))
    right("Forty clouds, the same choice as gaa_core's Krum in each.")


def _nearest(scored: Tensor, count: int) -> Tensor:
    return scored.topk(count, dim=1, largest=False).values.sum(dim=1)


def _others(squares: Tensor) -> Tensor:
    return squares.clone().fill_diagonal_(float("inf"))


#: What a learner may have done instead -> the scores that it gives, of which the least wins.
_KRUM_SLIPS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "You took the *greatest* score; Krum takes the row whose neighbours are closest.": (
        lambda squares, f: -krum_scores(squares, f)
    ),
    "Each row counted itself, at distance 0, among its nearest: leave it out.": (
        lambda squares, f: _nearest(squares, len(squares) - f - 2)
    ),
    "You added up distances; Krum adds up their *squares*.": (
        lambda squares, f: _nearest(_others(squares).sqrt(), len(squares) - f - 2)
    ),
    "You took n - f neighbours; Krum takes n - f - 2.": lambda squares, f: _nearest(_others(squares), len(squares) - f),
    "You added up the distances to all others; Krum stops at the n - f - 2 nearest.": (
        lambda squares, f: squares.sum(dim=1)
    ),
}


def check_mean_around_median(function: Callable) -> None:
    """`mean_around_median(values [r, d], keep) -> [d]`."""
    for r, keep in ((9, 5), (8, 3)):
        rows = torch.cat(cloud(r - 3, 3, seed=r))
        found = tensor(checking.call(function, "mean_around_median", rows, keep), (2,), "mean_around_median")
        middle = kernels.median(rows)
        ordered = rows.sort(dim=0).values
        cut = (r - keep) // 2
        mistakes = {
            "That is the median itself; take the mean of the `keep` values closest to it.": middle,
            "That is the mean of all; only the `keep` closest to the median count.": rows.mean(dim=0),
            "You kept values closest to the *mean*, which a liar can move.": _around(rows, rows.mean(dim=0), keep),
            "That trims both ends alike. Keep what is closest to the median, wherever it stands.": (
                ordered[cut : cut + keep].mean(dim=0)
            ),
            "You added the kept values up; take their mean.": keep * _around(rows, middle, keep),
        }
        compare(found, _around(rows, middle, keep), "mean_around_median", mistakes)
    right("Coordinate by coordinate: a lie in one of them finds no shelter among the others.")


def _around(rows: Tensor, centre: Tensor, keep: int) -> Tensor:
    nearest = (rows - centre).abs().argsort(dim=0)[:keep]
    return rows.gather(0, nearest).mean(dim=0)


def check_mirror(mirror: Callable) -> None:
    """`mirror(honest [h, d]) -> [h, d]`: lies that would be honest submissions, were the truth the opposite one."""
    good, _ = cloud(5, 1, seed=3)
    lies = tensor(checking.call(mirror, "mirror", good), good.shape, "mirror", "As many lies as honest rows.").to(good)
    if checking.close(lies.double(), good):
        raise NotYet(
            "These are the honest rows themselves, which do no harm. What would be sent if the truth were -truth?"
        )
    centre = float((lies.mean(dim=0) + good.mean(dim=0)).norm())
    if centre > 1e-4:
        raise NotYet(f"The lies must have minus the mean of the honest; theirs is {centre:.2g} away from it.")
    if lies.std(dim=0).max() < 1e-6:
        raise NotYet(
            "All your lies are equal, which gives them away: honest rows have a spread, and lies must have it too."
        )
    if not torch.allclose(kernels.squared_distances(lies), kernels.squared_distances(good), atol=1e-3):
        raise NotYet("A rule could tell: the distances among your lies are not those among honest rows.")
    right(
        "Ten rows, two equal camps, each the mirror of the other. Whatever a rule answers, in one of two "
        "worlds it is wrong."
    )
