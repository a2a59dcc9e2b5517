"""Checkpoints: what a run must remember to go on, in one file.

It is a pickle that holds tensors, plain containers and objects of this package alone: what names anything else is
refused before anything of it runs. A server is left out, since rules observe it anew.
"""

import collections
import importlib
import io
import pickle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gaa_core import files
from gaa_core.datasets.pickles import ARRAYS
from gaa_core.errors import DataError, GaaError

#: Modules and packages whose classes, and no functions, a checkpoint may hold.
_HOMES = (
    "gaa_core.aggregators.",
    "gaa_core.attacks.",
    "gaa_core.agent.",
    "torch.nn.modules.",
    "torch.optim.",
    "numpy.dtypes.",
)


def _tensor(values: np.ndarray, device: str, trained: bool) -> Tensor:
    found = torch.from_numpy(values.copy()).to(device)
    return nn.Parameter(found) if trained else found


def _no_server() -> None:
    return None


def _generator(state: np.ndarray) -> torch.Generator:
    generator = torch.Generator()
    generator.set_state(torch.from_numpy(state.copy()))
    return generator


_ADMITTED = ARRAYS | {
    (each.__module__, each.__qualname__): each
    for each in (
        collections.deque,
        collections.OrderedDict,
        collections.defaultdict,
        slice,
        dict,
        set,
        _tensor,
        _generator,
        _no_server,
    )
}


def _admitted(module: str, name: str) -> object | None:
    if (module, name) in _ADMITTED:
        return _ADMITTED[module, name]
    ours = f"{module}.".startswith(_HOMES)
    found = getattr(importlib.import_module(module), name, None) if ours else None
    return found if isinstance(found, type) and found.__module__ == module else None


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: object):
        if isinstance(value, Tensor):
            array = value.detach().cpu().numpy()
            return _tensor, (array, str(value.device), isinstance(value, nn.Parameter))
        if isinstance(value, torch.Generator):
            return _generator, (value.get_state().numpy(),)
        if not isinstance(value, type) and callable(getattr(value, "qv_gradient", None)):
            return _no_server, ()
        kind = value if isinstance(value, type) else type(value)
        known = any(value is each for each in _ADMITTED.values()) or isinstance(value, np.generic)
        if known or _admitted(kind.__module__, kind.__qualname__) is not None:
            return NotImplemented
        raise GaaError(f"A checkpoint cannot hold {value!r}: override state() and load_state() with plain values.")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if (found := _admitted(module, name)) is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no state of a run is made of")
        return found


def write(path: str | Path, state: object) -> None:
    """Replace the checkpoint at `path`; at no moment is there half of one. GaaError for what cannot be written down."""
    content = io.BytesIO()
    _Pickler(content, protocol=5).dump(state)
    files.write(path, content.getvalue())


def read(path: str | Path) -> object:
    """The state at `path`. A damaged file, or one that is no state of a run, raises DataError."""
    try:
        return _Unpickler(io.BytesIO(Path(path).read_bytes())).load()
    except Exception as error:
        reason = str(error).split("\n")[0]
        raise DataError(f"{path} is not a checkpoint of this package ({reason}). Delete it to start afresh.") from error
