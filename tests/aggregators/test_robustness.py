"""(f, kappa)-robustness, Allouah et al. 2023 "Fixing by mixing", searched for counterexamples.

For every set S of n-f submissions, |F - mean_S|^2 <= kappa * mean over S of |V_i - mean_S|^2. Where the literature
gives a kappa, attacks of random directions and sizes, and climbs from the worst of them, must not get past it.
"""

from __future__ import annotations

import pytest
import torch

from gaa_core import aggregators as a


def ratio(f, n):
    return 1 + f / (n - 2 * f)


def mixed(kappa):
    """kappa of a rule behind nearest-neighbour mixing (from there)."""
    return lambda f, n: 8 * f / (n - f) * (kappa(f, n) + 1)


def kappa_krum(f, n):
    return 6 * ratio(f, n)


def kappa_median(f, n):
    return 4 * ratio(f, n) ** 2


def kappa_trimmed_mean(f, n):
    return 6 * f / (n - 2 * f) * ratio(f, n)


KAPPAS = [  # from there; SMEA's from the trilemma paper
    (a.Krum, kappa_krum),
    (lambda f: a.GeometricMedian(), kappa_median),
    (lambda f: a.CoordinateMedian(), kappa_median),
    (a.TrimmedMean, kappa_trimmed_mean),
    (a.SMEA, lambda f, n: 4 * f / (n - f) * ratio(f, n) ** 2),
    (lambda f: a.NearestNeighbourMixing(f) | a.Krum(f), mixed(kappa_krum)),
    (lambda f: a.NearestNeighbourMixing(f) | a.GeometricMedian(), mixed(kappa_median)),
    (lambda f: a.NearestNeighbourMixing(f) | a.CoordinateMedian(), mixed(kappa_median)),
    (lambda f: a.NearestNeighbourMixing(f) | a.TrimmedMean(f), mixed(kappa_trimmed_mean)),
]
IDS = [repr(make(2)) for make, _ in KAPPAS]


def excess(rule, honest, byzantine):
    """|F - mean|^2 over the honest variance."""
    centre = honest.mean(dim=0)
    return float(
        (rule(torch.cat([honest, byzantine])) - centre).square().sum() / (honest - centre).square().sum(1).mean()
    )


def worst_found(rule, n, f, d, seed, tries=25, climbs=25):
    generator = torch.Generator().manual_seed(seed)
    honest = torch.randn(n - f, d, generator=generator, dtype=torch.float64)
    honest[: (n - f) // 2] += (seed % 3) * 2.0  # honest workers of two kinds
    spread = honest.std(dim=0).mean()
    worst, worst_rows = 0.0, None
    for _ in range(tries):
        direction = torch.randn(1, d, generator=generator, dtype=torch.float64)
        size = 10.0 ** (3 * torch.rand(1, generator=generator).item() - 1)
        noise = 0.1 * torch.randn(f, d, generator=generator, dtype=torch.float64)
        rows = honest.mean(dim=0) + spread * size * (direction + noise)
        if (found := excess(rule, honest, rows)) > worst:
            worst, worst_rows = found, rows
    for climb in range(climbs):
        step = spread * 0.9**climb * torch.randn(f, d, generator=generator, dtype=torch.float64)
        if (found := excess(rule, honest, worst_rows + step)) > worst:
            worst, worst_rows = found, worst_rows + step
    return worst


@pytest.mark.parametrize(("make", "kappa"), KAPPAS, ids=IDS)
@pytest.mark.parametrize(("n", "f", "d"), [(7, 2, 1), (9, 2, 5), (11, 1, 20)])
def test_no_attack_found_gets_past_kappa(make, kappa, n, f, d):
    rule = make(f)
    assert max(worst_found(rule, n, f, d, seed) for seed in range(3)) <= kappa(f, n)


def test_the_search_finds_what_a_mean_suffers():
    assert worst_found(a.Mean(), 9, 2, 5, seed=0) > 100.0
