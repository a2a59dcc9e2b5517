"""Rules against twins in plain Python, written from the sentences of their papers, on hundreds of random inputs."""

from __future__ import annotations

import itertools
import math
import random
from functools import partial
from statistics import median

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from gaa_core import aggregators as a

CASES = 150


def squared(u, v):
    return sum((x - y) ** 2 for x, y in zip(u, v, strict=True))


def mean(rows):
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def krum_twin(rows, f):
    """The vector that minimises the sum of squared distances to its n-f-2 closest vectors; ties to the least index."""
    scores = []
    for i, row in enumerate(rows):
        distances = sorted(squared(row, other) for j, other in enumerate(rows) if j != i)
        scores.append(sum(distances[: max(0, len(rows) - f - 2)]))
    return scores


def multi_krum_twin(rows, f, select):
    scores = krum_twin(rows, f)
    best = sorted(range(len(rows)), key=lambda i: (scores[i], i))[:select]
    return mean([rows[i] for i in best])


def bulyan_twin(rows, f):
    """n-2f picks by Krum, each removed before the next; then the n-4f values closest to the median, averaged.

    Of equal scores the one whose next nearest neighbour is closest goes first, then the one after.
    """
    left, selected = list(rows), []
    while len(selected) < len(rows) - 2 * f:
        keys = []
        for i, row in enumerate(left):
            nearest = sorted(squared(row, other) for j, other in enumerate(left) if j != i)
            counted = max(0, len(left) - f - 2)
            keys.append((sum(nearest[:counted]), nearest[counted:]))
        selected.append(left.pop(keys.index(min(keys))))
    result = []
    for column in zip(*selected, strict=True):
        middle = median(column)
        closest = sorted(column, key=lambda value: (abs(value - middle), value))[: len(rows) - 4 * f]
        result.append(sum(closest) / len(closest))
    return result


def diameter(rows):
    return max((squared(u, v) for u, v in itertools.combinations(rows, 2)), default=0.0)


def brute_force_twin(rows, f):
    """Of the sets of n-f with the least largest distance, the one with the least sum of distances, averaged."""

    def key(subset):
        distances = [math.sqrt(squared(u, v)) for u, v in itertools.combinations(subset, 2)]
        return (max(distances, default=0.0), sum(distances))

    return mean(min(itertools.combinations(rows, len(rows) - f), key=key))


def geo_med_twin(rows):
    sums = [sum(math.sqrt(squared(row, other)) for other in rows) for row in rows]
    return rows[sums.index(min(sums))]


def nnm_twin(rows, f):
    return [mean(sorted(rows, key=lambda other: squared(row, other))[: len(rows) - f]) for row in rows]


def smea_twin(rows, f):
    def top(subset):
        return np.linalg.eigvalsh(np.cov(np.array(subset).T, bias=True).reshape(len(rows[0]), -1))[-1]

    return mean(min(itertools.combinations(rows, len(rows) - f), key=top))


def caf_twin(rows, f):
    """Weights fall along the top eigenvector until n-2f are left; the mean of the least covariance on the way."""
    rows, credit, best, least = np.array(rows), np.ones(len(rows)), None, math.inf
    while credit.sum() > len(rows) - 2 * f or best is None:
        centre = credit @ rows / credit.sum()
        values, vectors = np.linalg.eigh((rows - centre).T * credit @ (rows - centre) / credit.sum())
        if values[-1] < least:
            best, least = centre, values[-1]
        along = ((rows - centre) @ vectors[:, -1]) ** 2 * (credit > 0)
        if f == 0:
            break
        credit = credit * (1 - along / along.max())
    return list(best)


def dnc_twin(rows, f):
    """Without the f greatest squared projections on the top right singular vector of the centred rows."""
    rows = np.array(rows)
    centred = rows - rows.mean(axis=0)
    along = (centred @ np.linalg.svd(centred)[2][0]) ** 2
    return list(rows[np.argsort(along, kind="stable")[: len(rows) - f]].mean(axis=0))


def mixed_first_row(f, rows):
    before = a.NearestNeighbourMixing(f)
    return before.transform(before.mixing(rows), rows)[0]


TWINS = {
    "krum": (
        lambda f: 2 * f + 3,
        a.Krum,
        lambda rows, f: rows[min(range(len(rows)), key=krum_twin(rows, f).__getitem__)],
    ),
    "multi_krum": (lambda f: 2 * f + 3, a.MultiKrum, lambda rows, f: multi_krum_twin(rows, f, len(rows) - f - 2)),
    "multi_krum_2": (
        lambda f: 2 * f + 3,
        lambda f: a.MultiKrum(f, select=2),
        lambda rows, f: multi_krum_twin(rows, f, 2),
    ),
    "bulyan": (lambda f: 4 * f + 3, a.Bulyan, bulyan_twin),
    "brute_force": (lambda f: 2 * f + 1, a.BruteForce, brute_force_twin),
    "geo_med": (lambda f: 3, lambda f: a.GeoMed(), lambda rows, f: geo_med_twin(rows)),
    "nnm": (lambda f: 2 * f + 1, lambda f: partial(mixed_first_row, f), lambda rows, f: nnm_twin(rows, f)[0]),
    "smea": (lambda f: 2 * f + 1, a.SMEA, smea_twin),
    "caf": (lambda f: 2 * f + 1, a.CAF, caf_twin),
    "dnc": (lambda f: 2 * f + 1, a.DnC, dnc_twin),
}


def draw(name, case):
    """n, f, d and rows of one random case: plain noise, clusters, one large row, or f identical attackers."""
    source = random.Random(f"{name}/{case}")
    f = source.choice([0, 1, 2])
    n = max(TWINS[name][0](f), 4) + source.choice([0, 1, 2])
    d = source.choice([2, 3, 5])
    rows = [[source.gauss(0.0, 1.0) for _ in range(d)] for _ in range(n)]
    kind = case % 4
    if kind == 1:
        rows = [[value + 7.0 * (i % 2) for value in row] for i, row in enumerate(rows)]
    if kind == 2:
        rows[-1] = [1e6 * value for value in rows[-1]]
    if kind == 3 and name in ("krum", "brute_force", "multi_krum_2", "geo_med"):
        rows = [*rows[: n - f], *[[9.0] * d] * f]
    return f, rows


@pytest.mark.parametrize("name", TWINS)
def test_rule_equals_its_twin(name):
    _, make, twin = TWINS[name]
    for case in range(CASES):
        f, rows = draw(name, case)
        found = make(f)(torch.tensor(rows, dtype=torch.float64)).tolist()
        assert found == pytest.approx(twin(rows, f), rel=1e-6, abs=1e-6), f"case {case}: f={f}, rows={rows}"


@pytest.mark.parametrize("name", ["krum", "multi_krum", "bulyan", "brute_force", "geo_med"])
def test_rule_equals_its_twin_in_float32(name):
    _, make, twin = TWINS[name]
    for case in range(CASES):
        f, rows = draw(name, case + 1000)
        rows = torch.tensor(rows, dtype=torch.float32)
        found = make(f)(rows).tolist()
        assert found == pytest.approx(twin(rows.tolist(), f), rel=1e-5, abs=1e-5), f"case {case}: f={f}, rows={rows}"


def test_brute_force_finds_the_least_diameter_where_enumeration_is_slow():
    """Swapping any worker in for any worker out never gives a lesser diameter; nor does a twin with more to choose."""
    for seed in range(20):
        rows = torch.randn(14, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        chosen = torch.nonzero(a.BruteForce(f=5).weights(rows)).flatten().tolist()
        least = min(diameter(subset) for subset in itertools.combinations(rows.tolist(), 9))
        assert diameter(rows[chosen].tolist()) == pytest.approx(least)


def test_brute_force_of_fifty_workers_takes_no_time():
    rows = torch.randn(50, 30, generator=torch.Generator().manual_seed(0))
    weights = a.BruteForce(f=10).weights(rows)
    assert (weights > 0).sum() == 40


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
@pytest.mark.parametrize(("n", "copies", "jitter"), [(50, 5, 1e-7), (10, 2, 1e-7), (100, 30, 0.0), (20, 9, 1e-3)])
def test_geometric_median_is_a_minimum_beside_tight_groups(n, copies, jitter, dtype):
    """Colluders that submit nearly the same draw the iteration close to them, where its steps are short."""
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(n, 20, generator=generator, dtype=torch.float64)
        rows[:copies] = rows[0] + jitter * torch.randn(copies, 20, generator=generator, dtype=torch.float64)
        rows = rows.to(dtype)
        found = a.GeometricMedian()(rows).double()
        assert (rows.double() - found).norm(dim=1).sum() <= least_objective(rows.double()) * (1 + 1e-5)


def test_geometric_median_is_a_minimum():
    """No small step in any of many directions lowers the sum of distances."""
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(4 + seed % 7, 1 + seed % 4, generator=generator, dtype=torch.float64)
        rows[0] *= 10.0 ** (seed % 5)
        found = a.GeometricMedian()(rows)
        least = (rows - found).norm(dim=1).sum()
        scale = (rows - found).norm(dim=1).median()
        for _ in range(20):
            step = torch.randn(rows.shape[1], generator=generator, dtype=torch.float64)
            moved = found + 1e-2 * scale * step / step.norm()
            assert (rows - moved).norm(dim=1).sum() >= least * (1 - 1e-9)
