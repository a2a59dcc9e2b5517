"""GAAStrategy: any rule of this package as the server's strategy in a Flower federation (extra `flower`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from gaa_core import kernels, seeding
from gaa_core.aggregators.base import Aggregator, LearningAggregator, decide
from gaa_core.cases.base import Split
from gaa_core.errors import GaaError
from gaa_core.models import FlatModel
from gaa_core.server import ParameterServer

try:
    from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
    from flwr.serverapp import Grid
    from flwr.serverapp.strategy import FedAvg
except ImportError as error:
    raise GaaError("Flower is not installed: pip install 'gaa-core[flower]'.") from error


class GAAStrategy(FedAvg):
    """FedAvg with another way to aggregate: `rule` decides on what the `n` clients changed.

    Client i returns its parameters after local training; its submission V_i is the change theta - theta_i, [d], and the
    new parameters are theta - F(V_1 .. V_n). A client that is missing, raised an error or returned arrays of other
    names, shapes or kinds is a row of NaN: credit 0, as in `run`. Rules that learn need the server's model and a few
    samples of its own: `model` (its parameters named as in the clients' arrays) and `qv`.

    A client's row is its own for good, in the order in which clients were first asked; all n are asked in every round.
    `credits` has a row [n] a round, NaN for rules without weights; `missing` bool [n] a round. `options` are FedAvg's.
    """

    def __init__(
        self,
        rule: Aggregator | Callable[[Tensor], Tensor],
        n: int,
        *,
        model: nn.Module | None = None,
        qv: Split | None = None,
        seed: int = 0,
        **options,
    ):
        super().__init__(fraction_train=1.0, min_train_nodes=n, min_available_nodes=n, **options)
        if isinstance(rule, LearningAggregator) and (model is None or qv is None):
            raise GaaError(f"{rule!r} learns from the server's own samples: give GAAStrategy a model and a qv Split.")
        if isinstance(rule, Aggregator):
            rule.check_workers(n)
        self.rule, self.n, self.seed = rule, n, seed
        self.flat = None if model is None else FlatModel(model)
        self.qv = qv
        self.server: ParameterServer | None = None
        self.rows: dict[int, int] = {}  # node id -> row
        self.credits: list[np.ndarray] = []
        self.missing: list[np.ndarray] = []

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask everybody, and remember what they were sent."""
        messages = list(super().configure_train(server_round, arrays, config, grid))
        for message in messages:
            if len(self.rows) < self.n:
                self.rows.setdefault(message.metadata.dst_node_id, len(self.rows))
        self.layout = {name: array.numpy() for name, array in arrays.items()}
        theta = torch.from_numpy(_flatten(self.layout))
        if isinstance(self.rule, LearningAggregator):
            self._prepare(theta)
        self.theta = theta
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The new parameters, and each client's credit as `credit-<row>`."""
        submissions = torch.full((self.n, len(self.theta)), torch.nan)
        for reply in replies:
            row = self.rows.get(reply.metadata.src_node_id)
            if row is not None and not reply.has_error():
                self._read(reply, submissions[row])
        if isinstance(self.rule, LearningAggregator):
            self.rule.observe(self.server)
        update, credits = decide(self.rule, submissions)
        self.missing.append(~kernels.finite_rows(submissions).numpy())
        self.credits.append(np.full(self.n, np.nan) if credits is None else credits.numpy())
        told = [] if credits is None else enumerate(credits.tolist())
        metrics = {f"credit-{row}": credit for row, credit in told} | {"missing": int(self.missing[-1].sum())}
        theta = self.theta - update
        if self.server is not None:
            self.server.update(update)
            theta = self.server.parameters
        return self._record(theta), MetricRecord(metrics)

    def _prepare(self, theta: Tensor) -> None:
        """A server for the rule to observe, in the first round; afterwards the parameters that were really sent."""
        if self.server is not None:
            self.server.parameters = theta
            return
        shapes = [value.shape for value in self.layout.values()]
        if list(self.layout) != self.flat.names or shapes != [tuple(shape) for shape in self.flat.shapes]:
            raise GaaError(f"The arrays {list(self.layout)} are not the model's parameters {self.flat.names}.")
        self.server = ParameterServer(self.flat, self.qv, theta, lr=1.0)
        self.rule.reset(self.n, len(theta), seeding.generator(self.seed, "agent"))

    def _read(self, reply: Message, row: Tensor) -> None:
        """theta - theta_i into `row` [d]; it stays as it is where the arrays are not what was asked for."""
        records = list(reply.content.array_records.values())
        if len(records) != 1 or list(records[0]) != list(self.layout):
            return
        arrays = records[0]
        announced = [(tuple(arrays[name].shape), arrays[name].dtype) for name in self.layout]
        if announced != [(value.shape, str(value.dtype)) for value in self.layout.values()]:
            return
        values = {name: arrays[name].numpy() for name in self.layout}
        if all(values[name].shape == known.shape for name, known in self.layout.items()):
            row.copy_(self.theta - torch.from_numpy(_flatten(values)))

    def _record(self, theta: Tensor) -> ArrayRecord:
        parts = theta.numpy().astype(np.float32)
        ends = np.cumsum([value.size for value in self.layout.values()])
        pieces = np.split(parts, ends[:-1])
        named = zip(self.layout.items(), pieces, strict=True)
        return ArrayRecord({name: Array(piece.reshape(old.shape).astype(old.dtype)) for (name, old), piece in named})


def _flatten(arrays: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([value.astype(np.float32).ravel() for value in arrays.values()])
