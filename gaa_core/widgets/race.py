"""A race: up to three rules trained side by side, step for step, in a thread that ends when it is told to."""

from __future__ import annotations

import atexit
import contextlib
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from gaa_core.recorder import Recorder
from gaa_core.simulator import Simulation
from gaa_core.trace import Trace
from gaa_core.widgets.setup import LiveRoles, Setup, offered_cases

#: A race ends by itself here, so that a playground that is forgotten does not fill the memory.
MAX_STEPS = 50_000
EVAL_EVERY = 5

#: Simulations seed torch's global generator while they build a network: one at a time.
_BUILDING = threading.Lock()


class Growing:
    """Rows of one width in an array that doubles when full. One thread may append while others read."""

    def __init__(self, width: int, dtype: type):
        self._array = np.empty((256, width), dtype)
        self.count = 0

    def append(self, row: object) -> None:
        """Add one row of `width` numbers."""
        if self.count == len(self._array):
            self._array = np.concatenate([self._array, np.empty_like(self._array)])
        self._array[self.count] = row
        self.count += 1

    @property
    def rows(self) -> np.ndarray:
        """What is there, [count, width], without a copy."""
        return self._array[: self.count]


class CompactRecorder(Recorder):
    """A Recorder whose rows are packed: 10,000 steps of ten workers are 2 MB instead of some 30."""

    def __init__(self, settings: dict, n: int):
        super().__init__(settings)
        self.columns: list[str] = []
        self._whole: dict[str, type] = {}  # columns of whole numbers and of truths
        self._scalars: Growing | None = None
        self._credits, self._roles = Growing(n, np.float32), Growing(n, np.bool_)

    def add(self, *, byzantine: Tensor, credits: Tensor | None, accuracy: float | None, **row) -> None:
        """One step, as Recorder.add takes it; distances are not kept, and workers of this process do not fail."""
        for name in ("distances", "absences"):
            row.pop(name, None)
        if self._scalars is None:
            self.columns = [*row, "accuracy"]
            self._whole = {name: type(value) for name, value in row.items() if isinstance(value, int)}
            self._scalars = Growing(len(self.columns), np.float64)
        self._credits.append(np.nan if credits is None else credits.detach().cpu().numpy())
        self._roles.append(byzantine.cpu().numpy())
        self.credits[:] = [None if credits is None else credits.detach().cpu()]  # attacks that listen see the last
        self._scalars.append([*row.values(), np.nan if accuracy is None else accuracy])

    def column(self, name: str) -> np.ndarray:
        """A scalar of every step, [steps]."""
        return self._scalars.rows[:, self.columns.index(name)] if self._scalars else np.empty(0)

    def credit_rows(self, last: int) -> np.ndarray:
        """Credits of the last steps, [<= last, n], NaN where the rule has none."""
        return self._credits.rows[-last:]

    def judge_last(self, accuracy: float) -> None:
        """Note the accuracy after the last step, where it was not due."""
        self._scalars.rows[-1, -1] = accuracy

    def trace(self, final_qv_loss: float) -> Trace:
        """The Trace that a Recorder would give."""
        full = Recorder(self.settings)
        for scalars, credits, byzantine in zip(self._scalars.rows, self._credits.rows, self._roles.rows, strict=True):
            row = dict(zip(self.columns, scalars.tolist(), strict=True))
            row |= {name: kind(row[name]) for name, kind in self._whole.items()}
            known = None if np.isnan(credits).all() else torch.from_numpy(credits.copy())
            full.add(byzantine=torch.from_numpy(byzantine.copy()), credits=known, **row)
        return full.trace(final_qv_loss)


class Race:
    """Rules under the same attack, batches and roles. `start`, `pause`, `turn` return at once, from any thread.

    `watch(race)` is called from the training thread, at most every `interval` seconds of training and once when it
    stops. The thread lives only while there is something to do. `state` is "ready", "running", "paused", "finished"
    or "failed", then with a sentence in `error`. `step` is the number of steps that every rule has done.
    """

    def __init__(self, setup: Setup, watch: Callable[[Race], None] | None = None, interval: float = 0.06):
        self.setup, self.watch, self.interval = setup, watch, interval
        self.roles = LiveRoles(setup.make_roles())
        self.simulations: list[Simulation] = []
        self.step = 0
        self.state, self.error, self.source, self.stand_in = "ready", "", "", False
        self._turns: deque[tuple[int, bool]] = deque()  # asked for, and not begun
        self._guard = threading.Lock()  # of what starting, stopping and turning change
        self._stop = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None
        _RACES.add(self)

    @property
    def is_running(self) -> bool:
        """Whether it trains now."""
        return self.state == "running"

    def start(self, rounds: int | None = None) -> None:
        """Train in a thread, until paused or for so many steps. Nothing happens where it trains or has ended."""
        with self._guard:
            if self._closed or self.state in ("running", "finished", "failed"):
                return
            self.state, self._stop = "running", threading.Event()
            arguments = (self._thread, self._stop, rounds)
            self._thread = threading.Thread(target=self._work, args=arguments, name="gaa-race", daemon=True)
            self._thread.start()

    def pause(self) -> None:
        """Stop after the step under way."""
        with self._guard:
            self._stop.set()
            if self.state == "running":
                self.state = "paused"

    def close(self, timeout: float = 10.0) -> None:
        """Stop for good, and wait until the thread has ended."""
        self._closed = True
        self.watch = None
        self.pause()
        self.wait(timeout)

    def wait(self, timeout: float | None = None) -> None:
        """Until the thread has ended, if there is one."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def turn(self, worker: int) -> None:
        """Make an honest worker Byzantine, or the other way round, from the next step on."""
        with self._guard:
            self._turns.append((worker, not self._roles_next()[worker]))

    def roles_next(self) -> np.ndarray:
        """Who is Byzantine at the next step, bool [n], with what was asked for."""
        with self._guard:
            return self._roles_next()

    def recorders(self) -> list[CompactRecorder]:
        """What each rule has done so far; empty before the first start."""
        return [simulation.recorder for simulation in self.simulations]

    def code(self) -> str:
        """Code whose `traces` are those of this race."""
        with self._guard:
            changes = (*self.roles.changes, *((self.step, worker, byzantine) for worker, byzantine in self._turns))
        return self.setup.run_text(self.step or offered_cases()[self.setup.case].settings.steps, EVAL_EVERY, changes)

    def traces(self) -> list[Trace]:
        """The trace of each rule so far: what `run` with the same settings and as many steps gives. Pause first."""
        found = []
        for simulation in self.simulations:
            if np.isnan(simulation.recorder.column("accuracy")[-1]):
                simulation.recorder.judge_last(simulation.evaluate())
            simulation.recorder.settings |= {"steps": self.step, "roles": repr(self.roles)}
            found.append(simulation.trace())
        return found

    def _roles_next(self) -> np.ndarray:
        now = self.roles(self.step).numpy().copy()
        for worker, byzantine in self._turns:
            now[worker] = byzantine
        return now

    def _work(self, previous: threading.Thread | None, stop: threading.Event, rounds: int | None) -> None:
        if previous is not None:
            previous.join()
        try:
            with _one_thread_arithmetic():
                self._build()
                last = self._train(stop, rounds)
            with self._guard:
                if not stop.is_set():  # else whoever stopped it has said what it is now
                    self.state = "finished" if last >= MAX_STEPS else "paused"
        except Exception as error:  # whatever it is, the person who pressed the button must see it
            self.state, self.error = "failed", f"{type(error).__name__}: {error}"
        self._report()

    def _build(self) -> None:
        if self.simulations:
            return
        setup = self.setup
        options = {"n": setup.n, "steps": MAX_STEPS, "lr": setup.lr, "cooldown": 0.0, "batch_size": setup.batch_size}
        options |= {"qv_size": setup.qv_size, "seed": setup.seed, "eval_every": EVAL_EVERY}
        case, attack, built = offered_cases()[setup.case], setup.make_attack(), []
        with _BUILDING:
            for rule in setup.make_rules():
                built.append(Simulation(case, rule, attack=attack, roles=self.roles, **options))
                built[-1].recorder = CompactRecorder(built[-1].recorder.settings, setup.n)
        self.source, self.stand_in = built[0].data.source, built[0].data.stand_in
        self.simulations = built

    def _train(self, stop: threading.Event, rounds: int | None) -> int:
        shown = time.perf_counter()
        goal = MAX_STEPS if rounds is None else self.step + rounds
        while not stop.is_set() and self.step < min(goal, MAX_STEPS):
            self._begin_turns()
            for simulation in self.simulations:
                simulation.advance()
            self.step += 1
            if time.perf_counter() - shown > self.interval:
                self._report()
                shown = time.perf_counter()
        return self.step

    def _begin_turns(self) -> None:
        """Turns begin between two rounds, so that all rules meet them at the same step."""
        with self._guard:
            while self._turns:
                self.roles.turn(self.step, *self._turns.popleft())

    def _report(self) -> None:
        watch = self.watch
        if watch is not None:
            watch(self)


_RACES: weakref.WeakSet[Race] = weakref.WeakSet()
_arithmetic = {"races": 0, "threads": 1}
_arithmetic_guard = threading.Lock()


@contextlib.contextmanager
def _one_thread_arithmetic() -> Iterator[None]:
    """torch on one core while any race runs, as in `run`: quickest for small networks, and the same last bits."""
    with _arithmetic_guard:
        if not _arithmetic["races"]:
            _arithmetic["threads"] = torch.get_num_threads()
        _arithmetic["races"] += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _arithmetic_guard:
            _arithmetic["races"] -= 1
            if not _arithmetic["races"]:
                torch.set_num_threads(_arithmetic["threads"])


@atexit.register
def _stop_all() -> None:
    """A thread inside torch while the interpreter is taken down crashes it."""
    for race in list(_RACES):
        race.close(timeout=5.0)
