"""The explorer's picture: credits of the run on the left, the submissions of one step on the right."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.ticker import PercentFormatter

from gaa_core import plots
from gaa_core.plots import BENIGN, BYZANTINE, rule_name
from gaa_core.trace import Trace
from gaa_core.widgets.pictures import KEY, Canvas, dress, missing, no_credits
from gaa_core.widgets.view import THRESHOLDS, flagged, judge, plane

NO_DISTANCES = "No distances were kept in this run:\nuse run(..., record_distances=True)."
_THRESHOLD, _RECALL = "#aa3377", "#009e73"
_SPANS = 200  # of a long run, over which one worker's credit is averaged


class TracePicture(Canvas):
    """A trace at a step. Left: the credit map of the run, and one worker's credit. Right: the submissions of the step
    in their principal plane, and precision and recall by threshold.
    """

    def __init__(self, trace: Trace):
        super().__init__()
        self.trace, self._like = trace, None
        (heat, self._plane), (self._line, detection) = self.figure.subplots(2, 2, height_ratios=(3, 2))
        self.figure.subplots_adjust(left=0.06, right=0.98, top=0.93, bottom=0.11, hspace=0.42, wspace=0.13)
        self._draw_credits(heat)
        self._draw_plane(self._plane)
        self._draw_detection(detection)

    def draw(self, step: int, worker: int, below: float) -> bytes:
        """The picture of a step, a worker, and a threshold in shares of 1/n."""
        for cursor in self._cursors:
            cursor.set_xdata([step + 0.5] * 2)
        self._threshold.set_ydata([below / self.trace.byzantine.shape[1]] * 2)
        self._marker.set_xdata([below] * 2)
        for dot, value in zip(self._dots, judge(self.trace, below), strict=True):
            dot.set_data([below], [value])
        if "distances" in self.trace.extras:
            self._place(step, worker, below)
        byzantine, credits = self.trace.byzantine[:, worker], self._smoothed[:, worker]
        for part, shown in zip(self._parts, (~byzantine, byzantine), strict=True):
            part.set_data(np.arange(len(credits)) + 0.5, np.where(shown, credits, np.nan))
        return self.png()

    def _draw_credits(self, ax: Axes) -> None:
        (steps, n), line = self.trace.byzantine.shape, self._line
        if self.trace.has_credits:
            plots.credits(self.trace, ax=ax, key=False)
        else:
            missing(ax, no_credits(self.trace.rule))
        dress(ax, f"credits of {rule_name(self.trace.rule)}", xlabel=f"step  ({KEY})")
        ax.grid(False)
        smooth = max(1, steps // _SPANS)
        self._smoothed = pd.DataFrame(self.trace.credits).rolling(smooth, min_periods=1).mean().to_numpy()
        dress(line, "credit of one worker", xlabel="step" if smooth == 1 else f"step (means of {smooth} steps)")
        line.set(xlim=(0, steps), ylim=(0, max(1.05 * np.nan_to_num(self._smoothed).max(), 2.2 / n)))
        line.axhline(1 / n, color="#666666", linestyle=":", linewidth=1.2)
        self._threshold = line.axhline(0, color=_THRESHOLD, linestyle="--", linewidth=1.2, label="threshold")
        self._parts = [
            line.plot([], [], color=colour, linewidth=1.5, label=name)[0]
            for colour, name in ((BENIGN, "benign"), (BYZANTINE, "Byzantine"))
        ]
        beside_title(line, [*self._parts, self._threshold])
        self._cursors = [each.axvline(0, color="black", linewidth=1) for each in (ax, line)]
        self.move([self._threshold, *self._parts, *self._cursors])

    def _draw_plane(self, ax: Axes) -> None:
        dress(ax, "submissions", xlabel="")
        width = 1.15 * ax.bbox.width / ax.bbox.height  # one unit is as long across as up
        ax.set(xlim=(-width, width), ylim=(-1.15, 1.15), xticks=[], yticks=[])
        ax.spines[["top", "right"]].set_visible(True)
        size = {"linestyle": "none", "markersize": 6, "alpha": 0.75, "mec": "white", "mew": 0.6, "clip_on": False}
        (self._rings,) = ax.plot([], [], "o", mfc="none", mec=_THRESHOLD, ms=11, mew=1.3, label="flagged")
        (self._benign,) = ax.plot([], [], "o", color=BENIGN, label="benign", **size)
        (self._byzantine,) = ax.plot([], [], "^", color=BYZANTINE, label="Byzantine", **size)
        self._name = ax.annotate("", (0, 0), (9, 7), textcoords="offset points", fontsize=9, fontweight="bold")
        self._name.set_path_effects([withStroke(linewidth=3, foreground="white")])
        self._told = ax.text(0.5, -0.045, "", transform=ax.transAxes, fontsize=7.5, ha="center", va="top")
        missing(ax, "" if "distances" in self.trace.extras else NO_DISTANCES)
        beside_title(ax, [self._rings, self._benign, self._byzantine])
        self.move([self._rings, self._benign, self._byzantine, self._name, self._told])

    def _place(self, step: int, worker: int, below: float) -> None:
        found, (first, second) = plane(self.trace.extras["distances"][step], self._like)
        self._like, finite = found, np.isfinite(found).all(axis=1)
        farthest = float(np.abs(found[finite]).max(initial=0.0))
        points, byzantine = found / (farthest or 1.0), self.trace.byzantine[step]
        self._rings.set_data(*points[flagged(self.trace, below, step)].T)
        self._benign.set_data(*points[~byzantine].T)
        self._byzantine.set_data(*points[byzantine].T)
        self._name.xy = np.nan_to_num(points[worker])
        self._name.set_text(str(worker) if finite[worker] else "")
        lost = "" if finite.all() else f"; {int((~finite).sum())} not finite"
        self._told.set_text(
            f"principal plane: {first:.0%} + {second:.0%} of the variance; farthest {farthest:.2g}{lost}"
        )

    def _draw_detection(self, ax: Axes) -> None:
        dress(ax, "flagged, whole run", xlabel="threshold, in per cent of 1/n")
        ax.set(xlim=(0, THRESHOLDS[-1]), ylim=(0, 1.05), xticks=[0, 0.5, 1, 1.5, 2])
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(PercentFormatter(1))
        shares = zip(*(judge(self.trace, below) for below in THRESHOLDS), strict=True)
        lines = [
            ax.plot(THRESHOLDS, values, style, color=colour, label=name, linewidth=1.6)[0]
            for values, style, colour, name in zip(
                shares, "-:", (BENIGN, _RECALL), ("precision", "recall"), strict=True
            )
        ]
        self._marker = ax.axvline(0, color=_THRESHOLD, linestyle="--", linewidth=1.2)
        self._dots = [ax.plot([], [], "o", color=line.get_color())[0] for line in lines]
        self.move([self._marker, *self._dots])
        if self.trace.has_credits:
            beside_title(ax, lines)
        else:
            missing(ax, "This rule gives no credits to flag by.")


def beside_title(ax: Axes, handles: list) -> None:
    """A legend in the title's line, where it hides nothing."""
    ax.legend(
        handles=handles, loc="lower right", bbox_to_anchor=(1.02, 0.99), ncols=len(handles), fontsize=7.5,
        borderpad=0.2, frameon=False, handletextpad=0.3, columnspacing=0.9, handlelength=1.7,
    )  # fmt: skip
