"""Lesson 4, be the adversary: slip past Krum, then try the agents."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gaa_core import aggregators, kernels
from gaa_core.aggregators.base import Aggregator
from gaa_core.aggregators.krum import krum_scores
from gaa_core.attacks.base import Attack, Knowledge
from gaa_core.lessons import checking
from gaa_core.lessons.checking import NotYet, check_guess, compare, guessed, right, tensor
from gaa_core.seeding import generator

__all__ = [
    "check_fool_krum",
    "check_guess",
    "check_patience",
    "check_reverse",
    "check_well_formed",
    "guessed",
    "hardest",
    "rounds",
]

N, F, D = 10, 3, 400


def hardest() -> Aggregator:
    """The hardest defence of the package to beat: GAAPlus."""
    return aggregators.GAAPlus()


def rounds(count: int = 20, seed: int = 0):
    """Rounds to practise on: (own [3, d], honest [7, d], generator), noise as long as the gradient, as in training."""
    for number in range(count):
        draw = generator(seed, "lesson rounds", number)
        truth = torch.randn(D, generator=draw) / D**0.5  # of length about 1
        rows = truth + 1.5 * torch.randn(N, D, generator=draw) / D**0.5
        yield rows[:F], rows[F:], draw


def check_reverse(attack: Callable) -> None:
    """`attack(own [b, d], honest [h, d], generator) -> [b, d]`: three times the own gradient, reversed."""
    own, honest, draw = next(rounds())
    found = _submitted(attack, own, honest, draw)
    mistakes = {
        "That is uphill, but at its own length; make it three times as long.": -own,
        "That is three times as long, but still downhill: reverse it.": 3 * own,
        "Reverse each liar's *own* gradient; you used the mean of the honest.": (-3 * honest.mean(dim=0)).expand_as(
            own
        ),
    }
    compare(found, -3.0 * own, "attack", mistakes)
    right("A crude attack. Let us see who falls for it.")


def check_fool_krum(attack: Callable) -> None:
    """Krum(f=3) must pick a liar in at least 18 of 20 rounds, and what it picks must lead uphill."""
    picked, uphill = 0, 0
    for own, honest, draw in rounds():
        forged = _submitted(attack, own, honest, draw).to(own)
        squares = kernels.squared_distances(torch.cat([forged, honest]))
        winner = int(krum_scores(squares, F).argmin())
        picked += winner < F
        uphill += winner < F and float(forged[winner] @ honest.mean(dim=0)) < 0
        apart = float(squares[:F, :F].sum().sqrt())
        reach = float(squares[:F, F:].min(dim=1).values.mean().sqrt())
        usual = float(squares[F:, F:].sum() / (len(honest) * (len(honest) - 1))) ** 0.5
    if picked < 18:
        advice = (
            "Your three rows differ: liars that send one and the same row are each other's nearest, at no cost."
            if apart > 1e-3
            else "They stand together; now come closer to the honest: a small step beyond zero leads uphill too."
        )
        raise NotYet(
            f"Krum picked one of yours in {picked} of 20 rounds; 18 are asked for. Honest rows are about {usual:.2g} "
            f"away from each other, and yours are {reach:.2g} away from the nearest honest one. {advice}"
        )
    if uphill < 18:
        raise NotYet(
            f"Krum picked one of yours in {picked} of 20 rounds, but in only {uphill} of them it leads "
            "uphill (a negative product with the honest mean). It is let in, and does no harm: add a minus sign."
        )
    right(f"Krum picked a liar in {picked} of 20 rounds, and in {uphill} it led uphill. Three of ten were enough.")


def check_patience(attack: Attack) -> None:
    """An Attack that behaves before step `until` and sends minus the honest mean from then on."""
    checking.require(attack, "attack")
    if isinstance(attack, type):
        raise NotYet(f"Make one first: {attack.__name__}(until=100), with the brackets.")
    if not isinstance(attack, Attack):
        raise NotYet("The class must build on Attack: class Patient(Attack).")
    until = getattr(attack, "until", None)
    if until is None:
        raise NotYet("The attack needs a field `until`, the step at which it turns.")
    own, honest, draw = next(rounds(seed=1))
    for step, name in (
        (0, "at step 0"),
        (until - 1, f"at step {until - 1}, the last before it turns"),
        (until, f"at step {until}"),
    ):
        told = checking.call(attack.informed, "informed", _known(step))
        if not isinstance(told, Attack):
            raise NotYet("`informed` must return an attack: return self.knowing(_step=knowledge.step).")
        found = tensor(checking.call(told.forge, "forge", own, honest, draw), own.shape, "forge")
        if step < until:
            compare(
                found,
                own,
                "forge",
                {f"{name} it attacks already; return own until step `until`.": _uphill(own, honest)},
            )
        else:
            compare(found, _uphill(own, honest), "forge", {
                f"{name} it still behaves. Compare with >= or <, and look whether `informed` remembers the step.": own,
                f"{name} it sends -own; here minus the mean of the honest is asked for, by every liar.": -own,
            })  # fmt: skip
    right("Patient, and then all together. Whoever has earned credit can spend it.")


def check_well_formed(attack: object) -> None:
    """Any attack of the right shape; says how far its submissions lie from honest ones."""
    checking.require(attack, "my_attack")
    if isinstance(attack, type):
        raise NotYet(f"Make one first: {attack.__name__}(...), with the brackets.")
    own, honest, draw = next(rounds(seed=2))
    if isinstance(attack, Attack):
        attack = attack.informed(_known(10**6))
        found = tensor(checking.call(attack.forge, "my_attack.forge", own, honest, draw), own.shape, "my_attack.forge")
    else:
        found = _submitted(attack, own, honest, draw)
    mean = honest.mean(dim=0).double()
    length = float(found.norm(dim=1).mean() / honest.norm(dim=1).mean())
    if length == 0:
        raise NotYet("Your submissions are all zero: that only slows the others down. Point somewhere.")
    cosine = float(torch.nn.functional.cosine_similarity(found, mean[None], dim=1).mean())
    right(
        f"It plays by the rules. Late in a run its rows are {length:.2g} times as long as honest ones, and "
        "point along the honest "
        f"mean with cosine {cosine:.2f} "
        f"({'downhill' if cosine > 0.05 else 'uphill' if cosine < -0.05 else 'sideways'})."
    )


def _submitted(attack: Callable, own: Tensor, honest: Tensor, draw: torch.Generator) -> Tensor:
    hint = "A row for each liar, all of the same length d as theirs; .expand_as(own) repeats one row."
    return tensor(checking.call(attack, "attack", own, honest, draw), own.shape, "attack", hint)


def _uphill(own: Tensor, honest: Tensor) -> Tensor:
    return (-honest.mean(dim=0)).expand_as(own)


def _known(step: int) -> Knowledge:
    return Knowledge(step=step, parameters=torch.zeros(D), byzantine=torch.arange(N) < F, classes=10)
