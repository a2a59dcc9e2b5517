"""Submissions that are the same: benign workers never are, since each comes from samples of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gaa_core.aggregators.gaa_plus.sight import identical


@dataclass
class Copies:
    """What is known of identical submissions. `alike` [k] says how many are the same as each."""

    horizon: int  # steps over which it is learned

    known: float = 0.0  # how far it is known that they are Byzantine workers'
    of_liars: float = 0.0  # the share of the distrusted that they are
    credited: float = 0.0  # the share of late credits that they got

    def doubt(self, trust: Tensor, alike: Tensor, guilty: Tensor | float = 1.0) -> tuple[Tensor, float]:
        """Identical submissions count as far as no single one is trusted.

        Trust [k] after that, and how far this step shows that identical ones are Byzantine workers': once that is
        known, they are doubted also where there is no single one, as far as they are `guilty` [k].
        """
        same = identical(alike)
        single = (trust * (1 - same)).max()
        doubted = torch.maximum(single, torch.as_tensor(self.known * guilty).to(single))
        return trust * (1 - same * doubted), float(same.max() * single)

    def log_odds(self, alike: Tensor) -> Tensor:
        """[k]: where Byzantine workers are detected as copies, being the only one of its kind speaks for a worker."""
        return -math.log(1 - 0.95 * self.of_liars) * (1 - identical(alike))

    def hidden(self, alike: Tensor) -> Tensor:
        """How far each [k] has not been detected as a copy."""
        return 1 - identical(alike) * self.known

    def deceived(self, beside: float) -> bool:
        """Whether credits went to copies, and now there are, in [0, 1], some `beside` a single one: they are Byzantine
        workers'.
        """
        return self.credited > 0.5 and beside > 0.5

    def expose(self, shown: float, rate: float) -> None:
        """Take in how far a step showed that copies are Byzantine workers'."""
        self.known += rate * max(0.0, shown - self.known)

    def learn(self, trust: Tensor, alike: Tensor) -> None:
        """Take in how many of the distrusted are copies."""
        distrust = 1 - trust
        total = float(distrust.sum())
        if total > 0.1:
            share = float(distrust @ identical(alike)) / total
            self.of_liars += (share - self.of_liars) * min(1.0, total) / self.horizon

    def credit(self, credits: Tensor, alike: Tensor, guilty: Tensor | float = 1.0) -> None:
        """Take in who got credit [k]; as far as copies are not `guilty` [k], it is no error to trust them."""
        self.credited += (float(credits @ (identical(alike) * guilty)) - self.credited) / self.horizon


class Likeness:
    """How copies look beside single ones that are trusted: by that a crowd is judged that is nothing but copies.

    Where all submissions are the same, all are Byzantine workers', or they repeat the only benign worker and do no
    harm. Where copies look like those who are trusted beside them, by every kind of evidence and along the mean
    difference D of the two, to believe such a crowd costs nothing. Where they look different, the crowd is judged by
    what tells the two apart, and has to look like the trusted: a crowd that lies does more harm than one that is honest
    does good.
    """

    enough = 6  # steps with both, before anything is said
    noise = 0.5  # spreads between the two kinds that mean nothing; twice as many mean that they differ
    horizon = 50  # steps in D

    def __init__(self, rate: float):
        self.rate = rate  # at which it is learned how either kind looks
        self.begin()

    def begin(self) -> None:
        """Knowing of no copies."""
        self.steps = 0
        self.difference: Tensor | None = None  # D [d]
        self.looks: dict[str, tuple[float, float, float]] = {}  # by kind of evidence: two means, and the variance

    def guilt(self, values: dict[str, Tensor], alike: Tensor) -> Tensor:
        """How far [k] in [0, 1] copies that are known to be Byzantine workers' are to be doubted: 1 where they are not
        alone.
        """
        if self.steps < self.enough or float(identical(alike).min()) < 0.9:
            return torch.ones_like(alike)
        widest, odds = 0.0, torch.zeros_like(alike)
        for kind, value in values.items():
            mean, other, variance = self.looks.get(kind, (0.0, 0.0, 0.0))
            variance = max(variance, 1e-24)
            widest = max(widest, abs(mean - other) / variance**0.5)
            odds = odds + (value - 0.5 * (mean + other)) * (mean - other) / variance
        differ = min(max(widest / self.noise - 1, 0.0), 1.0)
        return differ * torch.sigmoid(2 - odds)

    def learn(self, gradients: Tensor, lengths: Tensor, values: dict[str, Tensor], trust: Tensor, same: Tensor) -> None:
        """Take in a step with single ones, trusted this much [k], and with copies, the `same` [k] in [0, 1]."""
        single, copies = trust * (1 - same), same / same.sum()
        if single.sum() < 0.3:
            return
        single = single / single.sum()
        self.steps += 1
        for kind, value in values.items():
            self._look(kind, value, single, copies)
        weights = (single - copies) / lengths.clamp_min(1e-300)
        difference = weights.to(gradients.dtype) @ gradients
        if self.difference is None:
            self.difference = difference
        self.difference.lerp_(difference, max(1 / self.horizon, 1 / (self.steps + 1)))

    def _look(self, kind: str, value: Tensor, single: Tensor, copies: Tensor) -> None:
        """Take in evidence [k] of one kind, by how much each [k] is of the single ones and of copies."""
        mean, other = float(value @ single), float(value @ copies)
        usual, usual_other, variance = self.looks.get(kind, (mean, other, 0.0))
        spread = float((value - usual).square() @ single + (value - usual_other).square() @ copies) / 2
        rate = max(1 / self.steps, self.rate)
        variance = variance + (spread - variance) * rate if variance else spread
        self.looks[kind] = usual + (mean - usual) * rate, usual_other + (other - usual_other) * rate, variance
