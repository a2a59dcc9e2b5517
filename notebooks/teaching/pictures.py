"""Pictures of the lessons: submissions and answers in the plane, curves, credits. Data in, Axes out, house style."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from torch import Tensor

from gaa_core.style import BENIGN, BYZANTINE, outside_legend, rule_style, styled

#: What the lessons call a rule -> whose colour and marker it has everywhere.
_AS_RULE = {"mean": "Mean", "median": "CoordinateMedian", "Krum": "Krum", "Bulyan": "Bulyan"}
_OPPOSITES = mpl.colors.LinearSegmentedColormap.from_list("opposites", [BYZANTINE, "#f7f7f7", BENIGN])
_AXIS, _LEAST = {"color": "#777777", "linewidth": 0.8, "zorder": 0.5}, 1e-4  # axes; the least credit that is drawn


@styled
def plane(
    honest: Tensor,
    *,
    ax: Axes,
    attackers: Tensor | None = None,
    answers: Mapping[str, Tensor] | None = None,
    arrows: bool = False,
    disguised: bool = False,
    title: str = "",
    limits: tuple[float, float, float, float] | None = None,
    legend: bool = True,
) -> None:
    """Submissions [h, 2] of honest workers and of attackers [m, 2], and where rules put their answers, each [2].

    `arrows` draws every submission as a line from the origin: its step. `disguised` hides which worker is which.
    """
    groups = [("submission" if disguised else "honest", honest, "#444444" if disguised else BENIGN, "o")]
    groups += [("attacker", attackers, BYZANTINE, "^")] if attackers is not None and len(attackers) else []
    for name, rows, colour, marker in groups:
        points = np.asarray(rows)
        ends = np.stack([np.zeros_like(points), points], axis=1)
        ax.add_collection(mpl.collections.LineCollection(ends if arrows else [], color=colour, alpha=0.35))
        ax.scatter(*points.T, color=colour, marker=marker, s=30, alpha=0.85, label=name, linewidths=0)
    for name, where in (answers or {}).items():
        style = rule_style(_AS_RULE.get(name, name))
        ax.plot(*np.asarray(where), linestyle="none", marker=style["marker"], color=style["color"], markersize=9,
                markeredgecolor="black", markeredgewidth=0.8, alpha=0.9, label=name, zorder=5)  # fmt: skip
    ax.axhline(0, **_AXIS)
    ax.axvline(0, **_AXIS)
    ax.set(xlabel="first coordinate", ylabel="second coordinate", title=title)
    if limits is not None:
        ax.set(xlim=limits[:2], ylim=limits[2:])
    ax.set_aspect("equal", adjustable="datalim" if limits is None else "box")
    if legend:
        outside_legend(ax)


@styled
def displacements(table: pd.DataFrame, *, ax: Axes, title: str = "") -> None:
    """How far each rule (a column) ends from the honest mean against the number of attackers, logarithmic."""
    for name in table:
        style = rule_style(_AS_RULE.get(name, name)) | {"markersize": 5, "linewidth": 1.6}
        ax.plot(table.index, table[name], label=name, **style)
    ax.set(yscale="log", xlabel="attackers among the workers", ylabel="distance from the honest mean", title=title)
    ax.set_xticks(table.index)
    ax.legend(fontsize=8, handlelength=3)


@styled
def curve(values: np.ndarray, *, ax: Axes, ylabel: str, title: str = "", mark: float | None = None) -> None:
    """A line against the step; `mark` is a step to point at."""
    ax.plot(np.asarray(values), linewidth=1.5)
    if mark is not None:
        ax.axvline(mark, color="black", linewidth=1.2)
        ax.text(mark, 0.97, f" step {mark:.0f}", transform=ax.get_xaxis_transform(), va="top", fontsize=8)
    ax.set(xlabel="step", ylabel=ylabel, title=title)


@styled
def credit_curves(credits: np.ndarray, *, ax: Axes, title: str = "", smooth: int = 5) -> None:
    """The credit of each worker [steps, n] on a logarithmic scale, its number at the end of its line."""
    smoothed = pd.DataFrame(credits).rolling(smooth, min_periods=1).mean().clip(lower=_LEAST)
    steps, n = smoothed.shape
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.8, n))
    for place, worker in enumerate(smoothed.iloc[-1].sort_values(ascending=False, kind="stable").index):
        line = ("-", "--", "-.", ":")[worker % 4]
        ax.plot(smoothed[worker], color=colours[worker], linestyle=line, linewidth=1.4)
        sideways = 5 + 9 * (place % 3)  # numbers of lines that end together stand side by side
        ax.annotate(str(worker), (steps - 1, smoothed.iloc[-1][worker]), xytext=(sideways, 0), fontsize=8,
                    textcoords="offset points", color=colours[worker], fontweight="bold", va="center")  # fmt: skip
    ax.axhline(1 / n, color="#666666", linestyle=":", linewidth=0.9)
    ax.set(yscale="log", xlabel="step", ylabel="credit", title=title, xlim=(0, steps - 1))


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
