"""The shape of a tampering algorithm: what a Byzantine worker submits instead of its honest gradient."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor

from gaa_core.errors import GaaError

if TYPE_CHECKING:
    from gaa_core.cases.base import Split

#: How much of the quasi-validation set an attacker knows; each level includes those before it.
LEAKS = ("none", "labels", "distribution", "samples")


@dataclass(frozen=True, eq=False)
class Knowledge:
    """What attackers can know at one step besides gradients. What the attack's `leak` does not give away is None."""

    step: int
    parameters: Tensor  # theta_t, [d]: the server sends it to every worker
    byzantine: Tensor  # bool [n]
    classes: int  # of the task
    credits: Tensor | None = None  # [n] of the last step; None at first, and for rules without weights
    composition: Tensor | None = None  # int [classes], QV samples of each class ("labels")
    samples: Split | None = None  # the QV set ("samples"), or as many others drawn the same way ("distribution")
    slope: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None  # (theta, inputs, targets) -> gradient [d]

    def qv_gradient(self) -> Tensor:
        """The gradient at theta_t on the leaked samples, [d]."""
        if self.samples is None or self.slope is None:
            raise GaaError("An attack needs leak='distribution' or 'samples' to know a gradient of the QV set.")
        return self.slope(self.parameters, self.samples.inputs, self.samples.targets)


class Attack:
    """A tampering algorithm: a frozen dataclass of hyper-parameters. Everything defaults to honesty.

    `own` are the gradients that the workers that are Byzantine at this step computed, `honest` those of the others;
    a local attack looks at `own` only, an omniscient one at both.
    """

    #: Where the attack stands: "paper", "reconstruction" or "ours", and its source.
    source: ClassVar[str] = ""

    #: Whether `forge` needs the other rows or draws numbers. Where not, each attacker forges its own row by itself.
    colludes: ClassVar[bool] = True

    #: Which of LEAKS the attack is told; a dataclass field where the user chooses.
    leak: str = "none"

    def informed(self, knowledge: Knowledge) -> Attack:
        """The attack of this step. Called once a step, before anything is computed, on what the last call returned.

        An attack with a schedule or a memory returns a copy that knows more (`knowing`); the one that the user made
        never changes, so that it can be used for many runs.
        """
        return self

    def poison(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Byzantine workers' batches before their gradients are taken: inputs [b, batch, ...], targets [b, batch]."""
        return inputs, targets

    def objective(self, losses: Tensor, targets: Tensor) -> Tensor:
        """What Byzantine workers minimise instead of their mean loss: losses, targets [b, batch] -> [b].

        Differentiable, and each row by itself: an engine may call it for one worker at a time, and within vmap.
        """
        return losses.mean(dim=1)

    def forge(self, own: Tensor, honest: Tensor, generator: torch.Generator) -> Tensor:
        """Submissions [b, d] from own [b, d] and honest [h, d]; h may be 0. Random draws come from `generator`."""
        return own

    def knowing(self, **memory: object) -> Self:
        """A copy with these private attributes set; hyper-parameters, and so equality and repr, stay as they are."""
        other = copy.copy(self)
        for name, value in memory.items():
            object.__setattr__(other, name, value)
        return other


def truth(own: Tensor, honest: Tensor) -> Tensor:
    """The gradients that omniscient attackers take for the truth: the benign gradients, or their own where h is 0."""
    return honest if len(honest) else own
