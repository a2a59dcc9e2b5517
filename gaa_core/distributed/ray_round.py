"""The server's side of one step on Ray: ask all workers, check what comes, give up at the deadline, start anew."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.distributed.cluster import import_ray
from gaa_core.distributed.ray_worker import Header, Wire
from gaa_core.engine import Answers, absence
from gaa_core.errors import GaaError

#: Seconds before the second, third... restart in a row; the first is at once, and those after the last take the last.
_PATIENCE = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)


class Seat:
    """A worker's place at the server. `actor.remote()` starts a process for it, which takes seconds; it is not waited
    for. A process that fails is replaced.
    """

    def __init__(self, actor: object):
        self._class = actor
        self.actor = None  # the present handle, or None
        self.pid: int | None = None  # of the present process, once it is ready
        self.node = ""  # the address of its machine
        self.complaint = ""  # why the last process did not get ready
        self.arriving = None  # resolves when the process that was called is ready
        self._not_before = 0.0

    def assign(self, data: str, *arguments: object) -> None:
        """A new run: the process here loads these (number, work, samples, shard), and so do those that replace it.

        `data` is the fingerprint of what it must have.
        """
        self.number, self._data, self._arguments = arguments[0], data, arguments
        self.answered = -2  # the last step that was answered properly; -2 is before any
        self.failures = 0  # since then
        self._not_before = 0.0
        self._call()

    def _call(self) -> None:
        self.actor = self.actor or self._class.remote()
        self.arriving = self.actor.load.remote(*self._arguments)

    def is_ready(self) -> bool:
        """Whether a process is here and can be asked. Calls a new one when it is time to."""
        ray = import_ray()
        if self.actor is None:
            if time.monotonic() >= self._not_before:
                self._call()
            return False
        if self.arriving is None:
            return True
        if not ray.wait([self.arriving], timeout=0)[0]:
            return False
        try:
            self.pid, self.node, data = ray.get(self.arriving)
        except Exception as error:  # it died on the way, or with its node, or could not load
            self.complaint = str(error).strip().splitlines()[-1]
            self.fail()
            return False
        if data != self._data:
            raise GaaError(f"The worker on {self.node} has other samples or another torch version than the server.")
        self.arriving = None
        return True

    def fail(self) -> None:
        """It did not: it is dismissed, and another is called, the later the more often this has happened."""
        self.leave()
        self._not_before = time.monotonic() + _PATIENCE[min(self.failures, len(_PATIENCE) - 1)]
        self.failures += 1
        if self._not_before <= time.monotonic():
            self._call()

    def leave(self) -> None:
        """Dismiss the process."""
        if self.actor is not None:
            import_ray().kill(self.actor, no_restart=True)
        self.actor = self.arriving = self.pid = None


@dataclass
class _Awaited:
    """An answer under way: a header that has not come, or (`header` is there) a body that was admitted."""

    seat: Seat
    header_ref: object
    body_ref: object
    header: Header | None = None


class Round:
    """The answers to one broadcast; `buffer` [n, d] takes the submissions."""

    def __init__(self, seats: list[Seat], wire: Wire, buffer: Tensor, step: int, seconds: float):
        self.seats, self.wire, self.buffer, self.step = seats, wire, buffer, step
        self.deadline = time.monotonic() + seconds
        self.losses = torch.full((len(seats),), torch.nan)
        self.reasons = ["restarting"] * len(seats)
        self.complaint = ""  # of the last worker that raised
        self.waiting: dict[object, _Awaited] = {}
        self.ray = import_ray()

    def answers(self, sent: object) -> Answers:
        """Ask, wait, and return what came."""
        for seat in self._ready_seats():
            refs = seat.actor.submit.options(num_returns=2).remote(self.step, sent)
            self.waiting[refs[0]] = _Awaited(seat, *refs)
        while self.waiting and self._left() > 0:
            arrived, _ = self.ray.wait(list(self.waiting), timeout=self._left())
            for ref in arrived:
                self._receive(self.waiting.pop(ref))
        for awaited in self.waiting.values():
            self._refuse(awaited.seat, "timeout")
        return self._close()

    def _left(self) -> float:
        return max(0.0, self.deadline - time.monotonic())

    def _ready_seats(self) -> list[Seat]:
        """Those that can be asked now; when there is none, those that can first."""
        while True:
            ready = [seat for seat in self.seats if seat.is_ready()]
            left = min(0.2, self._left())
            if ready or not left:
                return ready
            arriving = [seat.arriving for seat in self.seats if seat.arriving is not None]
            if arriving:
                self.ray.wait(arriving, timeout=left)
            else:  # all were dismissed more than once, and it is not yet time to call others
                time.sleep(left)

    def _receive(self, awaited: _Awaited) -> None:
        errors = self.ray.exceptions
        try:
            reason = self._open(awaited) if awaited.header is None else self._read(awaited)
        except errors.RayTaskError as error:
            reason, self.complaint = "error", str(error).strip().splitlines()[-1]
        except errors.GetTimeoutError:
            reason = "timeout"
        except errors.RayError:  # the process, its node or the object is gone
            reason = "died"
        except Exception as error:  # what came cannot even be read
            reason, self.complaint = "error", f"{type(error).__name__}: {error}"
        if reason:
            self._refuse(awaited.seat, reason)

    def _open(self, awaited: _Awaited) -> str:
        """Check a header and the size of what it announces; nothing large has been fetched yet."""
        refs, left = [awaited.header_ref, awaited.body_ref], max(0.001, self._left())
        found = self.ray.experimental.get_object_locations(refs, timeout_ms=max(1, int(1000 * left)))
        if found.get(awaited.header_ref, {}).get("node_ids"):  # a header comes with the reply, never through the store
            return "size"
        header = self.ray.get(awaited.header_ref, timeout=left)
        reason = self.wire.refuse_header(header, self.step, awaited.seat.answered)
        if not reason and self.wire.refuse_size(found.get(awaited.body_ref, {}).get("object_size")):
            reason = "size"
        if reason:
            return reason
        awaited.header = header
        if self.ray.wait([awaited.body_ref], timeout=0)[0]:  # on this machine already
            return self._read(awaited)
        self.waiting[awaited.body_ref] = awaited
        return ""

    def _read(self, awaited: _Awaited) -> str:
        """Copy an admitted body into its row of the buffer."""
        body = self.ray.get(awaited.body_ref, timeout=max(0.001, self._left()))  # a view of shared memory
        reason = self.wire.refuse_body(body)
        if reason:
            return reason
        number = awaited.seat.number
        self.buffer[number].numpy()[:] = body  # the one copy: out of shared memory into the server's buffer
        if not kernels.finite_rows(self.buffer[number : number + 1]).all():
            return "nonfinite"
        awaited.seat.answered, awaited.seat.failures = self.step, 0
        self.losses[number], self.reasons[number] = awaited.header[4], "present"
        return ""

    def _refuse(self, seat: Seat, reason: str) -> None:
        self.reasons[seat.number] = reason
        seat.fail()

    def _close(self) -> Answers:
        if set(self.reasons) == {"error"}:
            raise GaaError(f"Every worker raised an error at step {self.step}; one of them: {self.complaint}")
        absences = torch.tensor([absence(reason) for reason in self.reasons], dtype=torch.int8)
        self.buffer[absences > 0] = torch.nan
        return Answers(self.buffer, self.losses, absences)
