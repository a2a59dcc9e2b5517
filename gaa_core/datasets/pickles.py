"""Pickles that hold numpy arrays and plain containers, and nothing else: any other pickle is a program."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from gaa_core.errors import DataError, explained

_LARGEST = 256 * 2**20  # bytes of a file; eight times a CIFAR-10 batch


def _encode(text: str, codec: str = "latin1") -> bytes:
    """Bytes as Python 3 writes them in old protocols. Other codecs could unfold a small text into a huge one."""
    if codec != "latin1":
        raise pickle.UnpicklingError(f"codec '{codec}' is not admitted")
    return text.encode("latin1")


#: What the pickle of an array names: (module, name) -> the object.
ARRAYS = {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype, ("_codecs", "encode"): _encode}
for _core in ("core", "_core"):  # as numpy 1 and numpy 2 spell it
    ARRAYS[f"numpy.{_core}.numeric", "_frombuffer"] = np._core.numeric._frombuffer
    for _name in ("_reconstruct", "scalar"):
        ARRAYS[f"numpy.{_core}.multiarray", _name] = getattr(np._core.multiarray, _name)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if (module, name) not in ARRAYS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not admitted")
        return ARRAYS[module, name]

    def persistent_load(self, _identifier):
        raise pickle.UnpicklingError("it asks for an outside object, which is not admitted")


def read(path: Path) -> Any:
    """What a pickle of arrays, containers, numbers and texts holds; texts of Python 2 come as bytes."""
    if not path.is_file():
        raise DataError(f"{path} is missing: expected a pickled batch.")
    if (size := path.stat().st_size) > _LARGEST:
        raise DataError(f"{path} has {size:,} bytes: expected at most {_LARGEST:,}.")
    # a hostile or broken pickle can raise anything; nothing of it has been run
    with explained(f"{path} is corrupt or not a pickle of plain arrays", DataError), path.open("rb") as stream:
        return _Unpickler(stream, encoding="bytes").load()
