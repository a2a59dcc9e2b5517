"""A trace that is made up, for all that reads traces."""

import numpy as np
import pandas as pd
import pytest
import torch

from gaa_core.trace import Trace


def make_up(steps: int = 40, n: int = 6, *, credits: bool = True, distances: bool = True, seed: int = 0) -> Trace:
    """A trace whose first half of the workers is Byzantine from the middle of the run, and loses credit then."""
    rng = np.random.default_rng(seed)
    byzantine = np.zeros((steps, n), bool)
    byzantine[steps // 2 :, : n // 2] = True
    weights = rng.random((steps, n)) + np.where(byzantine, 0.0, 1.0)
    shares = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    table = pd.DataFrame({"step": np.arange(steps), "accuracy": np.linspace(0, 1, steps)})
    table = table.assign(loss=1.0, qv_loss=1.0, seconds=0.1, nonfinite=0)
    sent = torch.from_numpy(rng.normal(size=(steps, n, 9)))
    extras = {"distances": torch.cdist(sent, sent).numpy()} if distances else {}
    settings = {"title": "Made up", "rule": "GAA()", "attack": "none", "roles": "half", "seed": seed, "data": "none"}
    return Trace(settings, table, shares if credits else np.full_like(shares, np.nan), byzantine, extras)


@pytest.fixture
def made_up():
    """The function that makes up a trace."""
    return make_up
