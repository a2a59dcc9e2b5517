"""Nothing in an answer is taken on trust: every wrong one is refused, with its reason, before it is fetched."""

import subprocess
import sys

import numpy as np
import pytest
from failing_workers import Fault

from gaa_core.distributed import RayEngine
from gaa_core.distributed.ray_worker import SLACK, Wire
from gaa_core.errors import GaaError, UnknownName

WIRE = Wire(1000)
ROW = np.linspace(-3, 3, 1000, dtype=np.float32)
GOOD = (7, "float32", (1000,), 4000, 0.5)
FIELDS = ("step", "dtype", "shape", "nbytes", "loss")


def test_importing_the_package_does_not_import_ray():
    code = "import sys, gaa_core.sweep as _, gaa_core.distributed as d; d.RayEngine(4); sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_ordinary_answer_is_admitted(dtype):
    wire, row = Wire(1000, dtype), ROW.astype(dtype)
    header, body = wire.pack(7, row, 0.5)
    assert header == (7, dtype, (1000,), row.nbytes, 0.5)
    assert wire.refuse_header(header, 7, 6) == wire.refuse_body(body) == ""
    assert not wire.refuse_size(row.nbytes + 300)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"step": 6}, "twice"),
        ({"step": 8}, "error"),  # for a step that was not asked yet
        ({"dtype": "float64"}, "dtype"),
        ({"shape": (999,), "nbytes": 3996}, "shape"),
        ({"shape": (1, 1000)}, "shape"),
        ({"nbytes": 400_000}, "size"),
        ({"nbytes": 3996}, "shape"),
        ({"step": True}, "error"),
        ({"shape": [1000]}, "error"),
        ({"loss": None}, "error"),
    ],
    ids=str,
)
def test_wrong_headers_are_refused(wrong, reason):
    assert WIRE.refuse_header(tuple({**dict(zip(FIELDS, GOOD, strict=True)), **wrong}.values()), 7, 6) == reason


def test_what_is_not_as_announced_is_refused():
    for header in (GOOD[:4], "no header", None):
        assert WIRE.refuse_header(header, 7, 6) == "error"
    assert WIRE.refuse_header((6, *GOOD[1:]), 7, 5) == "late"
    assert WIRE.refuse_size(4000 + SLACK + 1) and WIRE.refuse_size(None)
    for body, reason in ((ROW[:-1], "shape"), (ROW.astype(float), "dtype"), ("text", "shape")):
        assert WIRE.refuse_body(body) == reason


def test_engines_and_names_that_cannot_be_are_refused():
    for options in ({"workers": 0}, {"timeout_s": 0}):
        with pytest.raises(GaaError):
            RayEngine(**options)
    with pytest.raises(UnknownName, match="hang"):
        Fault("hnag", worker=0)
