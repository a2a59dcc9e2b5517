"""GAAStrategy: any rule of this package as the server's strategy in a Flower federation (extra `flower`)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gaa_core import kernels
from gaa_core.aggregators.base import Aggregator, LearningAggregator, decide
from gaa_core.cases.base import Split
from gaa_core.errors import GaaError
from gaa_core.guard import Guard

try:
    from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
    from flwr.serverapp import Grid
    from flwr.serverapp.exception import InconsistentMessageReplies
    from flwr.serverapp.strategy import FedAvg
except ImportError as error:
    raise GaaError("Flower is not installed: pip install 'gaa-core[flower]'.") from error


class GAAStrategy(FedAvg):
    """FedAvg with another way to aggregate: `rule` decides on what the `n` clients changed.

    Client i returns its arrays after local training; its submission V_i is the change theta - theta_i, [d], and the new
    arrays are theta - F(V_1 .. V_n). Floating-point arrays keep their dtype; integer arrays (counters) stay the
    server's. A client that has left, raised an error, or returned arrays of other names, shapes or dtypes is a row of
    NaN: credit 0, as in `run`. One that `fraction_train` leaves out of a round is not asked; it uses up no `f`.

    Rules that learn need `qv` (a Split, or a pair of tensors), its `loss`, and `model`, whose state dict has the names
    of the arrays. They decide on the parameters that require a gradient; other floating-point arrays, such as the
    running statistics of BatchNorm, are averaged by their credits. f_B is evaluated with the arrays that were sent.

    A client's row is its own while it is connected; a new client takes a free row, or that of one that has left. In the
    first round the server waits for `min_available_nodes` clients (default n), later for `min_train_nodes` (default 1).
    `options` are FedAvg's. Numbers of examples weigh nothing in the aggregate, since a Byzantine client may claim any;
    FedAvg's weighted means of the clients' metrics are formed where `train_metrics_aggr_fn` is given, and in
    evaluation. `credits` has a row [n] a round, NaN for rules without weights; `missing` bool [n] a round.
    """

    def __init__(
        self,
        rule: Aggregator | Callable[[Tensor], Tensor],
        n: int,
        *,
        model: nn.Module | None = None,
        qv: Split | tuple[Tensor, Tensor] | None = None,
        loss: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
        seed: int = 0,
        **options,
    ):
        self.rule, self.n, self.model = rule, n, model
        self._aggregates_metrics = options.get("train_metrics_aggr_fn") is not None
        self._later = options.get("min_available_nodes", options.get("min_train_nodes", 1))
        super().__init__(**{"min_train_nodes": 1, "min_available_nodes": n, **options})
        learns = isinstance(rule, LearningAggregator)
        if learns and (model is None or qv is None):
            raise GaaError(f"{rule!r} learns from the server's own samples: give GAAStrategy a model and qv.")
        if isinstance(rule, Aggregator):
            rule.check_workers(n)
        self.guard = Guard(rule, model, qv, loss, n=n, lr=1.0, seed=seed) if learns else None
        self.rows: dict[int, int] = {}  # node id -> row
        self._nodes: dict[int, int] = {}  # the same of those asked in this round that have not answered
        self.credits: list[np.ndarray] = []
        self.missing: list[np.ndarray] = []

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """FedAvg's messages, to clients that have a row."""
        connected: list[int] = []

        def seat() -> list[int]:
            connected[:] = self._seat(list(grid.get_node_ids()))
            return connected

        messages = list(super().configure_train(server_round, arrays, config, SimpleNamespace(get_node_ids=seat)))
        self.min_available_nodes = self._later
        asked = {message.metadata.dst_node_id for message in messages}
        self._nodes = {node: self.rows[node] for node in asked}
        self._asked = torch.ones(self.n, dtype=torch.bool)  # those that have left count as asked: they are missing
        self._asked[[self.rows[node] for node in connected if node not in asked]] = False
        self.layout = {name: array.numpy() for name, array in arrays.items()}
        self._form = {name: (value.shape, str(value.dtype)) for name, value in self.layout.items()}
        self.names = [name for name, value in self.layout.items() if np.issubdtype(value.dtype, np.floating)]
        self.others: list[str] = []  # averaged by credits
        if self.guard is not None:
            trained = self._load_model()
            self.others = [name for name in self.names if name not in trained]
            self.names = trained
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The new arrays, and each client's credit as `credit-<row>`, beside the number of those `missing`."""
        if not self._nodes:  # no round of training, by fraction_train
            return None, None
        now = _flat([self.layout[name] for name in (*self.names, *self.others)])
        changes, contents = torch.full((self.n, len(now)), torch.nan, dtype=now.dtype), []
        for reply in replies:
            row = self._nodes.pop(reply.metadata.src_node_id, None)  # the first answer counts
            found = None if row is None or reply.has_error() else self._read(reply)
            if found is not None and found.isfinite().all():
                changes[row] = now - found
                contents.append(reply.content)
        d = sum(self.layout[name].size for name in self.names)
        update, credits = self._decide(changes[:, :d])
        self.missing.append((self._asked & ~kernels.finite_rows(changes)).numpy())
        self.credits.append(np.full(self.n, np.nan) if credits is None else credits.numpy())
        told = {} if credits is None else {f"credit-{row}": credit for row, credit in enumerate(credits.tolist())}
        metrics = MetricRecord(told | {"missing": int(self.missing[-1].sum())})
        if self._aggregates_metrics and contents:
            metrics.update(self.train_metrics_aggr_fn(contents, self.weighted_by_key))
        start = now[:d]
        if self.guard is not None:
            trained = dict(self.model.named_parameters())  # a rule may have returned to an earlier state
            start = torch.cat([trained[name].detach().reshape(-1) for name in self.names])
            update = torch.cat([update, credits @ changes[:, d:].nan_to_num()])
        return self._record(torch.cat([start.to(now), now[d:]]) - update), metrics

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """FedAvg's; None where a client's metrics do not match the others', which otherwise ends the federation."""
        with contextlib.suppress(InconsistentMessageReplies):
            return super().aggregate_evaluate(server_round, replies)
        return None

    def _seat(self, nodes: list[int]) -> list[int]:
        """Those of the connected nodes that have a row, after new ones were given rows."""
        left = [node for node in self.rows if node not in nodes]
        for node in (each for each in nodes if each not in self.rows):
            if len(self.rows) < self.n:
                self.rows[node] = len(self.rows)
            elif left:
                self.rows[node] = self.rows.pop(left.pop(0))
        return [node for node in nodes if node in self.rows]

    def _load_model(self) -> list[str]:
        """Put what was sent into the model, in place. The names of its trained parameters."""
        known = {name: tuple(value.shape) for name, value in self.model.state_dict().items()}
        trained = [name for name, each in self.model.named_parameters() if each.requires_grad]
        strange = [name for name, value in self.layout.items() if known.get(name) != value.shape]
        strange += [name for name in trained if name not in self.layout]
        if strange:
            raise GaaError(f"The arrays {list(self.layout)} are not the model's {list(known)}: see '{strange[0]}'.")
        self.model.load_state_dict({name: torch.tensor(value) for name, value in self.layout.items()}, strict=False)
        return trained

    def _read(self, reply: Message) -> Tensor | None:
        """The floating-point arrays of a reply, flat; None where they are not of the form of those that were sent."""
        with contextlib.suppress(Exception):  # a Byzantine client may send bytes that are no arrays
            (arrays,) = reply.content.array_records.values()
            if {name: (tuple(array.shape), array.dtype) for name, array in arrays.items()} == self._form:
                values = {name: array.numpy() for name, array in arrays.items()}
                if {name: (value.shape, str(value.dtype)) for name, value in values.items()} == self._form:
                    return _flat([values[name] for name in (*self.names, *self.others)])
        return None

    def _decide(self, changes: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.guard is not None:
            update, credits = self.guard(changes)
            return update.to(changes), credits.to(changes)
        return decide(self.rule, changes, self._asked)

    def _record(self, theta: Tensor) -> ArrayRecord:
        """All arrays, in the order and the dtypes in which they were sent."""
        names = (*self.names, *self.others)
        ends = np.cumsum([self.layout[name].size for name in names])
        new = dict(zip(names, np.split(theta.numpy(), ends[:-1]), strict=True))
        return ArrayRecord(
            {
                name: Array(new[name].reshape(old.shape).astype(old.dtype) if name in new else old)
                for name, old in self.layout.items()
            }
        )


def _flat(arrays: list[np.ndarray]) -> Tensor:
    """Arrays in one vector: float64 where one of them is, else float32."""
    dtype = np.result_type(np.float32, *(value.dtype for value in arrays))
    return torch.from_numpy(np.concatenate([value.astype(dtype).ravel() for value in arrays]))
