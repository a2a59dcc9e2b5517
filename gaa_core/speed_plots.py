"""The picture of the speed table: how many read passes each rule takes, beside what is allowed and what a peer takes.

As in `plots`: a table in (`bench.speed_table`, or its csv), Axes out, nothing computed or shown.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gaa_core import plots, report
from gaa_core.style import BENIGN, BYZANTINE, styled

NAMES = {
    "mean": "Mean",
    "krum": "Krum",
    "multi_krum": "MultiKrum",
    "bulyan": "Bulyan",
    "geo_med": "GeoMed",
    "geometric_median": "GeometricMedian",
    "coordinate_median": "CoordinateMedian",
    "trimmed_mean": "TrimmedMean",
    "mean_around_median": "MeanAroundMedian",
    "centered_clipping": "CenteredClipping",
    "nnm_trimmed_mean": "NNM, then TrimmedMean",
    "mda": "MDA",
    "gaa": "GAA, all of it",
    "caf": "CAF",
    "monna": "MoNNA",
    "cge": "CGE",
}


@styled
def speed(table: pd.DataFrame, *, ax: Axes, title: str = "") -> None:
    """Read passes of each rule on a logarithmic axis: a dot for ours, a diamond for the peer, a bar: at most.

    `table` has the columns of `bench.speed_table`; rules timed on fewer parameters than the others are left out. The
    number beside a diamond says how many times longer the peer takes.
    """
    table = table[table["d"] == table["d"].max()].sort_values("passes", ascending=False)
    places = range(len(table))
    if "ratio" in table:
        peer = table["peer"].dropna().iloc[0]
        theirs = table["passes"] * table["ratio"]
        ax.hlines(places, table["passes"], theirs, color="#cccccc", linewidth=1.5, zorder=1)
        ax.plot(theirs, places, "D", color=BYZANTINE, markersize=5, label=peer, zorder=3)
        right = pd.concat([theirs, table.get("most_passes", theirs)], axis=1).max(axis=1)
        for place, x, ratio in zip(places, right.where(theirs.notna()), table["ratio"], strict=True):
            if pd.notna(ratio):
                times = f"{ratio:.1f}x" if ratio < 10 else f"{ratio:,.0f}x"
                ax.annotate(times, (x, place), (7, 0), textcoords="offset points", va="center", fontsize=8)
    if "most_passes" in table:
        ax.plot(table["most_passes"], places, "|", color="#444444", markersize=13, markeredgewidth=2, label="at most")
    ax.plot(table["passes"], places, "o", color=BENIGN, markersize=6, label="gaa_core", zorder=4)
    ax.set_yticks(places, [NAMES.get(rule, rule) for rule in table["rule"]])
    n, d, f = table[["n", "d", "f"]].iloc[0]
    title = title or f"One aggregation, n = {n}, d = {d:,}, f = {f}"
    ax.set(xscale="log", xlabel="read passes over the submissions", title=title)
    ax.set_xlim(0.5, 3.0 * ax.get_xlim()[1])
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.grid(axis="y", visible=False)
    ax.figure.set_figheight(0.6 + 0.3 * len(table) + 0.6)
    ax.legend(loc="upper right", fontsize=8)


def save(fig: Figure, table: pd.DataFrame, *, folder: str | Path, notebook: str = "") -> Path:
    """Write the figure `speed` with its description; `table` names in its column `setting` what it was measured on."""
    words = str(table["setting"].iloc[0])
    peer = f" ({table['peer'].dropna().iloc[0]})" if "peer" in table else ""
    description = {
        "data_source": f"Gaussian submissions; {words}",
        "claim": "C7",
        "caption": f"Read passes that one aggregation takes, the most allowed, and another library{peer}. {words}.",
        "alt": "Dots on a logarithmic axis, a line per rule: ours left of the bars that mark the most allowed, the "
        "other library's to the right of both, mostly by factors of five to fifty.",
        "notebook": notebook,
    }
    path = plots.save(fig, "speed", folder=folder, **description)
    if not notebook:
        report.write_sidecar(
            path, **description, command="python -m gaa_core bench --against byzfl --save figures/paper"
        )
    return path
