"""Reading traces: hand-computed values, equality with scikit-learn and a plain GeoMed+, made-up runs told apart."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from gaa_core import analysis, roles, run
from gaa_core.analysis.detection import METHODS, Detection
from gaa_core.cases import MNIST
from gaa_core.errors import GaaError, UnknownName
from gaa_core.trace import Trace

N, STEPS = 10, 120
SCHEDULES = {
    "static": lambda seed: roles.static(N, 6),
    "pretense": lambda seed: roles.pretense(N, 6, until=50),
    "randomized": lambda seed: roles.randomized(N, 6, period=20, seed=seed),
    "resampled": lambda seed: roles.resampled(N, 0.6, seed=seed),
}


def made_up(schedule="static", seed=0, steps=STEPS, distances=True):
    """A run as a policy would leave it that slowly moves credit away from the workers that are Byzantine at a step."""
    random = np.random.default_rng(seed)
    byzantine = SCHEDULES[schedule](seed).table(steps).numpy()
    harm = (byzantine - byzantine.mean(axis=1, keepdims=True)).cumsum(axis=0)
    logs = -0.05 * harm + 0.02 * random.standard_normal((steps, N))
    credits = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
    reward = 0.01 * (1 - 2 * (credits * byzantine).sum(axis=1)) + 0.001 * random.standard_normal(steps)
    qv_loss = 2.0 - np.concatenate([[0.0], reward.cumsum()[:-1]])
    table = pd.DataFrame({"step": range(steps), "qv_loss": qv_loss, "reward": reward, "loss": 1.0, "accuracy": 0.5})
    described = {"rule": "GAA()", "roles": repr(SCHEDULES[schedule](seed)), "seed": seed, "title": "Made up"}
    points = np.where(byzantine, 5.0, 0.0) + random.standard_normal((steps, N))
    extras = {"distances": np.abs(points[:, :, None] - points[:, None, :]).astype(np.float32)} if distances else {}
    return Trace(described, table, credits.astype(np.float32), byzantine, extras)


def small(credits, byzantine, **extras):
    """A trace of given credits [steps, n] and roles."""
    credits, byzantine = np.array(credits, dtype=np.float32), np.array(byzantine, dtype=bool)
    table = pd.DataFrame({"step": range(len(credits)), "qv_loss": 1.0, "reward": 0.0})
    return Trace({"rule": "GAA()", "roles": "static(byzantine=1)", "seed": 0}, table, credits, byzantine, extras)


# Detection


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_the_area_of_a_step_is_that_of_scikit_learn(seed):
    random = np.random.default_rng(seed)
    scores = random.integers(0, 4, (6, 7)).astype(float)  # many ties
    byzantine = random.random((6, 7)) < 0.4
    area = Detection("credits", scores, byzantine, byzantine).auc
    for step in range(6):
        if byzantine[step].any() and not byzantine[step].all():
            assert area[step] == pytest.approx(roc_auc_score(byzantine[step], scores[step]))
        else:
            assert np.isnan(area[step])


def plain_geo_med_plus(distances, count):
    """Who is removed, as the baseline's definition has it."""
    remaining = list(range(len(distances)))
    removed = []
    while len(removed) < count:
        worst = max(remaining, key=lambda worker: distances[worker, remaining].sum())
        remaining.remove(worst)
        removed.append(worst)
    return removed


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(3, 9))
def test_one_order_gives_the_removals_of_every_count(seed, n):
    points = np.random.default_rng(seed).standard_normal((1, n, 3))
    distances = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
    order = analysis.geo_med_plus_order(distances)[0]
    for count in range(n - 1):
        assert set(np.argsort(-order)[:count]) == set(plain_geo_med_plus(distances[0], count))
    distances[:, 1, 0] = distances[:, 0, 1] = distances[:, 1, 2:] = distances[:, 2:, 1] = np.inf
    assert analysis.geo_med_plus_order(distances)[0].argmax() == 1, "who is infinitely far is removed first"


def test_as_many_are_flagged_as_there_are_and_equal_ones_from_the_end():
    trace = small([[0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.25, 0.25]], [[1, 1, 0, 0], [1, 0, 0, 0]])
    assert analysis.detect(trace).flagged.tolist() == [[1, 1, 0, 0], [0, 0, 0, 1]]
    assert analysis.detect(trace, below=1.0).flagged.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]
    averaged = analysis.detect(trace, window=2).scores
    np.testing.assert_allclose(averaged[1], [-0.175, -0.225, -0.275, -0.325], atol=1e-6)


def test_the_summary_by_hand():
    byzantine = np.ones((20, 1), dtype=bool) & np.array([True, True, False, False])
    credits = np.tile([0.1, 0.2, 0.3, 0.4], (20, 1))
    credits[:4] = [0.4, 0.1, 0.2, 0.3]  # the first worker is found from step 4 on
    detection = analysis.detect(small(credits, byzantine))
    np.testing.assert_array_equal(detection.delays, [4, 0, np.nan, np.nan])
    summary = detection.summary()
    assert summary["auc_end"] == summary["precision"] == summary["recall"] == summary["found"] == 1.0
    assert summary["delay"] == 4.0
    assert summary["auc_steps"] == pytest.approx((4 * 0.5 + 16) / 20)
    untold = analysis.detect(small(credits, byzantine), below=0.5).summary()
    assert (untold["precision"], untold["recall"]) == (1.0, 0.5)
    late, flagged = np.zeros((20, 2), dtype=bool), np.zeros((20, 2), dtype=bool)  # a delay counts from the first attack
    late[5:, 0] = flagged[:3, 0] = flagged[8:, 0] = True
    np.testing.assert_array_equal(Detection("credits", flagged * 1.0, flagged, late).delays, [3, np.nan])


def test_both_ways_find_the_attackers_of_made_up_runs():
    traces = [made_up(seed=seed) for seed in range(2)]
    table = pd.DataFrame([{"rule": "GAA()", "schedule": "static", "ratio": 0.6, "seed": seed} for seed in range(2)])
    for by in METHODS:
        found = analysis.detection_table(table, traces, by=by)
        assert list(found["seed"]) == [0, 1] and set(found["by"]) == {by}
    assert (analysis.detection_table(table, traces)["auc_end"] == 1.0).all()
    false, true, area = analysis.roc([analysis.detect(each) for each in traces])
    assert area > 0.95 and (np.diff(false) >= 0).all() and true[-1] == 1.0


def test_a_diverged_model_leaves_no_verdict_but_no_error_either():
    trace = made_up()
    trace.credits[60:] = np.nan
    trace.steps.loc[60:, ["qv_loss", "reward"]] = np.nan
    assert analysis.detect(trace).auc[-1] == 0.5
    assert np.isfinite(analysis.worker_features(trace).to_numpy()).all()
    assert analysis.groups(trace).labels.shape == (N,)
    assert analysis.turning_points(trace)["alarm"].between(55, 65).all()


NO_CREDITS = dataclasses.replace(made_up(), credits=np.full((STEPS, N), np.nan, dtype=np.float32))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: analysis.detect(made_up(distances=False), by="credit"), "Did you mean 'credits'"),
        (lambda: analysis.detect(made_up(distances=False), by="GeoMed+"), "record_distances=True"),
        (lambda: analysis.detect(made_up(), window=0), "window between 1"),
        (lambda: analysis.detect(made_up(), below=0.5, by="GeoMed+"), "for credits only"),
        (lambda: analysis.groups(made_up(), since=STEPS), "between 0 and 119"),
        (lambda: analysis.detect(NO_CREDITS), "gives no credits"),
        (lambda: analysis.groups(NO_CREDITS), "gives no credits"),
        (lambda: analysis.turning_points(NO_CREDITS), "gives no credits"),
        (lambda: analysis.worker_features(NO_CREDITS), "gives no credits"),
        (lambda: analysis.sides(made_up(distances=False)), "record_distances"),
        (lambda: analysis.classify_behaviour([made_up(), made_up(seed=1)], [made_up()]), r"found \[0\] in both"),
        (lambda: analysis.classify_behaviour([made_up()], []), "found 1 and 0"),
        (lambda: analysis.true_behaviour(dataclasses.replace(made_up(), settings={"roles": "mine"})), "mine has no"),
    ],
)
def test_what_cannot_be_read_is_said(wrong, words):
    with pytest.raises((GaaError, UnknownName), match=words):
        wrong()


def test_a_run_keeps_the_distances_of_what_was_submitted(tmp_path):
    seen = []

    def rule(gradients):
        seen.append(gradients.clone())
        return gradients.mean(dim=0)

    def forge(own, honest, generator):
        return torch.full_like(own, torch.nan)

    options = {"n": 4, "steps": 2, "batch_size": 4, "attack": forge, "roles": roles.static(4, 1)}
    trace = run(MNIST, rule, record_distances=True, **options)
    trace = Trace.load(trace.save(tmp_path / "run"))
    kept = trace.extras["distances"]
    assert kept.shape == (2, 4, 4) and kept.dtype == np.float32
    assert np.isinf(kept[:, 0, 1:]).all() and np.isinf(kept[:, 1:, 0]).all()
    expected = [torch.cdist(each.double(), each.double()) for each in seen]
    np.testing.assert_allclose(kept[:, 1:, 1:], torch.stack(expected), rtol=1e-4, atol=1e-4)
    assert "distances" not in run(MNIST, rule, **options).extras


# Turning points


def pretender(turn, seed=0):
    """A made-up run in which f_B falls until pretenders turn, then rises until their credit is gone."""
    trace = made_up("pretense", seed)
    steps = np.arange(STEPS)
    loss = np.exp(-0.01 * np.minimum(steps, turn) + 0.2 * np.clip(steps - turn, 0, 15))
    loss *= 1 + 0.002 * np.random.default_rng(seed).standard_normal(STEPS)
    trace.steps["qv_loss"] = loss
    return trace


@pytest.mark.parametrize("seed", range(3))
def test_the_turn_is_told_and_who_turned(seed):
    table = analysis.turning_points(pretender(50, seed))
    assert table["step"].between(48, 53).all() and table["alarm"].between(51, 60).all()
    assert table["fell"].tolist() == [True] * 6 + [False] * 4
    for schedule in ("static", "randomized"):  # here no worker turns
        table = analysis.turning_points(made_up(schedule, seed))
        assert table["step"].isna().all() and not table["fell"].any()


# Groups


def test_attackers_move_together_and_the_others_against_them():
    found = analysis.groups(made_up())
    assert len(set(found.labels)) == 2
    assert len(set(found.labels[:6])) == len(set(found.labels[6:])) == 1
    leaves = list(found.order)
    assert sorted(leaves) == list(range(N))
    assert {frozenset(leaves[:6]), frozenset(leaves[4:])} & {frozenset(range(6)), frozenset(range(6, N))}


def test_the_credit_that_workers_start_with_does_not_group_them():
    trace = made_up()
    lucky = trace.credits * np.where(np.arange(N) % 2, 20.0, 1.0).astype(np.float32)  # every other one, of both kinds
    started = dataclasses.replace(trace, credits=lucky / lucky.sum(axis=1, keepdims=True))
    assert analysis.groups(started).labels.tolist() == analysis.groups(trace).labels.tolist()


def test_groups_from_a_turn_on():
    trace = made_up("pretense")
    assert len(set(analysis.groups(trace, since=50).labels[:6])) == 1


# Behaviours


def test_true_behaviours_come_from_the_schedule():
    assert analysis.true_behaviour(made_up("pretense")).tolist() == ["pretense"] * 6 + ["benign"] * 4
    assert analysis.true_behaviour(made_up("resampled")).tolist() == ["resampled"] * N


def test_features_know_neither_roles_nor_test_set():
    trace = made_up("randomized")
    blind = dataclasses.replace(trace, byzantine=~trace.byzantine, steps=trace.steps.assign(loss=9.0, accuracy=0.0))
    for distances in (False, True):
        seen, unseen = (analysis.worker_features(each, distances=distances) for each in (trace, blind))
        pd.testing.assert_frame_equal(seen, unseen)


@pytest.mark.parametrize("distances", [False, True])
@pytest.mark.parametrize("steps", [2, 3, 12, 61])
def test_features_of_short_runs_are_finite_and_of_the_same_names(steps, distances):
    trace = made_up(steps=steps)
    trace.extras["distances"][1, 0, 1] = trace.extras["distances"][1, 1, 0] = np.inf
    table = analysis.worker_features(trace, distances=distances)
    assert list(table) == list(analysis.worker_features(made_up(), distances=distances))
    assert table.shape[0] == N and np.isfinite(table.to_numpy()).all()


def test_behaviours_of_made_up_runs_are_told():
    train = [made_up(kind, seed) for kind in SCHEDULES for seed in range(3)]
    held_out = [made_up(kind, 10) for kind in SCHEDULES]
    assert analysis.classify_behaviour(train, held_out, distances=True).accuracy > 0.9
    report = analysis.classify_behaviour(train, held_out)
    assert report.accuracy > 0.9 and 0.8 < report.balanced_accuracy <= 1.0
    assert report.confusion().to_numpy().sum() == len(report.workers) == 4 * N
    assert list(report.confusion().index) == list(analysis.BEHAVIOURS)
    np.testing.assert_allclose(report.confusion("true").sum(axis=1), 1.0)
    again = analysis.classify_behaviour(train, held_out)
    assert again.workers.equals(report.workers)


@pytest.mark.parametrize(
    "schedule", ["static", "pretense", "randomized"]
)  # resampled: no worker keeps a side to be trusted
def test_distances_tell_the_side_at_every_step(schedule):
    trace = made_up(schedule)
    away, share = analysis.sides(trace)
    both = trace.byzantine.any(axis=1) & ~trace.byzantine.all(axis=1)  # two camps
    apart = away > 1.0
    trusted = trace.credits[-STEPS // 3 :].mean(axis=0).argmax()
    opposite = trace.byzantine != trace.byzantine[:, trusted][:, None]
    assert (apart == opposite)[both].mean() > 0.9
    assert ((share > 0) & (share <= 1)).all()


def test_the_compromised_set_and_the_attackers_of_a_step_are_two_questions():
    """Credits that remember point at a worker that behaves just now: right of the one question, wrong of the other."""
    byzantine = np.array([[1, 1, 0, 0], [1, 0, 0, 0]], dtype=bool)
    trace = small(np.array([[0.1, 0.1, 0.4, 0.4], [0.1, 0.05, 0.4, 0.45]]), byzantine)
    assert analysis.detect(trace).auc[-1] == pytest.approx(2 / 3)
    assert analysis.detect(trace, who="compromised").auc.tolist() == [1.0, 1.0]
    assert analysis.detect(trace, who="compromised").flagged.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0]]
    with pytest.raises(ValueError, match="Did you mean 'compromised'"):
        analysis.detect(trace, who="compromissed")
