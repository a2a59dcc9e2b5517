"""What goes over the wire: a small header that says what is coming, then the numbers. Nothing in it is believed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gaa_core.errors import UnknownName

#: How submissions travel: as they are, or in half the bytes, scaled so that the largest number is 1.
TRANSPORTS = ("float32", "float16")

#: Bytes that an object may have beside its numbers: Ray's own description of it. A header has no more than these.
SLACK = 4096

Header = tuple[int, str, tuple[int, ...], int, float, float]  # step, dtype, shape, bytes, scale, loss


@dataclass(frozen=True)
class Wire:
    """How one submission of `d` numbers travels. Raises UnknownName for a transport that there is not."""

    d: int
    transport: str = "float32"

    def __post_init__(self):
        if self.transport not in TRANSPORTS:
            raise UnknownName("transport", str(self.transport), TRANSPORTS)

    @property
    def nbytes(self) -> int:
        """Bytes of one submission."""
        return self.d * np.dtype(self.transport).itemsize

    def pack(self, step: int, row: np.ndarray, loss: float) -> tuple[Header, np.ndarray]:
        """Header and body of a submission [d]."""
        scale = 1.0
        if self.transport == "float16":
            peak = float(np.abs(row).max())
            scale = peak if 0 < peak < math.inf else 1.0
            with np.errstate(over="ignore", invalid="ignore"):
                row = (row / scale).astype(np.float16)
        return (step, str(row.dtype), row.shape, row.nbytes, scale, loss), row

    def unpack(self, header: Header, body: np.ndarray, out: np.ndarray) -> None:
        """The submission again, into `out` [d]."""
        np.copyto(out, body)  # the one copy: out of shared memory into the server's buffer
        if self.transport == "float16":
            out *= header[4]

    def refuse_header(self, header: object, step: int, answered: int) -> str:
        """Why a header is not that of an answer for `step` from a worker that last answered step `answered`, or ""."""
        if not isinstance(header, tuple) or len(header) != 6:
            return "error"
        said, dtype, shape, nbytes, scale, loss = header
        plain = type(said) is int and type(dtype) is str and type(shape) is tuple and type(nbytes) is int
        if not plain or type(scale) is not float or type(loss) is not float or not 0 < scale < math.inf:
            return "error"
        if said != step:
            return "twice" if said <= answered else "late" if said < step else "error"
        if dtype != self.transport:
            return "dtype"
        if nbytes > self.nbytes:
            return "size"
        return "" if shape == (self.d,) and nbytes == self.nbytes else "shape"

    def refuse_size(self, real: int | None) -> bool:
        """Whether an object with this many bytes in the store must not be fetched. Unknown is too many."""
        return real is None or real > self.nbytes + SLACK

    def refuse_body(self, body: object) -> str:
        """Why a fetched body is not what its header said, or ""."""
        if not isinstance(body, np.ndarray) or body.shape != (self.d,):
            return "shape"
        return "" if body.dtype == self.transport else "dtype"
