"""The explorer's panels. Each pair is drawn into a Figure of its own on the screen, both into one for export."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import PercentFormatter

from gaa_core.plots import BENIGN, BYZANTINE, rule_name, shade_spells
from gaa_core.widgets.pictures import Canvas, dress
from gaa_core.widgets.view import THRESHOLDS, Plane, TraceView

LEFT, RIGHT, HEIGHT = 440, 396, 440  # pixels: side by side in a JupyterLab of 1280
_RECALL = "#009e73"
_ROLE_COLOURS = mpl.colors.ListedColormap([BYZANTINE])


@dataclass(frozen=True)
class Moment:
    """What is looked at: a step, a worker, and the threshold under which a worker is flagged, in shares of 1/n."""

    step: int
    worker: int
    below: float


class _Still:
    """Stands in for a Canvas where a figure is drawn once: nothing moves."""

    def moving(self, artist):
        return artist

    def changed(self) -> None:
        pass


class CreditPanels:
    """Above, the heat map of all credits with a strip of true roles under each row; below, one worker's credit."""

    def __init__(self, view: TraceView, figure: Figure | SubFigure, canvas: Canvas | _Still):
        self.view, self.canvas = view, canvas
        self.heat, self.line = figure.subplots(2, 1, height_ratios=(3, 2))
        figure.subplots_adjust(left=0.15, right=0.87, top=0.93, bottom=0.1, hspace=0.42)
        self._draw_heat(figure)
        dress(self.line, "")
        smooth = max(1, view.steps // 200)
        if smooth > 1:
            self.line.set_xlabel(f"step (credits are means of {smooth} steps)", fontsize=8.5, labelpad=2)
        self._smoothed = pd.DataFrame(view.trace.credits).rolling(smooth, min_periods=1).mean().to_numpy()
        self.line.set_xlim(0, view.steps)
        self.line.set_ylabel("credit", fontsize=8.5)
        equal = self.line.axhline(1 / view.n, color="#666666", linestyle=":", linewidth=1.2, label="1/n")
        self.cursors = [canvas.moving(ax.axvline(0, color="black", linewidth=1)) for ax in (self.heat, self.line)]
        self.threshold = canvas.moving(
            self.line.axhline(0, color="#aa3377", linestyle="--", linewidth=1.2, label="threshold")
        )
        beside_title(self.line, [Patch(color=BYZANTINE, alpha=0.22, label="Byzantine"), equal, self.threshold])
        self.pointer = canvas.moving(
            self.heat.annotate(
                "", (1.0, 0.5), (1.035, 0.5), xycoords=("axes fraction", "data"), textcoords=("axes fraction", "data"),
                arrowprops={"arrowstyle": "-|>", "color": "black"}, annotation_clip=False,
            )
        )  # fmt: skip
        self._worker: int | None = None
        self._of_worker: list = []

    def show(self, moment: Moment) -> None:
        """Move to this moment."""
        for cursor in self.cursors:
            cursor.set_xdata([moment.step + 0.5] * 2)
        self.threshold.set_ydata([moment.below / self.view.n] * 2)
        if moment.worker != self._worker:
            self._choose(moment.worker)

    def _choose(self, worker: int) -> None:
        for artist in self._of_worker:
            artist.remove()
        before = set(self.line.get_children())
        byzantine = self.view.trace.byzantine[:, worker]
        shade_spells(self.line, byzantine)
        if self.view.trace.has_credits:
            ever = bool(byzantine.any())
            self.line.plot(
                np.arange(self.view.steps) + 0.5, self._smoothed[:, worker], color=BYZANTINE if ever else BENIGN,
                linestyle="-" if ever else "-.", linewidth=1.3,
            )  # fmt: skip
            roof = 1.08 * float(np.nanmax(self._smoothed[:, worker]))
            self.line.set_ylim(0, max(roof, 2.2 / self.view.n))
        self._of_worker = [artist for artist in self.line.get_children() if artist not in before]
        self.line.set_title(f"Worker {worker}", loc="left", fontsize=9.5, fontweight="bold", pad=4)
        self.pointer.xy, self.pointer.xyann = (1.0, worker + 0.5), (1.035, worker + 0.5)
        self._worker = worker
        self.canvas.changed()

    def _draw_heat(self, figure: Figure | SubFigure) -> None:
        view, ax = self.view, self.heat
        credits, byzantine = view.heat()
        dress(ax, f"{rule_name(view.trace.rule)}: credits")
        beside_title(ax, [Patch(color=BYZANTINE, label="Byzantine")])
        ax.set(xlim=(0, view.steps), ylim=(view.n, 0))
        ax.set_ylabel("worker", fontsize=8.5)
        ax.grid(False)
        shown = np.arange(0, view.n, max(1, view.n // 10))
        ax.set_yticks(shown + 0.5, [str(worker) for worker in shown])
        if not view.trace.has_credits:
            missing(ax, "This rule gives no credits.")
            return
        rows = np.repeat(credits, 4, axis=0)  # four lines of pixels a worker, the last of them its role
        extent = (0, view.steps, view.n, 0)
        options = {"aspect": "auto", "extent": extent, "interpolation": "nearest"}
        roles = np.full(rows.shape, np.nan)
        roles[3::4] = np.where(byzantine > 0.5, 1.0, np.nan)
        image = ax.imshow(rows, cmap="cividis", vmin=0, vmax=max(float(np.nanmax(credits)), 2 / view.n), **options)
        ax.imshow(roles, cmap=_ROLE_COLOURS, **options)
        box = ax.get_position()
        bar = figure.colorbar(image, cax=figure.add_axes((0.9, box.y0, 0.02, box.height)))
        bar.ax.tick_params(labelsize=7.5)
        bar.outline.set_visible(False)


class StepPanels:
    """Above, the submissions of the step in their principal plane; below, precision and recall by threshold."""

    def __init__(self, view: TraceView, figure: Figure | SubFigure, canvas: Canvas | _Still):
        self.view, self.canvas = view, canvas
        self.plane, self.detection = figure.subplots(2, 1, height_ratios=(3, 2))
        figure.subplots_adjust(left=0.13, right=0.95, top=0.93, bottom=0.1, hspace=0.42)
        self.last: Plane | None = None
        self._draw_plane()
        self._draw_detection()

    def show(self, moment: Moment) -> None:
        """Move to this moment."""
        plane = self.view.plane(moment.step, None if self.last is None else self.last.points)
        told = "reading the distances ..." if self.view.is_reading else NO_DISTANCES
        self.note.set_text("" if plane is not None else told)
        if plane is not None:
            self.last = plane
            self._place(plane, moment)
        self.marker.set_xdata([moment.below] * 2)
        values = self.view.judge(moment.below)
        for dot, value in zip(self.dots, (values.precision, values.recall), strict=True):
            dot.set_data([moment.below], [value])

    def _draw_plane(self) -> None:
        ax = self.plane
        dress(ax, "Submissions", xlabel="")
        width = 1.15 * ax.bbox.width / ax.bbox.height  # one unit is as long across as up
        ax.set(xlim=(-width, width), ylim=(-1.15, 1.15), xticks=[], yticks=[])
        ax.spines[["top", "right"]].set_visible(True)
        size = {"linestyle": "none", "markersize": 6.5, "alpha": 0.75, "markeredgewidth": 0.6, "clip_on": False}
        moving = self.canvas.moving
        self.rings = moving(ax.plot([], [], "o", mfc="none", mec="#aa3377", ms=12, mew=1.3, label="flagged")[0])
        self.benign = moving(ax.plot([], [], "o", color=BENIGN, mec="white", label="benign", **size)[0])
        self.bad = moving(ax.plot([], [], "^", color=BYZANTINE, mec="white", label="Byzantine", **size)[0])
        self.name = moving(ax.annotate("", (0, 0), (9, 7), textcoords="offset points", fontsize=9, fontweight="bold"))
        self.name.set_path_effects([withStroke(linewidth=3, foreground="white")])
        self.told = moving(ax.text(0.5, -0.045, "", transform=ax.transAxes, fontsize=8, ha="center", va="top"))
        self.note = moving(missing(ax, ""))
        beside_title(ax, [self.rings, self.benign, self.bad])

    def _place(self, plane: Plane, moment: Moment) -> None:
        points = plane.points
        finite = np.isfinite(points).all(axis=1)
        scale = float(np.abs(points[finite]).max()) if finite.any() else 0.0
        points = points / (scale or 1.0)
        byzantine = self.view.trace.byzantine[moment.step]
        self.rings.set_data(*points[self.view.flagged(moment.below, moment.step)].T)
        self.benign.set_data(*points[~byzantine].T)
        self.bad.set_data(*points[byzantine].T)
        here = points[moment.worker]
        self.name.xy = here if np.isfinite(here).all() else (0.0, 0.0)
        self.name.set_text(f"{moment.worker}" if np.isfinite(here).all() else "")
        lost = f"; {int((~finite).sum())} not finite" if not finite.all() else ""
        first, second = plane.shares
        self.told.set_text(f"principal plane: {first:.0%} + {second:.0%} of the variance; farthest {scale:.2g}{lost}")

    def _draw_detection(self) -> None:
        ax, view = self.detection, self.view
        dress(ax, "Flagged, whole run", xlabel="threshold, in per cent of 1/n")
        ax.set(xlim=(0, THRESHOLDS[-1]), ylim=(0, 1.05))
        ax.set_xticks([0, 0.5, 1, 1.5, 2])
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(PercentFormatter(1))
        self.marker = self.canvas.moving(ax.axvline(0, color="#aa3377", linestyle="--", linewidth=1.2))
        colours = (BENIGN, _RECALL)
        self.dots = [self.canvas.moving(ax.plot([], [], "o", color=colour)[0]) for colour in colours]
        if not view.trace.has_credits:
            missing(ax, "This rule gives no credits.")
            return
        precision, recall = view.curves()
        lines = ax.plot(THRESHOLDS, precision, color=BENIGN, label="precision", linewidth=1.6)
        lines += ax.plot(THRESHOLDS, recall, color=_RECALL, linestyle="--", label="recall", linewidth=1.6)
        beside_title(ax, lines)


NO_DISTANCES = "No distances were kept in this run:\nuse run(..., record_distances=True)."


def beside_title(ax: Axes, handles: list) -> None:
    """A legend in the title's line, where it hides nothing."""
    ax.legend(
        handles=handles, loc="lower right", bbox_to_anchor=(1.02, 0.99), ncols=len(handles), fontsize=8, frameon=False,
        borderpad=0.2, handletextpad=0.3, columnspacing=0.9, handlelength=1.7,
    )  # fmt: skip


def missing(ax: Axes, text: str):
    """Words where a picture would be."""
    return ax.text(
        0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", fontsize=9, color="#555555", wrap=True
    )


def export(view: TraceView, moment: Moment, orientation: Plane | None = None) -> Figure:
    """All panels at this moment in one figure, ready for savefig, with the run's title and its data."""
    figure = Figure(figsize=((LEFT + RIGHT) / 100, (HEIGHT + 70) / 100), dpi=150)
    body, foot = figure.subfigures(2, 1, height_ratios=(HEIGHT, 70))
    left, right = body.subfigures(1, 2, width_ratios=(LEFT, RIGHT))
    credits, step = CreditPanels(view, left, _Still()), StepPanels(view, right, _Still())
    step.last = orientation
    credits.show(moment)
    step.show(moment)
    settings = view.trace.settings
    source = f"{settings.get('data', 'unknown')}{' (a stand-in)' if settings.get('stand_in') else ''}"
    foot.text(0.02, 0.62, f"{view.title}. Step {moment.step}, worker {moment.worker}.", fontsize=8)
    foot.text(0.02, 0.28, f"Data: {source}", fontsize=8)
    return figure
