"""Real workers: without faults the local engine's trace; with faults an absence, its reason, and a run that ends."""

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest
from failing_workers import Fault, FaultyEngine

from gaa_core import roles, run
from gaa_core.aggregators import GAA, FLTrust, Krum, Mean
from gaa_core.attacks import ALittleIsEnough, GradientReversion, LabelFlip, MimicThenTurn, NonFinite, RandomFault
from gaa_core.cases import CMS, MNIST
from gaa_core.distributed import RayEngine
from gaa_core.distributed.ray_worker import fingerprint
from gaa_core.engine import ABSENCES
from gaa_core.errors import GaaError

pytestmark = pytest.mark.slow

SMALL = {"steps": 12, "batch_size": 16, "lr": 0.05}


def reasons(trace, worker: int) -> list[str]:
    """Why this worker's submission was missing, step by step."""
    return [trace.settings["absences"][code] for code in trace.extras["absences"][:, worker]]


@pytest.mark.parametrize(
    ("rule", "attack", "schedule", "partition"),
    [
        (GAA(), None, None, "dirichlet"),
        (GAA(), GradientReversion(), roles.static(5, 2), "iid"),
        (GAA(norm_bound=2.0), RandomFault(std=1.0), roles.randomized(5, 3), "iid"),  # draws numbers together
        (Krum(f=1), ALittleIsEnough(), roles.static(5, 1), "iid"),  # looks at the benign workers
        (FLTrust(), MimicThenTurn(until=6), roles.static(5, 2), "iid"),  # remembers
        (Mean(), LabelFlip(), roles.static(5, 1), "iid"),  # changes its batches
    ],
    ids=repr,
)
def test_without_faults_the_trace_is_the_local_engine_s(engine, rule, attack, schedule, partition):
    options = {**SMALL, "attack": attack, "roles": schedule, "partition": partition}
    real = run(MNIST, rule, engine=engine(), **options)
    for method, tolerance in (("loop", 1e-7), ("vmap", 2e-5)):
        local = run(MNIST, rule, n=5, method=method, **options)
        for column in ("loss", "qv_loss", "accuracy"):
            np.testing.assert_allclose(real.steps[column], local.steps[column], rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(real.credits, local.credits, rtol=0, atol=tolerance)
    assert (real.extras["absences"] == 0).all()
    assert (real.steps["missing"] == 0).all()


def test_a_float64_network_trains_as_on_the_local_engine(engine):
    """As numerical work and torch.set_default_dtype(torch.float64) ask for."""
    data, options = CMS.load(), {**SMALL, "attack": ALittleIsEnough(), "roles": roles.static(5, 2)}
    train, test = (replace(each, inputs=each.inputs.double()) for each in (data.train, data.test))
    data = replace(data, train=train, test=test)
    case = replace(CMS, load=lambda: data, model=lambda data: CMS.model(data).double(), similar=None)
    real = run(case, Mean(), engine=engine(), **options)
    local = run(case, Mean(), n=5, method="loop", **options)
    np.testing.assert_array_equal(real.steps["qv_loss"], local.steps["qv_loss"])
    assert (real.steps["missing"] == 0).all()


def test_a_run_in_which_no_submission_was_accepted_ends_with_an_error(engine):
    with pytest.raises(GaaError, match="No submission was accepted in 2 steps"):
        silent = engine(*(Fault("shape", i) for i in range(5)), timeout_s=15.0)
        run(MNIST, Mean(), engine=silent, **{**SMALL, "steps": 2})


def test_a_worker_with_other_samples_ends_the_run(engine, monkeypatch):
    monkeypatch.setattr("gaa_core.distributed.ray.fingerprint", lambda *arrays: fingerprint(*arrays)[::-1])
    with pytest.raises(GaaError, match="has other samples or another torch version than the server"):
        run(MNIST, Mean(), engine=engine(), **SMALL)


@pytest.mark.parametrize(
    ("rule", "kinds"),
    [
        (Mean(), {"die": "died", "stale": "twice", "shape": "shape", "smuggle": "size"}),
        (GAA(), {"nan": "nonfinite", "dtype": "dtype", "huge": "size", "babble": "error"}),
    ],
    ids=repr,
)
def test_every_fault_is_an_absence_with_its_reason(engine, rule, kinds):
    faults = [Fault(kind, worker, steps=(3,)) for worker, kind in enumerate(kinds)]
    trace = run(MNIST, rule, engine=engine(*faults), **{**SMALL, "steps": 6})
    codes = trace.extras["absences"]
    assert (codes[:3] == 0).all()
    assert [ABSENCES[code] for code in codes[3]] == [*kinds.values(), "present"]
    assert trace.steps["missing"][3] == trace.steps["nonfinite"][3] == 4
    np.testing.assert_allclose(trace.credits[3], [0, 0, 0, 0, 1], atol=1e-6)  # the others share
    assert {reason for worker in range(4) for reason in reasons(trace, worker)[4:]} <= {"restarting", "present"}
    assert (codes[:, 4] == 0).all()


@pytest.mark.parametrize("rule", [GAA(), Krum(f=1)], ids=repr)
def test_a_missing_worker_is_what_a_non_finite_one_is(engine, rule):
    """Credit 0, the others renormalised, one of `f` used up: exactly the rule of the finite mask."""
    trace = run(MNIST, rule, engine=engine(Fault("nan", worker=0)), **SMALL)
    local = run(MNIST, rule, n=5, attack=NonFinite(), roles=roles.static(5, 1), method="loop", **SMALL)
    np.testing.assert_allclose(trace.steps["qv_loss"], local.steps["qv_loss"], rtol=1e-6)
    np.testing.assert_allclose(trace.credits, local.credits, atol=1e-6)
    assert (trace.steps["missing"] == 1).all()


def test_an_attack_that_raises_is_named(engine):
    attack = lambda own, benign, generator: own / "ten"  # noqa: E731
    with pytest.raises(GaaError, match=r"The attack .* failed: TypeError"):
        run(MNIST, Mean(), engine=engine(), attack=attack, roles=roles.static(5, 5), **SMALL)
    with pytest.raises(GaaError, match="must be equal"):
        run(MNIST, Mean(), n=4, engine=engine(), **SMALL)


class Killer:
    """`times` times, at a random step: kill -9 of the process of worker 0, once it is back and has answered."""

    def __init__(self, engine: RayEngine, times: int):
        self.engine, self.left, self.killed = engine, times, []
        self.draw = random.Random(0)
        self.due = self.draw.randint(3, 30)

    def __call__(self, steps: int) -> None:
        seat = self.engine.seats[0]
        deadline = time.monotonic() + 90
        while not seat.is_ready() and time.monotonic() < deadline:  # its successor needs seconds, a step milliseconds
            time.sleep(0.05)
        if self.left and steps >= self.due and seat.answered == steps - 1:
            os.kill(seat.pid, signal.SIGKILL)
            self.killed.append(seat.pid)
            self.left -= 1
            self.due = steps + self.draw.randint(2, 30)


def test_kills_one_hang_and_garbage_at_every_step(engine):
    options = {"batch_size": 32, "lr": 0.05, "steps": 120}
    real = engine(Fault("hang", 1, steps=(50,), seconds=5.0), Fault("shape", 2), timeout_s=4.0)
    killer = Killer(real, times=3)
    trace = run(MNIST, GAA(norm_bound=2.0), engine=real, progress=killer, **options)
    absent = run(MNIST, GAA(norm_bound=2.0), n=5, attack=NonFinite(), roles=roles.static(5, 3), **options)
    assert len(set(killer.killed)) == reasons(trace, 0).count("died") == 3
    assert reasons(trace, 1)[50] == "timeout"
    assert "present" not in reasons(trace, 2)
    assert reasons(trace, 0)[-1] == reasons(trace, 1)[-1] == "present"
    assert trace.steps["seconds"].max() <= 2 * 4.0  # the server's own work aside, no step outlasts the timeout
    assert trace.accuracy >= absent.accuracy - 0.01


OWN_CLUSTER = """
import json, psutil
from gaa_core import run
from gaa_core.aggregators import Mean
from gaa_core.cases import MNIST
from gaa_core.distributed import RayEngine
engine = RayEngine(workers=2, cpus=1, object_store_bytes=100_000_000)
trace = run(MNIST, Mean(), engine=engine, steps=3, batch_size=8)
children = [process.pid for process in psutil.Process().children(recursive=True)]
print(json.dumps([trace.accuracy, children]))
"""


def test_a_cluster_of_one_s_own_is_gone_with_its_process(monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    done = subprocess.run([sys.executable, "-c", OWN_CLUSTER], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    accuracy, children = json.loads(done.stdout.splitlines()[-1])
    assert 0 <= accuracy <= 1 and len(children) > 3
    deadline = time.monotonic() + 30
    while any(map(psutil.pid_exists, children)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [pid for pid in children if psutil.pid_exists(pid)] == []


CLIENT = """
from gaa_core import run
from gaa_core.aggregators import Mean
from gaa_core.cases import MNIST
from gaa_core.distributed import RayEngine
run(MNIST, Mean(), engine=RayEngine(workers=1, address={address!r}), steps=1)
"""


def test_a_client_without_the_token_is_refused(cluster, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    environment |= {"HOME": str(tmp_path), "RAY_NUM_REDIS_GET_RETRIES": "2"}  # no token of the person who tests
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}  # another
    script = textwrap.dedent(CLIENT).format(address=cluster.address)
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode != 0
    assert "GaaError: No connection to the Ray cluster" in done.stderr
    assert "Authentication token is missing or incorrect" in done.stderr


def test_a_run_across_two_nodes_survives_the_death_of_one(cluster):
    before = []

    def kill(steps):
        if steps == 20:
            before.extend(engine.nodes())
            cluster.kill_node(1)
        if steps == 60:  # give Ray the time to notice, and the workers the time to start elsewhere
            deadline = time.monotonic() + 120
            while any(not seat.is_ready() for seat in engine.seats) and time.monotonic() < deadline:
                time.sleep(0.1)

    for _ in range(5):  # Ray is asked to spread them over both nodes, and on a busy machine may not
        engine = FaultyEngine(workers=4, address=cluster.address, timeout_s=10.0)
        run(MNIST, GAA(), engine=engine, steps=1, batch_size=4)
        if len(set(engine.nodes())) == 2:
            break
        engine.close()
    with engine:
        try:
            trace = run(MNIST, GAA(), engine=engine, progress=kill, steps=80, batch_size=16, lr=0.05)
        finally:
            cluster.restart_node(1)
    lost = [worker for worker, node in enumerate(before) if node == "127.0.0.3"]
    assert 0 < len(lost) < 4, "the workers were on both nodes"
    assert all("present" not in reasons(trace, worker)[20] for worker in lost)
    assert (trace.extras["absences"][-1] == 0).all(), "all are back"
    assert np.isfinite(trace.steps["qv_loss"]).all()
    assert trace.steps["seconds"].max() <= 2 * 10.0
