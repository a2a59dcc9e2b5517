"""How far a batch of notebooks is: one bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

#: Seconds between two lines about progress where no terminal shows a bar, and between two updates where one does.
LINE_EVERY, BAR_EVERY = 20.0, 1.0

#: A notebook that is not done counts as at most this share of the minutes that it took before.
ALMOST = 0.95


class Bar:
    """One bar for the whole, in the minutes that each notebook took before; elsewhere a line now and then."""

    def __init__(self, minutes: dict[str, float], lanes: int, say: Callable[[str], None]):
        self.minutes, self.lanes, self.write, self.shown = minutes, lanes, say, False
        self.done, self.running, self.since = 0.0, {}, time.monotonic()
        self.total = max(sum(minutes.values()), 1e-9)
        self.terminal, self.stopped, self.lock = sys.stderr.isatty(), threading.Event(), threading.Lock()
        shape = "{l_bar}{bar}| {postfix}"
        self.bar = tqdm(total=self.total, disable=not self.terminal, bar_format=shape, leave=False)
        self.watch = threading.Thread(target=self._tell, daemon=True)

    def __enter__(self) -> Bar:
        self.watch.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopped.set()
        self.watch.join()
        self.bar.close()

    def say(self, line: str) -> None:
        with self.lock:
            self.bar.clear()
            self.write(line)

    def begin(self, name: str) -> None:
        with self.lock:
            self.running[name] = time.monotonic()

    def end(self, name: str, line: str) -> None:
        with self.lock:
            self.done += self.minutes.get(name, 0.0)
            del self.running[name]
        self.say(line)

    def first(self, pictures: Sequence[Path]) -> None:
        """Say where the first figure of the batch is, once."""
        if pictures and not self.shown:
            self.shown = True
            self.say(f"The first figure: {pictures[0]}")

    def state(self) -> tuple[float, str]:
        """Minutes done, as the last run counted them, and what runs with the time left at the pace so far."""
        now = time.monotonic()
        with self.lock:
            names, known = list(self.running), self.minutes.get
            done = self.done + sum(min((now - at) / 60, ALMOST * known(name, 0.0)) for name, at in self.running.items())
        spent = (now - self.since) / 60
        pace = max(done / spent, 0.1) if spent > 1 else self.lanes  # minutes of work a minute
        return done, f"{', '.join(names)}: about {max(1, round((self.total - done) / pace))} min left" if names else ""

    def _tell(self) -> None:
        while not self.stopped.wait(BAR_EVERY if self.terminal else LINE_EVERY):
            done, sentence = self.state()
            with self.lock:
                if self.terminal:
                    self.bar.n = done
                    self.bar.set_postfix_str(sentence)
                elif sentence:
                    self.write(f"{100 * done / self.total:3.0f} %, {sentence}")
