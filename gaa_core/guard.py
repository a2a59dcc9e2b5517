"""Guard: any rule, learning ones included, in a training loop of one's own."""

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from gaa_core import kernels, seeding
from gaa_core.aggregators.base import Aggregator, LearningAggregator, decide
from gaa_core.cases.base import Split
from gaa_core.errors import GaaError, explained
from gaa_core.models import FlatModel
from gaa_core.server import ParameterServer

#: The step size that a rule is told before the model has moved for the first time: the default of the cases.
_FIRST_LR = 0.01

#: How much of the estimate of the step size is kept at a step: enough to smooth Adam's, little enough for a schedule.
_LR_MEMORY = 0.8

Submission = Tensor | Sequence[Tensor | None] | Mapping[str, Tensor] | None


class Guard:
    """`update, credits = guard(gradients)`: what a rule makes of the workers' gradients at the model's parameters.

    `gradients` is a tensor [n, d], or has one entry a worker: a flat tensor [d], a list of tensors shaped like the
    parameters that require a gradient, a mapping of their names to tensors, or None. The entries stand in a list, or in
    a mapping by worker ids, which keep their rows in the order of their first appearance; `n` is the number of workers,
    by default that of the first call. Changes of state dicts will do, too: old less new, buffers are ignored. A worker
    that is None or not in the mapping was not asked: credit 0, and it uses up none of a rule's `f`. A submission with a
    NaN or of another form counts as Byzantine and uses up one. `accepted` (bool [n]) says whose submission counted.

    `update` has the form of the submissions, `credits` is [n], or None for rules without weights. Give `update` to an
    optimizer as the gradient and step it before the next call. Rules that learn need `qv`, a pair (inputs, targets) or
    a Split, and its `loss(outputs, targets)`. It is evaluated in evaluation mode on the live model, whose layers keep
    their modes, buffers and frozen parameters.

    Rules that learn reckon with a step theta - lr * update. With `lr` None it is measured as the way the model moved
    along the last update: lr for SGD, about lr / (1 - momentum) with momentum; it follows Adam and schedules. A rule
    that returns to an earlier state does so in the model, in place; the optimizer's state stays. `interventions` tells
    of the last call: `refused` (update 0) and `rolled_back`.
    """

    def __init__(
        self,
        rule: Aggregator | Callable[[Tensor], Tensor],
        model: nn.Module,
        qv: Split | tuple[Tensor, Tensor] | None = None,
        loss: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
        *,
        n: int | None = None,
        lr: float | None = None,
        seed: int = 0,
    ):
        if isinstance(rule, type) or not callable(rule):
            raise GaaError(f"Guard needs a rule like Krum(f=2) or a function [n, d] -> [d]; found {rule!r}.")
        if not isinstance(model, nn.Module):
            raise GaaError(f"Guard needs a torch.nn.Module; found {type(model).__name__}.")
        if lr is not None and not lr > 0:
            raise GaaError(f"Guard needs lr above 0, or None to measure it; found {lr!r}.")
        self.rule, self.n, self.lr, self.seed = rule, n, lr, seed
        self.learns = isinstance(rule, LearningAggregator)
        if self.learns and qv is None:
            raise GaaError(f"{rule!r} learns from the server's own samples: give Guard qv=(inputs, targets).")
        if qv is not None and not isinstance(qv, Split):
            pair = isinstance(qv, tuple | list) and len(qv) == 2 and all(isinstance(each, Tensor) for each in qv)
            if not pair or not qv[0].ndim or qv[0].shape[:1] != qv[1].shape[:1] or not len(qv[0]):
                raise GaaError("Guard needs qv=(inputs, targets), two tensors of one length, or a Split.")
            qv = Split(*qv)
        self.rows: dict[Hashable, int] = {}  # worker id -> row
        self.accepted: Tensor | None = None
        self.interventions: dict[str, bool] = {}
        self._flat = FlatModel(model, loss)
        self._server = ParameterServer(self._flat, qv, self._flat.initial(), lr or _FIRST_LR)
        self._last: tuple[Tensor, Tensor] | None = None  # theta and the update of the last call
        if self.learns:
            self._try_qv()
        if n is not None:
            self._begin(n)

    def __call__(self, gradients: Tensor | Sequence | Mapping) -> tuple[Tensor | list | dict, Tensor | None]:
        """The update, in the form of the submissions, and the credits [n]. Raises GaaError where none can be read."""
        entries = self._by_row(gradients)
        if [name for name, each in self._flat.network.named_parameters() if each.requires_grad] != self._flat.names:
            raise GaaError("The parameters that require a gradient are not those of the beginning: make a new Guard.")
        rows, asked, form = self._read(entries)
        self.accepted = kernels.finite_rows(rows)
        if self.learns:
            update, credits = self._learn(rows)
        else:
            update, credits = decide(self.rule, rows, asked)
        if isinstance(form, Tensor):
            return update, credits
        parts = self._flat.parts(update)
        return dict(zip(self._flat.names, parts, strict=True)) if isinstance(form, Mapping) else parts, credits

    def _learn(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        server, theta = self._server, self._flat.initial()
        server.lr, server.parameters, server.qv = self._step_size(theta), theta, server.qv.to(theta.device)
        with _modes_kept(self._flat.network):
            self.rule.observe(server)
            update, credits = decide(self.rule, rows)
        self.interventions = server.interventions()
        if self.interventions["rolled_back"]:
            parts = dict(zip(self._flat.names, self._flat.parts(server.parameters), strict=True))
            self._flat.network.load_state_dict(parts, strict=False)
        self._last = server.parameters, update.clone()
        server.step += 1
        return update, credits

    def _step_size(self, theta: Tensor) -> float:
        """What `lr` says, or how far the model moved along the last update, smoothed in its logarithm."""
        if self.lr is not None or self._last is None:
            return self.lr or self._server.lr
        before, update = self._last
        found = float((before - theta) @ update) / max(float(update @ update), torch.finfo(torch.float32).tiny)
        if not 0 < found < math.inf:  # no update, or momentum went the other way
            return self._server.lr
        kept = _LR_MEMORY if self._server.step > 1 else 0.0
        return self._server.lr**kept * found ** (1 - kept)

    def _try_qv(self) -> None:
        """Refuse, before training, samples that the model or the loss does not take."""
        with explained("The model or the loss does not take qv"), _modes_kept(self._flat.network):
            loss = self._server.qv_loss(self._flat.initial())
        if not math.isfinite(loss):
            raise GaaError(f"The loss on qv must be finite; found {loss}.")

    def _begin(self, n: int) -> None:
        self.n = n
        if isinstance(self.rule, Aggregator):
            self.rule.check_workers(n)
        if self.learns:
            self.rule.reset(n, self._flat.d, seeding.generator(self.seed, "agent"))

    def _by_row(self, gradients: Tensor | Sequence | Mapping) -> list[Submission]:
        """The entries [n] in the order of the rows."""
        if not isinstance(gradients, Tensor | Sequence | Mapping) or isinstance(gradients, str) or not len(gradients):
            raise GaaError(f"Guard needs a tensor [n, d], a list or a mapping of workers; found {gradients!r:.60}.")
        if self.n is None:
            self._begin(len(gradients))
        entries = list(gradients)
        if isinstance(gradients, Mapping):
            new = [worker for worker in gradients if worker not in self.rows]
            if len(self.rows) + len(new) > self.n:
                raise GaaError(f"Guard has n={self.n} workers; {new[-1]!r} is one more.")
            self.rows |= {worker: len(self.rows) + place for place, worker in enumerate(new)}
            entries = [None] * self.n
            for worker, entry in gradients.items():
                entries[self.rows[worker]] = entry
        if len(entries) != self.n:
            raise GaaError(f"Guard has n={self.n} workers; found {len(entries)}: write None for one that is absent.")
        return entries

    def _read(self, entries: list[Submission]) -> tuple[Tensor, Tensor, Submission]:
        """Submissions [n, d], NaN where there is none; which were asked [n]; and one that could be read."""
        rows = self._flat.initial().new_full((self.n, self._flat.d), torch.nan)
        form, reason = None, "every worker is absent"
        for row, entry in zip(rows, entries, strict=True):
            try:
                if entry is not None:
                    row.copy_(self._flattened(entry))
                    form = entry if form is None else form
            except GaaError as error:  # a Byzantine worker may send anything
                reason = str(error).rstrip(".")
        if form is None:
            raise GaaError(f"No submission can be read: {reason}.")
        return rows, torch.tensor([entry is not None for entry in entries], device=rows.device), form

    def _flattened(self, entry: Submission) -> Tensor:  # -> [d]
        shapes = [tuple(shape) for shape in self._flat.shapes]
        if isinstance(entry, Tensor):
            parts, shapes = [entry], [(self._flat.d,)]
        elif isinstance(entry, Mapping):
            parts = [entry.get(name, name) for name in self._flat.names]
        elif isinstance(entry, Sequence) and len(entry) == len(shapes):  # None is the gradient of an unused parameter
            parts = [torch.zeros(shape) if part is None else part for part, shape in zip(entry, shapes, strict=True)]
        else:
            found = f"{len(entry)} entries" if isinstance(entry, Sequence) else type(entry).__name__
            raise GaaError(f"a submission has a tensor for each of {len(shapes)} parameters; found {found}")
        for part, shape in zip(parts, shapes, strict=True):
            if not isinstance(part, Tensor) or tuple(part.shape) != shape or not part.is_floating_point():
                found = f"{part.dtype} {tuple(part.shape)}" if isinstance(part, Tensor) else repr(part)[:60]
                raise GaaError(f"a submission needs floating-point numbers of shape {shape}; found {found}")
        return torch.cat([part.detach().to_dense().reshape(-1).to(self._server.parameters) for part in parts])


@contextmanager
def _modes_kept(network: nn.Module) -> Iterator[None]:
    """Evaluation changes the mode of layers; give each its own mode back."""
    modes = [(layer, layer.training) for layer in network.modules()]
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training
