"""A worker's place at the server: whoever sits there may die, and another is called."""

from __future__ import annotations

import time

from gaa_core.distributed.cluster import import_ray

#: Seconds before the second, third... restart in a row; the first is at once, and those after the last take the last.
_PATIENCE = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)


class Seat:
    """Place number `number`; `actor.remote()` starts a process for it, which takes seconds and is not waited for."""

    def __init__(self, actor: object):
        self._class = actor
        self.actor = None  # the present handle; None while nobody sits here
        self.pid: int | None = None  # of the present process, once it is ready
        self.node = ""  # the address of its machine
        self.starts = 0  # processes called so far
        self._arriving = self._not_before = None

    def assign(self, *arguments: object) -> None:
        """A new run: whoever sits here loads these (number, work, samples, shard); who comes later does too."""
        self.number, self._arguments = arguments[0], arguments
        self.answered = -2  # the last step that was answered properly; none that anybody could mean
        self.failures = 0  # since then
        self._not_before = 0.0
        if self.actor is None:
            self.call()
        else:
            self._arriving = self.actor.load.remote(*arguments)

    def call(self) -> None:
        """Have a process started."""
        self.actor = self._class.remote()
        self._arriving = self.actor.load.remote(*self._arguments)
        self.starts += 1

    @property
    def arriving(self) -> object | None:
        """What resolves when the process that was called is ready; None when it is, or when none was called."""
        return self._arriving

    def is_ready(self) -> bool:
        """Whether somebody sits here and can be asked. Calls a new process when it is time to."""
        ray = import_ray()
        if self.actor is None:
            if time.monotonic() >= self._not_before:
                self.call()
            return False
        if self._arriving is None:
            return True
        if not ray.wait([self._arriving], timeout=0)[0]:
            return False
        try:
            self.pid, self.node = ray.get(self._arriving)
        except Exception:  # it died on the way, or with its node
            self.fail()
            return False
        self._arriving = None
        return True

    def succeed(self, step: int) -> None:
        """It answered."""
        self.answered, self.failures = step, 0

    def fail(self) -> None:
        """It did not: it is dismissed, and another is called, the later the more often this has happened."""
        self.leave()
        self._not_before = time.monotonic() + _PATIENCE[min(self.failures, len(_PATIENCE) - 1)]
        self.failures += 1
        if self._not_before <= time.monotonic():
            self.call()

    def leave(self) -> None:
        """Dismiss whoever sits here."""
        if self.actor is not None:
            import_ray().kill(self.actor, no_restart=True)
        self.actor = self._arriving = self.pid = None
