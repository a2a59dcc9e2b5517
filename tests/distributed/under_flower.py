"""What GAAStrategy makes of the clients' answers. `test_flower.py` runs this file in the Python that has Flower."""

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from torch import nn

from gaa_core.aggregators import GAA, CoordinateMedian, FLTrust, Krum, Mean
from gaa_core.distributed.flower import GAAStrategy
from gaa_core.errors import GaaError, TooFewWorkers

TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1  # as if within an app
NODES = [11, 22, 33, 44]


class Grid:
    def __init__(self, nodes):
        self.nodes = nodes

    def get_node_ids(self):
        return self.nodes


def record(**values) -> ArrayRecord:
    return ArrayRecord({name: Array(np.array(value)) for name, value in values.items()})


def floats(value: float, dtype=np.float32) -> ArrayRecord:
    return record(weight=np.full((2, 3), value, dtype))


def play(strategy, bodies: dict, arrays=None, nodes=NODES, number=1):
    """One round: `bodies` are what each node returns, None for an error. (arrays by name, metrics)."""
    asked = list(strategy.configure_train(number, arrays or floats(1.0), ConfigRecord(), Grid(nodes)))
    replies = []
    for message in asked:
        body = bodies.get(message.metadata.dst_node_id)
        if body is None:
            replies.append(Message(Error(code=0, reason="gone"), reply_to=message))
            continue
        content = RecordDict({"arrays": body, "metrics": MetricRecord({"num-examples": 1, "loss": 2.0})})
        replies.append(Message(content, reply_to=message))
    new, metrics = strategy.aggregate_train(number, replies)
    return {name: array.numpy() for name, array in new.items()}, metrics


def test_changes_are_submissions_and_errors_are_missing_rows():
    new, told = play(GAAStrategy(Mean(), 4), {11: floats(2.0), 33: floats(np.nan), 44: floats(4.0)})
    np.testing.assert_array_equal(new["weight"], np.full((2, 3), 3.0, np.float32))
    assert dict(told) == {"credit-0": 0.5, "credit-1": 0.0, "credit-2": 0.0, "credit-3": 0.5, "missing": 2}


@pytest.mark.parametrize(
    "body",
    [
        record(other=np.zeros(3, np.float32)),
        floats(9.0, np.float64),
        record(weight=np.zeros((3, 2), np.float32)),
        ArrayRecord({"weight": Array("float32", (2, 3), "numpy.ndarray", b"no array")}),
    ],
    ids=["names", "dtype", "shape", "bytes"],
)
def test_arrays_of_another_form_are_missing_rows(body):
    new, told = play(
        GAAStrategy(lambda rows: rows.median(dim=0).values, 4), {node: floats(2.0) for node in NODES[1:]} | {11: body}
    )
    assert told["missing"] == 1
    assert (new["weight"] == 2.0).all()


def test_integer_counters_and_float64_arrays_come_back_as_they_are():
    big, fine = np.int64(2**53 + 1), np.float64(1 / 3)
    arrays = record(counter=big, weight=np.array([fine, 1e-300]), half=np.array([0.1], np.float16))
    new, _ = play(GAAStrategy(Mean(), 4), dict.fromkeys(NODES, arrays), arrays)
    assert list(new) == ["counter", "weight", "half"]
    for name, value in new.items():
        assert value.dtype == arrays[name].numpy().dtype
        np.testing.assert_array_equal(value, arrays[name].numpy())


# Source: flower issue 2252, a federation that waits for ever for a client that is gone.
def test_a_client_that_leaves_for_good_costs_its_row_only():
    strategy = GAAStrategy(Mean(), 4)
    play(strategy, dict.fromkeys(NODES, floats(2.0)))
    new, told = play(strategy, dict.fromkeys(NODES, floats(2.0)), nodes=NODES[:3], number=2)
    assert (told["missing"], told["credit-3"]) == (1, 0.0)
    assert (new["weight"] == 2.0).all()


def test_a_client_that_comes_back_has_its_row_and_a_new_one_that_of_one_that_left():
    strategy = GAAStrategy(Mean(), 4)
    play(strategy, dict.fromkeys(NODES, floats(2.0)))
    play(strategy, {}, nodes=[22, 33, 44], number=2)
    play(strategy, {}, nodes=NODES, number=3)
    assert strategy.rows == {11: 0, 22: 1, 33: 2, 44: 3}
    _, told = play(strategy, {55: floats(2.0)}, nodes=[22, 33, 44, 55, 66], number=4)
    assert strategy.rows == {22: 1, 33: 2, 44: 3, 55: 0}
    assert (told["credit-0"], told["missing"]) == (1.0, 3)


def test_a_second_answer_does_not_count():
    strategy = GAAStrategy(Mean(), 2)
    one, other = list(strategy.configure_train(1, floats(1.0), ConfigRecord(), Grid([11, 22])))
    answers = [(one, 2.0), (one, 99.0), (other, 4.0)]
    content = [
        RecordDict({"arrays": floats(value), "metrics": MetricRecord({"num-examples": 1})}) for _, value in answers
    ]
    replies = [Message(each, reply_to=message) for each, (message, _) in zip(content, answers, strict=True)]
    new, _ = strategy.aggregate_train(1, replies)
    assert (new["weight"].numpy() == 3.0).all()


def test_options_are_those_of_fedavg():
    options = {"fraction_train": 0.5, "min_train_nodes": 2, "min_available_nodes": 4, "fraction_evaluate": 0.0}
    options["train_metrics_aggr_fn"] = lambda contents, key: MetricRecord({"answers": len(contents)})
    strategy = GAAStrategy(CoordinateMedian(), 4, weighted_by_key="num-examples", **options)
    _, told = play(strategy, dict.fromkeys(NODES, floats(2.0)))
    assert dict(told) == {"missing": 0, "answers": 2}
    assert GAAStrategy(Mean(), 4, fraction_train=0.0).aggregate_train(1, []) == (None, None)


def test_clients_that_were_not_asked_use_up_no_f():
    with pytest.raises(TooFewWorkers):
        asked = GAAStrategy(Krum(f=1), 5, fraction_train=0.8)
        play(asked, dict.fromkeys([*NODES, 55], floats(2.0)), nodes=[*NODES, 55])


def test_metrics_that_do_not_match_do_not_end_the_federation():
    strategy = GAAStrategy(Mean(), 2)
    asked = list(strategy.configure_evaluate(1, floats(1.0), ConfigRecord(), Grid([11, 22])))
    told = [MetricRecord({"num-examples": 1}), MetricRecord({"nonsense": 1})]
    replies = [Message(RecordDict({"metrics": each}), reply_to=to) for each, to in zip(told, asked, strict=True)]
    assert strategy.aggregate_evaluate(1, replies) is None


@pytest.mark.parametrize("rule", [GAA(), FLTrust()], ids=repr)
def test_a_rule_that_learns_has_its_own_loss_and_batch_norm(rule):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    x = torch.randn(6, 3)
    strategy = GAAStrategy(rule, 4, model=network, qv=(x, x.sum(1, keepdim=True)), loss=nn.functional.mse_loss)
    arrays = ArrayRecord(network.state_dict())
    good = {name: array.numpy().copy() for name, array in arrays.items()}
    good["1.running_mean"] += 1.0
    good["1.num_batches_tracked"] += 5
    gradient = torch.autograd.grad(
        nn.functional.mse_loss(network.eval()(x), x.sum(1, keepdim=True)), network.parameters()
    )
    for (name, _), slope in zip(network.named_parameters(), gradient, strict=True):
        good[name] -= 0.1 * slope.numpy()
    bad = {name: 2 * array.numpy() - good[name] for name, array in arrays.items()}
    bodies = {node: record(**(bad if node == 44 else good)) for node in NODES}
    for number in range(1, 31):
        new, told = play(strategy, bodies, arrays, number=number)
    assert told["credit-3"] < 0.25
    share = sum(told[f"credit-{row}"] for row in range(3)) - told["credit-3"]
    np.testing.assert_allclose(new["1.running_mean"], share, rtol=1e-5)  # averaged by the credits
    assert new["1.num_batches_tracked"] == 0
    assert set(strategy.model.state_dict()) == set(new)
    assert len(strategy.credits) == 30


def test_what_cannot_be_is_refused():
    with pytest.raises(GaaError, match="learns from the server's own samples"):
        GAAStrategy(GAA(), 4)
    with pytest.raises(TooFewWorkers):
        GAAStrategy(Krum(f=1), 4)
    strategy = GAAStrategy(GAA(), 4, model=nn.Linear(5, 2), qv=(torch.zeros(2, 5), torch.zeros(2, dtype=torch.long)))
    with pytest.raises(GaaError, match="see 'weight'"):
        play(strategy, {})
