"""Pictures of traces: Trace(s) in, Axes out, in one house style with one colour a rule everywhere.

Functions draw, they do not compute results, show or save; `save` writes a figure with its description beside it.
The style lives in `style`, pictures of tables in `table_plots`; all of both is to be had here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from gaa_core.style import (
    BENIGN,
    BYZANTINE,
    ROLE_MAP,
    RULE_STYLES,
    house_style,
    outside_legend,
    panels,
    rule_name,
    rule_style,
    save,
    shared_legend,
    styled,
)
from gaa_core.table_plots import bars, by_category, final_accuracy, gap_heatmap, growth, histogram, lines
from gaa_core.trace import Trace

__all__ = [
    "BENIGN",
    "BYZANTINE",
    "RULE_STYLES",
    "accuracy",
    "bars",
    "by_category",
    "byzantine_credit",
    "credit_lines",
    "credits",
    "final_accuracy",
    "gap_heatmap",
    "growth",
    "histogram",
    "lines",
    "outside_legend",
    "panels",
    "rule_name",
    "rule_style",
    "samples",
    "save",
    "schedule",
    "shade_spells",
    "shared_legend",
]


@styled
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


@styled
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
            cmap=ROLE_MAP,
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
    with house_style():
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


@styled
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


@styled
def schedule(roles, *, ax: Axes, steps: int, title: str | None = None) -> None:
    """A role schedule as a bitmap, worker against step: orange is Byzantine. No training is needed."""
    table = roles.table(steps).numpy()  # [steps, n]
    ax.imshow(
        table.T,
        aspect="auto",
        cmap=ROLE_MAP,
        vmin=0,
        vmax=1,
        interpolation="nearest",
        extent=(0, steps, table.shape[1], 0),
    )
    ax.set(xlabel="step", ylabel="worker", title=title or roles.kind)
    shown = np.arange(0, table.shape[1], max(1, table.shape[1] // 10))
    ax.set_yticks(shown + 0.5, [str(worker) for worker in shown])
    ax.grid(False)


def _title(traces: Sequence[Trace]) -> str:
    settings = traces[0].settings
    attack = settings["attack"]
    return settings["title"] if attack == "none" else f"{settings['title']}, {attack}, {settings['roles']}"
