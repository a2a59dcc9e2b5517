"""Numbers that no gradient has."""

from dataclasses import dataclass

import torch

from gaa_core.attacks.base import Attack


@dataclass(frozen=True)
class NonFinite(Attack):
    """The same `value` in every coordinate: NaN, an infinity, or one like 1e30 whose square is infinite.

    The first two are recognised by every rule's finite mask and counted in the trace; the last passes it.
    """

    source = "ours (faulty hardware; the least that a rule must survive)"
    colludes = False

    value: float = float("nan")

    def forge(self, own, honest, generator):
        return torch.full_like(own, self.value)
