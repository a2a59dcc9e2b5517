"""The playground's two pictures, redrawn many times a second: what stands still is drawn once and kept as pixels.

No pyplot and no global style: they are drawn in a thread, beside whatever the notebook draws.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from PIL import Image

from gaa_core.plots import BENIGN, BYZANTINE, rule_name, rule_style

HIDDEN = "#8c8c8c"  # of a worker whose role is not to be seen
WIDTH, HEIGHT = 420, 350  # pixels: both pictures side by side in a JupyterLab of 1280
POINTS = 300  # of a curve at most: no screen shows more


class Canvas:
    """A figure of a size in pixels that becomes a PNG quickly: `still` pixels are kept, `moving` artists drawn anew."""

    def __init__(self, width: int, height: int):
        self.figure = Figure(figsize=(width / 100, height / 100), dpi=100)
        self._agg = FigureCanvasAgg(self.figure)
        self._moving: list[Artist] = []
        self._still = None

    def clear(self) -> Figure:
        """The figure, empty."""
        self.figure.clear()
        self._moving, self._still = [], None
        return self.figure

    def moving(self, artist: Artist) -> Artist:
        """Draw this artist anew each time."""
        artist.set_animated(True)
        self._moving.append(artist)
        return artist

    def changed(self) -> None:
        """Something that stands still has changed."""
        self._still = None

    def png(self) -> bytes:
        """The picture now."""
        if self._still is None:
            self._agg.draw()
            self._still = self._agg.copy_from_bbox(self.figure.bbox)
        self._agg.restore_region(self._still)
        for artist in self._moving:
            self.figure.draw_artist(artist)
        size = self._agg.get_width_height()
        image = Image.frombuffer("RGBA", size, self._agg.buffer_rgba(), "raw", "RGBA", 0, 1).convert("RGB")
        file = io.BytesIO()
        image.save(file, "png", compress_level=1)
        return file.getvalue()


@dataclass(frozen=True, eq=False)
class Lane:
    """One rule's state as the pictures need it."""

    rule: str
    loss: np.ndarray  # [steps]
    accuracy: np.ndarray  # [steps], NaN where not evaluated
    credits: np.ndarray  # [n], mean of the last steps; NaN for a rule without

    @property
    def latest_accuracy(self) -> float:
        """The last that was evaluated; NaN before the first."""
        known = self.accuracy[~np.isnan(self.accuracy)]
        return float(known[-1]) if len(known) else float("nan")


class Curves:
    """Test accuracy and training loss against the step, a line per rule."""

    def __init__(self, rules: Sequence[str], canvas: Canvas):
        self.canvas = canvas
        figure = canvas.clear()
        self.accuracy, self.loss = figure.subplots(2, 1, sharex=True)
        figure.subplots_adjust(left=0.125, right=0.955, top=0.84, bottom=0.11, hspace=0.24)
        self.lines = []
        for place, rule in enumerate(rules):
            # Earlier lines are wider, so that equal curves both show.
            style = rule_style(rule) | {"marker": "none", "linewidth": 2.6 - 0.6 * place}
            pair = [ax.plot([], [], label=rule_name(rule), **style)[0] for ax in (self.accuracy, self.loss)]
            self.lines.append([canvas.moving(line) for line in pair])
        dress(self.accuracy, "test accuracy", xlabel="")
        dress(self.loss, "training loss of honest workers")
        self.accuracy.set(ylim=(0, 1.0), xlim=(0, 100))
        self.loss.set(ylim=(0, 3.0), xlim=(0, 100))
        self.accuracy.yaxis.set_major_formatter(PercentFormatter(1))
        handles = [pair[0] for pair in self.lines]
        columns = 3 if sum(map(len, map(rule_name, rules))) < 36 else 2
        figure.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(0.1, 1.0), ncols=columns, fontsize=8.5, frameon=False,
            handlelength=2.4, columnspacing=1.2, labelspacing=0.25, borderpad=0.2,
        )  # fmt: skip

    def png(self, lanes: Sequence[Lane]) -> bytes:
        """The curves so far. Axes grow by doubling, so that most pictures need only new lines."""
        steps = max((len(lane.loss) for lane in lanes), default=0)
        span = 100 * 2 ** max(0, int(np.ceil(np.log2(max(steps, 1) / 100))))
        top = _roof(max((_highest(lane.loss) for lane in lanes), default=0.0))
        if span != self.loss.get_xlim()[1] or top != self.loss.get_ylim()[1]:
            self.accuracy.set_xlim(0, span)
            self.loss.set(xlim=(0, span), ylim=(0, top))
            self.canvas.changed()
        for lane, (accuracy, loss) in zip(lanes, self.lines, strict=False):
            known = np.flatnonzero(~np.isnan(lane.accuracy))
            known = known[:: max(1, len(known) // POINTS)]
            accuracy.set_data(known + 1, lane.accuracy[known])
            loss.set_data(*thinned(lane.loss))
        return self.canvas.png()


class Bars:
    """Credits, a bar per worker and a panel per rule: hatched orange where Byzantine, all grey where roles are hidden.

    `rules` and `n` say what there will be to draw.
    """

    def __init__(self, rules: Sequence[str], n: int, canvas: Canvas):
        self.canvas, self.n = canvas, n
        figure = canvas.clear()
        axes = figure.subplots(len(rules), 1, squeeze=False, sharex=True, sharey=True)[:, 0]
        figure.subplots_adjust(left=0.125, right=0.955, top=0.92, bottom=0.11, hspace=0.32)
        self.panels: list[tuple[Axes, list, Artist]] = []
        for ax, rule in zip(axes, rules, strict=True):
            bars = [canvas.moving(bar) for bar in ax.bar(range(n), np.zeros(n), width=0.8, linewidth=0.8)]
            dress(ax, f"credit, mean of 10 steps: {rule_name(rule)}", xlabel="worker" if ax is axes[-1] else "")
            note = ax.text(0.5, 0.5, "", transform=ax.transAxes, ha="center", va="center", fontsize=9, color="#555555")
            ax.axhline(1 / n, color="#666666", linestyle=":", linewidth=1)
            ax.set(xlim=(-0.6, n - 0.4), ylim=(0, self._roof(0)))
            shown = np.arange(0, n, max(1, n // 10))
            ax.set_xticks(shown, [str(worker) for worker in shown])
            ax.grid(False, axis="x")
            self.panels.append((ax, bars, canvas.moving(note)))

    def png(self, lanes: Sequence[Lane], byzantine: np.ndarray, hidden: bool) -> bytes:
        """The credits now; `byzantine` is bool [n]."""
        highest = max((float(np.nan_to_num(lane.credits).max()) for lane in lanes), default=0.0)
        if self._roof(highest) != self.panels[0][0].get_ylim()[1]:
            self.panels[0][0].set_ylim(0, self._roof(highest))  # shared by all panels
            self.canvas.changed()
        for lane, (_, bars, note) in zip(lanes, self.panels, strict=False):
            known = not np.isnan(lane.credits).all()
            note.set_text("" if known else "no credits: this rule weighs nobody")
            for bar, credit, bad in zip(bars, np.nan_to_num(lane.credits), byzantine, strict=True):
                bar.set_height(credit)
                bar.set(facecolor=HIDDEN if hidden else BYZANTINE if bad else BENIGN, edgecolor="white")
                bar.set_hatch("///" if bad and not hidden else None)
        return self.canvas.png()

    def _roof(self, highest: float) -> float:
        return next((roof for roof in (2.5 / self.n, 5 / self.n, 0.55) if highest < roof), 1.05)


def dress(ax: Axes, title: str, xlabel: str = "step") -> None:
    """The house style for one axes, without touching what other figures use."""
    ax.set_title(title, loc="left", fontsize=9.5, fontweight="bold", pad=4)
    ax.set_xlabel(xlabel, fontsize=8.5, labelpad=2)
    ax.tick_params(labelsize=8.5)
    ax.grid(True, color="#e6e6e6", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def thinned(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(steps, values) of a long curve: means over equal spans, at most POINTS of them."""
    width = max(1, -(-len(values) // POINTS))
    whole = len(values) // width * width
    means = values[:whole].reshape(-1, width).mean(axis=1)
    return np.arange(len(means)) * width + (width + 1) / 2, means


def _highest(loss: np.ndarray) -> float:
    """The greatest loss that is worth showing: when a model diverges its curve leaves the picture."""
    means = thinned(loss)[1]
    finite = means[np.isfinite(means)]
    return float(min(finite.max(), 2 * finite[0])) if len(finite) else 0.0


def _roof(highest: float) -> float:
    return next((roof for roof in (1.0, 3.0, 6.0, 12.0, 25.0) if highest < roof), 1.1 * highest)
