"""An example federation of four Flower clients on MNIST. Run it by `python notebooks/cluster/flower_app.py`."""

from __future__ import annotations

import json
import sys

import torch

from gaa_core import seeding
from gaa_core.aggregators import GAAPlus
from gaa_core.cases import MNIST, accuracy
from gaa_core.distributed.flower import GAAStrategy
from gaa_core.models import FlatModel
from gaa_core.qv import draw_qv

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict  # isort: skip
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation


def client_app(clients: int, byzantine: int, steps: int = 5, lr: float = 0.1, batch_size: int = 64) -> ClientApp:
    """Clients with a share of MNIST each; the first `byzantine` send the opposite of what they learned."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        number, data = int(context.node_config["partition-id"]), MNIST.load()
        mine = torch.arange(number, len(data.train), clients)
        network = MNIST.network(data)
        network.load_state_dict(message.content["arrays"].to_torch_state_dict())
        model = FlatModel(network)
        start = theta = model.initial()
        draw = seeding.generator(0, "flower", number, int(message.content["config"]["server-round"]))
        for _ in range(steps):
            batch = mine[torch.randint(len(mine), (batch_size,), generator=draw)]
            theta = theta - lr * model.gradient(theta, data.train.inputs[batch], data.train.targets[batch])[0]
        if number < byzantine:
            theta = 2 * start - theta
        torch.nn.utils.vector_to_parameters(theta, network.parameters())
        metrics = MetricRecord({"num-examples": len(mine)})
        arrays = ArrayRecord(network.state_dict())
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    return app


def server_app(rule: object, clients: int, rounds: int, found: dict) -> ServerApp:
    """The federation's server. `found` receives the test accuracy and the credits of every round."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        data = MNIST.load()
        qv, _ = draw_qv(MNIST, data, "golden", 10, seeding.generator(0, "qv"))
        torch.manual_seed(0)
        network = MNIST.network(data)
        strategy = GAAStrategy(rule, clients, model=network, qv=qv, fraction_evaluate=0.0)
        result = strategy.start(grid, ArrayRecord(network.state_dict()), num_rounds=rounds)
        network.load_state_dict(result.arrays.to_torch_state_dict())
        model = FlatModel(network)
        found["accuracy"] = accuracy(model.predict(model.initial(), data.test.inputs), data.test.targets)
        found["credits"] = [credits.tolist() for credits in strategy.credits]

    return app


def federate(rule: object, clients: int = 4, byzantine: int = 1, rounds: int = 20) -> dict:
    """Run the example under Flower's simulation: {"accuracy": ..., "credits": [rounds][clients]}."""
    found: dict = {}
    backend = {
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        "init_args": {"address": "local", "include_dashboard": False},  # else Ray joins whatever runs on this machine
    }
    run_simulation(
        server_app(rule, clients, rounds, found), client_app(clients, byzantine), clients, backend_config=backend
    )
    return found


if __name__ == "__main__":
    rule = GAAPlus(off=("warm up",))  # rounds are few and dear: none to look around in
    print(json.dumps(federate(rule, rounds=int(sys.argv[1]) if len(sys.argv) > 1 else 20)))
