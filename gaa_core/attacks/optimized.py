"""Attacks that try their factor out on the rule that the server declares, and submit the most harmful."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from gaa_core.attacks.a_little_is_enough import moments
from gaa_core.attacks.base import Attack, truth

Rule = Callable[[Tensor], Tensor]  # [n, d] -> [d]

#: The factors that are tried when none are given: 0.1, 0.2, 0.4 ... 12.8.
FACTORS = tuple(0.1 * 2**power for power in range(8))


@dataclass(frozen=True)
class OptimizedALittleIsEnough(Attack):
    """mean - z * std with the z of `factors` that moves `rule` farthest from the honest mean.

    A line search against a declared rule, as Allouah et al. (AISTATS 2023) do for their evaluation;
    `rule` sees what the server will see, attackers first. The `f` declared to the rule is the server's guess; how
    many really attack is up to the roles. `rule=None` is the mean. Not for rules with a memory, which would learn
    from the trials. Without an honest worker the attackers' own gradients give mean and std.
    """

    source = "ours (the field's; Allouah et al. 2023, after Baruch et al. 2019)"

    rule: Rule | None = None
    factors: tuple[float, ...] = FACTORS

    def forge(self, own, honest, generator):
        mean, std = moments(truth(own, honest))
        return most_harmful(self.rule, mean, -std, self.factors, own, honest).expand_as(own)


@dataclass(frozen=True)
class OptimizedInnerProductManipulation(Attack):
    """-epsilon * honest mean with the epsilon of `factors` that moves `rule` farthest from the honest mean.

    As OptimizedALittleIsEnough, after Xie et al. (UAI 2019).
    """

    source = "ours (the field's; Allouah et al. 2023, after Xie et al. 2019)"

    rule: Rule | None = None
    factors: tuple[float, ...] = FACTORS

    def forge(self, own, honest, generator):
        mean = truth(own, honest).mean(dim=0)
        return most_harmful(self.rule, torch.zeros_like(mean), -mean, self.factors, own, honest).expand_as(own)


def most_harmful(
    rule: Rule | None, start: Tensor, direction: Tensor, factors: Iterable[float], own: Tensor, honest: Tensor
) -> Tensor:
    """Of start + factor * direction, the vector [d] for which the rule's result is farthest from the honest mean.

    Of equally harmful ones the first.
    """
    goal = truth(own, honest).mean(dim=0)
    candidates = [start + factor * direction for factor in factors]
    harm = []
    for candidate in candidates:
        submissions = torch.cat([candidate.expand_as(own), honest])  # [n, d]
        result = submissions.mean(dim=0) if rule is None else rule(submissions)
        harm.append(float((result - goal).norm()))
    return candidates[harm.index(max(harm))]
