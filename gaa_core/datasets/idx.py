"""The idx files of MNIST, plain or gzipped. Every error names the file, what was expected and what was found."""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np

from gaa_core.errors import DataError

_UNSIGNED_BYTE = 0x08  # the only element type of MNIST
_LARGEST = 256 * 2**20  # bytes; four times the largest official file


def read(folder: Path, name: str) -> bytes:
    """The unpacked bytes of `name`, from `name` or else from `name.gz`."""
    plain, packed = folder / name, folder / f"{name}.gz"
    if plain.is_file():
        content = plain.read_bytes()
    elif packed.is_file():
        content = _unpack(packed)
    else:
        raise DataError(f"{plain} is missing: expected it, or {packed.name}, beside the other three MNIST files.")
    return content


def _unpack(packed: Path) -> bytes:
    try:
        with gzip.open(packed) as stream:
            content = stream.read(_LARGEST + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{packed} is truncated or corrupt: expected a whole gzip stream; found: {error}.") from error
    if len(content) > _LARGEST:
        raise DataError(f"{packed} unpacks to more than {_LARGEST:,} bytes: expected an MNIST file.")
    return content


def parse(content: bytes, name: str, dimensions: int) -> np.ndarray:
    """The array of an idx file of unsigned bytes with this many dimensions (a read-only view of `content`)."""
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise DataError(f"{name} is truncated: expected a header of {header} bytes; found {len(content)} bytes in all.")
    magic = struct.unpack(">I", content[:4])[0]
    expected = _UNSIGNED_BYTE << 8 | dimensions
    if magic != expected:
        raise DataError(f"{name} is not the expected idx file: expected magic number {expected}; found {magic}.")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    size = int(np.prod(shape, dtype=object))
    if len(content) - header != size:
        found = len(content) - header
        kind = "truncated" if found < size else "too long"
        raise DataError(f"{name} is {kind}: its header says {shape}, so {size:,} bytes; found {found:,}.")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def check_md5(content: bytes, name: str, expected: str) -> None:
    """Raises DataError unless the unpacked content is the published one."""
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != expected:
        raise DataError(f"{name} is corrupt or not the published file: expected md5 {expected}; found {found}.")
