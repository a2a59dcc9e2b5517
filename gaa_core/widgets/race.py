"""A race: up to three rules trained side by side, step for step, in a thread that ends when it is told to."""

from __future__ import annotations

import copy
import threading
import time
import weakref
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gaa_core import roles
from gaa_core.errors import GaaError
from gaa_core.simulator import Simulation
from gaa_core.trace import Trace
from gaa_core.widgets.setup import Setup

MAX_STEPS = 10_000  # a race ends here by itself: a forgotten playground must not fill the memory (some 5 kB a step)
EVAL_EVERY = 5  # steps: an evaluation takes about as long as a step
SHOW_EVERY = 0.06  # seconds of training between two reports
_RACES: weakref.WeakSet[Race] = weakref.WeakSet()


class Race:
    """Rules under the same attack, batches and roles. `start`, `pause`, `turn` return at once, from any thread.

    `watch(race)` is called from the training thread while it trains and once when it stops. The thread lives only while
    it trains, and one race trains at a time: a new one, or the start of another, pauses it. `state` is "ready",
    "running", "paused", "finished", "closed" or "failed", then with a sentence in `error`. `step` is the number of
    steps that every rule has done, `rows` has a list a rule of what `Simulation.advance` returned.
    """

    def __init__(self, setup: Setup, watch: Callable[[Race], None] | None = None):
        self.setup, self.watch = setup, watch
        self.roles = roles.scripted(setup.make_roles(), ())
        self.simulations: list[Simulation] = []
        self.rows: list[list[dict]] = [[] for _ in setup.rules]
        self.step, self.state, self.error = 0, "ready", ""
        self._begun = 0  # steps that have begun: a turn takes effect at the next
        self._guard = threading.Lock()  # of what starting, stopping and turning change
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._pause_others()
        _RACES.add(self)

    @property
    def is_over(self) -> bool:
        """Whether nothing can be trained any more."""
        return self.state in ("finished", "failed", "closed")

    def start(self, rounds: int = MAX_STEPS) -> None:
        """Train in a thread, until paused or for so many steps. Nothing happens where it trains or is over."""
        earlier = self._pause_others()
        with self._guard:
            if self.state == "running" or self.is_over:
                return
            self.state, self._stop = "running", threading.Event()
            arguments = ([*earlier, self._thread], self._stop, min(self.step + rounds, MAX_STEPS))
            self._thread = threading.Thread(target=self._work, args=arguments, name="gaa-race")
            self._thread.start()

    def pause(self) -> None:
        """Stop after the step under way."""
        with self._guard:
            self._stop.set()
            if self.state == "running":
                self.state = "paused"

    def close(self) -> None:
        """Stop for good; `wait` until the step under way has ended."""
        self.watch = None
        self.pause()
        self.state = "closed"

    def wait(self) -> None:
        """Until the thread has ended, if there is one."""
        if self._thread is not None:
            self._thread.join()

    def turn(self, worker: int) -> None:
        """Make a benign worker Byzantine, or the other way round, from the next step on."""
        with self._guard:
            change = (self._begun, worker, not self.roles(self._begun)[worker])
            self.roles = roles.scripted(self.roles.base, (*self.roles.changes, change))

    def roles_next(self) -> np.ndarray:
        """Who is Byzantine at the next step, bool [n]."""
        return self.roles(self._begun).numpy()

    def column(self, place: int, name: str, stop: int, last: int = MAX_STEPS) -> np.ndarray:
        """A value of the `last` steps before `stop` for the rule at `place`, NaN where there is none.

        [steps] or, of a value by worker, [steps, n]. The thread may go on meanwhile: what is read stays the same.
        """
        shape = (self.setup.n,) if name in ("credits", "byzantine") else ()
        missing = np.full(shape, np.nan)
        found = [row[name] for row in self.rows[place][max(0, stop - last) : stop]]
        return np.array([missing if value is None else value for value in found]).reshape(len(found), *shape)

    def traces(self) -> list[Trace]:
        """The trace of each rule so far: what `run` with the same settings and as many steps gives. Pause first."""
        found = [simulation.trace() for simulation in self.simulations]
        for trace, simulation in zip(found, self.simulations, strict=True):
            trace.steps.loc[trace.steps.index[-1], "accuracy"] = simulation.evaluate()
            trace.settings.update(steps=self.step, roles=repr(self.roles if self.roles.changes else self.roles.base))
        return found

    def _pause_others(self) -> list[threading.Thread]:
        others = [race for race in list(_RACES) if race is not self]
        for race in others:
            race.pause()
        return [race._thread for race in others]

    def _work(self, earlier: list[threading.Thread | None], stop: threading.Event, goal: int) -> None:
        for thread in filter(None, earlier):
            thread.join()
        cores = torch.get_num_threads()
        torch.set_num_threads(1)  # as in `run`: quickest for small networks, and the same last bits
        try:
            self.simulations = self.simulations or self._build()
            self._train(stop, goal)
            with self._guard:
                if not stop.is_set():  # else the state was set together with the event
                    self.state = "finished" if self.step >= MAX_STEPS else "paused"
        except Exception as error:  # of any kind: the page shows it
            self.error = str(error) if isinstance(error, GaaError) else f"{type(error).__name__}: {error}"
            self.state = "failed"
        finally:
            torch.set_num_threads(cores)
        self._report()

    def _build(self) -> list[Simulation]:
        names = ("n", "lr", "batch_size", "qv_size", "seed", "attack")
        options = {name: getattr(self.setup, name) for name in names}
        options |= {"steps": MAX_STEPS, "cooldown": 0.0, "eval_every": EVAL_EVERY, "roles": self._roles_at}
        # Learning rules have a state that two races must not share.
        return [Simulation(self.setup.case, rule, **options) for rule in copy.deepcopy(self.setup.rules)]

    def _roles_at(self, step: int) -> Tensor:
        """Who is Byzantine. Before the first step all are: a click can make any attack act, which Simulation checks."""
        return self.roles(step) if self.simulations else torch.ones(self.setup.n, dtype=torch.bool)

    def _train(self, stop: threading.Event, goal: int) -> None:
        shown = time.perf_counter()
        # A daemon thread inside torch crashes an interpreter that ends; this one ends with the main thread.
        while not stop.is_set() and self.step < goal and threading.main_thread().is_alive():
            with self._guard:
                self._begun += 1  # before the first rule's step, so that all rules meet a turn at the same step
            for rows, simulation in zip(self.rows, self.simulations, strict=True):
                rows.append(simulation.advance())
            self.step += 1
            if time.perf_counter() - shown > SHOW_EVERY:
                self._report()
                shown = time.perf_counter()

    def _report(self) -> None:
        watch = self.watch
        if watch is not None:
            watch(self)
