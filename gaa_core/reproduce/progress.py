"""How far a batch of notebooks is: one bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from tqdm import tqdm

#: Seconds between two lines about progress where no terminal shows a bar, and between two updates where one does.
LINE_EVERY, BAR_EVERY = 20.0, 1.0


class Bar:
    """One bar for the whole, in minutes; where no terminal shows it, a line now and then, with the time left."""

    def __init__(self, minutes: dict[str, float], say: Callable[[str], None]):
        self.minutes, self.write, self.shown = minutes, say, False
        self.done, self.current, self.since = 0.0, "", time.monotonic()
        self.terminal, self.stopped = sys.stderr.isatty(), threading.Event()
        self.bar = tqdm(
            total=sum(minutes.values()),
            disable=not self.terminal,
            bar_format="{l_bar}{bar}| {postfix}",
            leave=False,
        )
        self.watch = threading.Thread(target=self._tell, daemon=True)

    def __enter__(self) -> Bar:
        self.watch.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopped.set()
        self.watch.join()
        self.bar.close()

    def say(self, line: str) -> None:
        self.bar.clear()
        self.write(line)

    def begin(self, name: str) -> None:
        self.current, self.since = name, time.monotonic()

    def end(self, name: str, line: str) -> None:
        self.done, self.current = self.done + self.minutes.get(name, 0.0), ""
        self.say(line)

    def state(self) -> tuple[float, str]:
        """Minutes done, as the last run counted them, and a sentence."""
        expected = self.minutes.get(self.current, 0.0)
        done = self.done + min((time.monotonic() - self.since) / 60, 0.95 * expected) * bool(self.current)
        left = sum(self.minutes.values()) - done
        return done, f"{self.current}: about {max(1, round(left))} min left" if self.current else ""

    def _tell(self) -> None:
        while not self.stopped.wait(BAR_EVERY if self.terminal else LINE_EVERY):
            done, sentence = self.state()
            if self.terminal:
                self.bar.n = done
                self.bar.set_postfix_str(sentence)
            elif sentence:
                self.write(f"{100 * done / max(sum(self.minutes.values()), 1e-9):3.0f} %, {sentence}")
