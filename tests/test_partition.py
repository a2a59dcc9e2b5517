"""Partitions of the training samples over the workers, and fixed splits."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gaa_core.errors import GaaError
from gaa_core.partition import KINDS, partition, sample, stratified

TARGETS = torch.arange(1_000) % 10


DEALT = [kind for kind in KINDS if kind != "iid"]


@pytest.mark.parametrize("kind", DEALT)
@given(samples=st.integers(40, 300), classes=st.integers(1, 12), n=st.integers(1, 20), seed=st.integers(0, 2**31))
def test_every_sample_goes_to_one_worker_and_no_worker_goes_without(kind, samples, classes, n, seed):
    targets = torch.arange(samples) % classes
    parts = partition(targets, n, kind, alpha=0.1, seed=seed)
    assert len(parts) == n
    assert all(len(part) > 0 and part.dtype == torch.int64 for part in parts)
    assert torch.cat(parts).sort().values.tolist() == list(range(samples))


@pytest.mark.parametrize("kind", DEALT)
def test_the_seed_decides(kind):
    first, again, other = (partition(TARGETS, 7, kind, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not all(torch.equal(one, two) for one, two in zip(first, other, strict=True))


def test_iid_workers_draw_from_everything_and_shards_are_even_and_mixed():
    parts = partition(TARGETS, 8, seed=0)
    assert len(parts) == 8 and all(part.tolist() == list(range(len(TARGETS))) for part in parts)
    for part in partition(TARGETS, 8, "shards", seed=0):
        assert len(part) == 125 and len(TARGETS[part].unique()) == 10


def _largest_share(alpha: float) -> float:
    """Of a worker's samples, the share of its most frequent class; the mean over workers."""
    parts = partition(TARGETS, 10, "dirichlet", alpha=alpha, seed=0)
    return sum(TARGETS[part].bincount().max().item() / len(part) for part in parts) / len(parts)


def test_a_small_alpha_gives_a_worker_few_classes():
    assert _largest_share(0.05) > 0.5 > 0.25 > _largest_share(100.0)


def test_label_skew_gives_a_worker_two_classes():
    parts = partition(TARGETS, 10, "label_skew", seed=0)
    assert all(len(TARGETS[part].unique()) <= 2 for part in parts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n must be a whole number of at least 1; found 0"),
        ({"n": 1_001}, "1 to 1000 workers for 1000 samples; found n=1001"),
        ({"n": 10, "kind": "gamma_similarity", "alpha": 1.5}, "alpha, its gamma, from 0 to 1; found 1.5"),
        ({"n": 10, "kind": "dirichlets"}, "Did you mean 'dirichlet'"),
        ({"n": 10, "kind": "dirichlet", "alpha": 0.0}, "alpha > 0; found 0.0"),
        ({"n": 501, "kind": "label_skew"}, "two samples a worker; found 1000 for n=501"),
    ],
)
def test_impossible_partitions_are_refused(options, message):
    with pytest.raises(GaaError, match=message):
        partition(TARGETS, **options, seed=0)


@pytest.mark.parametrize("kind", ["dirichlet", "label_skew", "gamma_similarity"])
def test_regression_targets_have_no_classes_to_part_by(kind):
    with pytest.raises(GaaError, match=rf"partition\(kind='{kind}'\) needs targets that are classes"):
        partition(TARGETS.float(), 10, kind, seed=0)
    assert len(partition(TARGETS.float(), 10, "shards", seed=0)) == 10


def test_numbers_may_be_scalars_of_numpy_and_torch():
    plain = partition(TARGETS, 7, "dirichlet", alpha=0.5, seed=3)
    for n, alpha, seed in ((np.int64(7), np.float32(0.5), np.int64(3)), map(torch.tensor, (7, 0.5, 3))):
        same = partition(TARGETS, n, "dirichlet", alpha=alpha, seed=seed)
        assert all(torch.equal(one, two) for one, two in zip(plain, same, strict=True))


def test_gamma_is_the_share_of_samples_that_are_alike():
    """At 0 each of ten workers has one class of ten; at 1 each has all of them."""

    def classes_each(gamma: float) -> float:
        parts = partition(TARGETS, 10, "gamma_similarity", alpha=gamma, seed=0)
        assert {len(part) for part in parts} == {100}
        return sum(len(TARGETS[part].unique()) for part in parts) / 10

    assert classes_each(0.0) == 1
    assert classes_each(1.0) == 10
    halves = partition(TARGETS, 10, "gamma_similarity", alpha=0.5, seed=0)
    shares = [TARGETS[part].bincount().max().item() / 100 for part in halves]
    assert 0.4 < sum(shares) / 10 < 0.6


def test_a_stratified_split_has_each_class_in_both_parts():
    train, test = stratified(TARGETS, test_share=0.2)
    assert TARGETS[test].bincount().tolist() == [20] * 10
    assert torch.cat([train, test]).sort().values.tolist() == list(range(1_000))
    assert TARGETS[train[:100]].unique().numel() == 10  # shuffled, not class by class


def test_a_sample_is_fixed_and_keeps_proportions():
    chosen = sample(TARGETS, 100)
    assert TARGETS[chosen].bincount().tolist() == [10] * 10
    assert torch.equal(chosen, sample(TARGETS, 100))
    assert torch.equal(sample(TARGETS, 5_000), torch.arange(1_000))
