"""One step on Ray: ask everybody, check what comes, give up at the deadline."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.distributed.cluster import import_ray
from gaa_core.distributed.seats import Seat
from gaa_core.engine import Answers, absence
from gaa_core.errors import GaaError

if TYPE_CHECKING:
    from gaa_core.distributed.wire import Header, Wire


@dataclass
class _Awaited:
    """An answer under way: a header that has not come, or (`header` is there) a body that was admitted."""

    seat: Seat
    header_ref: object
    body_ref: object
    plotting: bool  # what comes is for the other attackers, not for the server
    header: Header | None = None


class Round:
    """The answers to one broadcast `sent`. The rows of `liars` (bool [n]) are forged together, in a second exchange.

    Attackers wait for each other and for the honest until half of the time is over; whoever of them has nothing by then
    is absent. `buffer` [n, d] takes the submissions.
    """

    def __init__(self, seats: list[Seat], wire: Wire, buffer: Tensor, step: int, seconds: float):
        self.seats, self.wire, self.buffer, self.step = seats, wire, buffer, step
        now = time.monotonic()
        self.halfway, self.deadline = now + seconds / 2, now + seconds
        self.losses = torch.full((len(seats),), torch.nan)
        self.reasons = ["restarting"] * len(seats)
        self.complaint = ""  # of the last worker that raised
        self.waiting: dict[object, _Awaited] = {}
        self.channel: dict[int, tuple[Header, object]] = {}  # what attackers get to see
        self.ray = import_ray()

    def answers(self, sent: object, liars: Tensor) -> Answers:
        """Ask, wait, and say what came."""
        self.sent, self.liars = sent, liars.tolist()
        plot = any(self.liars)
        for seat in self._ready_seats():
            refs = seat.actor.submit.options(num_returns=2).remote(self.step, sent)
            self._expect(seat, refs, plotting=self.liars[seat.number])
        while (self.waiting or plot) and time.monotonic() < self.deadline:
            if plot and (time.monotonic() >= self.halfway or not self._computing()):
                self._plot()
                plot = False
            if not self.waiting:  # there was nobody left to plot
                break
            until = self.halfway if plot else self.deadline
            arrived, _ = self.ray.wait(list(self.waiting), timeout=max(0.0, until - time.monotonic()))
            for ref in arrived:
                self._receive(self.waiting.pop(ref))
        for awaited in self.waiting.values():
            self._refuse(awaited.seat, "timeout")
        return self._close()

    def _ready_seats(self) -> list[Seat]:
        """Those that can be asked now; when there is none, those that can first."""
        ready = [seat for seat in self.seats if seat.is_ready()]
        while not ready and time.monotonic() < self.deadline:
            arriving = [seat.arriving for seat in self.seats if seat.arriving is not None]
            left = max(0.0, min(0.2, self.deadline - time.monotonic()))
            if arriving:
                self.ray.wait(arriving, timeout=left)
            else:  # all were dismissed more than once, and it is not yet time to call others
                time.sleep(left)
            ready = [seat for seat in self.seats if seat.is_ready()]
        return ready

    def _expect(self, seat: Seat, refs: list, plotting: bool) -> None:
        header_ref, body_ref = refs
        self.waiting[header_ref] = _Awaited(seat, header_ref, body_ref, plotting)

    def _computing(self) -> bool:
        return any(each.header is None for each in self.waiting.values())

    def _plot(self) -> None:
        """The second exchange: every attacker that is there gets what all have, and forges its share of it."""
        for ref, awaited in list(self.waiting.items()):
            if awaited.plotting:
                self._refuse(self.waiting.pop(ref).seat, "timeout")
        numbers = sorted(self.channel)
        headers, bodies = [self.channel[i][0] for i in numbers], [self.channel[i][1] for i in numbers]
        for number in filter(lambda i: self.liars[i], numbers):
            seat = self.seats[number]
            call = seat.actor.conspire.options(num_returns=2)
            self._expect(seat, call.remote(self.step, self.sent, numbers, headers, *bodies), plotting=False)

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
        refs = [awaited.header_ref, awaited.body_ref]
        left = max(1, int(1000 * (self.deadline - time.monotonic())))
        found = self.ray.experimental.get_object_locations(refs, timeout_ms=left)
        if found.get(awaited.header_ref, {}).get("node_ids"):  # a header comes with the reply, never through the store
            return "size"
        header = self.ray.get(awaited.header_ref, timeout=left / 1000)
        reason = self.wire.refuse_header(header, self.step, awaited.seat.answered)
        if not reason and self.wire.refuse_size(found.get(awaited.body_ref, {}).get("object_size")):
            reason = "size"
        if reason:
            return reason
        if any(self.liars) and self.channel.get(awaited.seat.number) is None:
            self.channel[awaited.seat.number] = (header, awaited.body_ref)
        if awaited.plotting:
            return ""
        awaited.header = header
        if self.ray.wait([awaited.body_ref], timeout=0)[0]:  # on this machine already
            return self._read(awaited)
        self.waiting[awaited.body_ref] = awaited
        return ""

    def _read(self, awaited: _Awaited) -> str:
        """Copy an admitted body into its row of the buffer."""
        left = max(0.001, self.deadline - time.monotonic())
        body = self.ray.get(awaited.body_ref, timeout=left)  # a view of shared memory
        reason = self.wire.refuse_body(body)
        if reason:
            return reason
        number = awaited.seat.number
        self.wire.unpack(awaited.header, body, self.buffer[number].numpy())
        if not kernels.finite_rows(self.buffer[number : number + 1]).all():
            return "nonfinite"
        awaited.seat.succeed(self.step)
        self.losses[number], self.reasons[number] = awaited.header[5], "present"
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
