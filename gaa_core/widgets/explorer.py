"""TraceExplorer: scrub through the steps of a saved run."""

from __future__ import annotations

import html
import re
import threading
from collections.abc import Iterable
from pathlib import Path

import ipywidgets as widgets
import numpy as np

from gaa_core.trace import Trace
from gaa_core.widgets import cells
from gaa_core.widgets.panels import HEIGHT, LEFT, RIGHT, CreditPanels, Moment, StepPanels, export
from gaa_core.widgets.pictures import Canvas
from gaa_core.widgets.view import THRESHOLDS, Judgement, TraceView, runs


class TraceExplorer(widgets.VBox):
    """A page around the runs of `source`: a Trace, several, a run's folder or a folder of such folders.

    A slider and a play button move through the steps. The threshold flags workers whose credit is below so many
    shares of 1/n. Pictures are exported into the folder `export_to`.
    """

    def __init__(self, source: Trace | Iterable[Trace] | str | Path, *, export_to: str | Path = "."):
        self.runs = runs(source)
        self.export_to = Path(export_to)
        self._drawing = threading.RLock()  # distances arrive in a thread and are drawn there
        self.canvases = Canvas(LEFT, HEIGHT), Canvas(RIGHT, HEIGHT)
        self._make_controls()
        self._open(0)
        for control in (self.step, self.worker, self.below):
            control.observe(self._on_move, "value")
        self.run.observe(lambda change: self._open(change["new"]), "value")
        bars = [widgets.Box(row, layout=_WRAPPING) for row in self._rows()]
        pictures = widgets.Box([self.credits, self.submissions], layout=_WRAPPING)
        super().__init__([*bars, self.told, pictures], layout=widgets.Layout(max_width="1280px"))
        cells.replace_earlier(self)

    def close(self) -> None:
        """Take the page away."""
        cells.close_all(self.children)
        super().close()

    @property
    def moment(self) -> Moment:
        """What the controls say."""
        return Moment(self.step.value, self.worker.value, self.below.value)

    def save(self, kind: str) -> Path:
        """Write the current view into a file, "png" or "svg"; its path."""
        name = re.sub(r"[^A-Za-z0-9]+", "_", f"{self.view.trace.rule} step {self.step.value}").strip("_")
        self.export_to.mkdir(parents=True, exist_ok=True)
        path = self.export_to / f"{name}.{kind}"
        export(self.view, self.moment, self._panels[1].last).savefig(path, format=kind)
        return path

    def _make_controls(self) -> None:
        options = [(f"{place + 1}: {run.title}", place) for place, run in enumerate(self.runs)]
        self.run = widgets.Dropdown(
            description="Run", tooltip="Which run to read", options=options, value=0, layout=widgets.Layout(width="98%")
        )
        # The slider and the player start at the same value, and are tied together in the browser.
        self.step = widgets.IntSlider(
            description="Step", tooltip="Step to look at", layout=widgets.Layout(width="420px", max_width="100%")
        )
        self.play = widgets.Play(tooltip="Play through the steps", interval=150, show_repeat=False)
        self._link = widgets.jslink((self.play, "value"), (self.step, "value"))
        self.worker = widgets.BoundedIntText(
            description="Worker", tooltip="Worker whose credit is drawn", min=0, layout=widgets.Layout(width="170px")
        )
        self.below = widgets.SelectionSlider(
            description="Threshold", tooltip="Flag credits below so many shares of 1/n", options=THRESHOLDS.tolist(),
            value=0.5, layout=widgets.Layout(width="330px", max_width="100%"),
        )  # fmt: skip
        self.save_png = self._export_button("png")
        self.save_svg = self._export_button("svg")
        self.told, self.saved = widgets.HTML(), widgets.HTML()
        self.credits = widgets.Image(format="png", layout=widgets.Layout(width=f"{LEFT}px", max_width="100%"))
        self.submissions = widgets.Image(format="png", layout=widgets.Layout(width=f"{RIGHT}px", max_width="100%"))

    def _rows(self) -> list[list[widgets.Widget]]:
        return [
            *([[self.run]] if len(self.runs) > 1 else []),
            [self.play, self.step, self.worker, self.below],
            [self.save_png, self.save_svg, self.saved],
        ]

    def _export_button(self, kind: str) -> widgets.Button:
        button = widgets.Button(
            description=f"Save {kind.upper()}", tooltip=f"Write the current view as {kind.upper()}", icon="download"
        )
        button.on_click(lambda _: self._on_save(kind))
        return button

    def _on_save(self, kind: str) -> None:
        try:
            self.saved.value = f"written: {html.escape(str(self.save(kind)))}"
        except OSError as error:
            self.saved.value = f"<b>not written: {html.escape(str(error))}</b>"

    def _open(self, place: int) -> None:
        with self._drawing:
            view: TraceView = self.runs[place].open()
            self.view = view
            self.step.value = self.play.value = 0
            self.step.max = self.play.max = view.steps - 1
            self.play.step = max(1, view.steps // 200)
            self.worker.max = view.n - 1
            left, right = self.canvases
            self._panels = CreditPanels(view, left.clear(), left), StepPanels(view, right.clear(), right)
            view.read_distances(lambda: self._on_distances(view))
            self._draw()

    def _on_distances(self, view: TraceView) -> None:
        with self._drawing:
            if view is self.view:
                self._draw()

    def _on_move(self, _change) -> None:
        with self._drawing:
            self._draw()

    def _draw(self) -> None:
        moment = self.moment
        for panels, canvas, image in zip(self._panels, self.canvases, (self.credits, self.submissions), strict=True):
            panels.show(moment)
            image.value = canvas.png()
        whole, now = self.view.judge(moment.below), self.view.judge(moment.below, moment.step)
        flagged = np.flatnonzero(self.view.flagged(moment.below, moment.step)).tolist()
        who = ", ".join(map(str, flagged)) if len(flagged) <= 12 else f"{len(flagged)} of {self.view.n} workers"
        who = who or "nobody"
        if self.view.trace.has_credits:
            self.told.value = f"Step {moment.step}: {_words(now)}. Whole run: {_words(whole)}. Flagged now: {who}."
        else:
            self.told.value = f"Step {moment.step}. {html.escape(self.view.trace.rule)} gives no credits to flag by."
        self.credits.tooltip = f"Credits of {self.view.n} workers over {self.view.steps} steps; worker {moment.worker}"
        self.submissions.tooltip = f"Submissions of step {moment.step} in their principal plane. Flagged: {who}"


def _words(judgement: Judgement) -> str:
    """Precision and recall as a person reads them."""
    told = ["none to judge" if np.isnan(v) else f"{v:.0%}" for v in (judgement.precision, judgement.recall)]
    return f"precision {told[0]}, recall {told[1]}"


_WRAPPING = widgets.Layout(display="flex", flex_flow="row wrap", align_items="center")
