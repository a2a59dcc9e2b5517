"""TraceExplorer: scrub through the steps of a saved run."""

import html
from collections.abc import Iterable
from pathlib import Path

import ipywidgets as widgets
import numpy as np

from gaa_core.errors import GaaError
from gaa_core.trace import Trace
from gaa_core.widgets.page import Page, Picture, choice, number
from gaa_core.widgets.panels import TracePicture
from gaa_core.widgets.view import flagged, judge, runs

FRAMES = 200  # of a run that is played from end to end


class TraceExplorer(Page):
    """A page around the runs of `source`: a Trace, several, a run's folder or a folder of such folders.

    A slider and a play button move through the steps. The threshold flags workers whose credit is below so many
    per cent of 1/n. Raises GaaError where there is no run.
    """

    def __init__(self, source: Trace | Iterable[Trace] | str | Path):
        self.runs = runs(source)
        self._make_controls()
        self._open(0)
        for control in (self.step, self.worker, self.below):
            control.observe(lambda _: self._draw(), "value")
        self.run.observe(lambda _: self._on_run(), "value")
        moving = [self.play, self.step, self.step_box, self.worker, self.below_box, self.below]
        super().__init__([self.run] * (len(self.runs) > 1), moving, self.told, self.picture)

    def _make_controls(self) -> None:
        options = [(f"{place + 1}: {name}", place) for place, (name, _) in enumerate(self.runs)]
        self.run = choice("Run", "Which run to read", options, value=0)
        self.run.layout.width = "98%"
        # The slider and the player start at the same value, and are tied together in the browser.
        # A slider's handle has no name in the browser: each has a box with one as a twin.
        self.play = widgets.Play(tooltip="Play through the steps", interval=150, show_repeat=False)
        self.step = widgets.IntSlider(readout=False, tooltip="Step to look at")
        self.step_box = number("Step", "Step to look at", 0, 1)
        self.worker = number("Worker", "Worker whose credit is drawn", 0, 1)
        limits, told = {"step": 5, "value": 50}, "Flag credits below so many per cent of 1/n"
        self.below = widgets.IntSlider(readout=False, tooltip=told, min=5, max=200, **limits)
        self.below_box = number("Below %", told, 5, 200, **limits)
        pairs = ((self.play, self.step), (self.step, self.step_box), (self.below, self.below_box))
        self._links = [widgets.jslink((one, "value"), (other, "value")) for one, other in pairs]
        self.told, self.picture = widgets.HTML(), Picture()

    def _on_run(self) -> None:
        try:
            self._open(self.run.value)
        except GaaError as error:
            self.told.value = f"<b>{html.escape(str(error))}</b>"

    def _open(self, place: int) -> None:
        run = self.runs[place][1]
        self.trace = run if isinstance(run, Trace) else Trace.load(run)
        self._drawing = None  # until the new one is there, controls that change draw nothing
        steps, n = self.trace.byzantine.shape
        for control in (self.play, self.step, self.step_box):
            control.value, control.max = 0, steps - 1
        self.play.step, self.worker.max = max(1, steps // FRAMES), n - 1
        self._drawing = TracePicture(self.trace)
        self._draw()

    def _draw(self) -> None:
        if self._drawing is None:
            return
        step, below, trace = self.step.value, self.below.value / 100, self.trace
        found = np.flatnonzero(flagged(trace, below, step)).tolist()
        who = f"{len(found)} workers" if len(found) > 12 else ", ".join(map(str, found)) or "no worker"
        now, whole = _words(*judge(trace, below, step)), _words(*judge(trace, below))
        told = f"Step {step}: {now}. Whole run: {whole}. Flagged now: {who}."
        if not trace.has_credits:
            told = f"Step {step}. {html.escape(trace.rule)} gives no credits to flag by."
        self.told.value = told
        with self.picture.hold_sync():  # picture and words in one message
            self.picture.value = self._drawing.draw(step, self.worker.value, below)
            self.picture.tooltip = f"Credits of the run and submissions of a step. {told} Worker {self.worker.value}."


def _words(precision: float, recall: float) -> str:
    """Precision and recall as a person reads them."""
    told = ["none to judge" if np.isnan(share) else f"{share:.0%}" for share in (precision, recall)]
    return f"precision {told[0]}, recall {told[1]}"
