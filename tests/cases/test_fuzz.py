"""Any input of the public entry points of data gives a result, or a GaaError of one sentence; nothing else.

GAA_FUZZ_EXAMPLES=10000 tries so many inputs each.
"""

import contextlib

import numpy as np
import pandas as pd
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from gaa_core import case, run
from gaa_core.aggregators import Mean
from gaa_core.cases import CaseData, CaseStudy, Settings, Split
from gaa_core.datasets import medicare, reviews
from gaa_core.errors import GaaError
from gaa_core.partition import KINDS, partition
from gaa_core.qv import SOURCES, draw_qv

SCALARS = [np.int64(3), np.float32(0.5), np.bool_(True), torch.tensor(3), torch.ones(2), [], {}, object, "iid"]
ANYTHING = st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats() | st.sampled_from(SCALARS)
TYPES = ["f4", "f8", "f2", "i8", "i1", "u1", "u2", "?", "U2", "O", "c8", ">f8", "M8[s]"]
ARRAYS = arrays.arrays(st.sampled_from(TYPES), arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
LABELS = [[0, 1], [0, 1, 2], [1, 2], [-1, 1], [0, 255], [0.5, 1.0], [np.nan, 1], ["a", "b"], ["a", 1], [True, False]]
MODELS = [
    nn.Linear(3, 2),
    lambda: nn.Linear(3, 3),
    lambda: nn.Linear(3, 1),
    lambda data: nn.LazyLinear(max(2, len(data.classes))),
    lambda: nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)),
    lambda: nn.Sequential(nn.Embedding(300, 2), nn.Flatten(), nn.LazyLinear(2)),
    nn.Identity,
    None,
]
LOSSES = [functional.cross_entropy, functional.mse_loss, nn.BCEWithLogitsLoss(), lambda out, y: ((out - y) ** 2).mean()]


@contextlib.contextmanager
def one_sentence():
    """Lets a GaaError of one line pass; every other error fails the test."""
    try:
        yield
    except GaaError as error:
        assert "\n" not in str(error).strip()
        assert str(error).rstrip()[-1] in ".?"


@st.composite
def samples(draw):
    """Inputs and targets as people hold them: mostly of one count and few values, sometimes anything."""
    if draw(st.integers(0, 9)) == 9:
        return draw(
            ANYTHING | ARRAYS | st.tuples(ARRAYS, ARRAYS) | st.lists(st.tuples(ARRAYS, st.integers()), max_size=3)
        )
    m = draw(st.sampled_from([6, 6, 6, 9, 1, 2, 0]))
    inputs = draw(arrays.arrays(st.sampled_from(["f4", "f8", "i8", "u1", "?"]), (m, 3), elements=st.integers(0, 1)))
    if draw(st.integers(0, 9)) == 9 and inputs.dtype.kind == "f" and m:
        inputs[0, 0] = draw(st.sampled_from([np.nan, np.inf, 1e30]))
    targets = draw(
        st.lists(
            st.sampled_from(draw(st.sampled_from(LABELS))),
            min_size=m,
            max_size=m + draw(st.sampled_from([0] * 9 + [1])),
        )
    )
    column = np.array(targets)
    shaped = [targets, column, column[:, None], pd.Series(targets), functional.one_hot(torch.arange(m) % 2, 2)]
    kind = draw(st.sampled_from(["pair", "frame", "split", "dataset", "loader"]))
    pair = (inputs, draw(st.sampled_from(shaped)))
    with contextlib.suppress(
        GaaError, TypeError, ValueError, AssertionError
    ):  # what pandas and torch refuse themselves
        if kind == "frame":
            return pd.DataFrame(inputs).assign(y=column)
        if kind == "split":
            return Split(*pair)
        if kind in ("dataset", "loader"):
            pairs = TensorDataset(torch.from_numpy(inputs), torch.as_tensor(column))
            return DataLoader(pairs, batch_size=2) if kind == "loader" else pairs
    return pair


@given(train=samples(), same=st.booleans(), model=st.sampled_from(MODELS), loss=st.sampled_from(LOSSES), data=st.data())
def test_case_trains_or_says_why_not(train, same, model, loss, data):
    test = train if same else data.draw(samples())
    with one_sentence():
        mine = case(model, train, test, loss=loss, target="y", steps=2, n=2, batch_size=2, qv_size=1)
        run(mine, Mean())


@given(
    st.one_of(st.tuples(ARRAYS, ARRAYS), st.tuples(ANYTHING, ARRAYS), samples()),
    st.sampled_from([(), "a", "ab", "abc", "aa", None, 3, [1, 2]]),
)
def test_the_constructors_take_or_refuse_anything(pair, classes):
    with one_sentence():
        split = Split(*pair) if isinstance(pair, tuple) else pair
        data = CaseData(split, split, classes, "toy", "toy")
        CaseStudy("toy", "toy", lambda: data, lambda _: nn.LazyLinear(3), Settings()).network(data)


@given(st.dictionaries(st.sampled_from(["lr", "steps", "n", "batch_size", "qv_size", "cooldown"]), ANYTHING))
def test_settings_are_plain_numbers_or_refused(options):
    with one_sentence():
        settings = Settings(**options)
        assert {type(value) for value in vars(settings).values()} == {int, float}


NUMBERS = ANYTHING | st.integers(1, 40)
TOY_TARGETS = torch.arange(30) % 3
TOY = Split(torch.randn(30, 3, generator=torch.Generator().manual_seed(0)), TOY_TARGETS)


@given(st.sampled_from([*KINDS, "idd"]), NUMBERS, NUMBERS, st.booleans())
def test_partition_shares_every_sample_out_or_refuses(kind, n, alpha, numbers):
    targets = TOY_TARGETS.float() if numbers else TOY_TARGETS
    with one_sentence():
        parts = partition(targets, n, kind, alpha=alpha, seed=0)
        assert len(parts) == int(n)
        assert kind == "iid" or torch.cat(parts).sort().values.tolist() == list(range(30))


@given(st.sampled_from([*SOURCES, "gold"]), NUMBERS, st.booleans())
def test_draw_qv_gives_its_size_or_refuses(source, size, numbers):
    data = CaseData(TOY, TOY, () if numbers else ("a", "b", "c"), "toy", "toy")
    toy = CaseStudy("toy", "toy", lambda: data, lambda _: nn.Linear(3, 3), Settings(), similar=lambda data: data.test)
    with one_sentence():
        qv, remain = draw_qv(toy, data, source, size, torch.Generator().manual_seed(0))
        assert len(qv) == int(size)
        assert remain.any()


LINES = st.lists(
    st.sampled_from(["1,6,17,,4,5", '"1","good"', "good\t1", "bad\t0", ",", "", '"', "\ufeff", "é", "9" * 9, "2\t"])
)


@given(
    LINES, st.sampled_from(["\n", "\r\n", "\r", ",\n"]), st.sampled_from(["utf-8", "latin-1", "utf-16"]), st.booleans()
)
def test_files_are_read_or_refused(tmp_path_factory, lines, end, encoding, header):
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    names = ",".join(each.name for each in (*medicare.INPATIENT.features, medicare.INPATIENT.target))
    path.write_bytes(end.join([names] * header + lines).encode(encoding, "replace"))
    for read in (
        reviews.sentences,
        lambda path: reviews.reviews(path, 2),
        lambda path: medicare.read(path, medicare.INPATIENT),
    ):
        with one_sentence():
            read(path)
