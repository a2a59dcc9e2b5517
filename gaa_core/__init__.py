"""gaa_core: a reference implementation of Justinian's GAAvernor (USENIX Security 2020).

Start reading at `gaa_core/simulator.py`. Submodules and `run` are imported on first use, so that
`import gaa_core` stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gaa_core.cases.own import case as case
    from gaa_core.conformance import check_aggregator as check_aggregator
    from gaa_core.guard import Guard as Guard
    from gaa_core.simulator import run as run
    from gaa_core.trace import Trace as Trace

_LAZY = {
    "case": "gaa_core.cases.own",
    "check_aggregator": "gaa_core.conformance",
    "Guard": "gaa_core.guard",
    "run": "gaa_core.simulator",
    "Trace": "gaa_core.trace",
}
_MODULES = ("aggregators", "analysis", "attacks", "cases", "datasets", "distributed", "plots", "roles", "widgets")

__all__ = ["__version__", *_LAZY, *_MODULES]


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"gaa_core.{name}")
    raise AttributeError(f"module 'gaa_core' has no attribute '{name}'")
