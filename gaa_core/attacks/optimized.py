"""Attacks that try their factor on the rule that the server declares, and submit the most harmful."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gaa_core.attacks.a_little_is_enough import moments
from gaa_core.attacks.base import Attack, truth

Rule = Callable[[Tensor], Tensor]  # [n, d] -> [d]

#: The factors that are tried when none are given: from 0.1 to 102.4, each the square root of 2 times the last. Harm
#: has more than one peak (where a rule begins to leave attackers out), which steps of 2 miss.
FACTORS = tuple(0.1 * 2 ** (power / 2) for power in range(21))

#: Factors tried evenly between the neighbours of the best one.
REFINEMENTS = 6


@dataclass(frozen=True)
class OptimizedALittleIsEnough(Attack):
    """mean - z * std with the z that moves `rule` farthest from the benign mean.

    A line search against a declared rule, as Allouah et al. (AISTATS 2023) do for their evaluation: all of `factors`,
    then once more between the neighbours of the best. `rule` sees what the server will see, attackers first. The `f`
    declared to the rule is the server's guess; how many really attack is up to the roles. `rule=None` is the mean. Not
    for rules with a memory, which would learn from the trials. Without a benign worker the attackers' own gradients
    give mean and std.
    """

    source = "ours (the field's; Allouah et al. 2023, after Baruch et al. 2019)"

    rule: Rule | None = None
    factors: tuple[float, ...] = FACTORS

    def forge(self, own, honest, generator):
        mean, std = moments(truth(own, honest))
        return most_harmful(self.rule, mean, -std, self.factors, own, honest).expand_as(own)


@dataclass(frozen=True)
class OptimizedInnerProductManipulation(Attack):
    """-epsilon * benign mean with the epsilon that moves `rule` farthest from the benign mean.

    As OptimizedALittleIsEnough, after Xie et al. (UAI 2019).
    """

    source = "ours (the field's; Allouah et al. 2023, after Xie et al. 2019)"

    rule: Rule | None = None
    factors: tuple[float, ...] = FACTORS

    def forge(self, own, honest, generator):
        mean = truth(own, honest).mean(dim=0)
        return most_harmful(self.rule, torch.zeros_like(mean), -mean, self.factors, own, honest).expand_as(own)


def most_harmful(
    rule: Rule | None, start: Tensor, direction: Tensor, factors: Sequence[float], own: Tensor, honest: Tensor
) -> Tensor:
    """Of start + factor * direction, the vector [d] for which the rule's result is farthest from the benign mean.

    Of equally harmful ones the first tried.
    """
    goal = truth(own, honest).mean(dim=0)

    def harm(factor: float) -> float:
        submissions = torch.cat([(start + factor * direction).expand_as(own), honest])  # [n, d]
        result = submissions.mean(dim=0) if rule is None else rule(submissions)
        return float((result - goal).norm())

    best = max(factors, key=harm)
    low = max((factor for factor in factors if factor < best), default=0.0)
    high = min((factor for factor in factors if factor > best), default=best)
    between = [low + (high - low) * place / (REFINEMENTS + 1) for place in range(1, REFINEMENTS + 1)]
    return start + max([best, *between], key=harm) * direction
