"""GAAStrategy under Flower. Its simulation pins another Ray than ours, so it runs in a Python of its own:
that of GAA_FLOWER_PYTHON, or `.venv-flower` in the clone, or this one where Flower is installed.
"""

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def python(repository) -> str:
    own = repository / ".venv-flower/bin/python"
    if os.environ.get("GAA_FLOWER_PYTHON"):
        return os.environ["GAA_FLOWER_PYTHON"]
    if own.exists():
        return str(own)
    if importlib.util.find_spec("flwr") is not None:
        return sys.executable
    return pytest.skip("Flower is not installed: make .venv-flower as the README says, or set GAA_FLOWER_PYTHON")


def call(python: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    root = Path(__file__).resolve().parents[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"PYTHONPATH": str(root), "HOME": str(folder), "FLWR_TELEMETRY_ENABLED": "0"}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    return subprocess.run([python, *arguments], env=environment, capture_output=True, text=True, timeout=600)


STRATEGY = """
import json
import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from gaa_core.aggregators import FLTrust, GAA, Krum, Mean
from gaa_core.cases.base import Split
from gaa_core.errors import GaaError, TooFewWorkers
from gaa_core.distributed.flower import GAAStrategy

TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1  # as if within an app

class Grid:
    def get_node_ids(self):
        return [11, 22, 33, 44]

def record(weight, bias, kind=np.float32):
    return ArrayRecord({"weight": Array(np.full((2, 3), weight, kind)), "bias": Array(np.full(2, bias, kind))})

def play(strategy, bodies, rounds=1):
    arrays = record(1.0, 0.0)
    for number in range(1, rounds + 1):
        asked = list(strategy.configure_train(number, arrays, ConfigRecord(), Grid()))
        row = {message.metadata.dst_node_id: strategy.rows[message.metadata.dst_node_id] for message in asked}
        replies = []
        for message in asked:
            body = bodies[row[message.metadata.dst_node_id]]
            if body is not None:
                content = RecordDict({"arrays": body, "metrics": MetricRecord({"num-examples": 1})})
                replies.append(Message(content, reply_to=message))
        arrays, metrics = strategy.aggregate_train(number, replies)
    return {name: array.numpy().ravel().tolist() for name, array in arrays.items()}, dict(metrics), strategy

good = [record(2.0, 1.0), record(4.0, 3.0)]
other = ArrayRecord({"other": Array(np.zeros(3, np.float32))})
bad = [record(float("nan"), 0.0), other, record(9.0, 9.0, np.float64), None]
mean = play(GAAStrategy(Mean(), 4), [good[0], None, bad[0], good[1]])
kinds = play(GAAStrategy(Mean(), 4), [bad[1], bad[2], good[0], bad[3]])
function = play(GAAStrategy(lambda rows: rows.median(dim=0).values, 4), [good[0]] * 3 + [None])
network = torch.nn.Linear(3, 2)
qv = Split(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 0, 1]))
learned = play(GAAStrategy(GAA(), 4, model=network, qv=qv), [good[0], None, good[0], good[0]], rounds=7)
trusted = play(GAAStrategy(FLTrust(), 4, model=network, qv=qv), [good[0]] * 4)
errors = []
for wrong in (lambda: GAAStrategy(GAA(), 4), lambda: GAAStrategy(Krum(f=1), 4)):
    try:
        wrong()
    except GaaError as error:
        errors.append(str(error))
print(json.dumps([mean[0], mean[1], kinds[0], kinds[1], function[0], learned[1], len(learned[2].credits), errors]))
"""


@pytest.mark.slow
def test_client_updates_are_submissions(python, tmp_path):
    done = call(python, tmp_path, "-c", textwrap.dedent(STRATEGY))
    assert done.returncode == 0, done.stderr[-3000:]
    mean, metrics, kinds, told, function, learned, rounds, errors = json.loads(done.stdout.splitlines()[-1])
    assert mean == {"weight": [3.0] * 6, "bias": [2.0] * 2}  # the mean of the two that answered properly
    assert metrics == {"credit-0": 0.5, "credit-1": 0.0, "credit-2": 0.0, "credit-3": 0.5, "missing": 2}
    assert kinds["weight"] == [2.0] * 6
    assert told["missing"] == 3
    assert function["weight"] == [2.0] * 6
    assert rounds == 7
    assert learned["credit-1"] == 0.0
    assert sum(learned[f"credit-{row}"] for row in range(4)) == pytest.approx(1.0)
    assert "learns from the server's own samples" in errors[0]
    assert "needs at least 5 workers" in errors[1]


@pytest.mark.slow
def test_the_example_federation_runs_under_flower_s_simulation(python, tmp_path, repository):
    done = call(python, tmp_path, str(repository / "notebooks/cluster/flower_app.py"), "3")
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["accuracy"] > 0.6  # whichever row Flower's random node ids give the liar
    assert len(found["credits"]) == 3
    assert all(sum(credits) == pytest.approx(1.0, abs=1e-5) for credits in found["credits"])
    assert all(sorted(credits)[0] < 0.01 and sorted(credits)[1] > 0.2 for credits in found["credits"])


def test_without_flower_one_sentence_says_so():
    if importlib.util.find_spec("flwr") is not None:
        pytest.skip("Flower is installed here")
    from gaa_core.errors import GaaError

    with pytest.raises(GaaError, match="Flower is not installed"):
        importlib.import_module("gaa_core.distributed.flower")
