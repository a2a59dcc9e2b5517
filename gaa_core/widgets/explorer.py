"""TraceExplorer: scrub through the steps of a saved run."""

from __future__ import annotations

import html
import re
import threading
from collections.abc import Iterable
from pathlib import Path

import ipywidgets as widgets
import numpy as np

from gaa_core.errors import GaaError
from gaa_core.trace import Trace
from gaa_core.widgets import cells
from gaa_core.widgets.panels import HEIGHT, LEFT, RIGHT, CreditPanels, Moment, StepPanels, export
from gaa_core.widgets.pictures import Canvas
from gaa_core.widgets.view import Judgement, TraceView, runs


class TraceExplorer(widgets.VBox):
    """A page around the runs of `source`: a Trace, several, a run's folder or a folder of such folders.

    A slider and a play button move through the steps. The threshold flags workers whose credit is below so many
    per cent of 1/n. Pictures are exported into the folder `export_to`.
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
        self.run.observe(self._on_run, "value")
        bars = [widgets.Box(row, layout=cells.wrapping()) for row in self._rows()]
        pictures = widgets.Box([self.credits, self.submissions], layout=cells.wrapping())
        super().__init__([*bars, self.told, pictures], layout=widgets.Layout(max_width="1280px"))
        cells.replace_earlier(self)

    def close(self) -> None:
        """Take the page away."""
        cells.close_all(self.children)
        super().close()

    @property
    def moment(self) -> Moment:
        """What the controls say."""
        return Moment(self.step.value, self.worker.value, self.below.value / 100)

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
        # A browser does not tell what a slider's handle is called: each has a twin, a box that it does tell.
        self.step = widgets.IntSlider(readout=False, tooltip="Step to look at", layout=_sized("330px"))
        self.step_box = widgets.BoundedIntText(description="Step", min=0, layout=_sized("170px"))
        self.play = widgets.Play(tooltip="Play through the steps", interval=150, show_repeat=False)
        self.worker = widgets.BoundedIntText(
            description="Worker", tooltip="Worker whose credit is drawn", min=0, layout=_sized("170px")
        )
        limits = {"min": 5, "max": 200, "step": 5, "value": 50}
        self.below = widgets.IntSlider(
            readout=False, tooltip="Flag credits below so many per cent of 1/n", layout=_sized("200px"), **limits
        )
        self.below_box = widgets.BoundedIntText(
            description="Threshold %", style={"description_width": "92px"}, layout=_sized("172px"), **limits
        )
        pairs = ((self.play, self.step), (self.step, self.step_box), (self.below, self.below_box))
        self._links = [widgets.jslink((one, "value"), (other, "value")) for one, other in pairs]
        self.save_png = self._export_button("png")
        self.save_svg = self._export_button("svg")
        self.told, self.saved = widgets.HTML(), widgets.HTML()
        self.credits = cells.Picture(LEFT)
        self.submissions = cells.Picture(RIGHT)

    def _rows(self) -> list[list[widgets.Widget]]:
        return [
            *([[self.run]] if len(self.runs) > 1 else []),
            [self.play, self.step, self.step_box, self.worker],
            [self.below_box, self.below],
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

    def _on_run(self, change) -> None:
        try:
            self._open(change["new"])
        except GaaError as error:
            self.told.value = f"<b>{html.escape(str(error))}</b>"

    def _open(self, place: int) -> None:
        with self._drawing:
            view: TraceView = self.runs[place].open()
            self.view, self._panels = view, ()  # until the new ones are there, controls that change draw nothing
            for control in (self.play, self.step, self.step_box):
                control.value, control.max = 0, view.steps - 1
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
            if self._panels:
                self._draw()

    def _draw(self) -> None:
        moment, view = self.moment, self.view
        flagged = np.flatnonzero(view.flagged(moment.below, moment.step)).tolist()
        who = ", ".join(map(str, flagged)) if len(flagged) <= 12 else f"{len(flagged)} of {view.n} workers"
        words = (
            f"Credits of {view.n} workers over {view.steps} steps; worker {moment.worker}",
            f"Submissions of step {moment.step} in their principal plane. Flagged: {who or 'nobody'}",
        )
        images = (self.credits, self.submissions)
        for panels, canvas, image, told in zip(self._panels, self.canvases, images, words, strict=True):
            panels.show(moment)
            with image.hold_sync():  # picture and words in one message
                image.value, image.tooltip = canvas.png(), told
        whole, now = _words(view.judge(moment.below)), _words(view.judge(moment.below, moment.step))
        self.told.value = (
            f"Step {moment.step}: {now}. Whole run: {whole}. Flagged now: {who or 'nobody'}."
            if view.trace.has_credits
            else f"Step {moment.step}. {html.escape(view.trace.rule)} gives no credits to flag by."
        )


def _words(judgement: Judgement) -> str:
    """Precision and recall as a person reads them."""
    told = ["none to judge" if np.isnan(v) else f"{v:.0%}" for v in (judgement.precision, judgement.recall)]
    return f"precision {told[0]}, recall {told[1]}"


def _sized(width: str) -> widgets.Layout:
    return widgets.Layout(width=width, max_width="100%")
