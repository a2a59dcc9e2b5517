"""Pictures of a league: the ranking, and where each rule loses. Tables of runs or standings in, figures out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gaa_core import plots
from gaa_core.style import house_style

#: Gaps beyond this many points share the darkest colour.
WORST = 60.0


def ranking(blocks: dict[str, pd.DataFrame]) -> Figure:
    """Rules from best to worst: mean gap with its interval over seeds, 95th percentile, and the share of cells won.

    A title (which cells) -> the standings over them; one under another, to the same scales.
    """
    tables = {title: table[table["mean"].notna()] for title, table in blocks.items()}
    heights = [0.9 + 0.24 * len(table) for table in tables.values()]  # inches, labels of the axes included
    sizes = {"width": 5.4, "height": sum(heights) / len(heights)}
    fig, axes = plots.panels(2 * len(tables), columns=2, **sizes, sharex="col", gridspec_kw={"height_ratios": heights})
    for place, (title, table) in enumerate(tables.items()):
        _gaps(table, axes[2 * place], title)
        _wins(table, axes[2 * place + 1])
    axes[-2].set_xlim(left=min(0.0, axes[-2].get_xlim()[0]))
    axes[-2].set_xlabel("points below the oracle (bars: seeds; x: 95th percentile of cells)")
    axes[-1].set(xlabel="% of cells", xlim=(0, 112))
    return fig


def _gaps(table: pd.DataFrame, ax: Axes, title: str) -> None:
    with house_style():
        for place, (rule, row) in enumerate(table.iterrows()):
            style = plots.rule_style(rule) | {"linestyle": "none", "markersize": 6, "elinewidth": 1.6}
            reach = None
            if pd.notna(row["low"]):
                reach = [[row["mean"] - row["low"]], [row["high"] - row["mean"]]]
            ax.errorbar(row["mean"], place, xerr=reach, **style)
        ax.plot(table["p95"], np.arange(len(table)), "x", color="#555555", markersize=5)
        ax.set_title(f"mean gap, {title}")
        ax.set_yticks(np.arange(len(table)), list(table.index), fontsize=8)
        ax.set_ylim(len(table) - 0.5, -0.5)


def _wins(table: pd.DataFrame, ax: Axes) -> None:
    with house_style():
        for place, (rule, row) in enumerate(table.iterrows()):
            ax.barh(place, 100 * row["best"], color=plots.rule_style(rule)["color"], height=0.65)
            ax.text(100 * row["best"] + 1, place, f"{row['best']:.0%}", va="center", fontsize=8)
        ax.set_title("best, or within a point of the best")
        ax.set_yticks([])
        ax.set_ylim(len(table) - 0.5, -0.5)


def gap_maps(grids: dict[str, pd.DataFrame], *, title: str = "") -> Figure:
    """One heat map a panel, one under another: rules by settings, mean gap in points written in every cell.

    "-" stands where nothing was played (NaN), "no" where the rule cannot run (infinite).
    """
    widest = max(grid.shape[1] for grid in grids.values())
    heights = [1.3 + 0.19 * len(grid) for grid in grids.values()]  # inches, labels of the columns included
    sizes = {"width": max(5.5, 2.6 + 0.42 * widest), "height": sum(heights) / len(heights)}
    fig, axes = plots.panels(len(grids), columns=1, **sizes, gridspec_kw={"height_ratios": heights})
    for ax, (name, grid) in zip(axes, grids.items(), strict=True):
        _gap_map(grid, ax, name)
    if title:
        fig.suptitle(title, fontsize=10, fontweight="bold", x=0.02, ha="left")
    return fig


def _gap_map(grid: pd.DataFrame, ax: Axes, title: str) -> None:
    colours = sns.color_palette("blend:#f7fbff,#fdd0a2,#d94801", as_cmap=True)
    scale = {"label": "gap, points", "fraction": 0.03, "pad": 0.01}
    shown = grid.replace(np.inf, np.nan)
    words = shown.map(lambda gap: f"{round(gap):d}" if np.isfinite(gap) else "")  # no minus before a zero
    options = {"cmap": colours, "vmin": 0, "vmax": WORST, "linewidths": 0.5, "cbar_kws": scale}
    with house_style():
        sns.heatmap(shown, ax=ax, annot=words, fmt="", annot_kws={"fontsize": 6.5}, **options)
        for row, column in np.argwhere(~np.isfinite(grid.to_numpy())):
            word = "-" if np.isnan(grid.iloc[row, column]) else "no"
            ax.text(column + 0.5, row + 0.5, word, ha="center", va="center", fontsize=6.5)
        ax.set_facecolor("#eeeeee")
        ax.set(xlabel="", ylabel="", title=title)
        ax.set_yticks(np.arange(len(grid)) + 0.5, list(grid.index), rotation=0, fontsize=7)
        ax.set_xticks(np.arange(grid.shape[1]) + 0.5, list(grid.columns), rotation=35, ha="right", fontsize=7)
        ax.tick_params(length=0)
