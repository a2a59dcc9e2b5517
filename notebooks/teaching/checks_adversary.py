"""Lesson 4, be the adversary: slip past Krum, then try the agents."""

from __future__ import annotations

from collections.abc import Callable

import torch
from checking import NotYet, check_guess, close, compare, guessed, made, right, tensor
from checking import call as ask
from torch import Tensor

from gaa_core.aggregators import Krum
from gaa_core.attacks.base import Attack, Knowledge
from gaa_core.seeding import generator

__all__ = ["check_guess", "guessed"]

N, F, D = 10, 3, 400
ROUNDS, PICKED = 20, 18  # rounds that Krum plays, and in how many of them it must pick an attacker


def rounds(count: int = ROUNDS, seed: int = 0):
    """Rounds to practise on: (own [3, d], honest [7, d], generator), noise longer than the gradient, as in training."""
    for number in range(count):
        draw = generator(seed, "lesson rounds", number)
        truth = torch.randn(D, generator=draw) / D**0.5  # of length about 1
        rows = truth + 1.5 * torch.randn(N, D, generator=draw) / D**0.5
        yield rows[:F], rows[F:], draw


def _submitted(attack: Callable, own: Tensor, honest: Tensor, draw: torch.Generator, name: str = "") -> Tensor:
    hint = "A row for each attacker, as long as theirs; .expand_as(own) repeats one row."
    return tensor(ask(attack, own, honest, draw, name=name), own.shape, name or attack.__name__, hint)


def krum_picks(attack: Callable) -> float:
    """In which share of the rounds Krum(f=3) picks a row of the attackers."""
    picked = 0
    for own, honest, draw in rounds():
        forged = attack(own, honest, draw)
        row = Krum(f=F)(torch.cat([forged, honest]))
        picked += any(close(row.double(), each) for each in forged)
    return picked / ROUNDS


def check_reverse(attack: Callable) -> None:
    """`attack(own [b, d], honest [h, d], generator) -> [b, d]`: three times the own gradient, reversed."""
    own, honest, draw = next(rounds())
    found = _submitted(attack, own, honest, draw)
    mistakes = {
        "The direction is right, the length is not: make it three times as long.": -own,
        "That is three times as long, but it still descends: reverse it.": 3 * own,
        "Reverse each attacker's *own* gradient; you used the honest mean.": (-3 * honest.mean(dim=0)).expand_as(own),
    }
    compare(found, -3.0 * own, "your submission", mistakes)
    right("A crude attack. Let us see which rule it breaks.")


def check_fool_krum(attack: Callable) -> None:
    """Krum(f=3) must pick an attacker in most rounds, and what it picks must ascend."""
    picked, ascends, distances = 0, 0, []
    for own, honest, draw in rounds():
        forged = _submitted(attack, own, honest, draw).to(own)
        row = Krum(f=F)(torch.cat([forged, honest]))
        mine = any(close(row.double(), each) for each in forged)
        picked += mine
        ascends += mine and float(row @ honest.mean(dim=0)) < 0
        apart = torch.cdist(forged, forged).max()
        distances.append((apart, torch.cdist(forged, honest).min(), torch.pdist(honest).mean()))
    apart, reach, usual = torch.tensor(distances).mean(dim=0).tolist()
    if picked < PICKED:
        advice = "They stand together; come closer to the honest: a small step beyond zero ascends too."
        if apart > 1e-3:
            advice = "Your three rows differ: attackers that send the same row are each other's nearest, at no cost."
        where = f"Honest rows are {usual:.2g} from each other, yours are {reach:.2g} from the nearest honest row."
        raise NotYet(
            f"Krum picked a row of yours in {picked} of {ROUNDS} rounds; {PICKED} are needed. {where} {advice}"
        )
    if ascends < PICKED:
        raise NotYet(f"Krum picked yours in {picked} of {ROUNDS} rounds, but it descends as usual: add a minus sign.")
    right(f"Krum picked an attacker in {picked} of {ROUNDS} rounds, and {ascends} times it ascended. Three of ten do.")


def check_patience(attack: Attack) -> None:
    """An Attack that behaves before step `until` and sends minus the honest mean from then on."""
    made(attack, Attack, "attack")
    until = getattr(attack, "until", None)
    if until is None:
        raise NotYet("The attack needs a field `until`, the step at which it turns.")
    own, honest, draw = next(rounds(seed=1))
    reverse = (-honest.mean(dim=0)).expand_as(own)
    for step in (0, until - 1, until):
        told = ask(attack.informed, _known(step), name="informed")
        if not isinstance(told, Attack):
            raise NotYet("`informed` must return an attack: return self.knowing(_step=knowledge.step).")
        found = _submitted(told.forge, own, honest, draw, name="forge")
        if step < until:
            early = {f"At step {step} it attacks already; return own until step `until`.": reverse}
            compare(found, own, "forge", early)
            continue
        late = {
            f"At step {step} it still behaves. Compare with >= or <; does `informed` remember the step?": own,
            f"At step {step} it sends -own; minus the mean of the honest is needed, from every attacker.": -own,
        }
        compare(found, reverse, "forge", late)
    right("Patient, and then all together. Credit that was earned can be spent.")


def check_well_formed(attack: object) -> None:
    """Any attack of the right shape; says how far its submissions are from honest rows."""
    made(attack, Attack, "my_attack")
    own, honest, draw = next(rounds(seed=2))
    found = _submitted(attack.informed(_known(10**6)).forge, own, honest, draw, name="my_attack.forge")
    mean = honest.mean(dim=0).double()
    length = float(found.norm(dim=1).mean() / honest.norm(dim=1).mean())
    if length == 0:
        raise NotYet("Your submissions are all zero: that only slows the others down. Point somewhere.")
    cosine = float(torch.cosine_similarity(found, mean[None]).mean())
    way = "it descends" if cosine > 0.05 else "it ascends" if cosine < -0.05 else "it goes sideways"
    right(f"The shape is right. Rows are {length:.2g} times as long as honest rows; cosine {cosine:.2f}: {way}.")


def _known(step: int) -> Knowledge:
    return Knowledge(step=step, parameters=torch.zeros(D), byzantine=torch.arange(N) < F, classes=10)
