"""Golden traces: short runs whose loss, accuracy and credits are known, so that a pure move of code changes nothing.

`python tests/test_golden.py` writes the file anew. Do that only when a change of behaviour is meant, and say so.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from gaa_core import aggregators as a
from gaa_core import roles, run
from gaa_core.attacks import ALittleIsEnough, GradientReversion, LabelFlip, RandomFault, SlowDrift, Switcher
from gaa_core.cases import CIFAR10, CMS, MNIST, Yelp

GOLDEN = Path(__file__).with_name("golden.json")

#: Another processor adds in another order; after some steps that shows in the third digit.
TOLERANCE = {"qv_loss": 0.02, "accuracy": 0.02, "credits": 0.02}


def moving(step: int) -> torch.Tensor:
    """Seven compromised workers of ten, each Byzantine in blocks of five steps of its own."""
    return torch.tensor([worker < 7 and (step // 5 + worker) % 2 == 0 for worker in range(10)])


def attacked(attack, schedule, **options):
    return {"attack": attack, "roles": schedule} | options


FEW, STATIC, PRETENSE = roles.static(10, 2), roles.static(10, 7), roles.pretense(10, 7, until=10)
REVERSION = GradientReversion(scale=1.0)
MIXED = a.NearestNeighbourMixing(f=2) | a.TrimmedMean(f=2)

RUNS = {  # name: (case, rule, what differs from 20 steps with gradients by vmap)
    "mean": (MNIST, a.Mean(), {"seed": 1}),
    "mean, loop": (MNIST, a.Mean(), {"seed": 1, "method": "loop"}),
    "krum, random fault": (MNIST, a.Krum(f=3), attacked(RandomFault(), roles.static(10, 3))),
    "median, little is enough": (CMS, a.CoordinateMedian(), attacked(ALittleIsEnough(), roles.static(10, 4))),
    "bulyan, label flip": (Yelp, a.Bulyan(f=1), attacked(LabelFlip(classes=2), roles.static(10, 1))),
    "geometric median": (MNIST, a.GeometricMedian(), attacked(REVERSION, roles.static(10, 3))),
    "brute force": (CMS, a.BruteForce(f=3), attacked(Switcher(), roles.static(10, 3))),
    "mixing and trimmed mean, dirichlet": (MNIST, MIXED, attacked(REVERSION, FEW, partition="dirichlet")),
    "centred clipping": (CMS, a.CenteredClipping(), attacked(SlowDrift(), PRETENSE)),
    "fltrust": (CMS, a.FLTrust(), attacked(REVERSION, STATIC)),
    "zeno++": (Yelp, a.ZenoPlusPlus(), attacked(REVERSION, STATIC)),
    "oracle, convolutions": (CIFAR10, a.Oracle(), attacked(REVERSION, STATIC, steps=6, method="loop", batch_size=16)),
    "gaa": (MNIST, a.GAA(), attacked(REVERSION, STATIC, steps=40)),
    "gaa, pretense": (CMS, a.GAA(), attacked(REVERSION, PRETENSE, steps=40)),
    "gaa bounded, changing roles": (CMS, a.GAA(norm_bound=2.0, policy_lr=0.05), attacked(REVERSION, moving, steps=40)),
    "gaa plus": (Yelp, a.GAAPlus(), attacked(REVERSION, STATIC, steps=40)),
    "gaa plus, changing roles": (CMS, a.GAAPlus(), attacked(REVERSION, moving, steps=40)),
}


def measured(name: str) -> dict:
    """What is compared: the last f_B and accuracy, and the mean credits over the last ten steps."""
    case, rule, options = RUNS[name]
    trace = run(case, rule, **({"steps": 20, "method": "vmap"} | options))
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
