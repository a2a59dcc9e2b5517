"""The idx files of MNIST, plain or gzipped. Every error names the file, what was expected and what was found."""

import gzip
import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np

from gaa_core.errors import DataError

_LARGEST = 256 * 2**20  # bytes; four times the largest official file


def read(folder: Path, name: str, md5: str) -> np.ndarray:
    """The array of uint8 in `name`, or else in `name.gz`, which must be the published one (a read-only view)."""
    path = folder / name
    content = _content(path)
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        size = f"{found} in {len(content):,} bytes"
        raise DataError(f"{path} is truncated, corrupt or not the published file: expected md5 {md5}; found {size}.")
    dimensions = content[3]
    shape = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions).reshape(shape)


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
