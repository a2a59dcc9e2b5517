"""Pictures of tables: final accuracies, gaps, bars, growth, lines. Tables in, Axes out; `plots` hands these on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from gaa_core.style import BENIGN, outside_legend, rule_name, rule_style, styled


@styled
def final_accuracy(
    table: pd.DataFrame,
    *,
    ax: Axes,
    x: str = "ratio",
    title: str = "",
    legend: bool = True,
    reference: float | None = None,
) -> None:
    """Final accuracy against a column (the Byzantine ratio), a line per rule; bars go from least to greatest seed.

    `table` has columns `rule`, `accuracy` and `x`, a row a run. `reference` is drawn as a horizontal line: no attack.
    """
    rules = list(dict.fromkeys(table["rule"]))
    values = sorted(table[x].unique())
    for place, rule in enumerate(rules):
        spread = table[table["rule"] == rule].groupby(x)["accuracy"].agg(["mean", "min", "max"]).dropna()
        aside = (
            (place - (len(rules) - 1) / 2) * 0.004 * (values[-1] - values[0] or 1)
        )  # so that bars do not hide each other
        bars = _reach(spread)
        style = rule_style(rule) | {"markersize": 5, "linewidth": 1.5, "elinewidth": 1.0, "capsize": 0}
        ax.errorbar(spread.index + aside, spread["mean"], yerr=bars, label=rule_name(rule), **style)
    if reference is not None:
        ax.axhline(reference, color="#444444", linewidth=1.0, label="no attack, Mean")
    ax.set(
        xlabel="share of Byzantine workers" if x == "ratio" else x,
        ylabel="final test accuracy",
        ylim=(0, 1),
        title=title,
    )
    ax.set_xticks(values)
    ax.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    if legend:
        outside_legend(ax)


def _reach(spread: pd.DataFrame) -> np.ndarray:
    """How far down and up the seeds reach from their mean, [2, values]; never below zero by rounding."""
    return np.stack([spread["mean"] - spread["min"], spread["max"] - spread["mean"]]).clip(min=0)


@styled
def by_category(table: pd.DataFrame, *, ax: Axes, x: str, title: str = "", reference: float | None = None) -> None:
    """Final accuracy for each value of a column, a point per rule with bars from least to greatest seed.

    `table` has columns `rule`, `accuracy` and `x`, a row a run; the values stand side by side in order of appearance.
    """
    rules, values = list(dict.fromkeys(table["rule"])), list(dict.fromkeys(table[x]))
    for place, rule in enumerate(rules):
        spread = table[table["rule"] == rule].groupby(x)["accuracy"].agg(["mean", "min", "max"]).reindex(values)
        positions = np.arange(len(values)) + (place - (len(rules) - 1) / 2) * 0.6 / len(rules)
        bars = _reach(spread)
        style = rule_style(rule) | {"linestyle": "none", "markersize": 6, "elinewidth": 1.2, "clip_on": False}
        ax.errorbar(positions, spread["mean"], yerr=bars, label=rule_name(rule), **style)
    if reference is not None:
        ax.axhline(reference, color="#444444", linewidth=1.0, label="no attack, Mean")
    ax.set_xticks(range(len(values)), [str(value).replace("_", " ") for value in values])
    crowded = len(values) > 4 or sum(len(str(value)) for value in values) > 60
    ax.tick_params(axis="x", labelsize=8 if len(values) > 3 else 9, rotation=15 if crowded else 0)
    ax.set(xlabel="", ylabel="final test accuracy", ylim=(0, 1), xlim=(-0.5, len(values) - 0.5), title=title)
    ax.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))


@styled
def gap_heatmap(table: pd.DataFrame, *, ax: Axes, title: str = "", worst: float = 60.0) -> None:
    """Rules by settings: points of accuracy lost against no attack, written in every cell; "-" where not run."""
    colours = sns.color_palette("blend:#f7fbff,#fdd0a2,#d94801", as_cmap=True)
    sns.heatmap(
        table,
        ax=ax,
        annot=True,
        fmt=".1f",
        cmap=colours,
        vmin=0,
        vmax=worst,
        linewidths=0.8,
        annot_kws={"fontsize": 8},
        cbar_kws={"label": "points below no attack", "fraction": 0.04, "pad": 0.015},
    )
    for row, column in np.argwhere(table.isna().to_numpy()):
        ax.text(column + 0.5, row + 0.5, "-", ha="center", va="center", fontsize=8)
    ax.set_facecolor("#eeeeee")
    ax.set(title=title, xlabel="", ylabel="")
    ax.set_yticks(np.arange(len(table)) + 0.5, [rule_name(rule) for rule in table.index], rotation=0)
    ax.set_xticks(np.arange(table.shape[1]) + 0.5, [str(column) for column in table.columns], rotation=30, ha="right")
    ax.tick_params(length=0)


@styled
def bars(counts: Mapping[str, float], *, ax: Axes, ylabel: str = "", title: str = "", fmt: str = "{:,.0f}") -> None:
    """One bar per name, with its value on top, written by `fmt`; more than six names stand aslant."""
    drawn = ax.bar(list(counts), list(counts.values()), color=BENIGN, width=0.6)
    ax.bar_label(drawn, fmt=fmt, fontsize=8, padding=2)
    if len(counts) > 6:
        ax.set_xticks(range(len(counts)), list(counts), rotation=30, ha="right", fontsize=8)
    ax.set(ylabel=ylabel, title=title)
    ax.grid(axis="x", visible=False)
    ax.margins(y=0.12)


@styled
def histogram(values, *, ax: Axes, xlabel: str = "", title: str = "") -> None:
    """How often a quantity has which size."""
    ax.hist(np.asarray(values), bins=30, color=BENIGN)
    ax.set(xlabel=xlabel, ylabel="how many", title=title)


@styled
def growth(table: pd.DataFrame, *, ax: Axes, x: str, y: str = "seconds", title: str = "", legend: bool = True) -> None:
    """A quantity against a size, both on logarithmic axes, a line per rule; `table` has columns `rule`, x and y.

    Powers are straight lines: their slope is the exponent. The thin grey ones have slopes 1 and 2.
    """
    for rule, part in table.groupby("rule", sort=False):
        means = part.groupby(x)[y].mean()
        ax.plot(means.index, means, label=rule_name(rule), **rule_style(rule) | {"markersize": 4, "linewidth": 1.4})
    ax.set(xscale="log", yscale="log", xlabel=x, ylabel=y, title=title)
    low, high = table[x].min(), table[x].max()
    limits = ax.get_ylim()
    for power in (1, 2):
        for start in np.geomspace(limits[0] * (low / high) ** power, limits[1], 7):
            ax.plot([low, high], [start, start * (high / low) ** power], color="#dddddd", linewidth=0.5, zorder=0)
    ax.set_ylim(limits)
    ax.grid(False)
    if legend:
        outside_legend(ax)


@styled
def lines(
    table: pd.DataFrame, *, ax: Axes, xlabel: str, ylabel: str, title: str = "", bounds: Sequence[str] = ()
) -> None:
    """One line per column of a table against its index; the columns named in `bounds` are dashed."""
    colours = sns.color_palette("colorblind", table.shape[1])
    pairs = {name: colours[place] for place, name in enumerate(table)}
    for name in table:
        dashed = name in bounds
        ax.plot(table.index, table[name], label=name, color=pairs[name], linestyle="--" if dashed else "-")
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.legend(fontsize=8)
