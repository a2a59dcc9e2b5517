"""Pictures of the lessons: submissions and answers in the plane. Data in, Axes out, in the house style."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from torch import Tensor

from gaa_core.style import BENIGN, BYZANTINE, rule_style, styled

#: What the lessons call a rule -> whose colour and marker it has everywhere.
_AS_RULE = {"mean": "Mean", "median": "CoordinateMedian", "Krum": "Krum", "Bulyan": "Bulyan"}

_OPPOSITES = mpl.colors.LinearSegmentedColormap.from_list("opposites", [BYZANTINE, "#f7f7f7", BENIGN])


@styled
def plane(
    honest: Tensor,
    *,
    ax: Axes,
    liars: Tensor | None = None,
    answers: Mapping[str, Tensor] | None = None,
    arrows: bool = False,
    disguised: bool = False,
    title: str = "",
    limits: tuple[float, float, float, float] | None = None,
    legend: bool = True,
) -> None:
    """Submissions [h, 2] of honest workers and of liars [m, 2], and where rules put their answers, each [2].

    `arrows` draws every submission as a line from the origin: the step that it asks for. `disguised` hides who is who.
    """
    groups = [
        ("submission", honest, "#444444", "s") if disguised else ("honest", honest, BENIGN, "o"),
        ("liar", liars, BYZANTINE, "^"),
    ]
    for name, rows, colour, marker in groups:
        if rows is None or not len(rows):
            continue
        points = np.asarray(rows)
        if arrows:
            for x, y in points:
                ax.annotate("", (x, y), (0, 0), arrowprops={"arrowstyle": "-", "color": colour, "alpha": 0.35})
        ax.scatter(*points.T, color=colour, marker=marker, s=30, alpha=0.85, label=name, linewidths=0)
    for name, where in (answers or {}).items():
        style = rule_style(_AS_RULE.get(name, name))
        ax.plot(*np.asarray(where), linestyle="none", marker=style["marker"], color=style["color"], markersize=9,
                markeredgecolor="black", markeredgewidth=0.8, alpha=0.9, label=name, zorder=5)  # fmt: skip
    ax.axhline(0, color="#777777", linewidth=0.8, zorder=0.5)
    ax.axvline(0, color="#777777", linewidth=0.8, zorder=0.5)
    ax.set(xlabel="first coordinate", ylabel="second coordinate", title=title)
    if limits is not None:
        ax.set(xlim=limits[:2], ylim=limits[2:])
    ax.set_aspect("equal", adjustable="datalim" if limits is None else "box")
    if legend:
        ax.legend(loc="best", fontsize=8, frameon=True, edgecolor="none", framealpha=0.85)


@styled
def displacements(table: pd.DataFrame, *, ax: Axes, title: str = "") -> None:
    """How far each rule (a column) ends from the honest mean against the number of liars, on a logarithmic scale."""
    for name in table:
        style = rule_style(_AS_RULE.get(name, name)) | {"markersize": 5, "linewidth": 1.6}
        ax.plot(table.index, table[name], label=name, **style)
    ax.set(yscale="log", xlabel="liars among the workers", ylabel="distance from the honest mean", title=title)
    ax.set_xticks(table.index)
    ax.legend(fontsize=8, handlelength=3)


@styled
def curve(
    values: Mapping[str, np.ndarray], *, ax: Axes, ylabel: str, title: str = "", mark: float | None = None
) -> None:
    """One line per name against the step; `mark` is a step to point at."""
    for (name, line), style in zip(values.items(), ("-", "--", "-."), strict=False):
        ax.plot(np.asarray(line), label=name, linestyle=style, linewidth=1.5)
    if mark is not None:
        ax.axvline(mark, color="black", linewidth=1.2)
        ax.annotate(f"step {mark:.0f}", (mark, 1.0), xycoords=("data", "axes fraction"), xytext=(4, -10),
                    textcoords="offset points", fontsize=8)  # fmt: skip
    ax.set(xlabel="step", ylabel=ylabel, title=title)
    if len(values) > 1:
        ax.legend(fontsize=8)


@styled
def credit_curves(credits: np.ndarray, *, ax: Axes, title: str = "", smooth: int = 5) -> None:
    """The credit of each worker [steps, n] on a logarithmic scale, its number at the end of its line."""
    smoothed = pd.DataFrame(credits).rolling(smooth, min_periods=1).mean().clip(lower=1e-4)
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.8, smoothed.shape[1]))
    for worker in smoothed:
        line = ("-", "--", "-.", ":")[worker % 4]
        ax.plot(smoothed.index, smoothed[worker], color=colours[worker], linestyle=line, linewidth=1.4)
    for worker, (height, place) in enumerate(_labels(np.log10(smoothed.iloc[-1].to_numpy()))):
        ax.annotate(str(worker), (smoothed.index[-1], 10**height), xytext=(5 + 9 * place, 0), fontsize=8,
                    textcoords="offset points", color=colours[worker], fontweight="bold", va="center")  # fmt: skip
    ax.axhline(1 / smoothed.shape[1], color="#666666", linestyle=":", linewidth=0.9)
    ax.set(yscale="log", xlabel="step", ylabel="credit", title=title, xlim=(0, smoothed.index[-1]))


def _labels(ends: np.ndarray, gap: float = 0.14) -> list[tuple[float, int]]:
    """Height and place of each line's label, by the lines' `ends` [n]: those closer than `gap` stand side by side."""
    found: list[tuple[float, int]] = [(0.0, 0)] * len(ends)
    height, place = np.inf, 0
    for line in np.argsort(-ends, kind="stable"):
        place = place + 1 if height - ends[line] < gap else 0
        height = height if place else float(ends[line])
        found[line] = (height, place)
    return found


@styled
def likeness(cosines: np.ndarray, *, ax: Axes, title: str = "") -> None:
    """How alike workers moved [n, n]: blue the same way, orange the opposite way."""
    n = len(cosines)
    image = ax.imshow(np.asarray(cosines), cmap=_OPPOSITES, vmin=-1, vmax=1)
    ax.set(xlabel="worker", ylabel="worker", title=title, xticks=range(n), yticks=range(n))
    ax.tick_params(length=0)
    ax.grid(False)
    bar = ax.figure.colorbar(image, ax=ax, pad=0.02, fraction=0.045)
    bar.set_label("cosine")
    bar.outline.set_visible(False)
