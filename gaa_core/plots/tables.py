"""Pictures of tables: final accuracies, heat maps, the matrix of claims, bars and lines."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from gaa_core.style import BENIGN, house_style, outside_legend, panels, rule_name, rule_style, styled

#: White is nothing lost; from this many percentage points on the colour stays the same.
LOSS_MAP = mpl.colors.LinearSegmentedColormap.from_list("loss", ["#ffffff", "#fdd0a2", "#f16913", "#a63603"])
MOST_LOST = 60.0


@styled
def by_share(
    table: pd.DataFrame,
    *,
    ax: Axes,
    title: str = "",
    legend: bool = True,
    reference: float | None = None,
) -> None:
    """Final accuracy against the compromised share: a line per rule, with bars from least to greatest seed.

    `table` has columns `rule`, `accuracy` and `ratio`, a row a run. `reference` is drawn as a horizontal line: no
    attack. Fewer than three shares are drawn by `by_category`.
    """
    values = sorted(table["ratio"].unique())
    if len(values) < 3:
        by_category.__wrapped__(table, ax=ax, x="ratio", title=title, reference=reference)
    else:
        spread = values[-1] - values[0]
        for rule, aside, seeds in _seeds(table, "ratio", values):
            style = rule_style(rule) | {"elinewidth": 0.8, "markeredgewidth": 0}
            places = np.array(values) + 0.35 * aside * spread / len(values)
            ax.errorbar(places, seeds["mean"], yerr=_reach(seeds), label=rule_name(rule), **style)
        ax.set_xticks(values, [f"{value:.0%}" for value in values])
        _accuracies(ax, title, reference)
    ax.set(xlabel="compromised workers")
    if legend:
        outside_legend(ax)


@styled
def by_category(table: pd.DataFrame, *, ax: Axes, x: str, title: str = "", reference: float | None = None) -> None:
    """Final accuracy for each value of a column: bars of the rules, with lines from least to greatest seed.

    `table` has columns `rule`, `accuracy` and `x`, a row a run; the values stand side by side in order of appearance.
    """
    values = list(dict.fromkeys(table[x]))
    wide = 0.8 / table["rule"].nunique()
    for rule, aside, seeds in _seeds(table, x, values):
        options = {"yerr": _reach(seeds), "error_kw": {"elinewidth": 0.8}, "label": rule_name(rule)}
        ax.bar(np.arange(len(values)) + 0.8 * aside, seeds["mean"], wide, color=rule_style(rule)["color"], **options)
    texts = [f"{value:.0%}" if isinstance(value, float) else str(value).replace("_", " ") for value in values]
    crowded = sum(map(len, texts)) > 11 * ax.get_window_extent().width / ax.figure.dpi
    ax.set_xticks(range(len(values)), texts, rotation=30 if crowded else 0, ha="right" if crowded else "center")
    ax.grid(axis="x", visible=False)
    _accuracies(ax, title, reference)


def _seeds(table: pd.DataFrame, x: str, values: Sequence) -> list[tuple[str, float, pd.DataFrame]]:
    """Each rule, how far aside it stands (from -1/2 to 1/2), and its mean, least and greatest accuracy by value."""
    rules = list(dict.fromkeys(table["rule"]))
    groups = table.groupby(["rule", x])["accuracy"].agg(["mean", "min", "max"])
    asides = (np.arange(len(rules)) + 0.5) / len(rules) - 0.5
    return [(rule, aside, groups.loc[rule].reindex(values)) for rule, aside in zip(rules, asides, strict=True)]


def _reach(seeds: pd.DataFrame) -> np.ndarray:
    """How far down and up the seeds reach from their mean, [2, values]; never below zero by rounding."""
    return np.stack([seeds["mean"] - seeds["min"], seeds["max"] - seeds["mean"]]).clip(min=0)


def _accuracies(ax: Axes, title: str, reference: float | None) -> None:
    if reference is not None:
        ax.axhline(reference, color="#444444", linewidth=0.8, linestyle=(0, (5, 2)), label="no attack, Mean", zorder=1)
    ax.set(ylabel="final test accuracy", ylim=(0, 1), title=title)
    ax.yaxis.set_major_formatter(PercentFormatter(1))


@styled
def heatmap(
    table: pd.DataFrame,
    *,
    ax: Axes,
    title: str = "",
    bar: bool = True,
) -> None:
    """Rules (or other rows) by settings: what is lost, written in every cell; "-" where nothing was run."""
    mesh = ax.pcolormesh(table.to_numpy(float), cmap=LOSS_MAP, vmin=0, vmax=MOST_LOST, edgecolor="white", linewidth=0.8)
    for (row, column), value in np.ndenumerate(table.to_numpy(float)):
        ax.text(column + 0.5, row + 0.5, _number(value), ha="center", va="center", fontsize=7, color=_ink(value))
    ax.set_facecolor("#eeeeee")
    ax.set(title=title, ylim=(len(table), 0))
    ax.set_yticks(np.arange(len(table)) + 0.5, [rule_name(str(rule)) for rule in table.index])
    names = [" ".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in table.columns]
    slanted = max(map(len, names)) > 4
    ax.set_xticks(
        np.arange(len(names)) + 0.5, names, rotation=35 if slanted else 0, ha="right" if slanted else "center"
    )
    _no_frame(ax)
    if bar:
        ax.figure.colorbar(mesh, ax=ax, label="percentage\npoints lost", fraction=0.04, pad=0.015).outline.set_visible(
            False
        )


def _no_frame(ax: Axes) -> None:
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)


def claims_matrix(matrix: pd.DataFrame, names: Mapping[str, str] | None = None) -> Figure:
    """Claims by agents, a panel per case: the widest gap in percentage points, and how many settings hold.

    `matrix` is that of `report.matrix`, in the order to be drawn; a cell without a row was not measured. Where no gap
    was measured the colour is the share of settings that do not hold. Bold: all hold. `names` say what a claim is.
    """
    cases, claims, agents = (list(dict.fromkeys(matrix[name])) for name in ("case", "claim", "agent"))
    fig, axes = panels(len(cases), columns=len(cases), height=0.5 + 0.3 * len(claims), sharey=True)
    with house_style():
        for ax, case in zip(axes, cases, strict=True):
            ax.set(title=case, xlim=(0, len(agents)), ylim=(len(claims), 0), facecolor="#f4f4f4")
            ax.set_yticks(np.arange(len(claims)) + 0.5, [f"{claim} {(names or {}).get(claim, '')}" for claim in claims])
            ax.set_xticks(np.arange(len(agents)) + 0.5, [agent.replace("GAAPlus", "Plus") for agent in agents])
            _no_frame(ax)
            for row in matrix[matrix["case"] == case].to_dict("records"):
                _claim(ax, agents.index(row["agent"]), claims.index(row["claim"]), row)
    return fig


def _claim(ax: Axes, x: int, y: int, row: Mapping) -> None:
    known = pd.notna(row["gap"])
    lost = row["gap"] if known else MOST_LOST * (1 - row["holds"] / row["settings"])
    ax.add_patch(mpl.patches.Rectangle((x, y), 1, 1, color=LOSS_MAP(lost / MOST_LOST), linewidth=0))
    text = f"{_number(row['gap'])}\n" * known + f"{row['holds']}/{row['settings']}"
    bold = "bold" if row["holds"] == row["settings"] else "normal"
    ax.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=6.5, fontweight=bold, color=_ink(lost))


def _ink(lost: float) -> str:
    return "white" if lost > 0.75 * MOST_LOST else "black"


def _number(value: float) -> str:
    """One digit, and no minus before a zero."""
    return "-" if pd.isna(value) else f"{round(value, 1) + 0.0:.1f}"


@styled
def bars(counts: Mapping[str, float], *, ax: Axes, ylabel: str = "", title: str = "", fmt: str = "{:,.0f}") -> None:
    """One bar per name, with its value on top, written by `fmt`; more than six names stand aslant."""
    drawn = ax.bar(list(counts), list(counts.values()), color=BENIGN, width=0.6)
    ax.bar_label(drawn, fmt=fmt, padding=2)
    if len(counts) > 6:
        ax.set_xticks(range(len(counts)), list(counts), rotation=30, ha="right")
    ax.set(ylabel=ylabel, title=title)
    ax.grid(axis="x", visible=False)
    ax.margins(y=0.15)


@styled
def lines(
    table: pd.DataFrame, *, ax: Axes, xlabel: str, ylabel: str, title: str = "", bounds: Sequence[str] = ()
) -> None:
    """One line per column of a table against its index; the columns named in `bounds` are grey and dashed."""
    for name in table:
        style = {"color": "#777777", "linestyle": "--"} if name in bounds else {}
        ax.plot(table.index, table[name], label=name, **style)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.legend()
