"""Playground: choose a case, rules and an attack, train live, and turn workers by a click."""

from __future__ import annotations

import html
import threading

import ipywidgets as widgets
import numpy as np

from gaa_core import roles
from gaa_core.plots import BENIGN, BYZANTINE, rule_name
from gaa_core.widgets import cells
from gaa_core.widgets.pictures import HEIGHT, HIDDEN, WIDTH, Bars, Canvas, Curves, Lane
from gaa_core.widgets.race import Race
from gaa_core.widgets.setup import Setup, offered_attacks, offered_cases, offered_rules

NO_RULE = "(none)"
_RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_BATCHES = (8, 16, 32, 64, 128, 256)
_WIDE, _NARROW = "272px", "160px"


class Playground(widgets.VBox):
    """A page of controls around a Race. `settings` are fields of Setup, such as `case="MNIST"`, `ratio=0.9`.

    Nothing trains until Start or Step is pressed. Training goes on in a thread of its own until Pause, Reset or
    `close()`; running the cell again closes what it had made. `race` is the Race under way, `race.traces()` its traces.
    """

    def __init__(self, **settings):
        setup = Setup(**settings)
        self._offering = False
        self._drawing = threading.RLock()  # pictures are drawn by the race's thread or by a control's
        self._make_settings(setup)
        self._make_controls()
        self.curves = cells.Picture(WIDTH)
        self.bars = cells.Picture(WIDTH)
        self._curves_canvas, self._bars_canvas = Canvas(WIDTH, HEIGHT), Canvas(WIDTH, HEIGHT)
        self.status, self.note = widgets.HTML(), widgets.HTML()
        self.workers = widgets.Box(layout=cells.wrapping())
        self._renew()
        pictures = widgets.Box([self.curves, self.bars], layout=cells.wrapping())
        parts = (self._settings_box, self._controls_box, self.workers, self.status, self.note, pictures, self.code)
        super().__init__(parts, layout=widgets.Layout(max_width="1280px"))
        cells.replace_earlier(self)

    @property
    def setup(self) -> Setup:
        """What the controls say now; a race keeps what they said when it was made."""
        chosen = [box.value for box in self.rules if box.value != NO_RULE]
        names = ("case", "attack", "schedule", "ratio", "n", "f", "qv_size", "batch_size", "lr", "seed")
        values = {name: self.settings[name].value for name in names}
        return Setup(rules=tuple(dict.fromkeys(chosen)), **values)

    def close(self) -> None:
        """Stop training, wait for its thread, and take the page away."""
        self.race.close()
        cells.close_all(self.children)
        super().close()

    def _make_settings(self, setup: Setup) -> None:
        # Boxes rather than sliders: a browser tells what a box is called, and of a slider's handle it does not.
        ratios = sorted({setup.ratio, *(percent / 100 for percent in range(0, 101, 5))})
        self.settings = {
            "case": _choice("Case", "Data and model", list(offered_cases())),
            "attack": _choice("Attack", "What Byzantine workers submit", list(offered_attacks())),
            "schedule": _choice("Roles", "When Byzantine workers misbehave", list(roles.REGISTRY)),
            "ratio": _choice("Byzantine", "Share of Byzantine workers", [(f"{r:.0%}", r) for r in ratios], _NARROW),
            "n": _number("Workers n", "Number of workers", 2, 50),
            "f": _number("Tolerated f", "The f that rules are told", 0, 24),
            "qv_size": _number("|B|", "Quasi-validation samples", 1, 50),
            "batch_size": _choice("Batch", "Samples a worker and step", sorted({setup.batch_size, *_BATCHES}), _NARROW),
            "lr": _choice("Step size", "Learning rate of the model", sorted({setup.lr, *_RATES}), _NARROW),
            "seed": _number("Seed", "Same seed, same run", 0, 9999),
        }
        for name, control in self.settings.items():
            control.value = getattr(setup, name)
        texts = list(offered_rules(setup.n, setup.f))
        chosen = [*setup.rules[:3], NO_RULE, NO_RULE][:3]
        self.rules = [
            _choice(f"Rule {place + 1}", "A rule to race", _named(texts, place), value=rule)
            for place, rule in enumerate(chosen)
        ]
        for name in ("n", "f"):
            self.settings[name].observe(self._offer_rules, "value")
        for control in (*self.settings.values(), *self.rules):
            control.observe(self._on_setting, "value")
        self._settings_box = widgets.Box([*self.rules, *self.settings.values()], layout=cells.wrapping())

    def _make_controls(self) -> None:
        self.start = _button("Start", "Train until paused", "play", lambda _: self.race.start())
        self.pause = _button("Pause", "Stop after the step under way", "pause", self._on_pause)
        self.step = _button("Step", "Train one step", "step-forward", lambda _: self.race.start(rounds=1))
        self.reset = _button("Reset", "Begin anew with the settings above", "undo", lambda _: self._renew())
        self.hide = widgets.ToggleButton(
            description="Hide roles", tooltip="Hide who is Byzantine, and guess", icon="eye-slash", layout=_BUTTON
        )
        self.hide.observe(lambda _: self._show(self.race), "value")
        self.copy = _button("Copy settings", "Write this run down as code", "copy", self._on_copy)
        self.code = widgets.Textarea(
            description="Code",
            tooltip="Code that repeats this run",
            rows=11,
            layout=widgets.Layout(width="98%", display="none"),
        )
        buttons = [self.start, self.pause, self.step, self.reset, self.hide, self.copy]
        self._controls_box = widgets.Box(buttons, layout=cells.wrapping())

    def _offer_rules(self, _change) -> None:
        """Other rules can run with another n or f; a chosen one is kept, with the new f where it has one."""
        texts = list(offered_rules(self.settings["n"].value, self.settings["f"].value))
        self._offering = True  # between two boxes the choice may be one that cannot be
        for place, box in enumerate(self.rules):
            allowed = [text for _, text in _named(texts, place)]
            same_class = [text for text in allowed if text.split("(")[0] == box.value.split("(")[0]]
            chosen = box.value if box.value in allowed else (same_class or allowed)[0]
            box.options, box.value = _named(texts, place), chosen
        self._offering = False

    def _on_setting(self, _change) -> None:
        if self._offering:
            return
        if self.race.state == "ready" and self.race.setup != self.setup:
            self._renew()
        else:
            changed = self.race.setup != self.setup
            self.note.value = "<b>Settings have changed: they take effect at Reset.</b>" if changed else ""

    def _renew(self) -> None:
        """A new race from the controls; an earlier one ends without being waited for."""
        earlier = getattr(self, "race", None)
        if earlier is not None:
            earlier.close(timeout=0.0)
        with self._drawing:
            setup = self.setup
            self._curves = Curves(setup.rules, self._curves_canvas)
            self._bars = Bars(setup.rules, setup.n, self._bars_canvas)
            self.race = Race(setup, watch=self._show)
            self.note.value = ""
            self.code.layout.display = "none"
            self._make_workers(setup.n)
            self._show(self.race)

    def _make_workers(self, n: int) -> None:
        if len(self.workers.children) != n + 1:
            for child in self.workers.children:
                child.close()
            label = widgets.HTML("Turn a worker:&nbsp;")
            buttons = [widgets.Button(layout=widgets.Layout(width="52px")) for _ in range(n)]
            for worker, button in enumerate(buttons):
                button.on_click(lambda _, worker=worker: self._on_turn(worker))
            self.workers.children = (label, *buttons)

    def _on_turn(self, worker: int) -> None:
        self.race.turn(worker)
        self._paint_workers(self.race)

    def _on_pause(self, _button) -> None:
        self.race.pause()
        self._show_status(self.race)

    def _on_copy(self, _button) -> None:
        self.code.value = self.race.code()
        self.code.layout.display = None

    def _show(self, race: Race) -> None:
        """Draw everything as it is now; called by the race's thread, and by controls."""
        with self._drawing:
            if race is not self.race:  # a last word of a race that was reset
                return
            lanes = _lanes(race)
            byzantine = race.roles(max(0, race.step - 1)).numpy()
            with self.curves.hold_sync(), self.bars.hold_sync():  # picture and words in one message
                self.curves.value = self._curves.png(lanes)
                self.bars.value = self._bars.png(lanes, byzantine, self.hide.value)
                self._show_status(race)
            self._paint_workers(race)

    def _paint_workers(self, race: Race) -> None:
        hidden = self.hide.value
        for worker, (button, bad) in enumerate(zip(self.workers.children[1:], race.roles_next(), strict=True)):
            button.description = f"{worker}" if hidden or not bad else f"{worker} B"
            button.style.button_color = HIDDEN if hidden else BYZANTINE if bad else BENIGN
            button.style.text_color = "black" if bad or hidden else "white"
            what = "turn it" if hidden else "make it honest" if bad else "make it Byzantine"
            button.tooltip = f"Worker {worker}: {what} from the next step on"

    def _show_status(self, race: Race) -> None:
        lanes = _lanes(race)
        told = [f"{rule_name(lane.rule)} {_percent(lane.latest_accuracy)}" for lane in lanes]
        line = (
            f"<div style='line-height: 1.4'><b>{race.state}</b>, step {race.step}. {'; '.join(map(html.escape, told))}"
        )
        if race.source:
            line += f"<br>Data: {html.escape(race.source)}{' (a stand-in)' if race.stand_in else ''}"
        if race.error:
            line += f"<br><b>{html.escape(race.error)}</b>"
        line += "</div>"
        if line != self.status.value:
            self.status.value = line
            self.curves.tooltip = f"Test accuracy and training loss at step {race.step}: {'; '.join(told)}"
            self.bars.tooltip = _credits_in_words(lanes)


def _lanes(race: Race) -> list[Lane]:
    recorders = race.recorders()
    if not recorders:
        nothing = np.empty(0)
        return [Lane(rule, nothing, nothing, np.zeros(race.setup.n)) for rule in race.setup.rules]
    lanes = []
    for rule, recorder in zip(race.setup.rules, recorders, strict=True):
        credits = recorder.credit_rows(10)
        mean = credits.mean(axis=0) if len(credits) else np.zeros(race.setup.n)
        steps = race.step  # of two columns, one may have grown already
        lanes.append(Lane(rule, recorder.column("loss")[:steps], recorder.column("accuracy")[:steps], mean))
    return lanes


def _credits_in_words(lanes: list[Lane]) -> str:
    """What the bars show, for who cannot see them: every worker's credit, of many workers the three greatest."""
    told = []
    for lane in lanes:
        order = range(len(lane.credits)) if len(lane.credits) <= 12 else np.argsort(-lane.credits, kind="stable")[:3]
        shares = ", ".join(f"worker {worker} {lane.credits[worker]:.0%}" for worker in order)
        told.append(f"{rule_name(lane.rule)}: {'no credits' if np.isnan(lane.credits).all() else shares}")
    return f"Credits. {'. '.join(told)}"


def _percent(share: float) -> str:
    return "not yet evaluated" if np.isnan(share) else f"{share:.1%}"


_BUTTON = widgets.Layout(width="auto", min_width="96px")


def _named(texts: list[str], place: int) -> list[tuple[str, str]]:
    """Rules as the list at a place offers them, by the names that legends use; the first list cannot be left empty."""
    return [*([(NO_RULE, NO_RULE)] if place else []), *((rule_name(text), text) for text in texts)]


def _choice(label: str, tooltip: str, options: list, width: str = _WIDE, **more) -> widgets.Dropdown:
    """A list to choose from, with its label, and a tooltip that says what it is."""
    return widgets.Dropdown(description=label, tooltip=tooltip, options=options, **_sized(width), **more)


def _number(label: str, tooltip: str, least: int, most: int) -> widgets.BoundedIntText:
    return widgets.BoundedIntText(description=label, tooltip=tooltip, min=least, max=most, **_sized(_NARROW))


def _sized(width: str) -> dict:
    return {"style": {"description_width": "76px"}, "layout": widgets.Layout(width=width, max_width="100%")}


def _button(label: str, tooltip: str, icon: str, action) -> widgets.Button:
    button = widgets.Button(description=label, tooltip=tooltip, icon=icon, layout=_BUTTON)
    button.on_click(action)
    return button
