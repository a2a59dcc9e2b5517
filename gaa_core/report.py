"""What a figure shows and what a claim measured: descriptions beside figures, and the claims table.

A notebook leaves PNG files, a description beside each (`write_sidecar`), and its rows of the claims table (`Claims`).
`claims_table` merges the rows of all notebooks, `matrix` counts them by claim, case and agent.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from gaa_core.analysis.statistics import BOUND, Interval, gap, interval, verdict
from gaa_core.errors import GaaError, one_of
from gaa_core.files import read_json, write, write_json

__all__ = ["AGENTS", "BOUND", "Claims", "Interval", "gap", "interval", "matrix", "verdict", "write_sidecar"]

VERDICTS = ("holds", "fails", "undecided", "not run")

#: The agents that claims are judged for, as a setting begins -> as the matrix calls them.
AGENTS = {"GAA": "GAA", "GAA, bounded": "bounded", "GAAPlus": "GAAPlus"}

#: The claims of the paper in few words, for pictures.
_WORDS = "one attacker, minority, majority, ratio varies, pretense, few QV samples, time per step, adaptive attacks"
_WORDS += ", detection, behaviour, growth, league"
CLAIMS = {f"C{number}": words for number, words in enumerate(_WORDS.split(", "), start=1)}

#: A setting with this word is shown and not judged: larger scales, other faults, roles beyond the threat model.
STRESS = "stress"

#: What stands in the matrix for rows that speak of no agent, such as those on the mean.
NO_AGENT = "all rules"

#: The columns of the claims table. Numbers are in `unit`, a gap of accuracies in percentage points.
COLUMNS = [
    *("claim", "case", "setting", "measured", "measured_low", "measured_high", "reference", "gap", "gap_low"),
    *("gap_high", "unit", "verdict", "data_source", "notebook", "figure"),
]

#: The columns of the matrix.
MATRIX = [
    *("claim", "case", "agent", *VERDICTS[:3], "settings", "verdict"),
    *("gap", "gap_low", "gap_high", "unit", "setting", "notebook", "figure"),
]

#: Between these lines of a README stands its small table.
BEGIN, END = "<!-- claims:begin -->", "<!-- claims:end -->"


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


class Claims:
    """One notebook's rows of the claims table: `compare` or `add` them, then `write`."""

    def __init__(self, folder: str | Path, notebook: str):
        self.folder, self.notebook = Path(folder), notebook
        self.rows: list[dict] = []

    def compare(self, claim: str, *, clean: Sequence[float], attacked: Sequence[float], **words: str) -> None:
        """A row for "as good as no attack": accuracies in [0, 1], one a seed, without attack and under it.

        `words` are those of `add`: case, setting, data_source, figure.
        """
        before, under = [100 * value for value in clean], [100 * value for value in attacked]
        lost = gap(before, under)
        reference = interval(before).mean
        numbers = {"measured": interval(under), "reference": reference, "gap": lost, "unit": "%"}
        self.add(claim, **numbers, verdict=verdict(lost), **words)

    def add(
        self,
        claim: str,
        *,
        case: str,
        setting: str,
        measured: Interval | float | None,
        verdict: str,
        data_source: str,
        unit: str = "",
        reference: float | None = None,
        gap: Interval | None = None,
        figure: str = "",
    ) -> None:
        """A row with any measure, whose verdict the notebook reaches by a rule that it states."""
        if not re.fullmatch(r"C\d+", claim):
            raise GaaError(f"A claim is named C1, C2 ...; found '{claim}'.")
        one_of("verdict", verdict, VERDICTS)
        measured = measured if isinstance(measured, Interval | None) else Interval(float(measured))
        ends = [getattr(each, end, None) for each in (measured, gap) for end in ("mean", "low", "high")]
        row = (claim, case, setting, *ends[:3], reference, *ends[3:], unit, verdict, data_source, self.notebook, figure)
        self.rows.append(dict(zip(COLUMNS, row, strict=True)))

    def not_run(self, claim: str, *, case: str, setting: str) -> None:
        """A row for what this profile leaves out, so that the gap in the table is visible."""
        self.add(claim, case=case, setting=setting, measured=None, verdict="not run", data_source="")

    def write(self) -> Path:
        """Write the rows to `<figures>/claims/<notebook>.json`, replacing those of an earlier run."""
        return write_json(self.folder / "claims" / f"{self.notebook}.json", self.rows)

    def to_frame(self) -> pd.DataFrame:
        """The rows so far, as a table."""
        return table_of(self.rows)


def claims_table(*folders: str | Path) -> pd.DataFrame:
    """The rows of all notebooks that wrote to a figures folder, in the order of the claims.

    Of further folders those, for claims, cases and agents that no earlier one has.
    """
    return table_of([row for rows in rows_of(*folders).values() for row in rows])


def rows_of(*folders: str | Path) -> dict[Path, list[dict]]:
    """What each of these folders has to say, by the order in which they count."""
    found: dict[Path, list[dict]] = {}
    for folder in map(Path, folders):
        had = {_about(row) for rows in found.values() for row in rows}
        read = [row for path in sorted((folder / "claims").glob("*.json")) for row in read_json(path)]
        found[folder] = [row for row in read if _about(row) not in had]
    return found


def _about(row: dict) -> tuple[str, str, str]:
    return row["claim"], row["case"], agent_of(row["setting"])


def agent_of(setting: str) -> str:
    """The agent that a row speaks of, as the matrix calls it."""
    return AGENTS.get(setting.partition(";")[0].strip(), NO_AGENT)


def table_of(rows: Iterable[dict]) -> pd.DataFrame:
    """Rows of the claims table as that, in the order of the claims."""
    frame = pd.DataFrame(list(rows), columns=COLUMNS)
    return frame.sort_values("claim", key=lambda names: names.str[1:].astype(int), kind="stable", ignore_index=True)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The claims table as text, ready to be shown."""
    rows = [_readable(row) for row in table.astype(object).where(table.notna(), None).to_dict("records")]
    return pd.DataFrame(rows, columns=list(_readable(dict.fromkeys(table.columns))))


def _readable(row: dict) -> dict[str, str]:
    unit = f" {row['unit']}" if row["unit"] else ""
    digits, points = (1, " points") if row["unit"] == "%" else (3, unit)
    measured = Interval(row["measured"], row["measured_low"], row["measured_high"])
    lost = Interval(row["gap"], row["gap_low"], row["gap_high"])
    return {
        "Claim": row["claim"],
        "Case": row["case"],
        "Setting": row["setting"],
        "Measured": "" if measured.mean is None else measured.text(digits) + unit,
        "No attack": "" if row["reference"] is None else f"{row['reference']:.{digits}f}{unit}",
        "Gap": "" if lost.mean is None else lost.text(digits) + points,
        "Verdict": row["verdict"],
        "Data": row["data_source"],
        "Notebook": row["notebook"],
        "Figure": row["figure"],
    }


def matrix(table: pd.DataFrame) -> pd.DataFrame:
    """One row per claim, case and agent: in how many settings the claim `holds`, and its `widest` gap.

    Rows that were not run and those of stress are left out. Columns: claim, case, agent, holds, fails, undecided,
    settings (all that count), verdict (that of the claim: it holds where it holds in every setting), gap, gap_low,
    gap_high, unit, setting, notebook, figure (of the widest gap).
    """
    agents = [agent_of(setting) for setting in table["setting"]]
    judged = (table["verdict"] != "not run") & ~table["setting"].str.contains(STRESS)
    run = table.assign(agent=agents)[judged]
    rows = []
    for (claim, case, agent), part in run.groupby(["claim", "case", "agent"], sort=False):
        counts = {each: int((part["verdict"] == each).sum()) for each in VERDICTS[:3]}
        whole = next((each for each in ("fails", "undecided") if counts[each]), "holds")
        worst = part.loc[part["gap"].astype(float).idxmax() if part["gap"].notna().any() else part.index[0]]
        kept = {name: worst[name] for name in MATRIX[8:]}
        where = {"claim": claim, "case": case, "agent": agent}
        rows.append({**where, **counts, "settings": len(part), "verdict": whole, **kept})
    return pd.DataFrame(rows, columns=MATRIX)


def widest(row: dict, prefix: str) -> str:
    """The widest gap of a row of the matrix with its interval, in percentage points; "" where there is none."""
    ends = [None if row[end] != row[end] else row[end] for end in ("gap", "gap_low", "gap_high")]
    return "" if ends[0] is None or row["unit"] != "%" else prefix + Interval(*ends).text()


def markdown(table: pd.DataFrame) -> str:
    """A table of text as Markdown."""
    if table.empty:
        return "No claim has been measured yet.\n"
    cells = table.map(lambda cell: re.sub(r"\s+", " ", str(cell)).replace("|", r"\|"))
    text = cells.to_markdown(index=False, disable_numparse=True) + "\n"
    return re.sub(r"-{4,}", "---", re.sub(r" {2,}", " ", text))  # aligned columns would double the file


def plain(table: pd.DataFrame) -> str:
    """The matrix for a terminal of 80 columns: of each agent in how many settings a claim holds."""
    found = matrix(table)
    if found.empty:
        return "No claim has been measured yet.\n"
    cells: dict[str, dict[str, str]] = {}
    for (claim, case), part in found.groupby(["claim", "case"], sort=False):
        told = {row.agent: f"{row.holds}/{row.settings}" for row in part.itertuples()}
        agents = " ".join(told.get(agent, "-") for agent in AGENTS.values())
        cells.setdefault(case, {})[f"{claim:3} {CLAIMS.get(claim, '')}"] = told.get(NO_AGENT, agents)
    heading = f"Holds in k of m settings, by agent: {', '.join(AGENTS.values())} (- not run)."
    shown = pd.DataFrame(cells).fillna("").sort_index(key=lambda names: names.str.extract(r"(\d+)")[0].astype(int))
    return f"{heading}\n{shown.to_string(justify='left')}\n"


def write_claims(folder: str | Path) -> pd.DataFrame:
    """Merge all rows into `claims.csv` of a figures folder; the merged table."""
    table = claims_table(folder)
    write(Path(folder) / "claims.csv", table.to_csv(index=False))
    return table


def anchor(claim: str, case: str) -> str:
    """Where a claim on a case stands in a Markdown page that has it as a heading."""
    return re.sub(r"[^\w -]", "", f"{claim} {case}".lower()).replace(" ", "-")


def by_agent(table: pd.DataFrame, page: str) -> pd.DataFrame:
    """The matrix with a row for each claim and a column for each case; a line for each agent: `3/4, 2.1 [1.0, 3.0]`.

    A cell leads to its place in `page`.
    """
    found = matrix(table)
    found["line"] = [f"{row['holds']}/{row['settings']}{widest(row, ', ')}" for row in found.to_dict("records")]
    rows: dict[tuple, dict[str, str]] = {}
    for (claim, general, case), part in found.groupby(["claim", found["agent"] == NO_AGENT, "case"], sort=False):
        agents = [NO_AGENT] if general else list(AGENTS.values())
        lines = "<br>".join(part.set_index("agent")["line"].reindex(agents).fillna("-"))
        row = rows.setdefault((claim, general), {"Claim": f"{claim} {CLAIMS[claim]}", "Agent": "<br>".join(agents)})
        row[case] = f"[{lines}]({page}#{anchor(claim, case)})"
    return pd.DataFrame(list(rows.values()), columns=["Claim", "Agent", *sorted(found["case"].unique())]).fillna("")


def update_readme(path: str | Path, table: pd.DataFrame, page: str) -> Path:
    """Put the matrix of a claims table into the block between BEGIN and END of a README, and change nothing else.

    Its cells lead to `page`, the one of `gallery.claims_page`, by its path from the README.
    """
    path = Path(path)
    text = path.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise GaaError(f"{path.name} needs the lines {BEGIN} and {END}, once and in this order.")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    return write(path, f"{before}{BEGIN}\n\n{markdown(by_agent(table, page))}\n{END}{after}")
