"""What a figure shows and what a claim measured: descriptions beside figures, and the claims table.

A notebook leaves PNG files, a description beside each (`write_sidecar`), and its rows of the claims table (`Claims`).
`claims_table` merges the rows of all notebooks; `gaa_core.gallery` shows both. Files are written whole or not at all.
"""

from __future__ import annotations

import json
import math
import os
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from gaa_core.errors import DataError, GaaError, UnknownName

if TYPE_CHECKING:
    import pandas as pd

#: "As good as no attack" means at most this many percentage points below it. Fixed before anything was measured.
BOUND = 2.0

VERDICTS = ("holds", "fails", "not run")


def write_text(path: str | Path, text: str) -> Path:
    """Write a file whole or not at all: a temporary file beside it, then a rename."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    pending = path.with_name(f".{path.name}.{os.getpid()}.pending")
    try:
        with pending.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        pending.replace(path)
    finally:
        pending.unlink(missing_ok=True)
    return path


def write_json(path: str | Path, value: object) -> Path:
    """`write_text` of a value as JSON; a NaN is refused, since JSON has none."""
    return write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> dict:
    """A JSON file's value. A damaged file raises DataError with its name."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is damaged ({error}). Delete it and run its notebook again.") from error


def write_sidecar(
    figure: str | Path,
    *,
    caption: str,
    alt: str,
    data_source: str,
    claim: str | Iterable[str] = (),
    notebook: str = "",
    command: str = "",
) -> Path:
    """Describe a saved figure in a JSON file beside it: mnist.png -> mnist.json.

    `alt` says in words what the picture shows, for those who do not see it. `claim` is "C2" or several.
    `command` rebuilds the figure; without it, that is the command which runs its notebook.
    """
    figure = Path(figure)
    for name, value in {"caption": caption, "alt": alt, "data_source": data_source}.items():
        if not value.strip():
            raise GaaError(f"The figure '{figure.stem}' needs words for its {name}; found none.")
    description = {
        "figure": figure.name,
        "caption": caption,
        "alt": alt,
        "claims": [claim] if isinstance(claim, str) else list(claim),
        "data_source": data_source,
        "notebook": notebook,
        "command": command or (f"python -m gaa_core reproduce --only {notebook}" if notebook else ""),
    }
    return write_json(figure.with_suffix(".json"), description)


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval; `low` and `high` are None where one value alone cannot tell."""

    mean: float
    low: float | None = None
    high: float | None = None

    def text(self, digits: int = 1) -> str:
        """`90.4 [89.9, 90.9]`, or `90.4` without an interval."""
        mean = f"{self.mean:.{digits}f}"
        return mean if self.low is None else f"{mean} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def interval(values: Sequence[float]) -> Interval:
    """Mean and Student's 95 % interval of independent values, such as one accuracy a seed."""
    values = [float(value) for value in values]
    if not values:
        raise GaaError("interval needs at least one value; found none.")
    if not all(map(math.isfinite, values)):
        raise GaaError(f"interval needs finite values; found {values}.")
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Interval(mean)
    from scipy import stats  # slow to import, and only needed here

    half = float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def gap(clean: Sequence[float], attacked: Sequence[float]) -> Interval:
    """How much lower `attacked` is, seed by seed: both lists are in the order of the same seeds."""
    if len(clean) != len(attacked):
        raise GaaError(f"gap compares seed by seed; found {len(clean)} values without attack and {len(attacked)} with.")
    return interval([before - after for before, after in zip(clean, attacked, strict=True)])


def verdict(gap_points: float | None, bound: float = BOUND) -> str:
    """`holds` when the mean gap is at most `bound` percentage points, else `fails`; `not run` without a measurement.

    Decided on the mean, not on the interval: few seeds must not make a claim hold by being vague.
    """
    if gap_points is None:
        return "not run"
    return (
        "holds" if round(gap_points, 6) <= bound else "fails"
    )  # rounded: .90 - .88 is a hair above 2 points in floats


@dataclass(frozen=True)
class Row:
    """One row of the claims table. Numbers are in `unit`; the gap is in the same unit (for accuracies: points)."""

    claim: str
    case: str
    setting: str
    measured: float | None
    measured_low: float | None
    measured_high: float | None
    reference: float | None
    gap: float | None
    gap_low: float | None
    gap_high: float | None
    unit: str
    verdict: str
    data_source: str
    notebook: str
    figure: str

    def __post_init__(self):
        if not re.fullmatch(r"C\d+", self.claim):
            raise GaaError(f"A claim is named C1, C2 ...; found '{self.claim}'.")
        if self.verdict not in VERDICTS:
            raise UnknownName("verdict", self.verdict, VERDICTS)


class Claims:
    """One notebook's rows of the claims table: `compare` or `add` them, then `write`."""

    def __init__(self, folder: str | Path, notebook: str):
        self.folder, self.notebook = Path(folder), notebook
        self.rows: list[Row] = []

    def compare(
        self,
        claim: str,
        *,
        case: str,
        setting: str,
        clean: Sequence[float],
        attacked: Sequence[float],
        data_source: str,
        figure: str = "",
    ) -> Row:
        """A row for "as good as no attack": accuracies in [0, 1], one a seed, without attack and under it."""
        distance = gap([100 * value for value in clean], [100 * value for value in attacked])
        return self.add(
            claim,
            case=case,
            setting=setting,
            measured=interval([100 * value for value in attacked]),
            reference=interval([100 * value for value in clean]).mean,
            gap=distance,
            unit="%",
            verdict=verdict(distance.mean),
            data_source=data_source,
            figure=figure,
        )

    def add(
        self,
        claim: str,
        *,
        case: str,
        setting: str,
        measured: Interval | float,
        verdict: str,
        data_source: str,
        unit: str = "",
        reference: float | None = None,
        gap: Interval | None = None,
        figure: str = "",
    ) -> Row:
        """A row with any measure, whose verdict the notebook reaches by a rule that it states."""
        measured = measured if isinstance(measured, Interval) else Interval(float(measured))
        numbers = (measured.mean, measured.low, measured.high, reference)
        distance = (gap.mean, gap.low, gap.high) if gap else (None, None, None)
        tail = (unit, verdict, data_source, self.notebook, figure)
        self.rows.append(Row(claim, case, setting, *numbers, *distance, *tail))
        return self.rows[-1]

    def not_run(self, claim: str, *, case: str, setting: str) -> Row:
        """A row for what this profile leaves out, so that the gap in the table is visible."""
        self.rows.append(Row(claim, case, setting, *[None] * 7, "", "not run", "", self.notebook, ""))
        return self.rows[-1]

    def write(self) -> Path:
        """Write the rows to `<figures>/claims/<notebook>.json`, replacing those of an earlier run."""
        return write_json(self.folder / "claims" / f"{self.notebook}.json", [asdict(row) for row in self.rows])

    def to_frame(self) -> pd.DataFrame:
        """The rows so far, as a table."""
        return _frame([asdict(row) for row in self.rows])


def claims_table(folder: str | Path) -> pd.DataFrame:
    """The rows of all notebooks that wrote to a figures folder, in the order of the claims."""
    return _frame([row for path in sorted((Path(folder) / "claims").glob("*.json")) for row in read_json(path)])


def _frame(rows: list[dict]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(rows, columns=[field.name for field in fields(Row)])
    return frame.sort_values("claim", key=lambda names: names.str[1:].astype(int), kind="stable", ignore_index=True)


def readable(table: pd.DataFrame) -> list[dict[str, str]]:
    """The claims table as rows of text, ready to be shown: heading -> cell."""
    return [_readable(row) for row in table.astype(object).where(table.notna(), None).to_dict("records")]


def _readable(row: dict) -> dict[str, str]:
    unit = f" {row['unit']}" if row["unit"] else ""
    points = " points" if row["unit"] == "%" else unit
    digits = 1 if row["unit"] == "%" else 3
    measured = (
        Interval(row["measured"], row["measured_low"], row["measured_high"]) if row["measured"] is not None else None
    )
    distance = Interval(row["gap"], row["gap_low"], row["gap_high"]) if row["gap"] is not None else None
    return {
        "Claim": row["claim"],
        "Case": row["case"],
        "Setting": row["setting"],
        "Measured": measured.text(digits) + unit if measured else "",
        "No attack": f"{row['reference']:.{digits}f}{unit}" if row["reference"] is not None else "",
        "Gap": distance.text(digits) + points if distance else "",
        "Verdict": row["verdict"],
        "Data": row["data_source"],
        "Notebook": row["notebook"],
        "Figure": row["figure"],
    }


def markdown(rows: Sequence[dict[str, str]]) -> str:
    """Rows of text, such as `readable` makes, as a Markdown table."""
    if not rows:
        return "No claim has been measured yet.\n"
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "".join(
        "| " + " | ".join(re.sub(r"\s+", " ", cell).replace("|", r"\|") for cell in line) + " |\n" for line in lines
    )


def plain(table: pd.DataFrame) -> str:
    """The claims table for a terminal, one line a row."""
    rows = [{name: cell for name, cell in row.items() if name != "No attack"} for row in readable(table)]
    if not rows:
        return "No claim has been measured yet.\n"
    lines = [{name: name for name in rows[0]}, *rows]
    widths = {name: max(len(line[name]) for line in lines) for name in rows[0]}
    return "".join(
        "  ".join(line[name].ljust(width) for name, width in widths.items()).rstrip() + "\n" for line in lines
    )


def write_claims(folder: str | Path) -> pd.DataFrame:
    """Merge all rows into `claims.csv` and `claims.md` of a figures folder; the merged table."""
    table = claims_table(folder)
    write_text(Path(folder) / "claims.csv", table.to_csv(index=False))
    write_text(Path(folder) / "claims.md", markdown(readable(table)))
    return table


def update_block(path: str | Path, begin: str, end: str, block: str) -> Path:
    """Rewrite what stands between two marker lines of a file, and nothing else."""
    path = Path(path)
    text = path.read_text(encoding="utf-8")
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise GaaError(f"{path.name} needs the lines {begin} and {end}, once and in this order.")
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    return write_text(path, f"{before}{begin}\n\n{block}\n{end}{after}")
