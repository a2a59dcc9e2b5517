"""Playground: choose a case, rules and an attack, train live, and turn workers by a click."""

from __future__ import annotations

import dataclasses
import html
import threading

import ipywidgets as widgets
import numpy as np

from gaa_core import cases, roles
from gaa_core.errors import GaaError
from gaa_core.plots import rule_name
from gaa_core.widgets import setup as parts
from gaa_core.widgets.page import WRAPPING, Page, Picture, button, choice, close_all, number
from gaa_core.widgets.pictures import RacePicture, recent, role_colour
from gaa_core.widgets.race import EVAL_EVERY, Race

CHANGED = "<b>Settings have changed: they take effect at Reset.</b>"
_RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_BATCHES = (8, 16, 32, 64, 128, 256)


class Playground(Page):
    """A page of controls around a Race. `settings` are fields of Setup, such as `case=MNIST`, `ratio=0.9`.

    Nothing trains until Start or Step is pressed. Training goes on in a thread of its own until Pause, Reset or
    `close()`, or until another playground is made or started. After a reload of the browser's page, showing the object
    again shows the run where it is. `race` is the Race under way, `race.traces()` its traces.
    """

    race: Race | None = None  # ipywidgets closes what its constructor has refused, too

    def __init__(self, **settings):
        setup = parts.Setup(**settings)
        self._drawing = threading.RLock()  # pictures are drawn by the race's thread or by a control's
        self._make_settings(setup)
        self._make_controls()
        self.picture, self._picture = Picture(), RacePicture()
        self.status, self.note = widgets.HTML(), widgets.HTML()
        self.workers = widgets.Box(layout=WRAPPING)
        self._renew()
        common = [self.settings["case"], *self.rules[:2], self.settings["attack"], self.settings["ratio"]]
        rest = [self.rules[2], self.f, *(control for control in self.settings.values() if control not in common)]
        self.more = widgets.Accordion([widgets.Box(rest, layout=WRAPPING)], titles=("More settings",))
        buttons = [self.start, self.pause, self.step, self.reset, self.hide]
        super().__init__(common, self.more, buttons, self.workers, self.status, self.note, self.picture)

    @property
    def setup(self) -> parts.Setup:
        """What the controls say now; a race keeps what they said when it was made. GaaError where that cannot run."""
        rules: list = []
        for box in self.rules:
            if box.value is not None and box.value not in rules:
                own_f = {"f": self.f.value} if parts.declares_f(box.value) else {}
                rules.append(dataclasses.replace(box.value, **own_f) if own_f else box.value)
        return parts.Setup(rules=tuple(rules), **{name: control.value for name, control in self.settings.items()})

    def close(self) -> None:
        """Stop training, wait for its thread, and take the page away."""
        if self.race is not None:
            self.race.close()
            self.race.wait()
        super().close()

    def _make_settings(self, setup: parts.Setup) -> None:
        own = [rule for rule in setup.rules if parts.declares_f(rule)]
        self.f = number("Tolerated f", "The f that rules are told", 0, 24, value=own[0].f if own else 3)
        marked = [
            (f"{case.title}, needs a download" if parts.needs_download(case) else case.title, case)
            for case in cases.REGISTRY.values()
        ]
        ratios = sorted({setup.ratio, *(percent / 100 for percent in range(0, 101, 5))})
        attacks = [(parts.text_of(each).removesuffix("()"), each) for each in parts.offered_attacks()]
        self.settings = {
            "case": choice("Case", "Data and model", _with(setup.case, marked)),
            "attack": choice("Attack", "What Byzantine workers submit", _with(setup.attack, attacks)),
            "ratio": choice("Byzantine", "Share of Byzantine workers", [(f"{r:.0%}", r) for r in ratios]),
            "schedule": choice("Roles", "When Byzantine workers misbehave", list(roles.REGISTRY)),
            "lr": choice("Step size", "Learning rate of the model", sorted({setup.lr, *_RATES})),
            "batch_size": choice("Batch", "Samples a worker and step", sorted({setup.batch_size, *_BATCHES})),
            "n": number("Workers n", "Number of workers", *parts.LIMITS["n"]),
            "qv_size": number("QV samples", "Quasi-validation samples", *parts.LIMITS["qv_size"]),
            "seed": number("Seed", "Same seed, same run", *parts.LIMITS["seed"]),
        }
        for name, control in self.settings.items():
            control.value = getattr(setup, name)
        rules = parts.offered_rules(self.f.value)
        offered, self.rules = [(rule_name(parts.text_of(rule, without="f")), rule) for rule in rules], []
        for place, rule in enumerate([*setup.rules, None, None][:3]):
            options = [("(none)", None)] * (place > 0) + _with(rule, offered)
            self.rules.append(choice(f"Rule {place + 1}", "A rule to race", options, value=rule))
        for control in (*self.settings.values(), *self.rules, self.f):
            control.observe(self._on_setting, "value")

    def _make_controls(self) -> None:
        self.start = button("Start", "Train until paused", "play", lambda: self._act(self.race.start))
        self.pause = button("Pause", "Stop after the step under way", "pause", lambda: self._act(self.race.pause))
        self.step = button("Step", "Train one step", "step-forward", lambda: self._act(self.race.start, 1))
        self.reset = button("Reset", "Begin again with the settings above", "undo", self._renew)
        told, toggle = "Hide who is Byzantine, and guess", widgets.ToggleButton
        self.hide = button("Hide roles", told, "eye-slash", lambda: self._show(self.race), toggle)

    def _act(self, action, *arguments) -> None:
        action(*arguments)
        self._show_state(self.race)

    def _on_setting(self, _change) -> None:
        if self.race.state == "ready" and not self.race.roles.changes:
            self._renew()
        else:
            self.note.value = CHANGED

    def _renew(self) -> None:
        """A new race from the controls; an earlier one ends without being waited for."""
        try:
            race = Race(self.setup, watch=self._show)
        except GaaError as error:
            self.note.value = f"<b>{html.escape(str(error))}</b>"
            return
        if self.race is not None:
            self.race.close()
        with self._drawing:
            self.race, self.note.value = race, ""
            self._make_workers(race.setup.n)
            self._show(race)

    def _make_workers(self, n: int) -> None:
        if len(self.workers.children) == n + 1:
            return
        close_all(self.workers.children)
        made = [widgets.Button(layout=widgets.Layout(width="48px")) for _ in range(n)]
        for worker, each in enumerate(made):
            each.on_click(lambda _, worker=worker: self._act(self.race.turn, worker))
        self.workers.children = (widgets.HTML("Turn a worker:&nbsp;"), *made)

    def _show(self, race: Race) -> None:
        """Draw everything as it is now; called by the race's thread, and by controls."""
        with self._drawing:
            if race is not self.race:  # the last report of a race that was reset
                return
            with self.picture.hold_sync():  # picture and words in one message
                self.picture.value = self._picture.draw(race, self.hide.value)
                self.picture.tooltip = _words(race)
            self._show_state(race)

    def _show_state(self, race: Race) -> None:
        """The status line, and which buttons can do something."""
        lines = [f"<b>{race.state}</b>, step {race.step}. {html.escape(_accuracies(race))}"]
        if race.simulations:
            data = race.simulations[0].data
            lines += [f"Data: {html.escape(data.source)}{' (a stand-in)' * data.stand_in}"]
        lines += [f"<b>{html.escape(race.error)}</b>"] * bool(race.error)
        self.status.value = f"<div style='line-height: 1.4'>{'<br>'.join(lines)}</div>"
        running, stuck = race.state == "running", race.state == "running" or race.is_over
        self.start.disabled = self.step.disabled = stuck
        self.pause.disabled = not running
        self.reset.disabled = race.state == "ready" and not race.roles.changes
        hidden = self.hide.value
        for worker, (each, bad) in enumerate(zip(self.workers.children[1:], race.roles_next(), strict=True)):
            each.disabled = race.is_over
            each.description = f"{worker}" if hidden or not bad else f"{worker} B"
            each.style.button_color = role_colour(bad, hidden)
            each.style.text_color = "black" if bad or hidden else "white"
            what = "turn it" if hidden else "make it benign" if bad else "make it Byzantine"
            each.tooltip = f"Worker {worker}: {what} from the next step on"


def _accuracies(race: Race) -> str:
    """Each rule's last test accuracy in words."""
    told = []
    for place, rule in enumerate(race.setup.rules):
        found = race.column(place, "accuracy", race.step, last=EVAL_EVERY)
        found = found[np.isfinite(found)]
        told.append(f"{rule_name(parts.text_of(rule))} {f'{found[-1]:.1%}' if len(found) else 'not yet evaluated'}")
    return "; ".join(told)


def _words(race: Race) -> str:
    """What the picture shows, in words: accuracies, every worker's credit, of many workers the three greatest."""
    told = [f"Step {race.step}. {_accuracies(race)}. Credits"]
    for place, rule in enumerate(race.setup.rules):
        credits = recent(race, place, race.step)
        order = range(len(credits)) if len(credits) <= 12 else np.argsort(-credits, kind="stable")[:3]
        shares = ", ".join(f"worker {worker} {credits[worker]:.0%}" for worker in order)
        told.append(f"{rule_name(parts.text_of(rule))}: {'no credits' if np.isnan(credits).all() else shares}")
    return ". ".join(told)


def _with(value: object, options: list[tuple[str, object]]) -> list[tuple[str, object]]:
    """Options of a list, and one more for a value of the user's own."""
    return options if any(value == known for _, known in options) else [*options, (parts.text_of(value), value)]
