"""The claims in the README: for every claim, case and agent the setting that went worst, with the way to its figure."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from gaa_core import report

#: The figures that are part of the repository; those of the other profiles are built on the reader's machine.
KEPT = "figures/paper"

BEGIN, END = "<!-- claims:begin -->", "<!-- claims:end -->"


def worst(table: pd.DataFrame) -> pd.DataFrame:
    """One row per claim, case and agent (what stands before the first ";" of a setting): where the gap is widest.

    A claim about an agent holds only if it holds in all of its settings, so that the worst decides. The setting says
    how many there were. Rows without a gap stay as they are.
    """
    if table.empty:
        return table
    agent = table["setting"].str.partition(";")[0]
    kept = []
    for _, rows in table.groupby([table["claim"], table["case"], agent], sort=False):
        if rows["gap"].isna().any() or len(rows) == 1:
            kept.extend(row for _, row in rows.iterrows())
            continue
        row = rows.loc[rows["gap"].idxmax()].copy()
        held = int((rows["verdict"] == "holds").sum())
        row["setting"] += f" (worst of {len(rows)} settings; {held} hold)"
        kept.append(row)
    return pd.DataFrame(kept, columns=table.columns).reset_index(drop=True)


def rows(table: pd.DataFrame, figures: str) -> list[dict[str, str]]:
    """The rows of `worst` as text; notebooks are links, and figures where they are kept with the repository."""
    found = report.readable(worst(table))
    for row in found:
        if row["Figure"] and figures == KEPT:
            row["Figure"] = f"[{row['Figure']}]({figures}/{row['Figure']}.png)"
        row["Notebook"] = f"[{row['Notebook']}](notebooks/{row['Notebook']}.ipynb)"
    return found


def update(path: str | Path, table: pd.DataFrame, figures: str = KEPT) -> Path:
    """Rewrite the block between the two claims markers of a README, and nothing else."""
    return report.update_block(path, BEGIN, END, report.markdown(rows(table, figures)))
