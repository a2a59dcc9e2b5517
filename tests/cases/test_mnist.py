"""MNIST: which source is used, what broken files are called, and the similar digits."""

import gzip
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch

from gaa_core.cases import MNIST, mnist
from gaa_core.datasets import official
from gaa_core.errors import DataError

SIZES = {"train": 30, "t10k": 10}


def idx_file(array: np.ndarray) -> bytes:
    return struct.pack(f">I{array.ndim}I", 0x0800 | array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A small MNIST in an otherwise empty GAA_DATA, whose checksums are taken for the published ones."""
    import hashlib

    folder = tmp_path / "data" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for prefix, count in SIZES.items():
        images = (np.arange(count * 784) % 256).reshape(count, 28, 28)
        for name, array in (("images-idx3", images), ("labels-idx1", np.arange(count) % 10)):
            content = idx_file(array)
            (folder / f"{prefix}-{name}-ubyte.gz").write_bytes(gzip.compress(content))
            monkeypatch.setitem(official.MNIST_MD5, f"{prefix}-{name}-ubyte", hashlib.md5(content).hexdigest())
    monkeypatch.setenv("GAA_DATA", str(tmp_path / "data"))
    return folder


def test_files_in_gaa_data(files):
    data = MNIST.load()
    assert data.source == "MNIST, 30 + 10 (GAA_DATA)"
    assert data.train.inputs.shape == (30, 784)
    assert (data.train.inputs.dtype, data.train.targets.dtype) == (torch.float32, torch.int64)
    assert data.train.targets.tolist() == [*range(10)] * 3
    assert data.train.inputs[0, 255].item() == pytest.approx((1 - 0.1307) / 0.3081)
    assert not data.stand_in


def test_loading_again_reads_nothing_until_the_files_change(files):
    first = MNIST.load()
    assert MNIST.load() is first
    packed = files / "train-labels-idx1-ubyte.gz"
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    assert MNIST.load().fingerprint == first.fingerprint
    (files / "train-labels-idx1-ubyte").write_bytes(b"")
    with pytest.raises(DataError):
        MNIST.load()


def test_the_packaged_split_is_stratified_and_fixed(packaged):
    data = packaged(MNIST)
    assert data.train.targets.bincount().tolist() == [400] * 10
    assert data.test.targets.bincount().tolist() == [100] * 10
    assert data.fingerprint == "33dfd9a3483324aa"
    assert abs(data.train.inputs.mean()) < 0.01
    assert abs(data.train.inputs.std() - 1) < 0.01


def test_similar_digits_look_like_mnist(packaged):
    digits = MNIST.similar(packaged(MNIST))
    images = digits.inputs.view(-1, 28, 28) * mnist.STD + mnist.MEAN
    assert digits.inputs.shape == (1797, 784)
    assert images.min() >= -1e-6
    assert images.max() <= 1 + 1e-6
    strokes = (images > 0.01).float()
    assert strokes.amax(2).sum(1).max() <= 20  # at most 20 rows and columns of ink
    row = (images.sum(2) * torch.arange(28.0)).sum(1) / images.sum((1, 2))
    assert (row - 13.5).abs().max() <= 0.51


def test_what_is_learned_on_mnist_holds_for_similar_digits(packaged, trained):
    data = packaged(MNIST)
    digits = replace(data, test=MNIST.similar(data))
    assert trained(replace(MNIST, settings=replace(MNIST.settings, lr=0.2)), digits, steps=150, batch=250) > 0.6
