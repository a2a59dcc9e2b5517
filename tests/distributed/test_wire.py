"""Answers are believed in nothing: every wrong one is refused, with the right reason, before it is fetched."""

import numpy as np
import pytest

from gaa_core.distributed import Fault
from gaa_core.distributed.wire import SLACK, Wire
from gaa_core.errors import GaaError, UnknownName

WIRE = Wire(1000)
ROW = np.linspace(-3, 3, 1000, dtype=np.float32)
GOOD = (7, "float32", (1000,), 4000, 1.0, 0.5)


def changed(**fields):
    names = ("step", "dtype", "shape", "nbytes", "scale", "loss")
    return tuple(fields.get(name, value) for name, value in zip(names, GOOD, strict=True))


def test_an_ordinary_answer_is_admitted():
    header, body = WIRE.pack(7, ROW, 0.5)
    assert header == GOOD
    assert WIRE.refuse_header(header, 7, 6) == WIRE.refuse_body(body) == ""
    assert not WIRE.refuse_size(4000 + 300)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (changed(step=6), "twice"),
        (changed(step=5), "twice"),
        (changed(step=8), "error"),  # for a step that was not asked yet
        (changed(dtype="float64"), "dtype"),
        (changed(shape=(999,), nbytes=3996), "shape"),
        (changed(shape=(1, 1000)), "shape"),
        (changed(nbytes=400_000), "size"),
        (changed(nbytes=3996), "shape"),
        (changed(scale=float("nan")), "error"),
        (changed(scale=0.0), "error"),
        (changed(scale="1.0"), "error"),
        (changed(step=True), "error"),
        (changed(shape=[1000]), "error"),
        (changed(loss=None), "error"),
        (GOOD[:5], "error"),
        ("trust me", "error"),
        (None, "error"),
    ],
)
def test_headers_that_lie_are_refused(header, reason):
    assert WIRE.refuse_header(header, 7, 6) == reason


def test_an_answer_for_a_step_that_was_missed_is_late():
    assert WIRE.refuse_header(changed(step=6), 7, 5) == "late"


def test_too_many_bytes_and_unknown_bytes_are_not_fetched():
    assert WIRE.refuse_size(4000 + SLACK + 1)
    assert WIRE.refuse_size(None)


@pytest.mark.parametrize(("body", "reason"), [(ROW[:-1], "shape"), (ROW.astype(float), "dtype"), ("text", "shape")])
def test_bodies_that_are_not_as_announced_are_refused(body, reason):
    assert WIRE.refuse_body(body) == reason


@pytest.mark.parametrize("size", [1e-30, 1e-6, 1.0, 1e6, 1e30])
def test_half_the_bytes_keep_three_digits_of_the_largest(size):
    wire, out = Wire(1000, "float16"), np.empty(1000, dtype=np.float32)
    row = (ROW * size).astype(np.float32)
    header, body = wire.pack(0, row, 0.0)
    assert body.nbytes == wire.nbytes == 2000
    assert wire.refuse_header(header, 0, -2) == wire.refuse_body(body) == ""
    wire.unpack(header, body, out)
    assert np.abs(out - row).max() <= np.abs(row).max() / 2000


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_so_in_half_the_bytes(bad):
    wire, out = Wire(1000, "float16"), np.empty(1000, dtype=np.float32)
    row = ROW.copy()
    row[3] = bad
    wire.unpack(*wire.pack(0, row, 0.0), out)
    assert not np.isfinite(out[3])


def test_zeros_are_zeros():
    wire, out = Wire(4, "float16"), np.ones(4, dtype=np.float32)
    wire.unpack(*wire.pack(0, np.zeros(4, dtype=np.float32), 0.0), out)
    assert (out == 0).all()


def test_unknown_names_are_helped():
    with pytest.raises(UnknownName, match="float16"):
        Wire(3, "float61")
    with pytest.raises(UnknownName, match="hang"):
        Fault("hnag", worker=0)
    with pytest.raises(GaaError, match="worker >= 0"):
        Fault("hang", worker=-1)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("stale", "twice"), ("shape", "shape"), ("dtype", "dtype"), ("huge", "size"), ("babble", "error")],
)
def test_faults_on_order_are_seen_in_the_header(kind, reason):
    header, _ = Fault(kind, worker=0).after(*WIRE.pack(7, ROW, 0.5))
    assert WIRE.refuse_header(header, 7, 6) == reason


def test_smuggled_bytes_are_seen_only_in_the_store():
    header, body = Fault("smuggle", worker=0).after(*WIRE.pack(7, ROW, 0.5))
    assert WIRE.refuse_header(header, 7, 6) == ""
    assert WIRE.refuse_size(body.nbytes)
