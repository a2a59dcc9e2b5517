"""CMS inpatient claims 2008: the payment quintile from sex, age, diagnosis group, procedure and days. By fetch only."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch

from gaa_core.cases import networks as models
from gaa_core.cases.base import CaseData, CaseStudy, Settings
from gaa_core.cases.tabular import blank_codes, build
from gaa_core.datasets import locate, stamp
from gaa_core.datasets.medicare import INPATIENT, read
from gaa_core.errors import DataError
from gaa_core.partition import sample

FILE = "2008_BSA_Inpatient_Claims_PUF.csv"
CLAIMS = 60_000  # of 588,415: some 400 columns of 0 and 1 must fit in memory


def load() -> CaseData:
    """A fixed sample of the claims, from GAA_DATA, else from the cache. Read once a process."""
    source = locate(f"cms/{FILE}")
    if source is None:
        raise DataError(
            f"cms/{FILE} is in neither GAA_DATA nor the cache: run `python -m gaa_core fetch cms_inpatient`."
        )
    return _load(source.folder, source.name, stamp(source.folder))


@functools.lru_cache(maxsize=1)
def _load(path: Path, name: str, _stamp) -> CaseData:
    """Claims of beneficiaries of 65 and over; those under 65 are the similar domain. No payment column is a feature."""
    rows = read(path, INPATIENT)
    quintile = rows.pop(INPATIENT.target.name).to_numpy().astype(np.int64) - 1
    chosen = sample(torch.from_numpy(quintile), CLAIMS).numpy()
    rows, quintile = rows.iloc[chosen].reset_index(drop=True), quintile[chosen]
    younger = (rows["BENE_AGE_CAT_CD"] == "1").to_numpy()
    source = "CMS BSA Inpatient Claims PUF 2008, {train} + {test} claims at 65 and over (" + name + ")"
    return build(rows, quintile, younger, INPATIENT, tuple(INPATIENT.target.codes.values()), source)


CMSInpatient = CaseStudy(
    name="cms_inpatient",
    title="CMS, inpatient claims",
    load=load,
    model=lambda data: models.mlp(data.train.inputs.shape[1], 32, len(data.classes)),
    settings=Settings(lr=0.1, batch_size=64, steps=1000, n=10, qv_size=10),
    similar=lambda data: data.other,
    similar_title="claims of beneficiaries under 65",
    shift=blank_codes,
    shift_title="a fifth of the codes unknown",
)
