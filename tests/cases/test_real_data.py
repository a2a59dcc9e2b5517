"""What the real files give. Runs where GAA_DATA has them; elsewhere it is skipped, and the packaged data is tested."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gaa_core.cases import CIFAR10, CMS, MNIST, Yelp

FILES = {
    "mnist": "MNIST/raw",
    "cifar10": "cifar-10-batches-py",
    "yelp": "yelp/yelp_labelled.txt",
    "cms": "cms/2010_Chronic_Conditions_PUF.csv",
}


@pytest.fixture(autouse=True)
def _real(request):
    name = request.node.name.split("_")[1]
    folder = os.environ.get("GAA_DATA", "")
    if not (folder and (Path(folder) / FILES[name]).exists()):
        pytest.skip(f"GAA_DATA has no {FILES[name]}")


def test_mnist_is_whole():
    data = MNIST.load()
    assert data.train.targets.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert data.test.targets.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert abs(data.train.inputs.mean()) < 1e-3
    assert abs(data.train.inputs.std() - 1) < 1e-3


def test_cifar10_is_whole():
    data = CIFAR10.load()
    assert data.train.targets.bincount().tolist() == [5_000] * 10
    assert data.test.targets.bincount().tolist() == [1_000] * 10
    assert data.train.inputs.mean((0, 2, 3)).abs().max() < 1e-3
    assert (data.train.inputs.std((0, 2, 3)) - 1).abs().max() < 1e-3


def test_yelp_is_whole_and_reached(trained):
    data = Yelp.load()
    assert len(data.train) + len(data.test) == 996  # of 1,000, four come twice
    assert len(Yelp.similar(data)) > 1_900
    assert trained(Yelp, data) > 0.77  # 0.795 in the mean of five seeds


def test_cms_is_whole_and_reached(trained):
    data = CMS.load()
    assert len(data.train) + len(data.test) + len(data.other) == 20_135
    assert trained(CMS, data) > 0.86
