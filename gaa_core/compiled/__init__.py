"""Compiled kernels, for large inputs on a processor, where numba is installed (`pip install numba`; never required).

Each has a twin in torch that it is tested against. Order statistics are the same numbers to the last bit by either
path: one network, one order of summation. The features of the agent agree up to rounding, so that long runs may part
there; a trace names the numba it was made with. GAA_COMPILED=0 in the environment turns all of this off.
"""

from __future__ import annotations

import importlib
import os
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from types import ModuleType

import torch
from torch import Tensor

#: From how many numbers on it is used. Importing numba takes most of a second, which smaller inputs do not earn back;
#: and what agrees up to rounding only is kept to sizes beyond those of the case studies.
WORTH_IT = 2**20
WORTH_ROUNDING = 2**23


def version() -> str | None:
    """The version of numba that large inputs are computed with; None for torch alone."""
    if os.environ.get("GAA_COMPILED") == "0" or find_spec("numba") is None:
        return None
    return metadata.version("numba")


def kernels(name: str, values: Tensor, rounding: bool = False) -> ModuleType | None:
    """The compiled module of a name, if it can be used on these numbers and is worth it; else None: use torch.

    `rounding` says that results agree with torch's up to rounding only.
    """
    least = WORTH_ROUNDING if rounding else WORTH_IT
    suited = values.device.type == "cpu" and values.dtype in (torch.float32, torch.float64) and values.is_contiguous()
    return _load(name) if suited and values.numel() >= least else None


def _load(name: str) -> ModuleType | None:
    return None if os.environ.get("GAA_COMPILED") == "0" else _import(name)


@lru_cache(maxsize=8)
def _import(name: str) -> ModuleType | None:
    """The module; None where there is no numba, or none that goes with this numpy."""
    try:
        return importlib.import_module(f"gaa_core.compiled.{name}")
    except ImportError:
        return None
