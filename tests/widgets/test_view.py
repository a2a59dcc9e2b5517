"""A saved run read step by step: planes, thresholds, and which runs a source has."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gaa_core.analysis import detect
from gaa_core.errors import DataError, GaaError
from gaa_core.recorder import pairwise_distances
from gaa_core.widgets.view import THRESHOLDS, TraceView, runs


@pytest.fixture
def view(made_up) -> TraceView:
    return TraceView(made_up())


@pytest.mark.parametrize("seed", range(5))
def test_the_plane_is_that_of_the_two_leading_principal_components(made_up, seed):
    """Compared with the singular value decomposition of the centred submissions themselves."""
    sent = torch.randn(7, 30, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    trace = made_up(1, 7)
    trace.extras["distances"] = pairwise_distances(sent).numpy()[None]
    plane = TraceView(trace).plane(0)
    left, values, _ = np.linalg.svd((sent - sent.mean(dim=0)).numpy(), full_matrices=False)
    expected = left[:, :2] * values[:2]
    signs = np.sign((expected * plane.points).sum(axis=0))
    np.testing.assert_allclose(plane.points, expected * signs, atol=1e-5)
    np.testing.assert_allclose(plane.shares, values[:2] ** 2 / (values**2).sum(), atol=1e-6)


def test_submissions_that_are_not_finite_are_left_out(made_up):
    sent = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    sent[2, 1] = torch.nan
    trace = made_up(1, 5)
    trace.extras["distances"] = pairwise_distances(sent).numpy()[None]
    points = TraceView(trace).plane(0).points
    assert np.isnan(points[2]).all()
    assert np.isfinite(np.delete(points, 2, axis=0)).all()


@pytest.mark.parametrize("sent", [torch.full((4, 3), torch.nan), torch.ones(4, 3)], ids=["none finite", "all equal"])
def test_a_plane_of_nothing(made_up, sent):
    trace = made_up(1, 4)
    trace.extras["distances"] = pairwise_distances(sent).numpy()[None]
    assert not np.nan_to_num(TraceView(trace).plane(0).points).any()


def test_axes_keep_their_direction(view):
    points = view.plane(3).points
    for start in (points, -points, points * [1, -1]):
        np.testing.assert_allclose(view.plane(3, like=start).points, start)


def test_without_distances_there_is_no_plane(made_up):
    assert TraceView(made_up(distances=False)).plane(0) is None


@pytest.mark.parametrize("below", [0.05, 0.5, 0.8, 1.0, 2.0])
def test_precision_and_recall_are_those_of_detect(view, below):
    found = detect(view.trace, below=below)
    judged = view.judge(below)
    hits = (found.flagged & found.byzantine).sum()
    assert judged.recall == pytest.approx(hits / found.byzantine.sum())
    if found.flagged.any():
        assert judged.precision == pytest.approx(hits / found.flagged.sum())
    else:
        assert np.isnan(judged.precision)
    precision, recall = view.curves()
    place = int(np.flatnonzero(np.isclose(THRESHOLDS, below))[0])
    np.testing.assert_array_equal([precision[place], recall[place]], [judged.precision, judged.recall])


def test_one_step_by_itself(view):
    flagged = view.flagged(0.8, 30)
    judged = view.judge(0.8, 30)
    assert judged.recall == flagged[:3].sum() / 3
    assert np.isnan(view.judge(0.8, 3).recall)  # nobody is Byzantine at step 3


def test_a_rule_without_credits_flags_nobody(made_up):
    view = TraceView(made_up(credits=False))
    assert not view.flagged(2.0, 5).any()
    assert np.isnan(view.judge(2.0).precision)


def test_the_heat_map_keeps_means(view):
    credits, byzantine = view.heat(spans=8)
    assert credits.shape == byzantine.shape == (6, 8)
    np.testing.assert_allclose(credits[:, 0], view.trace.credits[:5].mean(axis=0))
    np.testing.assert_allclose(byzantine[0], [0, 0, 0, 0, 1, 1, 1, 1])


def test_runs_of_a_folder(made_up, tmp_path):
    for seed in range(3):
        made_up(seed=seed).save(tmp_path / f"run{seed}")
    (tmp_path / "unfinished").mkdir()
    found = runs(tmp_path)
    assert [run.title.rpartition(", ")[2] for run in found] == ["seed 0", "seed 1", "seed 2"]
    assert [run.title for run in runs(tmp_path / "run1")] == [found[1].title]


def test_distances_of_a_saved_run_are_read_later(made_up, tmp_path):
    trace = made_up()
    trace.save(tmp_path / "run")
    view = runs(tmp_path)[0].open()
    assert not view.has_distances
    done = []
    view.read_distances(lambda: done.append(view.has_distances)).join(30)
    assert done == [True]
    np.testing.assert_array_equal(view.plane(5).shares, TraceView(trace).plane(5).shares)
    assert view.read_distances() is None


def test_sources_without_runs_are_refused(made_up, tmp_path):
    with pytest.raises(DataError, match="no finished run"):
        runs(tmp_path)
    with pytest.raises(GaaError, match="empty"):
        runs([])
    made_up().save(tmp_path / "run")
    (tmp_path / "run" / "config.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        runs(tmp_path)
