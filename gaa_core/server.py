"""The parameter server: theta, and f_B on the quasi-validation set, each computed at most once a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from gaa_core.cases.base import Split
from gaa_core.errors import GaaError
from gaa_core.models import FlatModel


@dataclass
class ParameterServer:
    """What the trusted server holds; the `Server` that learning rules observe."""

    model: FlatModel
    qv: Split
    parameters: Tensor  # theta_t, [d]
    lr: float
    step: int = 0
    byzantine: Tensor | None = None  # bool [n], the truth; no defence may look

    def __post_init__(self):
        self._known: dict[str, tuple[int, object]] = {}
        self.kept: list[Tensor] = []  # states to roll back to, the older one first
        self._start = self.parameters
        self._refused = self._rolled_back = self._alone = False

    def update(self, aggregate: Tensor) -> None:
        """One step of plain SGD: theta <- theta - lr * F."""
        self.parameters = self.parameters - self.lr * aggregate
        self.step += 1

    def keep(self) -> None:
        """Remember theta_t; the last two states that were kept stay."""
        self.kept = [*self.kept[-1:], self.parameters]

    def refuse(self) -> None:
        """A rule declares that it refuses what was submitted at this step; its update is zero. Counted in the trace."""
        self._refused = True

    def step_alone(self) -> None:
        """A rule declares that part of this step's update is grad f_B, no submission. Counted in the trace."""
        self._alone = True

    def rollback(self, to_start: bool = False) -> None:
        """Return to the older of the two states kept, or to the first parameters, and keep no others.

        The step counts on, and the trace counts the rollback.
        """
        if to_start:
            self.kept = [self._start]
        if not self.kept:
            raise GaaError("There is nothing to roll back to: call keep() first.")
        self.parameters = self.kept[0]
        self._rolled_back = True
        self._known.clear()

    def interventions(self) -> dict[str, bool]:
        """What a rule declared at this step, `refused`, `rolled_back` and `alone`; asking clears it."""
        asked = {"refused": self._refused, "rolled_back": self._rolled_back, "alone": self._alone}
        self._refused = self._rolled_back = self._alone = False
        return asked

    def qv_loss(self, parameters: Tensor | None = None) -> float:
        """f_B at theta_t, or at other parameters [d]."""
        if parameters is not None:
            return self.model.loss(parameters, self.qv.inputs, self.qv.targets)
        return self._once("loss", lambda: self.model.loss(self.parameters, self.qv.inputs, self.qv.targets))

    def qv_gradient(self, parameters: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """grad f_B at theta_t, or at other parameters, [d]; at a `temperature` the outputs are divided by it first,
        which keeps the gradient of samples that are fitted already.
        """
        if temperature != 1.0:
            model = self.model.softened(temperature)
            return model.gradient(
                self.parameters if parameters is None else parameters, self.qv.inputs, self.qv.targets
            )[0]
        if parameters is not None:
            return self.model.gradient(parameters, self.qv.inputs, self.qv.targets)[0]
        return self._once("gradient", self._gradient_and_loss)

    def _gradient_and_loss(self) -> Tensor:
        gradient, loss = self.model.gradient(self.parameters, self.qv.inputs, self.qv.targets)
        self._known["loss"] = (self.step, loss)  # a by-product that the trace will ask for
        return gradient

    def _once(self, name: str, compute: Callable[[], object]):
        if self._known.get(name, (None,))[0] != self.step:
            self._known[name] = (self.step, compute())
        return self._known[name][1]
