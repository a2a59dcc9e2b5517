"""Guard: any rule, learning ones included, in a training loop of one's own."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from gaa_core import kernels, seeding
from gaa_core.aggregators.base import Aggregator, LearningAggregator, decide
from gaa_core.cases.base import Split
from gaa_core.errors import GaaError
from gaa_core.models import FlatModel
from gaa_core.server import ParameterServer

#: The step size that a rule is told before the model has moved for the first time: the default of the cases.
_FIRST_LR = 0.01

#: How much of the estimate of the step size is kept at a step: enough to smooth Adam's, little enough for a schedule.
_LR_MEMORY = 0.8

Submission = Tensor | Sequence[Tensor | None] | Mapping[str, Tensor] | None


class Guard:
    """`update, credits = guard(gradients)`: what a rule makes of the workers' gradients at the model's parameters.

    The model stays yours: give `update` to any optimizer as the gradient, before the next call. `gradients` is a
    tensor [n, d], or a list with one entry a worker: a flat tensor [d], a list of tensors shaped like the parameters
    that require a gradient, a mapping of their names to tensors (as state dicts differ; buffers in it are ignored), or
    None. A mapping of worker ids to such entries does, too; ids get their rows in the order in which they come, for
    good. `n` is the number of workers, by default that of the first call. A worker that is None or not in the mapping
    was not asked: its credit is 0, and it uses up none of a rule's `f`. A row with a NaN, or of another shape, uses up
    one; `accepted` (bool [n]) says whose submission counted.

    `update` has the form of the submissions, and `credits` is [n], or None for rules without weights. Rules that learn
    need `qv`, a pair (inputs, targets) or a Split, and its `loss(outputs, targets)`. It is evaluated in evaluation
    mode; the modes of all layers, buffers and frozen parameters stay as they are.

    Rules that learn also reckon with the step size, theta - lr * update. With `lr` None it is measured: how far the
    model moved along the last update. This is lr for SGD, about lr / (1 - momentum) with momentum, and follows Adam and
    schedules. A rule that returns to an earlier state does so in the model itself, in place, before the update; the
    optimizer's own state stays. `interventions` says what the rule did at the last call: `refused` (the update is 0),
    `rolled_back`, `alone` (part of the update is the gradient on `qv`).
    """

    def __init__(
        self,
        rule: Aggregator | object,
        model: nn.Module,
        qv: Split | tuple[Tensor, Tensor] | None = None,
        loss: object = functional.cross_entropy,
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
        self.rows: dict[Hashable, int] = {}  # worker id -> row
        self.accepted: Tensor | None = None
        self.interventions: dict[str, bool] = {}
        self._flat = FlatModel(model, loss)
        self._server = ParameterServer(self._flat, _split(qv, model), self._flat.initial(), lr or _FIRST_LR)
        self._last: Tensor | None = None  # the update of the last call
        self._measured = False
        if n is not None:
            self._begin(n)

    def __call__(self, gradients: Tensor | Sequence | Mapping) -> tuple[Tensor | list | dict, Tensor | None]:
        """The update, in the form of the submissions, and the credits [n]. Raises GaaError where none can be read."""
        entries, form = self._by_row(gradients)
        if [name for name, each in self._named() if each.requires_grad] != self._flat.names:
            raise GaaError("The parameters that require a gradient are not those of the beginning: make a new Guard.")
        rows, asked = self._read(entries)
        self.accepted = kernels.finite_rows(rows)
        with _as_it_was(self._flat.network):
            update, credits = self._decide(rows, asked)
        return _formed(update, form, self._flat), credits

    def _decide(self, rows: Tensor, asked: Tensor) -> tuple[Tensor, Tensor | None]:
        if not self.learns:
            update, weights = decide(self.rule, rows[asked])
            return update, None if weights is None else rows.new_zeros(self.n).masked_scatter(asked, weights)
        server, theta = self._server, self._flat.initial()
        server.lr = self._step_size(theta)
        server.parameters = theta
        self.rule.observe(server)
        update, credits = decide(self.rule, rows)
        self.interventions = server.interventions()
        if self.interventions["rolled_back"]:
            self._write(server.parameters)
        self._before, self._last = server.parameters, update
        server.step += 1
        return update, credits

    def _step_size(self, theta: Tensor) -> float:
        """What `lr` says, or how far the model moved along the last update; smoothed in its logarithm."""
        if self.lr is not None or self._last is None:
            return self.lr or self._server.lr
        length = float(self._last.double().square().sum())
        found = float((self._before - theta).double() @ self._last.double()) / length if length > 0 else 0.0
        if not 0 < found < float("inf"):  # no update, or momentum went the other way
            return self._server.lr
        kept = _LR_MEMORY if self._measured else 0.0
        self._measured = True
        return self._server.lr**kept * found ** (1 - kept)

    def _begin(self, n: int) -> None:
        self.n = n
        if isinstance(self.rule, Aggregator):
            self.rule.check_workers(n)
        if self.learns:
            self.rule.reset(n, self._flat.d, seeding.generator(self.seed, "agent"))

    def _by_row(self, gradients: Tensor | Sequence | Mapping) -> tuple[list[Submission], Submission]:
        """The entries [n] in the order of the rows, and one that is there, for the form of the update."""
        if not isinstance(gradients, Tensor | Sequence | Mapping) or isinstance(gradients, str) or not len(gradients):
            raise GaaError(f"Guard needs a tensor [n, d], a list or a mapping of workers; found {gradients!r:.60}.")
        if self.n is None:
            self._begin(len(gradients))
        if isinstance(gradients, Mapping):
            for worker in gradients:
                self.rows.setdefault(worker, len(self.rows))
            if len(self.rows) > self.n:
                raise GaaError(f"There are more workers than n={self.n}: {list(self.rows)[self.n]!r} is new.")
            entries = [None] * self.n
            for worker, entry in gradients.items():
                entries[self.rows[worker]] = entry
        else:
            entries = list(gradients)
        if len(entries) != self.n:
            raise GaaError(f"Guard has n={self.n} workers; found {len(entries)}: write None for one that is absent.")
        present = [entry for entry in entries if entry is not None]
        if not present:
            raise GaaError("Every worker is absent; there is nothing to decide.")
        return entries, present[0]

    def _read(self, entries: list[Submission]) -> tuple[Tensor, Tensor]:
        """Submissions [n, d], NaN where there is none, and who was asked [n]; GaaError where none can be read."""
        theta = self._flat.initial()
        rows, reasons = theta.new_full((self.n, self._flat.d), torch.nan), []
        for row, entry in zip(rows, entries, strict=True):
            try:
                if entry is not None:
                    row.copy_(self._flattened(entry))
            except GaaError as error:  # a Byzantine worker may send anything
                reasons.append(str(error))
        asked = torch.tensor([entry is not None for entry in entries], device=rows.device)
        if len(reasons) == int(asked.sum()):
            raise GaaError(f"No submission can be read; the first: {reasons[0]}")
        return rows, asked

    def _flattened(self, entry: Submission) -> Tensor:  # -> [d]
        if isinstance(entry, Tensor):
            parts, shapes = [entry], [torch.Size([self._flat.d])]
        elif isinstance(entry, Mapping):
            parts, shapes = [entry.get(name) for name in self._flat.names], self._flat.shapes
            if any(part is None for part in parts):
                missing = self._flat.names[[part is None for part in parts].index(True)]
                raise GaaError(f"A submission has no entry for the parameter '{missing}'.")
        elif isinstance(entry, Sequence):
            parts, shapes = list(entry), self._flat.shapes
        else:
            raise GaaError(f"A submission is a tensor, a list or a mapping of tensors; found {type(entry).__name__}.")
        parts = [torch.zeros(shape) if p is None else p for p, shape in zip(parts, shapes)]  # noqa: B905, as .grad is
        found = [tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in parts]
        if found != [tuple(shape) for shape in shapes] or len(entry) < len(parts):
            raise GaaError(f"A submission must have the shapes {[*map(tuple, shapes)]}; found {found}.")
        if not all(part.is_floating_point() for part in parts):
            raise GaaError(f"A submission must be of floating-point numbers; found {parts[0].dtype}.")
        return torch.cat([part.detach().reshape(-1).to(self._server.parameters) for part in parts])

    def _named(self) -> Iterator[tuple[str, nn.Parameter]]:
        return self._flat.network.named_parameters()

    def _write(self, theta: Tensor) -> None:
        """Put theta into the model, in place."""
        parameters = dict(self._named())
        with torch.no_grad():
            for name, part in zip(self._flat.names, self._flat.parts(theta), strict=True):
                parameters[name].copy_(part)


def _formed(update: Tensor, form: Submission, flat: FlatModel) -> Tensor | list[Tensor] | dict[str, Tensor]:
    """An update [d] in the form of a submission."""
    if isinstance(form, Tensor):
        return update
    parts = flat.parts(update)
    return dict(zip(flat.names, parts, strict=True)) if isinstance(form, Mapping) else parts


def _split(qv: Split | Sequence[Tensor] | None, model: nn.Module) -> Split | None:
    """Samples on the model's device."""
    if qv is None:
        return None
    if not isinstance(qv, Split):
        pair = isinstance(qv, tuple | list) and len(qv) == 2 and all(isinstance(each, Tensor) for each in qv)
        if not pair or len(qv[0]) != len(qv[1]) or not len(qv[0]):
            raise GaaError("Guard needs qv=(inputs, targets), two tensors of one length, or a Split.")
        qv = Split(*qv)
    return qv.to(next(model.parameters()).device)


@contextmanager
def _as_it_was(network: nn.Module) -> Iterator[None]:
    """Evaluation changes the mode of layers; give each its own mode back."""
    modes = [(layer, layer.training) for layer in network.modules()]
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training
