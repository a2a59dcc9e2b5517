"""What `fetch` downloads, from where, and how a download is known to be right.

A checksum stands here only where it is widely published. Where none is known to us, the content is checked against
counts that its publisher states, and the checksum of the first download is recorded in the cache (`checksums.json`):
a later download that differs is refused. The Yelp archives are Zhang, Zhao and LeCun's (2015), as mirrored by fast.ai.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gaa_core.datasets import idx, medicare, reviews
from gaa_core.errors import DataError

MNIST_MD5 = {  # of the unpacked files; a .gz wrapper may differ
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


@dataclass(frozen=True)
class Download:
    """One file at one address, and what is installed of it."""

    url: str
    files: Mapping[str, str]  # name in the unit -> name in the archive, or a pattern that one file matches
    packing: str = ""  # "gztar", "zip", or "" for a file that is installed as it is
    checksum: str = ""  # "md5:..." or "sha256:..." of the download itself; "" where none is known


@dataclass(frozen=True)
class DataSet:
    """What one `fetch` name installs: a folder, or one file, that appears in the cache whole or not at all."""

    unit: str  # relative path in the cache
    downloads: tuple[Download, ...]
    check: Callable[[Path], object] = lambda _: None  # looks at the unpacked unit; raises DataError
    one_file: bool = False  # the unit is a file and not a folder


def _is_mnist(folder: Path) -> None:
    for name, md5 in MNIST_MD5.items():
        idx.read(folder, name, md5)


def _has_reviews(stars: int, train: int, test: int, folder: Path) -> None:
    for name, expected in (("train.csv", train), ("test.csv", test)):
        found = len(reviews.reviews(folder / name, stars)[1])
        if found != expected:
            raise DataError(f"{folder / name}: expected {expected:,} reviews; found {found:,}.")


def _has_rows(table: medicare.Table, rows: int, males: int | None, file: Path) -> None:
    """Compares a Medicare table with the numbers of rows and of males that are published."""
    sexes = medicare.read(file, table)["BENE_SEX_IDENT_CD"]
    found = len(sexes), int((sexes == "1").sum())
    if found != (rows, found[1] if males is None else males):
        raise DataError(f"{file}: expected {rows:,} rows, of males {males}; found {found[0]:,} and {found[1]:,}.")


def _of(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"  # the mirror that the PyTorch project keeps
_FAST_AI = "https://s3.amazonaws.com/fast-ai-nlp/"
_CMS = "https://www.cms.gov/Research-Statistics-Data-and-Systems/Statistics-Trends-and-Reports/BSAPUFS/Downloads/"


def _reviews(name: str, stars: int, train: int, test: int) -> DataSet:
    download = Download(f"{_FAST_AI}{name}.tgz", _of("train.csv", "test.csv"), "gztar")
    return DataSet(name, (download,), functools.partial(_has_reviews, stars, train, test))


def _medicare(address: str, name: str, table: medicare.Table, rows: int, males: int | None = None) -> DataSet:
    download = Download(f"{_CMS}{address}.zip", {f"{name}.csv": "*.csv"}, "zip")
    return DataSet(f"cms/{name}.csv", (download,), functools.partial(_has_rows, table, rows, males), one_file=True)


OFFICIAL = {
    "mnist": DataSet(
        "MNIST/raw",
        tuple(Download(f"{_MIRROR}{name}.gz", {f"{name}.gz": "*"}) for name in MNIST_MD5),
        check=_is_mnist,
    ),
    "cifar10": DataSet(
        "cifar-10-batches-py",
        (
            Download(
                "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
                _of("batches.meta", "test_batch", *(f"data_batch_{number}" for number in range(1, 6))),
                "gztar",
                checksum="md5:c58f30108f718f92721af3b95e74349a",
            ),
        ),
    ),
    "yelp": DataSet(
        "yelp",
        (
            Download(
                "https://archive.ics.uci.edu/static/public/331/sentiment+labelled+sentences.zip",
                _of("yelp_labelled.txt", "amazon_cells_labelled.txt", "imdb_labelled.txt"),
                "zip",
                checksum="sha256:afc26626d710899948693e1a61405dce197f57ffa719fa1130d346b4cc095343",
            ),
        ),
    ),
    "yelp_polarity": _reviews("yelp_review_polarity_csv", 2, 560_000, 38_000),
    "yelp_full": _reviews("yelp_review_full_csv", 5, 650_000, 50_000),
    "cms": _medicare("2010_ChronicConditions_PUF", "2010_Chronic_Conditions_PUF", medicare.CHRONIC, 22_003),
    "cms_inpatient": _medicare(
        *("2008_BSA_Inpatient_Claims_PUF", "2008_BSA_Inpatient_Claims_PUF"), medicare.INPATIENT, 588_415, males=258_217
    ),
}
DEFAULT = ("mnist", "cifar10", "yelp", "cms")  # the four cases; the rest by name
