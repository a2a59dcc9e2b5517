"""What `fetch` downloads, from where, and how a download is known to be right.

A checksum stands here only where it is widely published. Where none is known to us, the content is checked against
counts that its publisher states, and the checksum of the first download is recorded in the cache (`checksums.json`):
a later download that differs is refused. The Yelp archives are Zhang, Zhao and LeCun's (2015), as mirrored by fast.ai.
"""

from __future__ import annotations

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
    """One file at one address, and which of its members are installed under which name ("" ends every name)."""

    url: str
    members: Mapping[str, str]  # end of a member's name in the archive -> file name in the unit
    packing: str = ""  # "tar", "zip", or "" for a file that is installed as it is
    checksum: str = ""  # "md5:..." or "sha256:..." of the download itself; "" where none is known


@dataclass(frozen=True)
class DataSet:
    """What one `fetch` name installs: a folder, or one file, that appears in the cache whole or not at all."""

    unit: str  # relative path in the cache
    downloads: tuple[Download, ...]
    check: Callable[[Path], object] = lambda _: None  # looks at the unpacked unit; raises DataError
    one_file: bool = False  # the unit is a file and not a folder


def _mnist(name: str) -> Download:
    url = f"https://ossci-datasets.s3.amazonaws.com/mnist/{name}.gz"  # the mirror that the PyTorch project keeps
    return Download(url, {"": f"{name}.gz"})


def _is_mnist(folder: Path) -> None:
    for name, md5 in MNIST_MD5.items():
        idx.read(folder, name, md5)


def _has_reviews(train: int, test: int, stars: int) -> Callable[[Path], None]:
    def check(folder: Path) -> None:
        for name, expected in (("train.csv", train), ("test.csv", test)):
            found = len(reviews.reviews(folder / name, stars)[1])
            if found != expected:
                raise DataError(f"{folder / name}: expected {expected:,} reviews; found {found:,}.")

    return check


def _is_table(key: str, rows: int, counts: Mapping[str, int]) -> Callable[[Path], None]:
    """Checks a Medicare table by its number of rows and of each sex, as published."""

    def check(file: Path) -> None:
        table = medicare.read(file, medicare.TABLES[key])
        sexes = table["BENE_SEX_IDENT_CD"].value_counts()
        found = {"": len(table), **{code: int(sexes.get(code, 0)) for code in counts}}
        if found != {"": rows, **counts}:
            raise DataError(f"{file}: expected {rows:,} rows, by sex {dict(counts)}; found {found}.")

    return check


_CMS = "https://www.cms.gov/Research-Statistics-Data-and-Systems/Statistics-Trends-and-Reports/BSAPUFS/Downloads/"
_REVIEWS = {"/train.csv": "train.csv", "/test.csv": "test.csv"}
_BATCHES = ("batches.meta", "test_batch", *(f"data_batch_{number}" for number in range(1, 6)))
_SENTENCES = ("yelp_labelled.txt", "amazon_cells_labelled.txt", "imdb_labelled.txt")

OFFICIAL = {
    "mnist": DataSet("MNIST/raw", tuple(_mnist(name) for name in MNIST_MD5), check=_is_mnist),
    "cifar10": DataSet(
        "cifar-10-batches-py",
        (
            Download(
                "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
                {f"/{name}": name for name in _BATCHES},
                "tar",
                checksum="md5:c58f30108f718f92721af3b95e74349a",
            ),
        ),
    ),
    "yelp": DataSet(
        "yelp",
        (
            Download(
                "https://archive.ics.uci.edu/static/public/331/sentiment+labelled+sentences.zip",
                {f"/{name}": name for name in _SENTENCES},
                "zip",
                checksum="sha256:afc26626d710899948693e1a61405dce197f57ffa719fa1130d346b4cc095343",
            ),
        ),
    ),
    "yelp_polarity": DataSet(
        "yelp_review_polarity_csv",
        (Download("https://s3.amazonaws.com/fast-ai-nlp/yelp_review_polarity_csv.tgz", _REVIEWS, "tar"),),
        check=_has_reviews(560_000, 38_000, stars=2),
    ),
    "yelp_full": DataSet(
        "yelp_review_full_csv",
        (Download("https://s3.amazonaws.com/fast-ai-nlp/yelp_review_full_csv.tgz", _REVIEWS, "tar"),),
        check=_has_reviews(650_000, 50_000, stars=5),
    ),
    "cms": DataSet(
        "cms/2010_Chronic_Conditions_PUF.csv",
        (Download(_CMS + "2010_ChronicConditions_PUF.zip", {".csv": "2010_Chronic_Conditions_PUF.csv"}, "zip"),),
        check=_is_table("chronic", 22_003, {}),
        one_file=True,
    ),
    "cms_inpatient": DataSet(
        "cms/2008_BSA_Inpatient_Claims_PUF.csv",
        (Download(_CMS + "2008_BSA_Inpatient_Claims_PUF.zip", {".csv": "2008_BSA_Inpatient_Claims_PUF.csv"}, "zip"),),
        check=_is_table("inpatient", 588_415, {"1": 258_217, "2": 330_198}),
        one_file=True,
    ),
}
DEFAULT = ("mnist", "cifar10", "yelp", "cms")  # the four cases; the rest by name
