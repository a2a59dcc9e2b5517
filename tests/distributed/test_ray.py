"""Real workers: without faults the local engine's trace; with faults an absence, its reason, and a run that ends."""

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import psutil
import pytest

from gaa_core import roles, run
from gaa_core.aggregators import GAA, FLTrust, Krum, Mean
from gaa_core.attacks import (
    ALittleIsEnough,
    GradientReversion,
    LabelFlip,
    MimicThenTurn,
    NonFinite,
    RandomFault,
)
from gaa_core.cases import MNIST
from gaa_core.distributed import Fault, RayEngine
from gaa_core.engine import ABSENCES
from gaa_core.errors import GaaError

pytestmark = pytest.mark.slow

SMALL = {"steps": 12, "batch_size": 16, "lr": 0.05}
NOBODY = roles.static(5, 0)


def reasons(trace, worker: int) -> list[str]:
    """Why this worker's submission was missing, step by step."""
    return [trace.settings["absences"][code] for code in trace.extras["absences"][:, worker]]


def test_importing_the_package_does_not_import_ray():
    code = "import sys, gaa_core.sweep as _, gaa_core.distributed as d; d.RayEngine(4); sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("rule", "attack", "schedule"),
    [
        (GAA(), None, NOBODY),
        (GAA(), GradientReversion(), roles.static(5, 2)),
        (GAA(norm_bound=2.0), RandomFault(std=1.0), roles.resampled(5, 0.5)),  # draws numbers together
        (Krum(f=1), ALittleIsEnough(), roles.static(5, 1)),  # looks at the honest
        (FLTrust(), MimicThenTurn(until=6), roles.static(5, 2)),  # remembers
        (Mean(), LabelFlip(), roles.static(5, 1)),  # changes its batches
    ],
    ids=repr,
)
def test_without_faults_the_trace_is_the_local_engine_s(engine, rule, attack, schedule):
    options = {**SMALL, "attack": attack, "roles": schedule}
    real = run(MNIST, rule, engine=engine, **options)
    for method, tolerance in (("loop", 1e-7), ("vmap", 2e-5)):
        local = run(MNIST, rule, n=5, method=method, **options)
        for column in ("loss", "qv_loss", "accuracy"):
            np.testing.assert_allclose(real.steps[column], local.steps[column], rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(real.credits, local.credits, rtol=0, atol=tolerance)
    assert (real.extras["absences"] == 0).all()
    assert (real.steps["missing"] == 0).all()


def test_workers_with_shards_of_their_own_draw_the_same_batches(engine):
    options = {**SMALL, "partition": "dirichlet"}
    real, local = run(MNIST, Mean(), engine=engine, **options), run(MNIST, Mean(), n=5, method="loop", **options)
    np.testing.assert_allclose(real.steps["loss"], local.steps["loss"], rtol=1e-7)


def test_a_closed_channel_leaves_attackers_to_themselves(engine):
    engine.collusion = False
    try:
        options = {**SMALL, "attack": ALittleIsEnough(), "roles": roles.static(5, 2)}
        alone = run(MNIST, Mean(), engine=engine, **options)
    finally:
        engine.collusion = True
    together = run(MNIST, Mean(), engine=engine, **options)
    assert (alone.steps["missing"] == 0).all()
    assert not np.allclose(alone.steps["qv_loss"], together.steps["qv_loss"], rtol=1e-4)


@pytest.mark.parametrize("rule", [Mean(), GAA()], ids=repr)
def test_every_fault_is_an_absence_with_its_reason(faulty, rule):
    faults = [Fault(kind, worker, steps=(3,)) for worker, kind in enumerate(("die", "stale", "shape", "smuggle"))]
    if isinstance(rule, GAA):
        faults = [Fault(kind, worker, steps=(3,)) for worker, kind in enumerate(("nan", "dtype", "huge", "babble"))]
    trace = run(MNIST, rule, engine=faulty(*faults), **{**SMALL, "steps": 6})
    expected = ["nonfinite", "dtype", "size", "error"] if isinstance(rule, GAA) else ["died", "twice", "shape", "size"]
    codes = trace.extras["absences"]
    assert (codes[:3] == 0).all()
    assert [ABSENCES[code] for code in codes[3]] == [*expected, "present"]
    assert trace.steps["missing"][3] == trace.steps["nonfinite"][3] == 4
    np.testing.assert_allclose(trace.credits[3], [0, 0, 0, 0, 1], atol=1e-6)  # the others share
    assert {reason for worker in range(4) for reason in reasons(trace, worker)[4:]} <= {"restarting", "present"}
    assert (codes[:, 4] == 0).all()


def test_a_missing_worker_is_what_a_non_finite_one_is(faulty):
    """Credit 0, the others renormalised, one of `f` used up: exactly the rule of the finite mask."""
    missing = Fault("nan", worker=0)
    for rule in (GAA(), Krum(f=1)):
        trace = run(MNIST, rule, engine=faulty(missing), **SMALL)
        local = run(
            MNIST, rule, n=5, attack=NonFinite(), roles=roles.static(5, 1), method="loop", **SMALL
        )  # worker 0 again, at every step
        np.testing.assert_allclose(trace.steps["qv_loss"], local.steps["qv_loss"], rtol=1e-6)
        np.testing.assert_allclose(trace.credits, local.credits, atol=1e-6)
        assert (trace.steps["missing"] == 1).all()


def test_a_first_answer_for_an_earlier_step_is_late(faulty):
    trace = run(MNIST, Mean(), engine=faulty(Fault("stale", worker=2, steps=(0,))), **{**SMALL, "steps": 2})
    assert reasons(trace, 2)[0] == "late"


def test_an_oversized_answer_never_reaches_the_server(faulty):
    engine = faulty(Fault("huge", 0, steps=(1,)), Fault("smuggle", 1, steps=(1,)))  # 10 MB each in place of 0.1
    run(MNIST, Mean(), engine=engine, **{**SMALL, "steps": 1})
    before = psutil.Process().memory_info()
    trace = run(MNIST, Mean(), engine=engine, **{**SMALL, "steps": 2})
    after = psutil.Process().memory_info()
    assert trace.steps["missing"].tolist() == [0, 2]
    assert after.rss - after.shared - (before.rss - before.shared) < 8e6


def test_an_attack_that_raises_is_told_and_not_counted_as_a_fault_of_all(faulty):
    engine = faulty()
    attack = GradientReversion(scale="ten")
    with pytest.raises(GaaError, match=r"Every worker raised an error at step 0"):
        run(MNIST, Mean(), engine=engine, attack=attack, roles=roles.static(5, 5), **SMALL)


def test_half_the_bytes_cost_little_accuracy(engine):
    options = {"steps": 60, "batch_size": 32, "lr": 0.05}
    whole = run(MNIST, GAA(), engine=engine, **options)
    engine.transport = "float16"
    try:
        half = run(MNIST, GAA(), engine=engine, **options)
    finally:
        engine.transport = "float32"
    assert (half.steps["missing"] == 0).all()
    assert half.accuracy == pytest.approx(whole.accuracy, abs=0.01)


def test_a_number_of_workers_that_is_not_n_is_refused(engine):
    with pytest.raises(GaaError, match="must be equal"):
        run(MNIST, Mean(), n=4, engine=engine, **SMALL)


@pytest.mark.parametrize("options", [{"workers": 0}, {"timeout_s": 0}, {"transport": "pigeon"}])
def test_engines_that_cannot_be_are_refused(options):
    with pytest.raises(GaaError):
        RayEngine(**options)


class Killer:
    """Ten times, at a random step: kill -9 of the process of worker 0, once it is back and has answered."""

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


def test_ten_kills_one_hang_and_garbage_at_every_step(faulty):
    options = {"batch_size": 32, "lr": 0.05, "steps": 400}
    hang = Fault("hang", 1, steps=(50,), seconds=5.0)
    engine = faulty(hang, Fault("shape", 2), timeout_s=4.0)
    killer = Killer(engine, times=10)
    trace = run(MNIST, GAA(norm_bound=2.0), engine=engine, progress=killer, **options)
    absent = run(MNIST, GAA(norm_bound=2.0), n=5, attack=NonFinite(), roles=roles.static(5, 3), **options)
    assert len(set(killer.killed)) == 10
    assert reasons(trace, 0).count("died") == 10
    assert reasons(trace, 1)[50] == "timeout"
    assert "present" not in reasons(trace, 2)
    assert reasons(trace, 0)[-1] == reasons(trace, 1)[-1] == "present"
    assert trace.steps["seconds"].max() <= 4.0 + 1.0
    assert trace.accuracy >= absent.accuracy - 0.01


def test_a_run_can_go_on_on_real_workers(engine, tmp_path):
    options = {**SMALL, "steps": 20, "attack": RandomFault(std=1.0), "roles": roles.static(5, 2)}

    class Crash(Exception):
        pass

    def crash(steps):
        if steps == 13:
            raise Crash

    path = tmp_path / "run.pt"
    with pytest.raises(Crash):
        run(MNIST, GAA(), engine=engine, checkpoint=path, checkpoint_every=6, progress=crash, **options)
    resumed = run(MNIST, GAA(), engine=engine, checkpoint=path, resume=True, **options)
    whole = run(MNIST, GAA(), n=5, method="loop", **options)
    np.testing.assert_allclose(resumed.steps["qv_loss"], whole.steps["qv_loss"], rtol=1e-6)
    np.testing.assert_allclose(resumed.credits, whole.credits, atol=1e-6)


SCRIPT = """
import json, psutil
from gaa_core import run
from gaa_core.aggregators import Mean
from gaa_core.cases import MNIST
from gaa_core.distributed import RayEngine
engine = RayEngine(workers=2, cpus=1, object_store_bytes=100_000_000)
trace = run(MNIST, Mean(), engine=engine, steps=3, batch_size=8)
children = [process.pid for process in psutil.Process().children(recursive=True)]
{end}
print(json.dumps([trace.accuracy, children]))
"""


def test_a_cluster_of_one_s_own_is_gone_with_its_process(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(end="")], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    accuracy, children = json.loads(done.stdout.splitlines()[-1])
    assert 0 <= accuracy <= 1
    assert len(children) > 3
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


@pytest.mark.parametrize("token", ["", "0" * 64], ids=["none", "another"])
def test_a_client_without_the_token_is_refused(cluster, token, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    environment |= {"HOME": str(tmp_path), "RAY_NUM_REDIS_GET_RETRIES": "2"}  # no token of the person who tests
    if token:
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    script = textwrap.dedent(CLIENT).format(address=cluster.address)
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode != 0
    assert "GaaError: No connection to the Ray cluster" in done.stderr
    assert "Authentication token is missing or incorrect" in done.stderr


def test_a_run_across_two_nodes_survives_the_death_of_one(cluster, faulty):
    engine = faulty(timeout_s=10.0)
    when = {}

    def kill(steps):
        if steps == 20:
            when["before"] = engine.nodes()
            cluster.kill_raylet(1)
        if steps == 60:  # give Ray the time to notice, and the workers the time to start elsewhere
            deadline = time.monotonic() + 120
            while any(not seat.is_ready() for seat in engine.seats) and time.monotonic() < deadline:
                time.sleep(0.1)

    try:
        trace = run(MNIST, GAA(), engine=engine, progress=kill, steps=80, batch_size=16, lr=0.05)
    finally:
        cluster.replace_node(1)
    assert len(set(when["before"])) == 2, "the workers were on both nodes"
    lost = [worker for worker, node in enumerate(when["before"]) if node == "127.0.0.3"]
    assert 0 < len(lost) < 5
    assert all("present" not in reasons(trace, worker)[20] for worker in lost)
    assert (trace.extras["absences"][-1] == 0).all(), "everybody is back"
    assert np.isfinite(trace.steps["qv_loss"]).all()
    assert trace.steps["seconds"].max() <= 11.0
