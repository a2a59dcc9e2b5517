"""Rules against twins in numpy, written from the sentences of their papers: n from 1 to 1,000, ties, equal rows.

One cross-check reported that Krum at n = 65 and 100, d = 1 did not pick the least score: its inputs had been sorted in
place by a median before (see test_inputs.py); on inputs left alone every score below is the least.
"""

import itertools
import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from scipy.optimize import minimize

from gaa_core import aggregators as a

ROUNDING = 1e-5
SIZES = st.one_of(st.integers(1, 30), st.sampled_from([63, 64, 65, 100, 128, 200]), st.integers(201, 1000))
KINDS = ["noise", "ties", "equal rows", "offset", "clusters", "one large row"]


def draw(n, d, kind, seed, dtype=torch.float32):
    rows = np.random.default_rng(seed).normal(size=(n, d))
    match kind:
        case "ties":
            rows = np.round(2 * rows)
        case "equal rows":
            rows[: n // 2 + 1] = rows[0]
        case "offset":
            rows += 1e4
        case "clusters":
            rows[::2] += 7.0
        case "one large row":
            rows[-1] *= 1e6
    return torch.tensor(rows, dtype=dtype)


def squared(rows):
    return ((rows[:, None] - rows[None]) ** 2).sum(axis=2)


def krum_scores(rows, f):
    """Sums of squared distances to the n-f-2 closest other vectors."""
    others = squared(rows)
    np.fill_diagonal(others, np.inf)
    return np.sort(others, axis=1)[:, : max(0, len(rows) - f - 2)].sum(axis=1)


def closest(rows, keep):
    """Of each column the mean of the values closest to its median, of two equally far the lesser."""
    ordered = np.sort(rows, axis=0)
    far = np.abs(ordered - np.median(rows, axis=0))
    return np.take_along_axis(ordered, np.argsort(far, axis=0, kind="stable")[:keep], axis=0).mean(axis=0)


def least(scores, chosen, exact):
    """Whether the chosen have the least scores: within rounding, or with ties by worker number."""
    best = np.argsort(scores, kind="stable")[: len(chosen)]
    if exact:
        return sorted(chosen) == sorted(best)
    return scores[chosen].sum() <= scores[best].sum() * (1 + ROUNDING) + ROUNDING


@pytest.mark.slow
@settings(max_examples=30)
@example(n=65, d=1, f=0, kind="noise", seed=0)
@example(n=100, d=1, f=16, kind="noise", seed=0)
@given(n=SIZES, d=st.integers(1, 4), f=st.integers(0, 16), kind=st.sampled_from(KINDS[:4]), seed=st.integers(0, 10_000))
def test_rules_of_any_size_are_their_definitions(n, d, f, kind, seed):
    given_rows = draw(n, d, kind, seed)
    rows, exact = given_rows.numpy().astype(np.float64), kind == "ties"

    def chosen(rule):
        return np.flatnonzero(rule.weights(given_rows).numpy())

    def expect(rule, value):
        np.testing.assert_allclose(rule(given_rows).numpy(), value, rtol=ROUNDING, atol=ROUNDING * np.abs(rows).max())

    expect(a.Mean(), rows.mean(axis=0))
    expect(a.CoordinateMedian(), np.median(rows, axis=0))
    assert least(np.sqrt(squared(rows)).sum(axis=1), chosen(a.GeoMed()), False)
    f = min(f, (n - 1) // 2)
    expect(a.TrimmedMean(f), np.sort(rows, axis=0)[f : n - f].mean(axis=0))
    if kind != "offset":  # else which of two values is the closer hangs on rounding
        expect(a.MeanAroundMedian(f), closest(rows, n - f))
    assert least(np.linalg.norm(rows, axis=1), chosen(a.CGE(f)), False)
    assert least(np.linalg.norm(rows - rows[0], axis=1), chosen(a.MoNNA(f)), exact)
    f = min(f, (n - 3) // 2)
    if f >= 0:
        for rule in (a.Krum(f), a.MultiKrum(f), a.MultiKrum(f, select=min(2, n - f - 2))):
            assert least(krum_scores(rows, f), chosen(rule), exact)


def bulyan_twin(rows, f):
    """n-2f picks by Krum, each removed before the next; then the n-4f values closest to the median, averaged.

    Of equal scores the one whose next nearest neighbour is closest goes first, then the one after.
    """
    left, selected = list(rows), []
    while len(selected) < len(rows) - 2 * f:
        distances = np.sort(squared(np.array(left)), axis=1)[:, 1:]
        counted = max(0, len(left) - f - 2)
        keys = [(row[:counted].sum(), *row[counted:]) for row in distances]
        selected.append(left.pop(keys.index(min(keys))))
    return closest(np.array(selected), len(rows) - 4 * f)


def subset_twin(key):
    """The mean of the n-f rows with the least key."""

    def twin(rows, f):
        return min((rows[list(some)] for some in itertools.combinations(range(len(rows)), len(rows) - f)), key=key)

    return lambda rows, f: twin(rows, f).mean(axis=0)


def diameter(rows):
    """(largest distance, sum of distances)."""
    distances = np.sqrt(squared(rows))
    return distances.max(), distances.sum()


def top_eigenvalue(rows):
    return np.linalg.eigvalsh(np.cov(rows.T, bias=True).reshape(rows.shape[1], -1))[-1]


def caf_twin(rows, f):
    """Weights fall along the top eigenvector until n-2f are left; the mean of the least covariance on the way."""
    credit, best, smallest = np.ones(len(rows)), None, math.inf
    while credit.sum() > len(rows) - 2 * f or best is None:
        centre = credit @ rows / credit.sum()
        values, vectors = np.linalg.eigh((rows - centre).T * credit @ (rows - centre) / credit.sum())
        if values[-1] < smallest:
            best, smallest = centre, values[-1]
        along = ((rows - centre) @ vectors[:, -1]) ** 2 * (credit > 0)
        if f == 0:
            break
        credit = credit * (1 - along / along.max())
    return best


def dnc_twin(rows, f):
    """Without the f greatest squared projections on the top right singular vector of the centred rows."""
    centred = rows - rows.mean(axis=0)
    along = (centred @ np.linalg.svd(centred)[2][0]) ** 2
    return rows[np.argsort(along, kind="stable")[: len(rows) - f]].mean(axis=0)


TWINS = {  # name: (rule of f, the number of workers it needs, twin)
    "Bulyan": (a.Bulyan, lambda f: 4 * f + 3, bulyan_twin),
    "BruteForce": (a.BruteForce, lambda f: 2 * f + 1, subset_twin(diameter)),
    "SMEA": (a.SMEA, lambda f: 2 * f + 1, subset_twin(top_eigenvalue)),
    "CAF": (a.CAF, lambda f: 2 * f + 1, caf_twin),
    "DnC": (a.DnC, lambda f: 2 * f + 1, dnc_twin),
    "NearestNeighbourMixing": (
        lambda f: a.NearestNeighbourMixing(f) | a.LinearGAR((1.0, *[0.0] * 4)),  # the first mixed row
        lambda f: 5,
        lambda rows, f: rows[np.argsort(squared(rows)[0], kind="stable")[: len(rows) - f]].mean(axis=0),
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_rule_equals_its_twin(name):
    make, needs, twin = TWINS[name]
    for seed, (f, more, kind) in enumerate(itertools.product((0, 1, 2), (0, 1, 2), ["noise", *KINDS[4:]] * 4)):
        n = max(needs(f), 4) + (more if name != "NearestNeighbourMixing" else 0)
        rows = draw(n, (2, 3, 5)[seed % 3], kind, seed, torch.float64)
        found = make(f)(rows).numpy()
        np.testing.assert_allclose(found, twin(rows.numpy(), f), rtol=1e-6, atol=1e-6, err_msg=f"seed {seed}, f={f}")


@pytest.mark.parametrize("seed", range(5))
def test_brute_force_finds_the_least_diameter_where_enumeration_is_slow(seed):
    rows = draw(13, 3, "noise", seed, torch.float64)
    chosen = np.flatnonzero(a.BruteForce(f=5).weights(rows).numpy())
    subsets = itertools.combinations(range(13), 8)
    assert diameter(rows[chosen].numpy())[0] == pytest.approx(min(diameter(rows[list(s)].numpy())[0] for s in subsets))
    assert (a.BruteForce(f=10).weights(draw(50, 30, "noise", seed)) > 0).sum() == 40


@pytest.mark.parametrize("rule", [a.CAF(f=100), a.GeometricMedian(), a.CenteredClipping(), a.DnC(f=100)], ids=repr)
def test_rules_on_the_gram_matrix_take_a_thousand_workers(rule):
    rows = draw(1000, 20, "noise", 0) + 5.0
    rows[:50] += 1000.0
    spread = (rows[50:] - rows[50:].mean(dim=0)).norm(dim=1).max()
    assert (rule(rows) - rows[50:].mean(dim=0)).norm() <= spread


@pytest.mark.parametrize("n", [1, 2, 3])
def test_one_two_and_three_workers(n):
    rows = draw(n, 3, "noise", n)
    for rule in (a.GeometricMedian(), a.CAF(f=0), a.BruteForce(f=0), a.SMEA(f=0), a.CenteredClipping(), a.DnC(f=0)):
        torch.testing.assert_close(rule(rows).double(), rule(rows.double()), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(a.GeometricMedian()(rows[:1]), rows[0])


def least_objective(rows):
    """The least sum of distances to rows of float64 [n, d], by a smoothed quasi-Newton search and at the rows."""

    def smoothed(point):
        offsets = point - rows.numpy()
        lengths = np.sqrt((offsets**2).sum(axis=1) + 1e-24)
        return lengths.sum(), (offsets / lengths[:, None]).sum(axis=0)

    start = rows.median(dim=0).values.numpy()
    found = minimize(smoothed, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-15})
    return min(found.fun, *torch.cdist(rows, rows).sum(dim=1).tolist())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("n", "copies", "jitter"), [(50, 5, 1e-7), (10, 2, 1e-7), (100, 30, 0.0), (20, 9, 1e-3), (7, 1, 0.0)]
)
def test_geometric_median_is_a_minimum_beside_tight_groups(n, copies, jitter, dtype):
    """Colluders that submit nearly the same draw the iteration close to them, where its steps are short."""
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(n, 20, generator=generator, dtype=torch.float64)
        rows[:copies] = rows[0] + jitter * torch.randn(copies, 20, generator=generator, dtype=torch.float64)
        rows[-1] *= 10.0 ** (seed % 5)
        rows = rows.to(dtype)
        found = a.GeometricMedian()(rows).double()
        assert (rows.double() - found).norm(dim=1).sum() <= least_objective(rows.double()) * (1 + 1e-5)
