"""The parameter server: theta, and f_B on the quasi-validation set, each computed at most once a step."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gaa_core.cases.base import Split
from gaa_core.errors import GaaError, blame
from gaa_core.models import FlatModel


@dataclass
class ParameterServer:
    """What the trusted server holds; the `Server` that learning rules observe."""

    model: FlatModel
    qv: Split
    parameters: Tensor  # theta_t, [d]
    lr: float
    weight_decay: float = 0.0
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None = None
    scheduler: Callable[[torch.optim.Optimizer], object] | None = None
    step: int = 0
    byzantine: Tensor | None = None  # bool [n], the truth; no defence may look

    def __post_init__(self):
        self._leaves = [nn.Parameter(part.clone()) for part in self.model.parts(self.parameters)]
        with blame("The optimizer", self.optimizer):
            self._optimizer = None if self.optimizer is None else self.optimizer(self._leaves)
        if self._optimizer is not None and not isinstance(self._optimizer, torch.optim.Optimizer):
            raise GaaError(f"optimizer must return a torch.optim.Optimizer; found {type(self._optimizer).__name__}.")
        with blame("The scheduler", self.scheduler):
            self._scheduler = None if self.scheduler is None else self.scheduler(self._optimizer)
        if self._scheduler is not None and not hasattr(self._scheduler, "step"):
            raise GaaError(f"scheduler must return a scheduler of torch; found {type(self._scheduler).__name__}.")
        self._known: dict[str, tuple[int, object]] = {}
        self.kept: list[Tensor] = []  # states to roll back to, the older one first
        self._refused = self._rolled_back = False

    def update(self, aggregate: Tensor) -> None:
        """One step of plain SGD, theta <- theta - lr * (F + weight_decay * theta), or of the optimizer with F as the
        gradient.
        """
        if self._optimizer is None:
            decayed = aggregate + self.weight_decay * self.parameters if self.weight_decay else aggregate
            self.parameters = torch.sub(self.parameters, decayed, alpha=self.lr)
        else:
            values, slopes = self.model.parts(self.parameters), self.model.parts(aggregate)
            for leaf, value, slope in zip(self._leaves, values, slopes, strict=True):
                leaf.data.copy_(value)  # a rollback moves theta outside the optimizer
                leaf.grad = slope.clone()
            self._optimizer.step()
            self.parameters = torch.cat([leaf.detach().reshape(-1) for leaf in self._leaves])
            if self._scheduler is not None:
                self._scheduler.step()
        self.step += 1

    def step_size(self, lr: float) -> float:
        """The step size of this step: the optimizer's own, where there is one, else `lr`."""
        return lr if self._optimizer is None else float(self._optimizer.param_groups[0]["lr"])

    def state(self) -> dict:
        """Everything it needs to go on, in tensors and plain values."""
        own = {"step": self.step, "parameters": self.parameters, "kept": self.kept}
        if self._optimizer is not None:
            own["optimizer"] = self._optimizer.state_dict()
        if self._scheduler is not None:
            own["scheduler"] = self._scheduler.state_dict()
        return own

    def load_state(self, state: dict) -> None:
        """Go on from there."""
        self.step, self.parameters = state["step"], state["parameters"].to(self.parameters)
        self.kept = [kept.to(self.parameters) for kept in state["kept"]]
        if self._optimizer is not None:
            self._optimizer.load_state_dict(state["optimizer"])
        if self._scheduler is not None:
            self._scheduler.load_state_dict(state["scheduler"])

    def keep(self) -> None:
        """Remember theta_t; the last two states that were kept stay."""
        self.kept = [*self.kept[-1:], self.parameters]

    def refuse(self) -> None:
        """A rule declares that it refuses what was submitted at this step; its update is zero. Counted in the trace."""
        self._refused = True

    def rollback(self) -> None:
        """Return to the older of the two states kept.

        The step counts on, and the trace counts the rollback.
        """
        if not self.kept:
            raise GaaError("There is nothing to roll back to: call keep() first.")
        self.parameters = self.kept[0]
        self._rolled_back = True
        self._known.clear()

    def interventions(self) -> dict[str, bool]:
        """What a rule declared at this step, `refused` and `rolled_back`; asking clears it."""
        asked = {"refused": self._refused, "rolled_back": self._rolled_back}
        self._refused = self._rolled_back = False
        return asked

    def qv_loss(self, parameters: Tensor | None = None) -> float:
        """f_B at theta_t, or at other parameters [d]."""
        if parameters is not None:
            return self.model.loss(parameters, self.qv.inputs, self.qv.targets)
        return self._once("loss", lambda: self.model.loss(self.parameters, self.qv.inputs, self.qv.targets))

    def qv_gradient(self, parameters: Tensor | None = None) -> Tensor:
        """grad f_B at theta_t, or at other parameters, [d]."""
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
