"""What `fetch` downloads, from where, and how a download is known to be right.

A checksum is given only where it is widely published. Where none is known to us, the content is checked against
counts that its publisher states, and the checksum of the first download is recorded in the cache (`checksums.json`):
a later download that differs is refused. The addresses stand in packaged/official.yml.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from gaa_core.datasets import idx, medicare, reviews
from gaa_core.datasets.sources import PACKAGED
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


def _has_rows(table: str, rows: int, males: int | None, file: Path) -> None:
    """Compares a Medicare table with the numbers of rows and of males that are published."""
    sexes = medicare.read(file, medicare.TABLES[table])["BENE_SEX_IDENT_CD"]
    found = len(sexes), int((sexes == "1").sum())
    if found != (rows, found[1] if males is None else males):
        raise DataError(f"{file}: expected {rows:,} rows, of males {males}; found {found[0]:,} and {found[1]:,}.")


_CHECKS = {"mnist": _is_mnist, "reviews": _has_reviews, "rows": _has_rows}


def _data_set(unit: str, downloads: list[dict], check: Sequence = (), one_file: bool = False) -> DataSet:
    for each in downloads:
        if isinstance(each["files"], list):
            each["files"] = {name: name for name in each["files"]}
    made = {"check": functools.partial(_CHECKS[check[0]], *check[1:])} if check else {}
    return DataSet(unit, tuple(Download(**each) for each in downloads), one_file=one_file, **made)


_LISTED = yaml.safe_load((PACKAGED / "official.yml").read_text(encoding="utf-8"))
OFFICIAL = {name: _data_set(**each) for name, each in _LISTED.items()}
DEFAULT = ("mnist", "cifar10", "yelp", "cms")  # the four cases; the rest by name
