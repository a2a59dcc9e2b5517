"""CIFAR-10: the batch files, and the stand-in that is called one."""

import pickle

import numpy as np
import pytest
import torch

from gaa_core.cases import CIFAR10, cifar10
from gaa_core.errors import DataError


def write(path, pixels: np.ndarray, labels, **changes) -> None:
    content = {b"data": pixels, b"labels": labels} | {key.encode(): value for key, value in changes.items()}
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.fixture
def files(tmp_path, monkeypatch):
    """CIFAR-10 with 20 images a batch."""
    monkeypatch.setattr(cifar10, "BATCH", 20)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for number, name in enumerate([*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]):
        write(folder / name, np.full((20, 3072), number, np.uint8), [label % 10 for label in range(20)])
    monkeypatch.setenv("GAA_DATA", str(tmp_path))
    return folder


def test_batches_in_order_each_colour_normalised(files):
    data = CIFAR10.load()
    assert data.source == "CIFAR-10, 100 + 20 (GAA_DATA)"
    assert not data.stand_in
    assert data.train.inputs.shape == (100, 3, 32, 32)
    assert (data.train.inputs.dtype, data.train.targets.dtype) == (torch.float32, torch.int64)
    third = data.train.inputs[40:60]  # pixels of value 2
    for colour in range(3):
        expected = (2 / 255 - cifar10.MEAN[colour]) / cifar10.STD[colour]
        assert torch.allclose(third[:, colour], torch.tensor(expected), atol=1e-6)
    assert data.test.targets.tolist() == [*range(10)] * 2


PIXELS = np.zeros((20, 3072), np.uint8)


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (PIXELS[:19], [0] * 20, r"expected data of uint8 \(20, 3072\); found uint8 \(19, 3072\)"),
        (PIXELS.astype(float), [0] * 20, r"expected .*; found float64 \(20, 3072\)"),
        ([1, 2], [0] * 20, r"expected .*; found list\."),
        (PIXELS, [0] * 19, r"expected 20 labels from 0 to 9; found int64 \(19,\)"),
        (PIXELS, [10] * 20, "expected 20 labels from 0 to 9"),
        (PIXELS, ["0"] * 20, "expected 20 labels from 0 to 9"),
    ],
)
def test_a_bad_batch_is_named(files, pixels, labels, message):
    write(files / "data_batch_2", pixels, labels)
    with pytest.raises(DataError, match=f"data_batch_2: {message}"):
        CIFAR10.load()


def test_a_batch_that_is_missing_or_something_else(files):
    (files / "test_batch").write_bytes(pickle.dumps([1]))
    with pytest.raises(DataError, match="test_batch: expected a dictionary"):
        CIFAR10.load()
    (files / "test_batch").write_bytes(pickle.dumps({b"data": PIXELS}))
    with pytest.raises(DataError, match="test_batch: expected 'data' and 'labels'; found no labels"):
        CIFAR10.load()
    (files / "test_batch").unlink()
    with pytest.raises(DataError, match="test_batch is missing"):
        CIFAR10.load()


def test_the_stand_in_is_called_one_and_has_its_own_classes(packaged):
    data = packaged(CIFAR10)
    assert data.stand_in and "stand-in" in data.source
    assert len(data.classes) == 10 and not set(data.classes) & set(cifar10.CLASSES)
    assert (data.train.targets.bincount() + data.test.targets.bincount()).tolist() == [600] * 10
    assert CIFAR10.load() is data
