"""The shape of a tampering algorithm: what a Byzantine worker submits instead of its honest gradient."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor


class Attack:
    """A tampering algorithm: a frozen dataclass of hyper-parameters. Everything defaults to honesty.

    `own` are the gradients that the workers that are Byzantine at this step computed, `honest` those of the others;
    a local attack looks at `own` only, an omniscient one at both.
    """

    #: Where the attack stands: "paper", "reconstruction" or "ours", and its source.
    source: ClassVar[str] = ""

    def poison(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Byzantine workers' batches before their gradients are taken: inputs [b, batch, ...], targets [b, batch]."""
        return inputs, targets

    def forge(self, own: Tensor, honest: Tensor, generator: torch.Generator) -> Tensor:
        """Submissions [b, d] from own [b, d] and honest [h, d]; h may be 0. Random draws come from `generator`."""
        return own
