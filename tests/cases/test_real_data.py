"""What the real files give. Runs where GAA_DATA has them; elsewhere it is skipped, and the packaged data is tested."""

import os
from pathlib import Path

import pytest

from gaa_core.cases import CIFAR10, CMS, MNIST, Yelp

FILES = {MNIST: "MNIST/raw", CIFAR10: "cifar-10-batches-py", Yelp: "yelp/yelp_labelled.txt"}
FILES[CMS] = "cms/2010_Chronic_Conditions_PUF.csv"
MNIST_TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.parametrize("case", FILES, ids=lambda case: case.name)
def test_real_data_is_whole(case, trained):
    folder = os.environ.get("GAA_DATA", "")
    if not (folder and (Path(folder) / FILES[case]).exists()):
        pytest.skip(f"GAA_DATA has no {FILES[case]}")
    data = case.load()
    counts, inputs = [split.targets.bincount().tolist() for split in (data.train, data.test)], data.train.inputs
    match case.name:
        case "mnist":
            assert counts == [MNIST_TRAIN, MNIST_TEST]
            assert abs(inputs.mean()) < 1e-3 and abs(inputs.std() - 1) < 1e-3
        case "cifar10":
            assert counts == [[5_000] * 10, [1_000] * 10]
            assert inputs.mean((0, 2, 3)).abs().max() < 1e-3 and (inputs.std((0, 2, 3)) - 1).abs().max() < 1e-3
        case "yelp":
            assert len(data.train) + len(data.test) == 996  # of 1,000, four come twice
            assert len(Yelp.similar(data)) > 1_900
            assert trained(Yelp, data) > 0.77  # 0.795 in the mean of five seeds
        case "cms":
            assert len(data.train) + len(data.test) + len(data.other) == 20_135
            assert trained(CMS, data) > 0.86
