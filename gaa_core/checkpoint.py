"""Checkpoints: what a run must remember to go on, in one file that holds tensors and plain values only.

Written to a temporary file and renamed, so that there is always a whole one; read with torch's `weights_only`, which
executes nothing.
"""

from __future__ import annotations

import collections
import dataclasses
import importlib
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gaa_core.errors import DataError, GaaError

#: The key that marks a packed value which is more than what it looks like.
KIND = "__kind__"


def write(path: str | Path, state: dict) -> None:
    """Replace the checkpoint at `path` by this packed state; at no moment is there half of one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".pending", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
    finally:
        Path(draft).unlink(missing_ok=True)


def read(path: str | Path) -> dict:
    """The state at `path`. A damaged file raises DataError."""
    try:
        return torch.load(path, weights_only=True)
    except Exception as error:
        raise DataError(
            f"{path} is not a checkpoint of this package ({str(error).splitlines()[0]}). Delete it to start afresh."
        ) from error


def pack(value: object) -> object:
    """Plain values and tensors that say everything about `value`; GaaError for what cannot be written down.

    Understood are numbers, strings, tensors, arrays, generators, lists, tuples, dicts, deques, slices, dataclasses and
    agents of this package by their attributes, and objects with `state`/`load_state` or `state_dict`/`load_state_dict`.
    A server is None: rules observe it anew.
    """
    if value is None:
        return None
    for plain in (bool, int, float, str):
        if isinstance(value, plain):
            return plain(value)  # subclasses are not admitted by the reader
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return type(value)([pack(each) for each in value])
    if callable(getattr(value, "qv_gradient", None)):
        return None
    return _pack_object(value)


def _pack_object(value: object) -> dict:
    if isinstance(value, dict):
        return {KIND: "dict", "items": [(pack(key), pack(each)) for key, each in value.items()]}
    if isinstance(value, collections.deque):
        return {KIND: "deque", "items": [pack(each) for each in value], "length": value.maxlen}
    if isinstance(value, np.ndarray):
        return {KIND: "array", "values": torch.from_numpy(value.copy())}
    if isinstance(value, torch.Generator):
        return {KIND: "generator", "state": value.get_state()}
    if isinstance(value, slice):
        return {KIND: "slice", "bounds": [value.start, value.stop, value.step]}
    if hasattr(value, "load_state"):
        return {KIND: "own", "state": pack(value.state())}
    if hasattr(value, "load_state_dict"):
        return {KIND: "own", "state": pack(value.state_dict())}
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if _may_be_held(type(value)):
        return {KIND: "fields", "class": name, "fields": {each: pack(held) for each, held in vars(value).items()}}
    raise GaaError(f"A checkpoint cannot hold {value!r}: give {type(value).__name__} a state() and a load_state().")


def _may_be_held(kind: object) -> bool:
    """Whether a checkpoint may hold objects of this class: this package's dataclasses, and what agents are made of."""
    module = kind.__module__ if isinstance(kind, type) else ""
    ours = module.startswith("gaa_core.")
    return ours and (dataclasses.is_dataclass(kind) or module.startswith(("gaa_core.aggregators.", "gaa_core.agent")))


def unpack(packed: object, present: object = None) -> object:
    """The value again. `present` is the fresh one in its place, which objects with a state of their own load into."""
    if isinstance(packed, list | tuple):
        return type(packed)([unpack(each) for each in packed])
    if not isinstance(packed, dict):
        return packed
    kind = packed[KIND]
    if kind == "dict":
        known = present if isinstance(present, dict) else {}
        pairs = [(unpack(key), each) for key, each in packed["items"]]
        return {key: unpack(each, known.get(key)) for key, each in pairs}
    if kind == "deque":
        return collections.deque(map(unpack, packed["items"]), packed["length"])
    if kind == "array":
        return packed["values"].numpy()
    if kind == "slice":
        return slice(*packed["bounds"])
    if kind == "generator":
        generator = torch.Generator()
        generator.set_state(packed["state"])
        return generator
    return _load_own(packed["state"], present) if kind == "own" else _load_fields(packed, present)


def _load_own(state: object, present: object) -> object:
    if hasattr(present, "load_state"):
        present.load_state(unpack(state))
    elif hasattr(present, "load_state_dict"):
        present.load_state_dict(unpack(state))
    else:
        raise GaaError("A checkpoint holds the state of an object that this run does not have.")
    return present


def _load_fields(packed: dict, present: object) -> object:
    module, _, name = packed["class"].rpartition(".")
    if not module.startswith("gaa_core."):
        raise DataError(f"A checkpoint names the class {packed['class']}, which is not one of this package's.")
    kind = getattr(importlib.import_module(module), name)
    if not _may_be_held(kind):
        raise DataError(f"A checkpoint names the class {packed['class']}, which no memory of a rule is made of.")
    filled = present if type(present) is kind else object.__new__(kind)
    for field, value in packed["fields"].items():
        object.__setattr__(filled, field, unpack(value, getattr(present, field, None)))
    return filled
