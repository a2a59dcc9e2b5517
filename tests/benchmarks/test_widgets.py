"""How long the pages for JupyterLab take: a frame of the playground, opening a long trace, one move of its slider."""

import numpy as np
import pandas as pd
import pytest

from gaa_core.aggregators import GAA, Krum
from gaa_core.trace import Trace
from gaa_core.widgets import Playground, TraceExplorer

STEPS, WORKERS = 5000, 50


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved run of 5,000 steps and 50 workers, with the distances of every step."""
    draw = np.random.default_rng(0)
    credits = draw.dirichlet(np.ones(WORKERS), STEPS).astype(np.float32)
    byzantine = np.broadcast_to(np.arange(WORKERS) < 35, (STEPS, WORKERS)).copy()
    sent = draw.normal(size=(STEPS, WORKERS, 3)).astype(np.float32)
    distances = np.linalg.norm(sent[:, :, None] - sent[:, None], axis=3)
    steps = pd.DataFrame({name: np.zeros(STEPS) for name in ("step", "accuracy", "qv_loss", "seconds", "nonfinite")})
    settings = {"title": "Made up", "rule": "GAA()", "seed": 0}
    trace = Trace(settings, steps, credits, byzantine, {"distances": distances})
    return trace.save(tmp_path_factory.mktemp("r") / "run")


@pytest.fixture
def playground():
    """Two rules after 50 steps."""
    made = Playground(rules=(GAA(), Krum(f=3)))
    made.race.start(rounds=50)
    made.race.wait()
    yield made
    made.close()


def test_a_frame_of_the_playground(benchmark, playground):
    """At most 1/8 s, together with the training in between."""
    benchmark(playground._show, playground.race)


def test_a_worker_turns(benchmark, playground):
    """From the click to the button's new colour, while it trains: at most 150 ms."""
    playground.start.click()
    benchmark(playground.workers.children[1].click)


def test_opening_a_long_trace(benchmark, folder):
    """About 1 s, 50 MB of distances included."""
    benchmark(lambda: TraceExplorer(folder))


def test_moving_the_slider(benchmark, folder):
    """At most 0.15 s."""
    explorer = TraceExplorer(folder)
    places = iter(range(1, STEPS))
    benchmark(lambda: setattr(explorer.step, "value", next(places)))
