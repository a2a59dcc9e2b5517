"""Skewness: which way gradients are lopsided, and small steps where Byzantine workers can hardly be told."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from gaa_core import analysis, run, seeding, studies
from gaa_core.aggregators.gaa_plus import GAAPlus, skewness
from gaa_core.aggregators.gaa_plus.evidence import Calibration
from gaa_core.aggregators.gaa_plus.mind import Mind
from gaa_core.attacks import GradientReversion
from gaa_core.cases import CMS, MNIST
from gaa_core.cases.base import Split
from gaa_core.errors import GaaError
from gaa_core.league.grid import SETTINGS


def gradients(classes: int, workers: int = 10, samples: int = 16) -> torch.Tensor:
    """Gradients [workers, classes * 30] of softmax regression on random features that are never negative."""
    rng = seeding.generator(classes, "features")
    inputs = torch.randn(workers, samples, 30, generator=rng).clamp_min(0)
    targets = torch.randint(classes, (workers, samples), generator=rng)
    slopes = torch.softmax(torch.randn(workers, samples, classes, generator=rng), dim=-1)
    slopes.scatter_add_(2, targets[..., None], -torch.ones(workers, samples, 1))
    return torch.einsum("nsc,nsf->ncf", slopes, inputs).flatten(1)


def twin(rows: np.ndarray) -> np.ndarray:
    """The same by numpy's singular vectors, in double precision."""
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    common = np.linalg.svd(rows, full_matrices=False)[2][0]
    rest = rows - np.outer(rows @ common, common)
    third = -(rest**3).sum(axis=1) / np.linalg.norm(rest, axis=1) ** 3
    whole = -(np.abs(rows) * rows).sum(axis=1)
    found = third / np.linalg.norm(third)
    return found + whole / np.linalg.norm(whole) if whole @ third > 0 else found


def test_honest_gradients_of_many_classes_are_lopsided_one_way_and_reversed_ones_the_other():
    rows = gradients(classes=10)
    found = skewness.skewness(rows)
    assert (found > 0).all()
    signs = torch.tensor([1.0, -1.0] * 5)
    torch.testing.assert_close(skewness.skewness(signs[:, None] * rows), signs * found)


def test_of_two_classes_the_coordinates_cancel():
    assert skewness.skewness(gradients(classes=2)).abs().max() > 0  # rounding, in units of itself: no evidence
    rows = gradients(classes=2)
    assert (rows.pow(3).sum(dim=1).abs() < 1e-3 * rows.abs().pow(3).sum(dim=1)).all()


@pytest.mark.parametrize("agree", [True, False])
def test_is_what_its_twin_finds(agree):
    rows = gradients(classes=5)
    if not agree:  # what all have in common is lopsided the other way
        rows = rows / rows.norm(dim=1, keepdim=True) + 3.0 / rows.shape[1] ** 0.5
    found = skewness.skewness(rows)
    np.testing.assert_allclose(found, twin(rows.double().numpy()), rtol=1e-3, atol=1e-4)
    assert (found.norm() > 1.2) == agree


def test_lengths_do_not_matter_and_who_says_nothing_is_not_lopsided():
    rows = gradients(classes=10)
    scales = torch.logspace(-15, 15, 10)
    torch.testing.assert_close(skewness.skewness(scales[:, None] * rows), skewness.skewness(rows), rtol=1e-5, atol=1e-6)
    rows[4] = 0.0
    assert skewness.skewness(rows)[4] == 0 and skewness.skewness(torch.zeros(3, 5)).tolist() == [0.0] * 3
    assert skewness.skewness(rows[:1]).isfinite().all()


def test_of_very_many_columns_some_are_looked_at(monkeypatch):
    rows = gradients(classes=10)
    monkeypatch.setattr(skewness, "COLUMNS", 100)
    assert rows.shape[1] == 300
    torch.testing.assert_close(skewness.skewness(rows), skewness.skewness(rows[:, ::3]))


@pytest.mark.parametrize(("targets", "tells"), [([0, 1, 1, 0], False), ([0, 1, 2], True), ([0, 2], False)])
def test_it_tells_where_the_samples_are_of_three_classes(targets, tells):
    qv = Split(torch.zeros(len(targets), 1), torch.tensor(targets))
    assert skewness.tells(SimpleNamespace(qv=qv)) is tells
    assert not skewness.tells(SimpleNamespace())


def test_what_is_not_foretold_says_nothing_before_it_was_learned():
    new, values = Calibration(10, 4.0, foretold=False), torch.tensor([1.0, -1.0]).double()
    assert new.log_odds(values).tolist() == [0.0, 0.0]
    new.learn(values, torch.tensor([1.0, 0.0]).double(), torch.tensor([0.0, 1.0]).double())
    assert new.log_odds(values)[0] > 0.5 > -0.5 > new.log_odds(values)[1]


@pytest.mark.parametrize(
    ("case", "rule", "seen"),
    [(MNIST, GAAPlus(), True), (MNIST, GAAPlus(use_skewness=False), False), (CMS, GAAPlus(), False)],
)
def test_it_is_seen_where_there_are_three_classes_and_it_is_not_switched_off(monkeypatch, case, rule, seen):
    sights, see = [], Mind.see
    monkeypatch.setattr(Mind, "see", lambda *arguments: sights.append(see(*arguments)) or sights[-1])
    run(case, rule, steps=3, batch_size=8, lr=0.05)
    assert [("skewness" in sight.values) for sight in sights] == [seen] * 3


def test_who_it_is_learned_from():
    """From a worker that is trusted, by the QV gradient, too; and before anything was learned it says nothing."""
    mind = Mind(GAAPlus(), 4, 2, seeding.generator(0, "agent"))
    kind, values = mind.beliefs.kinds["skewness"], torch.tensor([0.9, 0.7, -0.8, -0.8]).double()
    assert not kind.log_odds(values).any()
    odds = {name: torch.zeros(4, dtype=torch.float64) for name in mind.policy.names} | {"qv": 4 * values.sign()}
    trust = mind.policy.trust(odds)
    assert trust.tolist() == [1.0, 1.0, 0.0, 0.0]
    one = torch.ones(4, dtype=torch.float64)
    sight = SimpleNamespace(
        lengths=one, values={"skewness": values}, cosine=torch.eye(4).double(), alike=one, finite=one.bool()
    )
    mind.beliefs.learn(sight, odds, trust, mind.policy, young=False)
    assert kind.mean == pytest.approx(0.8) and kind.other_mean == pytest.approx(-0.8)


def test_while_it_tells_liars_nothing_is_unclear():
    mind = Mind(GAAPlus(), 4, 2, seeding.generator(0, "agent"))
    mind.bearings.was_clear, mind.bearings.byzantine = True, 0.9
    for kind in mind.beliefs.kinds.values():
        kind.steps, kind.known, kind.variance, kind.other_variance = 20, 20.0, 1.0, 1.0  # 0 spreads apart
    odds = {name: torch.zeros(4, dtype=torch.float64) for name in mind.policy.names}
    alike, trust = torch.ones(4, dtype=torch.float64), torch.tensor([1.0, 0.0, 0.0, 0.0]).double()
    assert mind.unclear(odds, trust, alike)
    mind.beliefs.kinds["skewness"].mean = 4.0
    assert not mind.unclear(odds, trust, alike)


@pytest.mark.parametrize("verdict", ["accept", "refuse"])
def test_a_careful_step_is_a_share_of_one_and_teaches_no_direction(verdict):
    mind = Mind(GAAPlus(caution=0.2), 3, 2, seeding.generator(0, "agent"))
    refused = []
    mind.server = SimpleNamespace(
        parameters=torch.zeros(2), lr=1.0, qv_loss=lambda *theta: 1.0, refuse=lambda: refused.append(1)
    )
    mind.watchdog.judge, mind.yardstick, mind.memory.accepted = lambda *losses: verdict, 1.0, 20
    one = torch.ones(3, dtype=torch.float64)
    sight = SimpleNamespace(
        gradients=torch.eye(3)[:, :2], lengths=one, values={}, cosine=torch.eye(3).double(), alike=one, counts=one,
        finite=torch.ones(3, dtype=torch.bool),
    )  # fmt: skip
    odds = {name: torch.zeros(3, dtype=torch.float64) for name in mind.policy.names}
    update, credits = mind.tread_carefully(sight, odds, torch.tensor([1.0, 0.5, 0.0]).double())
    expected = [0.2 * 2 / 3, 0.2 / 3] if verdict == "accept" else [0.0, 0.0]
    assert update.tolist() == pytest.approx(expected) and credits.tolist() == pytest.approx([*expected, 0.0])
    assert mind.memory.accepted == 20 and len(refused) == (verdict == "refuse")
    assert (mind.beliefs.lengths.usual > 0) == (verdict == "accept")


@pytest.mark.parametrize("caution", [-0.1, 1.1])
def test_caution_is_a_share(caution):
    with pytest.raises(GaaError, match="caution"):
        GAAPlus(caution=caution)


@pytest.mark.slow
def test_late_in_training_liars_are_still_told():
    """At every step anew, 70 % reverse their gradients; a step without credit counts as guessing."""
    setting, found = SETTINGS["mnist"], []
    schedule = studies.schedule("resampled", 10, 0.7, setting.steps, 104)
    for rule in (GAAPlus(), GAAPlus(caution=0.0)):
        trace = run(MNIST, rule, attack=GradientReversion(), roles=schedule, n=10, seed=104, **setting.options())
        found.append(analysis.detection_table(pd.DataFrame([{"rule": ""}]), [trace])["auc_steps"].iloc[0])
    cautious, silent = found
    assert cautious > 0.95 and silent < cautious - 0.05
