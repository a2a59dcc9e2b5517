"""The idx files of MNIST, plain or gzipped. Every error names the file, what was expected and what was found."""

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from gaa_core.errors import DataError

_UNSIGNED_BYTE = 0x08  # the only element type of MNIST
_LARGEST = 256 * 2**20  # bytes; four times the largest official file


def read(folder: Path, name: str, md5: str) -> np.ndarray:
    """The array of uint8 in `name`, or else in `name.gz`, which must be the published one (a read-only view)."""
    path = folder / name
    array = parse(content := _content(path), str(path))  # names a truncation before the checksum does
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise DataError(f"{path} is corrupt or not the published file: expected md5 {md5}; found {found}.")
    return array


def _content(path: Path) -> bytes:
    packed = path.with_name(path.name + ".gz")
    if path.is_file():
        return path.read_bytes()
    if not packed.is_file():
        raise DataError(f"{path} is missing: expected it, or {packed.name}, beside the other three MNIST files.")
    try:
        with gzip.open(packed) as stream:
            content = stream.read(_LARGEST + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{packed} is truncated or corrupt: expected a whole gzip stream; found: {error}.") from error
    if len(content) > _LARGEST:
        raise DataError(f"{packed} unpacks to more than {_LARGEST:,} bytes: expected an MNIST file.")
    return content


def parse(content: bytes, name: str) -> np.ndarray:
    """The array of an idx file of unsigned bytes; `name` says its dimensions: `...-idx3-...` has three."""
    dimensions = 3 if "idx3" in name else 1
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise DataError(f"{name} is truncated: expected a header of {header} bytes; found {len(content)} bytes in all.")
    magic, *shape = struct.unpack(f">{1 + dimensions}I", content[:header])
    expected = _UNSIGNED_BYTE << 8 | dimensions
    if magic != expected:
        raise DataError(f"{name} is not the expected idx file: expected magic number {expected}; found {magic}.")
    size, found = math.prod(shape), len(content) - header
    if found != size:
        kind = "truncated" if found < size else "too long"
        raise DataError(f"{name} is {kind}: its header says {tuple(shape)}, so {size:,} bytes; found {found:,}.")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)
