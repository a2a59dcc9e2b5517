"""Pictures of what was read from traces: credits by behaviour, detection, confusion, groups, and a moving trace.

As in `plots`: data in, Axes (or a Figure) out, the same house style, nothing computed, shown or saved; only
`animate_credits` writes a file, since a moving picture is one.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from gaa_core.style import BENIGN, BYZANTINE, ROLE_MAP, house_style, outside_legend, panels, rule_name, styled
from gaa_core.trace import Trace

#: One colour a behaviour, everywhere.
BEHAVIOUR_COLOURS = {
    "benign": BENIGN,
    "static": BYZANTINE,
    "pretense": "#aa3377",
    "randomized": "#ddaa33",
    "resampled": "#009e73",
}
METHOD_COLOURS = {"credits": BENIGN, "GeoMed+": "#228833"}

_TRUST_MAP = mpl.colors.LinearSegmentedColormap.from_list("trust", [BYZANTINE, "#f7f7f7", BENIGN])


@styled
def behaviour_map(rows: Sequence[tuple[str, np.ndarray]], *, ax: Axes, title: str = "", limit: float = 5.0) -> None:
    """Heat map of log credits, a row per worker under its behaviour; a strip on the left has the behaviour's colour.

    `rows` are (behaviour, natural log credit about the equal share [steps]) in the order to be drawn, one run or many.
    Blue is more than an equal share, orange less; the scale is in doublings and ends at `limit`.
    """
    picture = np.stack([values for _, values in rows]) / np.log(2)  # [rows, steps]
    steps = picture.shape[1]
    image = ax.imshow(
        picture,
        aspect="auto",
        cmap=_TRUST_MAP,
        vmin=-limit,
        vmax=limit,
        interpolation="nearest",
        extent=(0, steps, len(rows), 0),
    )
    for row, (name, _) in enumerate(rows):
        ax.barh(row + 0.5, -0.02 * steps, height=1.0, color=BEHAVIOUR_COLOURS[name], linewidth=0)
    names = [name for name, _ in rows]
    starts = [row for row, name in enumerate(names) if row == 0 or name != names[row - 1]]
    for start in starts[1:]:
        ax.axhline(start, color="black", linewidth=0.8)
    middles = [(a + b) / 2 for a, b in zip(starts, [*starts[1:], len(rows)], strict=True)]
    ax.set_yticks(middles, [names[start] for start in starts])
    ax.set(xlabel="step", xlim=(-0.02 * steps, steps), ylim=(len(rows), 0), title=title)
    ax.tick_params(axis="y", length=0)
    ax.grid(False)
    bar = ax.figure.colorbar(image, ax=ax, pad=0.015, fraction=0.05, extend="both")
    bar.set_label("credit, doublings of an equal share")
    bar.outline.set_visible(False)


def credit_roles(traces: Mapping[str, Trace], *, turns: Mapping[str, float] | None = None, columns: int = 2) -> Figure:
    """A panel per named trace: the log-scaled credit of every worker, and beneath it who was Byzantine at which step.

    Orange lines are workers that are ever Byzantine, blue ones always benign; the dotted line is 1/n. `turns` has the
    steps, by name, at which a vertical line says that a turn was told; NaN draws none.
    """
    columns = min(columns, len(traces))
    lines = -(-len(traces) // columns)
    with house_style():
        fig = plt.figure(figsize=(4.0 * columns, 2.7 * lines + 0.4), layout="constrained")
        outer = fig.add_gridspec(lines, columns)
        for place, (name, trace) in enumerate(traces.items()):
            inner = outer[place // columns, place % columns].subgridspec(2, 1, height_ratios=(3, 1), hspace=0.04)
            top = fig.add_subplot(inner[0])
            below = fig.add_subplot(inner[1], sharex=top)
            _credit_lines(top, trace)
            turn = (turns or {}).get(name, np.nan)
            told = np.isfinite(turn)
            top.set_title(f"{name}; turn told: step {turn:.0f}" if told else name)
            if told:
                top.axvline(turn, color="black", linewidth=1.2)
            below.pcolormesh(trace.byzantine.T.astype(float), cmap=ROLE_MAP, vmin=0, vmax=1, rasterized=True)
            below.set(xlabel="step", ylabel="worker", ylim=(trace.byzantine.shape[1], 0))
            below.grid(False)
        fig.legend(
            handles=[
                mpl.lines.Line2D([], [], color=BYZANTINE, label="worker that is ever Byzantine"),
                mpl.lines.Line2D([], [], color=BENIGN, label="always benign"),
                mpl.lines.Line2D([], [], color="#666666", linestyle=":", label="1/n"),
                Patch(color=BYZANTINE, label="beneath: Byzantine at this step"),
            ],
            loc="outside lower center",
            ncols=4,
            fontsize=8,
        )
    return fig


def _credit_lines(ax: Axes, trace: Trace, floor: float = 1e-4) -> None:
    """One line a worker; credits under `floor` are drawn at it."""
    steps, n = trace.credits.shape
    for worker in range(n):
        colour = BYZANTINE if trace.byzantine[:, worker].any() else BENIGN
        ax.plot(np.maximum(trace.credits[:, worker], floor), color=colour, linewidth=1.0, alpha=0.8)
    ax.axhline(1 / n, color="#666666", linestyle=":", linewidth=0.9)
    ax.set(yscale="log", ylabel="credit", xlim=(0, steps), ylim=(floor, 1.3))
    ax.tick_params(axis="x", labelbottom=False)


@styled
def roc(curves: Mapping[str, tuple], *, ax: Axes, title: str = "", legend: bool = True) -> None:
    """ROC curves by name, each (false positive rates, true positive rates, area); the diagonal is guessing."""
    ax.plot([0, 1], [0, 1], color="#999999", linestyle=":", linewidth=1.0)
    for name, (false, true, area) in curves.items():
        style = {"color": METHOD_COLOURS.get(name), "linestyle": "--" if name == "GeoMed+" else "-"}
        ax.plot(false, true, label=f"{name}: {area:.2f}", linewidth=1.8, **style)
    ax.set(xlabel="benign workers accused", ylabel="Byzantine workers found", title=title)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    if legend:
        ax.legend(loc="lower right", title="area", fontsize=8, title_fontsize=8, frameon=True, edgecolor="none")


@styled
def over_time(curves: Mapping[str, np.ndarray], *, ax: Axes, title: str = "", legend: bool = True) -> None:
    """AUC of each step by method: the mean over runs [runs, steps] and a band from the least to the greatest."""
    for name, values in curves.items():
        steps = np.flatnonzero(np.isfinite(values).any(axis=0))  # no AUC where all workers behave alike
        shown = values[:, steps]
        colour = METHOD_COLOURS.get(name)
        ax.plot(steps, np.nanmean(shown, axis=0), label=name, color=colour, linewidth=1.6)
        ax.fill_between(steps, np.nanmin(shown, axis=0), np.nanmax(shown, axis=0), color=colour, alpha=0.15,
                        linewidth=0)  # fmt: skip
    ax.axhline(0.5, color="#999999", linestyle=":", linewidth=1.0)
    ax.set(xlabel="step", ylabel="AUC at this step", ylim=(-0.02, 1.02), title=title)
    if legend:
        outside_legend(ax)


@styled
def confusion(counts: pd.DataFrame, *, ax: Axes, title: str = "") -> None:
    """A confusion matrix: numbers of workers, true behaviour down and told behaviour across, coloured by row shares."""
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    colours = sns.color_palette("blend:#f7fbff,#0072b2", as_cmap=True)
    sns.heatmap(shares, ax=ax, annot=counts, fmt="d", cmap=colours, vmin=0, vmax=1, linewidths=0.8, square=True,
                annot_kws={"fontsize": 9}, cbar_kws={"label": "share of the row", "fraction": 0.045})  # fmt: skip
    ax.set(title=title, xlabel="told", ylabel="true")
    ax.tick_params(length=0)
    ax.set_xticks(ax.get_xticks(), counts.columns, rotation=30, ha="right")
    ax.set_yticks(ax.get_yticks(), counts.index, rotation=0)


@styled
def correlation(matrix: np.ndarray, *, ax: Axes, order: Sequence[int], byzantine: np.ndarray, title: str = "") -> None:
    """How alike the credits of workers move [n, n], in a given order; numbers of workers ever Byzantine are orange."""
    order = list(order)
    image = ax.imshow(np.asarray(matrix)[np.ix_(order, order)], cmap=_TRUST_MAP, vmin=-1, vmax=1)
    ax.set_xticks(range(len(order)), [str(worker) for worker in order])
    ax.set_yticks(range(len(order)), [str(worker) for worker in order])
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        for text, worker in zip(labels, order, strict=True):
            text.set(color=BYZANTINE if byzantine[worker] else BENIGN, fontweight="bold")
    ax.grid(False)
    ax.set(title=title, xlabel="worker", ylabel="worker")
    ax.tick_params(length=0)
    bar = ax.figure.colorbar(image, ax=ax, pad=0.02, fraction=0.045)
    bar.set_label("correlation")
    bar.outline.set_visible(False)


def animate_credits(trace: Trace, path: str | Path, *, frames: int = 40, per_second: int = 8) -> Path:
    """Write a GIF of a run: a bar per worker as long as its credit, orange while the worker is Byzantine.

    Each frame is the mean credit over its span of steps, and the roles at the span's end.
    """
    path, (steps, n) = Path(path), trace.credits.shape
    edges = np.unique(np.linspace(0, steps, min(frames, steps) + 1).astype(int))
    credit = np.stack([trace.credits[a:b].mean(axis=0) for a, b in itertools.pairwise(edges)])
    path.parent.mkdir(parents=True, exist_ok=True)
    pending = path.with_name(f".{path.stem}.pending.gif")
    fig, (ax,) = panels(1, width=5.0, height=3.2)
    with house_style(**{"savefig.dpi": 80}):
        bars = ax.bar(range(n), credit[0])
        ax.axhline(1 / n, color="#666666", linestyle=":", linewidth=1.0)
        ax.set(xlabel="worker", ylabel="credit", ylim=(0, max(float(np.nanmax(credit)), 2 / n)), xticks=range(n))
        heading = ax.set_title(f"{rule_name(trace.rule)}, step {steps}: orange is Byzantine")
        fig.canvas.draw()
        fig.set_layout_engine("none")  # laid out once, not again for every frame

        def draw(frame: int) -> None:
            for worker, bar in enumerate(bars):
                bar.set_height(credit[frame, worker])
                bar.set_color(BYZANTINE if trace.byzantine[edges[frame + 1] - 1, worker] else BENIGN)
            heading.set_text(f"{rule_name(trace.rule)}, step {edges[frame + 1]}: orange is Byzantine")

        FuncAnimation(fig, draw, frames=len(credit)).save(pending, writer=PillowWriter(fps=per_second))
    plt.close(fig)
    return pending.replace(path)


#: Marker and colour of each reason for a missing submission; the colours are those of Okabe and Ito.
_ABSENCE_STYLES = {
    "died": ("X", "#d55e00"),
    "timeout": ("o", "#ffffff"),
    "late": ("s", "#56b4e9"),
    "twice": ("P", "#cc79a7"),
    "shape": ("D", "#009e73"),
    "dtype": ("*", "#f0e442"),
    "size": ("^", "#e69f00"),
    "nonfinite": ("v", "#0072b2"),
    "error": ("h", "#999999"),
    "restarting": (".", "#e69f00"),
}


def absences(trace: Trace, *, ax: Axes) -> None:
    """Mark on the credit heat map of a run on real workers who was missing when, by reason, with a legend beneath."""
    codes = trace.extras["absences"]  # [steps, n]
    for code in np.unique(codes[codes > 0]):
        step, worker = np.nonzero(codes == code)
        name = trace.settings["absences"][code]
        marker, colour = _ABSENCE_STYLES[name]
        edge = {"linewidth": 0} if name == "restarting" else {"edgecolor": "#333333", "linewidth": 0.5, "zorder": 4}
        ax.scatter(step + 0.5, worker + 0.37, marker=marker, s=26, color=colour, label=name, **edge)
    ax.figure.legend(
        *ax.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        fontsize="small",
        title="missing because",
        title_fontsize="small",
        facecolor="#bbbbbb",
    )
