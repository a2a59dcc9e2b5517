"""A saved run read step by step: planes, thresholds, and which runs a source has."""

import numpy as np
import pytest
import torch

from gaa_core.analysis import detect
from gaa_core.widgets.view import flagged, judge, plane


def distances(sent: torch.Tensor) -> np.ndarray:
    return (sent[:, None] - sent[None]).norm(dim=2).numpy()


@pytest.mark.parametrize("seed", range(3))
def test_the_plane_is_that_of_the_two_leading_principal_components(seed):
    """Compared with the singular value decomposition of the centred submissions themselves."""
    sent = torch.randn(7, 30, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    points, shares = plane(distances(sent))
    left, values, _ = np.linalg.svd((sent - sent.mean(dim=0)).numpy(), full_matrices=False)
    expected = left[:, :2] * values[:2]
    signs = np.sign((expected * points).sum(axis=0))
    np.testing.assert_allclose(points, expected * signs, atol=1e-5)
    np.testing.assert_allclose(shares, values[:2] ** 2 / (values**2).sum(), atol=1e-6)
    for start in (points, -points, points * [1, -1]):  # axes keep their direction
        np.testing.assert_allclose(plane(distances(sent), like=start)[0], start, atol=1e-9)


def test_submissions_that_are_not_finite_are_left_out():
    sent = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    sent[2, 1] = torch.nan
    points, _ = plane(distances(sent))
    assert np.isnan(points[2]).all()
    assert np.isfinite(np.delete(points, 2, axis=0)).all()
    for nothing in (torch.full((4, 3), torch.nan), torch.ones(4, 3), torch.ones(1, 3)):
        assert not np.nan_to_num(plane(distances(nothing))[0]).any()


@pytest.mark.parametrize("below", [0.05, 0.5, 0.8, 1.0, 2.0])
def test_precision_and_recall_are_those_of_detect(made_up, below):
    trace = made_up()
    found = detect(trace, below=below)
    hits = (found.flagged & found.byzantine).sum()
    precision, recall = judge(trace, below)
    assert recall == pytest.approx(hits / found.byzantine.sum())
    assert np.isnan(precision) if not found.flagged.any() else precision == pytest.approx(hits / found.flagged.sum())


def test_one_step_by_itself(made_up):
    trace = made_up()
    assert judge(trace, 0.8, 30)[1] == flagged(trace, 0.8, 30)[:3].sum() / 3
    assert np.isnan(judge(trace, 0.8, 3)[1])  # no worker is Byzantine at step 3
    without = made_up(credits=False)
    assert not flagged(without, 2.0, 5).any() and np.isnan(judge(without, 2.0)).all()
