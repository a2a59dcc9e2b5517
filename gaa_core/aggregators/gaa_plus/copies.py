"""Submissions that are the same: benign workers never are, since each comes from samples of its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gaa_core.aggregators.gaa_plus.sight import identical


@dataclass
class Copies:
    """What is known of identical submissions. `alike` [k] says how many are the same as each."""

    known: float = 0.0  # how far it is known that they are Byzantine workers'

    def doubt(self, trust: Tensor, alike: Tensor, guilty: Tensor | float = 1.0) -> tuple[Tensor, float]:
        """Identical submissions count as far as no single one is trusted.

        Trust [k] after that, and how far this step shows that identical ones are Byzantine workers': once that is
        known, they are doubted also where there is no single one, as far as they are `guilty` [k].
        """
        same = identical(alike)
        single = (trust * (1 - same)).max()
        doubted = torch.maximum(single, torch.as_tensor(self.known * guilty).to(single))
        return trust * (1 - same * doubted), float(same.max() * single)

    def expose(self, shown: float, rate: float) -> None:
        """Take in how far a step showed that copies are Byzantine workers'."""
        self.known += rate * max(0.0, shown - self.known)
