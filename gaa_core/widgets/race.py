"""A race: up to three rules trained side by side, step for step, in a thread that ends when it is told to."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from gaa_core import roles
from gaa_core.errors import GaaError
from gaa_core.simulator import Simulation
from gaa_core.trace import Trace
from gaa_core.widgets.setup import Setup, text_of

MAX_STEPS = 10_000  # a race ends here by itself: a forgotten playground must not fill the memory (some 3 kB a step)
EVAL_EVERY = 5  # steps: an evaluation takes about as long as a step

#: Held while torch works: thread count, default precision and, while a network is built, its generator are global.
_TORCH = threading.Lock()


@dataclass(eq=False)
class Lane:
    """What one rule has done so far, a value a step."""

    rule: str
    loss: list[float] = field(default_factory=list)  # of benign workers
    qv_loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)  # on the test set, NaN where not evaluated
    credits: list[np.ndarray] = field(default_factory=list)  # [n], NaN for a rule without

    def add(self, row: dict, n: int) -> None:
        """Note a step, as `Simulation.advance` returns it."""
        for name in ("loss", "qv_loss", "accuracy"):
            getattr(self, name).append(np.nan if row[name] is None else row[name])
        self.credits.append(np.full(n, np.nan) if row["credits"] is None else row["credits"].detach().numpy())

    @property
    def latest_accuracy(self) -> float:
        """The last evaluation; NaN before the first."""
        return next((value for value in reversed(self.accuracy[-EVAL_EVERY:]) if not np.isnan(value)), float("nan"))


class Race:
    """Rules under the same attack, batches and roles. `start`, `pause`, `turn` return at once, from any thread.

    `watch(race)` is called from the training thread, at most every `interval` seconds of training and once when it
    stops. The thread lives only while it trains. `state` is "ready", "running", "paused", "finished" or "failed", then
    with a sentence in `error`. `step` is the number of steps that every rule has done.
    """

    RECENT = 10  # steps whose mean credit is the credit now

    def __init__(self, setup: Setup, watch: Callable[[Race], None] | None = None, interval: float = 0.06):
        self.setup, self.watch, self.interval = setup, watch, interval
        self.roles = roles.scripted(setup.make_roles(), ())
        self.simulations: list[Simulation] = []
        self.lanes = [Lane(text_of(rule)) for rule in setup.rules]
        self.byzantine: list[np.ndarray] = []  # [n] of every step
        self.step = 0
        self.state, self.error = "ready", ""
        self._begun = 0  # steps that have begun: a turn takes effect at the next
        self._guard = threading.Lock()  # of what starting, stopping and turning change
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing can be trained any more."""
        return self.state in ("finished", "failed", "closed")

    @property
    def source(self) -> str:
        """The data in words, once they are loaded."""
        if not self.simulations:
            return ""
        data = self.simulations[0].data
        return f"{data.source} (a stand-in)" if data.stand_in else data.source

    def start(self, rounds: int | None = None) -> None:
        """Train in a thread, until paused or for so many steps. Nothing happens where it trains or is over."""
        with self._guard:
            if self.state == "running" or self.is_over:
                return
            self.state, self._stop = "running", threading.Event()
            arguments = (self._thread, self._stop, rounds)
            self._thread = threading.Thread(target=self._work, args=arguments, name="gaa-race")
            self._thread.start()

    def pause(self) -> None:
        """Stop after the step under way."""
        with self._guard:
            self._stop.set()
            if self.state == "running":
                self.state = "paused"

    def close(self, timeout: float = 10.0) -> None:
        """Stop for good, and wait until the thread has ended."""
        self.watch = None
        self.pause()
        self.state = "closed"
        self.wait(timeout)

    def wait(self, timeout: float | None = None) -> None:
        """Until the thread has ended, if there is one."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def turn(self, worker: int) -> None:
        """Make a benign worker Byzantine, or the other way round, from the next step on."""
        with self._guard:
            change = (self._begun, worker, not self.roles(self._begun)[worker])
            self.roles = roles.scripted(self.roles.base, (*self.roles.changes, change))

    def roles_next(self) -> np.ndarray:
        """Who is Byzantine at the next step, bool [n]."""
        return self.roles(self._begun).numpy()

    def recent(self, lane: Lane) -> np.ndarray:
        """The credit of each worker now, [n]; NaN for a rule without credits, 0 before the first step."""
        rows = lane.credits[max(0, self.step - self.RECENT) : self.step]
        return np.mean(rows, axis=0) if rows else np.zeros(self.setup.n)

    def code(self) -> str:
        """Code whose `traces` are those of this race."""
        return self.setup.run_text(self.step or self.setup.case.settings.steps, EVAL_EVERY, self.roles.changes)

    def traces(self) -> list[Trace]:
        """The trace of each rule so far: what `run` with the same settings and as many steps gives. Pause first."""
        found = []
        for simulation in self.simulations:
            trace = simulation.trace()
            if np.isnan(trace.accuracy):
                trace.steps.loc[trace.steps.index[-1], "accuracy"] = simulation.evaluate()
            schedule = self.roles if self.roles.changes else self.roles.base
            trace.settings.update(steps=self.step, roles=repr(schedule))
            found.append(trace)
        return found

    def _work(self, previous: threading.Thread | None, stop: threading.Event, rounds: int | None) -> None:
        if previous is not None:
            previous.join()
        try:
            if not self.simulations:
                with _torch_alone():
                    self.simulations = self._build()
            self._train(stop, MAX_STEPS if rounds is None else min(self.step + rounds, MAX_STEPS))
            with self._guard:
                if not stop.is_set():  # else the state was set together with the event
                    self.state = "finished" if self.step >= MAX_STEPS else "paused"
        except Exception as error:  # of any kind: the page shows it
            self.error = str(error) if isinstance(error, GaaError) else f"{type(error).__name__}: {error}"
            self.state = "failed"
        self._report()

    def _build(self) -> list[Simulation]:
        setup = self.setup
        options = {"n": setup.n, "steps": MAX_STEPS, "lr": setup.lr, "cooldown": 0.0, "batch_size": setup.batch_size}
        options |= {"qv_size": setup.qv_size, "seed": setup.seed, "eval_every": EVAL_EVERY}
        options |= {"attack": setup.attack, "roles": self._roles_at}
        return [Simulation(setup.case, rule, **options) for rule in setup.make_rules()]

    def _roles_at(self, step: int) -> Tensor:
        """Who is Byzantine. Before the first step all are: a click can make any attack act, which Simulation checks."""
        return self.roles(step) if self.simulations else torch.ones(self.setup.n, dtype=torch.bool)

    def _train(self, stop: threading.Event, goal: int) -> None:
        shown = time.perf_counter()
        # A daemon thread inside torch crashes an interpreter that ends; this one ends with the main thread.
        while not stop.is_set() and self.step < goal and threading.main_thread().is_alive():
            with self._guard:
                self._begun += 1  # before the first rule's step, so that all rules meet a turn at the same step
            for lane, simulation in zip(self.lanes, self.simulations, strict=True):
                with _torch_alone():
                    lane.add(simulation.advance(), self.setup.n)
            self.byzantine.append(self.roles(self.step).numpy())
            self.step += 1
            if time.perf_counter() - shown > self.interval:
                self._report()
                shown = time.perf_counter()

    def _report(self) -> None:
        watch = self.watch
        if watch is not None:
            watch(self)


@contextlib.contextmanager
def _torch_alone() -> Iterator[None]:
    """One race at a time, and on one core, as in `run`: quickest for small networks, and the same last bits."""
    with _TORCH:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
