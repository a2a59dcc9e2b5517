"""Tables as numbers: what the tabular cases share. Codes become 0/1 columns, quantities standardised logarithms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Generator, Tensor

from gaa_core.cases.base import CaseData, Split
from gaa_core.datasets import fingerprint
from gaa_core.datasets.medicare import BLANK, Field, Table
from gaa_core.errors import DataError
from gaa_core.partition import stratified

if TYPE_CHECKING:
    import pandas


def build(
    rows: pandas.DataFrame, targets: np.ndarray, other: np.ndarray, table: Table, classes: tuple[str, ...], source: str
) -> CaseData:
    """The data of a tabular case: a fifth of the rows to test on; the rows of mask `other` are the similar domain.

    Everything that encoding needs (which codes there are, means, spreads) comes from the training rows.
    `source` has two places, {train} and {test}, for the numbers of rows.
    """
    labels = torch.from_numpy(targets.astype(np.int64))
    home = torch.from_numpy(np.flatnonzero(~other))
    train, test = (home[index] for index in stratified(labels[home], test_share=0.2))
    for number, name in enumerate(classes):
        if not ((labels[train] == number).any() and (labels[test] == number).any()):
            raise DataError(f"{table.title}: expected rows '{name}' to train and to test on; found too few or none.")
    encode = _encoder(rows.iloc[train.numpy()], table.features)

    def split(index: Tensor) -> Split:
        raw = rows.iloc[index.numpy()].reset_index(drop=True)
        return Split(encode(raw), labels[index], raw)

    splits = split(train), split(test)
    digest = fingerprint(*(tensor.numpy().tobytes() for each in splits for tensor in (each.inputs, each.targets)))
    return CaseData(
        *splits,
        classes,
        source.format(train=f"{len(train):,}", test=f"{len(test):,}"),
        digest,
        encode=encode,
        other=split(torch.from_numpy(np.flatnonzero(other))),
    )


def _encoder(train: pandas.DataFrame, fields: Sequence[Field]) -> Callable[[pandas.DataFrame], Tensor]:
    """Rows -> [m, columns]: one column for each code that training saw; a code it did not see is all zeros."""
    codes = {each.name: sorted(train[each.name].unique()) for each in fields if not each.number}
    logs = {each.name: np.log1p(train[each.name].to_numpy(float)) for each in fields if each.number}
    scales = {name: (values.mean(), values.std() or 1.0) for name, values in logs.items()}

    def encode(rows: pandas.DataFrame) -> Tensor:
        columns = []
        for name, known in codes.items():
            columns.append(rows[name].to_numpy()[:, None] == np.array(known, dtype=object)[None, :])
        for name, (mean, spread) in scales.items():
            columns.append((np.log1p(rows[name].to_numpy(float))[:, None] - mean) / spread)
        return torch.from_numpy(np.concatenate(columns, axis=1, dtype=np.float32))

    return encode


def blank_codes(data: CaseData, samples: Split, generator: Generator, share: float = 0.2) -> Split:
    """The same rows with `share` of their codes unknown, each drawn by itself: records badly kept."""
    raw = samples.raw.copy()
    named = [name for name in raw.columns if raw[name].dtype.kind not in "fi"]
    lost = (torch.rand(len(raw), len(named), generator=generator) < share).numpy()
    for place, name in enumerate(named):
        raw[name] = raw[name].where(~lost[:, place], BLANK)
    return replace(samples, inputs=data.encode(raw), raw=raw)
