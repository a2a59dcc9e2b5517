"""Golden traces: short runs whose loss, accuracy and credits are known, so that a pure move of code changes nothing.

`python tests/test_golden.py` writes the file anew. Do that only when a change of behaviour is meant, and say so.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from gaa_core import roles, run
from gaa_core.aggregators import (
    GAA,
    BruteForce,
    Bulyan,
    CenteredClipping,
    CoordinateMedian,
    FLTrust,
    GAAPlus,
    GeometricMedian,
    Krum,
    Mean,
    NearestNeighbourMixing,
    Oracle,
    TrimmedMean,
    ZenoPlusPlus,
)
from gaa_core.attacks import ALittleIsEnough, GradientReversion, LabelFlip, RandomFault, SlowDrift, Switcher
from gaa_core.cases import CIFAR10, CMS, MNIST, Yelp

GOLDEN = Path(__file__).with_name("golden.json")

#: Another processor adds in another order; after some steps that shows in the third digit.
TOLERANCE = {"qv_loss": 0.02, "accuracy": 0.02, "credits": 0.02}


def moving(step: int) -> torch.Tensor:
    """Seven compromised workers of ten, each Byzantine in blocks of five steps of its own."""
    return torch.tensor([worker < 7 and (step // 5 + worker) % 2 == 0 for worker in range(10)])


STATIC, PRETENSE = roles.static(10, 7), roles.pretense(10, 7, until=10)
REVERSION = GradientReversion(scale=1.0)

RUNS = {
    "mean": lambda: run(MNIST, Mean(), steps=20, seed=1, method="vmap"),
    "mean, loop": lambda: run(MNIST, Mean(), steps=20, seed=1, method="loop"),
    "krum, random fault": lambda: run(
        MNIST, Krum(f=3), attack=RandomFault(), roles=roles.static(10, 3), steps=20, method="vmap"
    ),
    "median, little is enough": lambda: run(
        CMS, CoordinateMedian(), attack=ALittleIsEnough(), roles=roles.static(10, 4), steps=20, method="vmap"
    ),
    "bulyan, label flip": lambda: run(
        Yelp, Bulyan(f=1), attack=LabelFlip(classes=2), roles=roles.static(10, 1), steps=20, method="vmap"
    ),
    "geometric median": lambda: run(
        MNIST, GeometricMedian(), attack=REVERSION, roles=roles.static(10, 3), steps=20, method="vmap"
    ),
    "brute force": lambda: run(
        CMS, BruteForce(f=3), attack=Switcher(), roles=roles.static(10, 3), steps=20, method="vmap"
    ),
    "mixing and trimmed mean, dirichlet": lambda: run(
        MNIST,
        NearestNeighbourMixing(f=2) | TrimmedMean(f=2),
        attack=REVERSION,
        roles=roles.static(10, 2),
        partition="dirichlet",
        steps=20,
        method="vmap",
    ),
    "centred clipping": lambda: run(
        CMS, CenteredClipping(), attack=SlowDrift(), roles=PRETENSE, steps=20, method="vmap"
    ),
    "fltrust": lambda: run(CMS, FLTrust(), attack=REVERSION, roles=STATIC, steps=20, method="vmap"),
    "zeno++": lambda: run(Yelp, ZenoPlusPlus(), attack=REVERSION, roles=STATIC, steps=20, method="vmap"),
    "oracle, convolutions": lambda: run(
        CIFAR10, Oracle(), attack=REVERSION, roles=STATIC, steps=6, method="loop", batch_size=16
    ),
    "gaa": lambda: run(MNIST, GAA(), attack=REVERSION, roles=STATIC, steps=40, method="vmap"),
    "gaa, pretense": lambda: run(CMS, GAA(), attack=REVERSION, roles=PRETENSE, steps=40, method="vmap"),
    "gaa bounded, changing roles": lambda: run(
        CMS, GAA(norm_bound=2.0, policy_lr=0.05), attack=REVERSION, roles=moving, steps=40, method="vmap"
    ),
    "gaa plus": lambda: run(Yelp, GAAPlus(), attack=REVERSION, roles=STATIC, steps=40, method="vmap"),
    "gaa plus, changing roles": lambda: run(CMS, GAAPlus(), attack=REVERSION, roles=moving, steps=40, method="vmap"),
}


def measured(name: str) -> dict:
    """What is compared: the last f_B and accuracy, and the mean credits over the last ten steps."""
    trace = RUNS[name]()
    credits = trace.credits[-10:].mean(axis=0)
    return {
        "qv_loss": round(float(trace.steps["qv_loss"].iloc[-1]), 4),
        "accuracy": round(trace.accuracy, 4),
        "credits": [round(float(credit), 3) for credit in credits] if trace.has_credits else None,
    }


@pytest.fixture(autouse=True)
def _packaged_data(monkeypatch):
    monkeypatch.delenv("GAA_DATA", raising=False)


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_what_it_was(name):
    wanted, found = json.loads(GOLDEN.read_text(encoding="utf-8"))[name], measured(name)
    assert found["qv_loss"] == pytest.approx(wanted["qv_loss"], rel=TOLERANCE["qv_loss"], abs=0.002)
    assert found["accuracy"] == pytest.approx(wanted["accuracy"], abs=TOLERANCE["accuracy"])
    assert (found["credits"] is None) == (wanted["credits"] is None)
    if wanted["credits"] is not None:
        np.testing.assert_allclose(found["credits"], wanted["credits"], atol=TOLERANCE["credits"])


if __name__ == "__main__":
    os.environ.pop("GAA_DATA", None)
    GOLDEN.write_text(json.dumps({name: measured(name) for name in RUNS}, indent=1) + "\n", encoding="utf-8")
