"""Quasi-validation sets: which samples are in them, and that none of these is trained on or tested on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gaa_core.cases import CIFAR10, CMS, MNIST, Yelp
from gaa_core.cases.base import CaseData, CaseStudy, Settings, Split
from gaa_core.errors import GaaError
from gaa_core.qv import SOURCES, balanced, draw_qv, sources
from gaa_core.seeding import precision

CASES = pytest.mark.parametrize("case", [MNIST, CIFAR10, Yelp, CMS], ids=lambda case: case.name)


def toy(samples: int = 60, classes: int = 4) -> tuple[CaseStudy, CaseData]:
    """Every input is its own number, so that a sample can be followed."""
    numbers = torch.arange(samples + 40, dtype=torch.float32)[:, None]
    targets = torch.arange(samples + 40) % classes
    train, test = Split(numbers[:samples], targets[:samples]), Split(numbers[samples:], targets[samples:])
    data = CaseData(train, test, tuple("abcdefgh"[:classes]), "toy", "toy")
    foreign = Split(-1 - numbers, targets)
    case = CaseStudy("toy", "Toy", lambda: data, None, Settings(), similar=lambda _: foreign)
    return replace(case, shift=lambda _, samples, generator: replace(samples, inputs=samples.inputs + 0.25)), data


def draw(source: str, size: int, seed: int = 0, **options):
    case, data = toy()
    return data, *draw_qv(case, data, source, size, torch.Generator().manual_seed(seed), **options)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("size", [1, 2, 5, 10, 29])
def test_samples_are_never_trained_on_and_never_tested_on(source, size):
    data, qv, remain = draw(source, size)
    numbers = set(qv.inputs.flatten().floor().int().tolist())
    assert len(qv) == len(numbers) == size
    trained = set(data.train.inputs[remain].flatten().int().tolist())
    tested = set(data.test.inputs.flatten().int().tolist())
    assert not numbers & trained
    assert not numbers & tested
    expected = 60 if source == "similar" else 60 - size
    assert len(trained) == remain.sum() == expected
    counts = qv.targets.bincount(minlength=4)
    assert counts.max() - counts.min() <= 1 or source in ("missing_classes", "wrong_labels")


@pytest.mark.parametrize("source", SOURCES)
def test_the_generator_decides(source):
    first, again, other = (draw(source, 5, seed)[1].inputs for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_golden_samples_have_their_own_labels_and_wrong_ones_do_not():
    _, golden, _ = draw("golden", 12)
    _, wrong, _ = draw("wrong_labels", 12)
    assert torch.equal(golden.targets, golden.inputs.flatten().long() % 4)
    assert torch.equal(wrong.inputs, golden.inputs)
    assert (wrong.targets != golden.targets).all()
    assert wrong.targets.max() < 4


def test_missing_classes_are_missing():
    assert draw("missing_classes", 10)[1].targets.unique().tolist() == [0, 1]


@pytest.mark.parametrize(
    ("source", "size", "options", "message"),
    [
        ("golden", 0, {}, "qv_size must be a whole number of at least 1; found 0"),
        ("golden", 61, {}, "needs a size from 1 to 60.*found 61"),
        ("golden", 60, {}, "leaves no training sample: expected fewer QV samples; found 60"),
        ("similar", 101, {}, "needs a size from 1 to 100.*found 101"),
        ("missing_classes", 31, {}, "needs a size from 1 to 30.*found 31"),
        ("simlar", 1, {}, r"Unknown QV source 'simlar'\. Did you mean 'similar'"),
    ],
)
def test_impossible_sets_are_refused(source, size, options, message):
    with pytest.raises(GaaError, match=message):
        draw(source, size, **options)


def test_a_source_that_the_case_lacks_is_refused_by_name():
    case, data = toy()
    with pytest.raises(GaaError, match="'toy' has no QV samples 'shifted'; it has golden, similar, missing_classes"):
        draw_qv(replace(case, shift=None), data, "shifted", 5, torch.Generator())
    numbers = replace(data, classes=())
    qv, _ = draw_qv(case, numbers, "golden", 5, torch.Generator().manual_seed(0))
    assert qv.targets.dtype == torch.float32
    assert sources(case, numbers) == ("golden", "similar", "shifted")
    with pytest.raises(GaaError, match="has no QV samples 'wrong_labels'; it has golden, similar, shifted"):
        draw_qv(case, numbers, "wrong_labels", 5, torch.Generator())


@pytest.mark.parametrize("size", range(1, 10))
def test_fewer_samples_than_classes_miss_other_classes_at_other_seeds(size):
    targets = torch.arange(200) % 10
    drawn = [targets[balanced(targets, size, range(10), torch.Generator().manual_seed(seed))] for seed in range(60)]
    assert all(len(labels.unique()) == size for labels in drawn)
    present = torch.stack([labels.bincount(minlength=10) for labels in drawn]).sum(0)
    assert 0 < present.min() <= present.max() < 60 or size in (1, 9)
    assert len({tuple(labels.unique().tolist()) for labels in drawn}) > 5


@pytest.mark.parametrize("number", [np.int64, np.uint8, torch.tensor])
def test_sizes_and_classes_may_be_scalars_of_numpy_and_torch(number):
    """numpy's integers are no int (holoviz/param issue 688)."""
    _, plain, _ = draw("missing_classes", 5)
    _, same, _ = draw("missing_classes", number(5))
    assert torch.equal(plain.inputs, same.inputs)


@pytest.mark.parametrize("source", SOURCES)
def test_the_default_type_of_torch_decides_nothing(source, monkeypatch):
    """torch.set_default_dtype(torch.float64) is usual in numerical work."""
    monkeypatch.delenv("GAA_DATA", raising=False)
    for case in (MNIST, Yelp):
        found = []
        for dtype in (torch.float32, torch.float64):
            with precision(dtype):
                found.append(draw_qv(case, case.load(), source, 9, torch.Generator().manual_seed(0))[0].inputs)
        assert torch.equal(*found)


def _rows(split: Split) -> set[bytes]:
    return {row.numpy().tobytes() for row in split.inputs.flatten(1)}


@CASES
@pytest.mark.parametrize("source", SOURCES)
def test_every_case_has_every_source(case, source, monkeypatch):
    monkeypatch.delenv("GAA_DATA", raising=False)
    data = case.load()
    qv, remain = draw_qv(case, data, source, 9, torch.Generator().manual_seed(0))
    assert qv.inputs.shape == (9, *data.train.inputs.shape[1:])
    assert (qv.inputs.dtype, qv.targets.dtype) == (torch.float32, torch.int64)
    assert qv.targets.min() >= 0
    assert qv.targets.max() < len(data.classes)
    if source in ("golden", "wrong_labels", "missing_classes") and case is not CMS:  # stays may equal one another
        assert not _rows(qv) & _rows(data.train.take(remain))
        assert not _rows(qv) & _rows(data.test)
    if source == "shifted":
        golden, _ = draw_qv(case, data, "golden", 9, torch.Generator().manual_seed(0))
        assert torch.equal(qv.targets, golden.targets)
        assert not torch.equal(qv.inputs, golden.inputs)
