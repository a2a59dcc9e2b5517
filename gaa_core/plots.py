"""Pictures of traces: Trace(s) in, Axes out, in one house style with one colour a rule everywhere.

Functions draw, they do not compute results, show or save; `save` writes a figure with its description beside it.
Nothing is set globally: the style applies inside these functions only.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from gaa_core import report
from gaa_core.trace import Trace

_STYLE = {
    **sns.axes_style("ticks", {"axes.grid": True, "grid.color": "#e6e6e6", "grid.linewidth": 0.7}),
    **sns.plotting_context("paper", font_scale=1.05),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "legend.frameon": False,
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "font.family": "DejaVu Sans",
}

#: Name of a rule as in its repr -> (colour, line style, marker). Colours keep apart for the colour-blind; styles help
#: in grey.
RULE_STYLES: dict[str, tuple[str, str | tuple, str]] = {
    "GAA": ("#0072b2", "-", "o"),
    "GAA(norm_bound": ("#56b4e9", "-", "s"),
    "GAAPlus": ("#d55e00", "-", "*"),
    "Oracle": ("#000000", ":", "P"),
    "ServerOnly": ("#7f7f7f", ":", "X"),
    "Mean": ("#8c8c8c", "--", "v"),
    "LinearGAR": ("#b8a88a", "--", "<"),
    "Krum": ("#cc3311", "--", "^"),
    "MultiKrum": ("#ee7733", "-.", "^"),
    "Bulyan": ("#aa3377", "-.", "D"),
    "BruteForce": ("#998800", "--", ">"),
    "GeoMed": ("#228833", "--", "h"),
    "GeometricMedian": ("#009e73", "-.", "H"),
    "CoordinateMedian": ("#ddaa33", "--", "d"),
    "TrimmedMean": ("#cc79a7", "-.", "p"),
}
_OTHERS = ("#6a3d9a", "#b15928", "#1b9e77", "#e7298a", "#66a61e", "#a6761d", "#7570b3", "#1f78b4", "#33a02c", "#fb9a99")

BENIGN, BYZANTINE = "#0072b2", "#d55e00"


def rule_style(rule: str) -> dict:
    """Line properties of a rule by its repr: colour, line style, marker; the same in every figure."""
    name = rule.split("(")[0]
    key = "GAA(norm_bound" if rule.startswith(("GAA(norm_bound", "GAA, bounded")) else name
    if key in RULE_STYLES:
        colour, line, marker = RULE_STYLES[key]
    else:
        place = sum(name.encode())
        colour, line, marker = _OTHERS[place % len(_OTHERS)], ("-", "--", "-.")[place % 3], "osvD^P"[place % 6]
    return {"color": colour, "linestyle": line, "marker": marker}


def rule_name(rule: str) -> str:
    """A rule's repr as a legend shows it: `Mean()` is `Mean`, the norm-bounded agent is `GAA, bounded`."""
    if rule.startswith("GAA(norm_bound"):
        return "GAA, bounded"
    return rule.removesuffix("()")


def _styled(draw):
    """Run a drawing function in the house style, and on fresh axes when it is given none."""

    @functools.wraps(draw)
    def wrapper(data, *, ax: Axes | None = None, **options):
        with mpl.rc_context(_STYLE):
            if ax is None:
                _, ax = plt.subplots(figsize=(6.0, 3.6), layout="constrained")
            draw(data, ax=ax, **options)
            return ax

    return wrapper


def panels(
    count: int, *, columns: int | None = None, width: float = 4.6, height: float = 3.2, **options
) -> tuple[Figure, np.ndarray]:
    """A figure with `count` axes, at most `columns` (default 3) a row; the axes as a flat array."""
    columns = min(count, columns or 3)
    rows = math.ceil(count / columns)
    with mpl.rc_context(_STYLE):
        fig, axes = plt.subplots(
            rows, columns, figsize=(width * columns, height * rows), layout="constrained", squeeze=False, **options
        )
    for empty in axes.flat[count:]:
        empty.remove()
    return fig, axes.ravel()[:count]


@_styled
def accuracy(traces: Trace | Iterable[Trace], *, ax: Axes, title: str | None = None, legend: bool = True) -> None:
    """Test accuracy against the step, a line per rule; several seeds: their mean, and a band from least to greatest."""
    traces = [traces] if isinstance(traces, Trace) else list(traces)
    rules = list(dict.fromkeys(trace.rule for trace in traces))
    for place, rule in enumerate(rules):
        curves = [trace.steps.set_index("step")["accuracy"].dropna() for trace in traces if trace.rule == rule]
        table = pd.concat(curves, axis=1)  # [evaluations, seeds]
        width = 1.4 + 1.2 * (1 - place / len(rules))  # earlier lines are wider, so that equal curves both show
        style = rule_style(rule) | {"marker": "none", "linewidth": width}
        ax.plot(table.index + 1, table.mean(axis=1), label=rule_name(rule), **style)
        if table.shape[1] > 1:
            ax.fill_between(
                table.index + 1, table.min(axis=1), table.max(axis=1), color=style["color"], alpha=0.15, linewidth=0
            )
    ax.set(xlabel="step", ylabel="test accuracy", ylim=(0, 1), title=title or _title(traces))
    ax.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    if legend:
        outside_legend(ax)


@_styled
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


@_styled
def by_category(table: pd.DataFrame, *, ax: Axes, x: str, title: str = "", reference: float | None = None) -> None:
    """Final accuracy for each value of a column, a point per rule with bars from least to greatest seed.

    `table` has columns `rule`, `accuracy` and `x`, a row a run; the values stand side by side in order of appearance.
    """
    rules, values = list(dict.fromkeys(table["rule"])), list(dict.fromkeys(table[x]))
    for place, rule in enumerate(rules):
        spread = table[table["rule"] == rule].groupby(x)["accuracy"].agg(["mean", "min", "max"]).reindex(values)
        positions = np.arange(len(values)) + (place - (len(rules) - 1) / 2) * 0.6 / len(rules)
        bars = _reach(spread)
        style = rule_style(rule) | {"linestyle": "none", "markersize": 6, "elinewidth": 1.2}
        ax.errorbar(positions, spread["mean"], yerr=bars, label=rule_name(rule), **style)
    if reference is not None:
        ax.axhline(reference, color="#444444", linewidth=1.0, label="no attack, Mean")
    ax.set_xticks(range(len(values)), [str(value).replace("_", " ") for value in values])
    ax.tick_params(axis="x", labelsize=8 if len(values) > 3 else 9, rotation=15 if len(values) > 4 else 0)
    ax.set(xlabel="", ylabel="final test accuracy", ylim=(0, 1), xlim=(-0.5, len(values) - 0.5), title=title)
    ax.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))


@_styled
def credits(trace: Trace, *, ax: Axes, title: str | None = None, bins: int = 250) -> None:
    """Credit heat map, a row per worker, with a strip beneath each row that is orange while the worker is Byzantine.

    Long runs are averaged in `bins` spans of steps. A rule without weights has no credits to draw and raises
    ValueError.
    """
    if not trace.has_credits:
        raise ValueError(f"{trace.rule} has no weights, so there are no credits to draw.")
    steps, n = trace.credits.shape
    edges = np.unique(np.linspace(0, steps, min(bins, steps) + 1).astype(int))
    credit = np.stack([trace.credits[a:b].mean(axis=0) for a, b in itertools.pairwise(edges)])  # [bins, n]
    bad = np.stack([trace.byzantine[a:b].mean(axis=0) for a, b in itertools.pairwise(edges)])
    rows = np.arange(n + 1)
    top = max(float(np.nanmax(credit)), 2 / n)
    for worker in range(n):
        mesh = ax.pcolormesh(
            edges,
            rows[worker] + np.array([0.0, 0.74]),
            credit[None, :, worker],
            cmap="cividis",
            vmin=0,
            vmax=top,
            rasterized=True,
        )
        ax.pcolormesh(
            edges,
            rows[worker] + np.array([0.74, 0.94]),
            bad[None, :, worker],
            cmap=_ROLE_MAP,
            vmin=0,
            vmax=1,
            rasterized=True,
        )
    ax.set(xlabel="step", ylabel="worker", ylim=(n, 0), title=title or f"{rule_name(trace.rule)}: credits")
    shown = np.arange(0, n, max(1, n // 10))
    ax.set_yticks(shown + 0.5, [str(worker) for worker in shown])
    ax.grid(False)
    bar = ax.figure.colorbar(mesh, ax=ax, pad=0.015, fraction=0.05)
    bar.set_label("credit")
    bar.ax.axhline(1 / n, color="white", linewidth=1.2)
    bar.outline.set_visible(False)


_ROLE_MAP = mpl.colors.LinearSegmentedColormap.from_list("roles", ["#f2f2f2", BYZANTINE])


def credit_lines(trace: Trace, *, title: str | None = None, columns: int = 5, smooth: int = 5) -> Figure:
    """One small panel per worker: its credit against the step, its Byzantine spells shaded, 1/n as a dotted line.

    Credits are a running mean over `smooth` steps.
    """
    steps, n = trace.credits.shape
    fig, axes = panels(n, columns=columns, width=2.1, height=1.5, sharex=True, sharey=True)
    smoothed = pd.DataFrame(trace.credits).rolling(smooth, min_periods=1).mean()
    entries = [
        Patch(color=BYZANTINE, alpha=0.22, label="Byzantine at this step"),
        mpl.lines.Line2D([], [], color=BYZANTINE, label="worker that is ever Byzantine"),
        mpl.lines.Line2D([], [], color=BENIGN, label="always benign"),
        mpl.lines.Line2D([], [], color="#666666", linestyle=":", label="1/n"),
    ]
    with mpl.rc_context(_STYLE):
        for worker, ax in enumerate(axes):
            shade_spells(ax, trace.byzantine[:, worker])
            colour = BYZANTINE if trace.byzantine[:, worker].any() else BENIGN
            ax.plot(smoothed.index, smoothed[worker], color=colour, linewidth=1.3)
            ax.axhline(1 / n, color="#666666", linestyle=":", linewidth=0.9)
            ax.set_title(f"worker {worker}", fontsize=8, fontweight="normal", pad=2)
            ax.tick_params(labelsize=7)
            ax.set_xlabel("step" if worker >= n - columns else "", fontsize=8)
            ax.set_ylabel("credit" if worker % columns == 0 else "", fontsize=8)
        axes[0].set(xlim=(0, steps), ylim=(0, 1.05 * float(smoothed.max().max())))  # shared by all panels
        fig.legend(handles=entries, loc="outside lower center", ncols=4, fontsize=8)
        title = title or f"{rule_name(trace.rule)}: credit of each worker"
        fig.suptitle(title, fontsize=10, fontweight="bold", x=0.02, ha="left")
        fig.set_figheight(fig.get_figheight() + 0.6)
    return fig


def shade_spells(ax: Axes, byzantine: np.ndarray) -> None:
    """Shade the steps at which one worker, bool [steps], is Byzantine."""
    changes = np.flatnonzero(np.diff(np.concatenate([[0], byzantine.astype(int), [0]])))
    for start, stop in zip(changes[::2], changes[1::2], strict=True):
        ax.axvspan(start, stop, color=BYZANTINE, alpha=0.22, linewidth=0)


@_styled
def byzantine_credit(
    traces: Trace | Iterable[Trace], *, ax: Axes, title: str = "", smooth: int = 10, legend: bool = True
) -> None:
    """Share of all credit that Byzantine workers hold, against the step; in grey their share among the workers."""
    traces = [traces] if isinstance(traces, Trace) else list(traces)
    first = traces[0]
    ratio = first.steps["byzantine_ratio"].rolling(smooth, min_periods=1).mean()
    ax.fill_between(first.steps["step"], ratio, color="#d9d9d9", linewidth=0, label="share of Byzantine workers")
    for trace in traces:
        held = pd.Series((trace.credits * trace.byzantine).sum(axis=1)).rolling(smooth, min_periods=1).mean()
        style = rule_style(trace.rule) | {"marker": "none", "linewidth": 1.6}
        ax.plot(held.index, held, label=rule_name(trace.rule), **style)
    ax.set(xlabel="step", ylabel="credit held by Byzantine workers", ylim=(0, 1), title=title)
    if legend:
        outside_legend(ax)


@_styled
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


def samples(split, classes: Sequence[str], *, axes: Sequence[Axes], shape: tuple[int, ...]) -> None:
    """The first image of each class in turn, one an axes; `shape` is (height, width) or (3, height, width)."""
    order = np.argsort(split.targets.numpy(), kind="stable")
    counts = np.bincount(split.targets.numpy(), minlength=len(classes))
    firsts = np.concatenate([[0], counts.cumsum()[:-1]])
    for place, ax in enumerate(axes):
        number, turn = place % len(classes), place // len(classes)
        image = split.inputs[order[firsts[number] + turn]].reshape(shape).numpy()
        image = np.moveaxis(image, 0, -1) if image.ndim == 3 else image
        low, high = image.min(), image.max()
        ax.imshow((image - low) / (high - low or 1), cmap="gray", interpolation="nearest")
        ax.set_title(classes[number], fontsize=9, fontweight="normal", loc="center", pad=2)
        ax.axis("off")


@_styled
def schedule(roles, *, ax: Axes, steps: int, title: str | None = None) -> None:
    """A role schedule as a bitmap, worker against step: orange is Byzantine. No training is needed."""
    table = roles.table(steps).numpy()  # [steps, n]
    ax.imshow(
        table.T,
        aspect="auto",
        cmap=_ROLE_MAP,
        vmin=0,
        vmax=1,
        interpolation="nearest",
        extent=(0, steps, table.shape[1], 0),
    )
    ax.set(xlabel="step", ylabel="worker", title=title or roles.kind)
    shown = np.arange(0, table.shape[1], max(1, table.shape[1] // 10))
    ax.set_yticks(shown + 0.5, [str(worker) for worker in shown])
    ax.grid(False)


def outside_legend(ax: Axes) -> None:
    """A legend right of the axes, where it hides nothing."""
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0, fontsize=8, handlelength=2.6)


def shared_legend(fig: Figure, axes: Sequence[Axes]) -> None:
    """One legend under all panels, each entry once, in as many columns as the figure is wide."""
    entries: dict[str, object] = {}
    for ax in axes:
        for handle, text in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(text, handle)
    with mpl.rc_context(_STYLE):
        fig.legend(
            entries.values(),
            entries.keys(),
            loc="outside lower center",
            ncols=max(2, int(fig.get_figwidth() / 1.35)),
            fontsize=8,
            handlelength=2.6,
        )


def save(
    fig: Figure,
    name: str,
    *,
    folder: str | Path,
    caption: str,
    alt: str,
    data_source: str,
    claim: str | Iterable[str] = (),
    notebook: str = "",
) -> Path:
    """Write `<folder>/<name>.png` and its description beside it, both whole or not at all; the path of the picture."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pending = folder / f".{name}.pending.png"
    with mpl.rc_context(_STYLE):
        fig.savefig(pending, metadata={"Software": None})  # no version inside: equal pictures are equal files
    path = pending.replace(folder / f"{name}.png")
    report.write_sidecar(path, caption=caption, alt=alt, data_source=data_source, claim=claim, notebook=notebook)
    return path


def _title(traces: Sequence[Trace]) -> str:
    settings = traces[0].settings
    attack = settings["attack"]
    return settings["title"] if attack == "none" else f"{settings['title']}, {attack}, {settings['roles']}"


@_styled
def bars(counts: Mapping[str, float], *, ax: Axes, ylabel: str = "", title: str = "", fmt: str = "{:,.0f}") -> None:
    """One bar per name, with its value on top, written by `fmt`."""
    drawn = ax.bar(list(counts), list(counts.values()), color=BENIGN, width=0.6)
    ax.bar_label(drawn, fmt=fmt, fontsize=8, padding=2)
    ax.set(ylabel=ylabel, title=title)
    ax.grid(axis="x", visible=False)
    ax.margins(y=0.12)


@_styled
def histogram(values, *, ax: Axes, xlabel: str = "", title: str = "") -> None:
    """How often a quantity has which size."""
    ax.hist(np.asarray(values), bins=30, color=BENIGN)
    ax.set(xlabel=xlabel, ylabel="how many", title=title)


@_styled
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


@_styled
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
