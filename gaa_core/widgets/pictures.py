"""The playground's picture, redrawn many times a second: what stands still is drawn once and kept as pixels.

No pyplot and no global style: it is drawn in a thread, beside whatever the notebook draws.
"""

import io
import time

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import NullLocator, PercentFormatter
from PIL import Image

from gaa_core import plots
from gaa_core.plots import BENIGN, BYZANTINE, rule_name, rule_style
from gaa_core.trace import Trace
from gaa_core.widgets.race import Race
from gaa_core.widgets.setup import text_of

SIZE, DPI = (9.2, 4.0), 160  # inches: two columns; a page of 1920 pixels shows some 1,450 of these 1,472
RECENT = 10  # steps whose mean credit is a worker's credit now
PAUSE = 4  # times as long as credit maps take to draw, nothing but lines and bars moves
KEY = "blue: more than a fair share 1/n; orange: less; outlined: Byzantine"


class Canvas:
    """A figure that becomes a PNG quickly: pixels that stand still are kept, `moving` artists are drawn each time."""

    def __init__(self):
        self.figure = Figure(figsize=SIZE, dpi=DPI)
        self._agg = FigureCanvasAgg(self.figure)
        self.clear()

    def clear(self) -> None:
        """Empty the figure."""
        self.figure.clear()
        self._moving: list[Artist] = []
        self.pixels = None  # None: what stands still has changed

    def move(self, artists: list[Artist]) -> None:
        """Draw these artists each time."""
        for artist in artists:
            artist.set_animated(True)
        self._moving += artists

    def png(self) -> bytes:
        """The picture now."""
        if self.pixels is None:
            self._agg.draw()
            self.pixels = self._agg.copy_from_bbox(self.figure.bbox)
        self._agg.restore_region(self.pixels)
        for artist in self._moving:
            self.figure.draw_artist(artist)
        image = Image.frombuffer("RGBA", self._agg.get_width_height(), self._agg.buffer_rgba(), "raw", "RGBA", 0, 1)
        file = io.BytesIO()
        image.convert("RGB").save(file, "png", compress_level=1)
        return file.getvalue()


class RacePicture(Canvas):
    """A race so far. Left: accuracy and loss, a line per rule. Right, per rule: the credit map of the whole run, and a
    bar per worker, its mean credit of the last steps.
    """

    _state, _mapped, _due = None, -1, 0.0

    def draw(self, race: Race, hidden: bool) -> bytes:
        """The picture now; `hidden` shows no roles. The credit map may be a moment behind."""
        step, begin = race.step, time.perf_counter()
        span = 100 * 2 ** max(0, int(np.ceil(np.log2(max(step, 1) / 100))))  # doubles: most pictures keep their axes
        if self._state != (race, span, hidden):
            self._state, self._mapped = (race, span, hidden), -1
            self.clear()
            self._rules = [text_of(rule) for rule in race.setup.rules]
            left, right = self.figure.subfigures(1, 2)
            self._make_curves(left, span)
            self._make_credits(right, race.setup.n)
        if step != self._mapped and (race.state != "running" or self._mapped < 0 or begin > self._due):
            for place in range(len(self._rules)):
                self._draw_map(place, race, step)
            now = time.perf_counter()
            self._mapped, self._due = step, now + PAUSE * (now - begin)
        byzantine = race.column(0, "byzantine", step, last=1)[0] if step else race.roles_next()
        for place, ((accuracy, loss), bars) in enumerate(zip(self._lines, self._bars, strict=True)):
            values = race.column(place, "accuracy", step)
            known = np.flatnonzero(np.isfinite(values))
            accuracy.set_data(known + 1, values[known])
            loss.set_data(np.arange(step) + 1, race.column(place, "loss", step))
            for bar, credit, bad in zip(bars, recent(race, place, step), byzantine, strict=True):
                bar.set(width=np.nan_to_num(credit), facecolor=role_colour(bad, hidden))
                bar.set_hatch("///" if bad and not hidden else None)
        return self.png()

    def _make_curves(self, figure: SubFigure, span: int) -> None:
        above, below = figure.subplots(2, 1, sharex=True)
        figure.subplots_adjust(left=0.12, right=0.97, top=0.87, bottom=0.11, hspace=0.24)
        dress(above, "test accuracy", xlabel="")
        dress(below, "training loss of benign workers")
        above.set(ylim=(0, 1), xlim=(0, span))
        above.yaxis.set_major_formatter(PercentFormatter(1))
        below.set(yscale="log", ylim=(0.01, 100))  # a model that diverges leaves the picture
        below.yaxis.set_minor_locator(NullLocator())
        self._lines = []
        for place, rule in enumerate(self._rules):
            # Earlier lines are wider, so that equal curves both show.
            style = rule_style(rule) | {"marker": "none", "linewidth": 2.4 - 0.6 * place}
            self._lines.append([ax.plot([], [], label=rule_name(rule), **style)[0] for ax in (above, below)])
            self.move(self._lines[-1])
        figure.legend(
            *above.get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(0.1, 1.0), ncols=len(self._rules),
            fontsize=8, frameon=False, handlelength=2.0,
        )  # fmt: skip

    def _make_credits(self, figure: SubFigure, n: int) -> None:
        shown = np.arange(0, n, max(1, n // 5))
        axes = figure.subplots(len(self._rules), 2, squeeze=False, sharex="col", sharey=True, width_ratios=(3, 1))
        figure.subplots_adjust(left=0.07, right=0.97, top=0.87, bottom=0.11, hspace=0.24, wspace=0.06)
        figure.text(0.07, 0.965, KEY, fontsize=8, va="center")
        self._maps, self._bars, self._of_map = axes[:, 0], [], [[] for _ in self._rules]
        for now in axes[:, 1]:
            dress(now, f"last {RECENT} steps", xlabel="credit" if now is axes[-1, 1] else "")
            now.set(xlim=(0, 1), ylim=(n, 0), xticks=[0.5, 1])
            now.set_yticks(shown + 0.5, shown)  # as the maps beside them, which share the axis
            now.tick_params(left=False, labelleft=False)
            now.axvline(1 / n, color="#666666", linestyle=":", linewidth=1)
            bars = now.barh(np.arange(n) + 0.5, np.zeros(n), height=0.8, edgecolor="white", linewidth=0.5)
            self._bars.append(list(bars))
            self.move(self._bars[-1])

    def _draw_map(self, place: int, race: Race, step: int) -> None:
        (_, span, hidden), ax, rule, n = self._state, self._maps[place], self._rules[place], race.setup.n
        for artist in self._of_map[place]:
            artist.remove()
            self._moving.remove(artist)
        before, credits = set(ax.get_children()), race.column(place, "credits", step)
        if np.isfinite(credits).any():
            byzantine = race.column(place, "byzantine", step) & (not hidden)
            table = pd.DataFrame({"qv_loss": race.column(place, "qv_loss", step)})
            trace = Trace({"rule": rule}, table, credits, byzantine)
            plots.credits.__wrapped__(trace, ax=ax, key=False, title=" ")  # the wrapper sets a style for all threads
        else:
            missing(ax, no_credits(rule) if step else "Press Start: credits appear here.")
        self._of_map[place] = [artist for artist in ax.get_children() if artist not in before]
        self.move(self._of_map[place])
        ax.set(xlim=(0, span), ylim=(n, 0), ylabel="worker")  # what stands still, as before the first credits
        dress(ax, f"credits of {rule_name(rule)}", xlabel="step" if ax is self._maps[-1] else "")
        ax.grid(False)


def recent(race: Race, place: int, step: int) -> np.ndarray:
    """The credit of each worker at a step, [n]; NaN for a rule without credits, 0 before the first step."""
    credits = race.column(place, "credits", step, last=RECENT)
    return credits.mean(axis=0) if len(credits) else np.zeros(race.setup.n)


def role_colour(byzantine: bool, hidden: bool) -> str:
    """The colour of a worker."""
    return "#8c8c8c" if hidden else BYZANTINE if byzantine else BENIGN


def no_credits(rule: str) -> str:
    """Why a panel shows no credits."""
    return f"{rule_name(rule)} gives no credits:\nit does not weigh whole submissions."


def dress(ax: Axes, title: str, xlabel: str = "step") -> None:
    """The house style for one axes, without touching what other figures use."""
    ax.set_title(title, loc="left", fontsize=9, fontweight="bold", pad=4)
    ax.set_xlabel(xlabel, fontsize=8, labelpad=2)
    ax.set_ylabel(ax.get_ylabel(), fontsize=8)
    ax.tick_params(labelsize=8)
    ax.grid(True, color="#e6e6e6", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def missing(ax: Axes, text: str) -> None:
    """Words where a picture would be."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", fontsize=8, color="#555555")
