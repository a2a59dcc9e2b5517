"""gaa_core: a reference implementation of Justinian's GAAvernor (USENIX Security 2020).

Start reading at `gaa_core/simulator.py`. Submodules and `run` are imported on first use, so that
`import gaa_core` stays quick.
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.2.0"

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
_MODULES = ("aggregators", "analysis", "attacks", "cases", "datasets", "engines", "plots", "roles", "widgets")

__all__ = ["__version__", "register", *_LAZY, *_MODULES]


def register(thing, name: str | None = None):
    """Add a rule, pre-aggregator or attack (a class), a role schedule (n, ...) or a CaseStudy to those known by name.

    Returns what it is given, so that it can decorate a class. `name` is by default that of the class, in snake case.
    Packages do the same by entry points in the groups gaa_core.aggregators, .attacks, .roles and .cases.
    """
    from gaa_core import aggregators, attacks, cases, registry, roles
    from gaa_core.errors import GaaError

    homes = {
        aggregators.Aggregator: aggregators.REGISTRY,
        aggregators.PreAggregator: aggregators.PRE_AGGREGATORS,
        attacks.Attack: attacks.REGISTRY,
    }
    kind = next((each for each in homes if isinstance(thing, type) and issubclass(thing, each)), None)
    if (isinstance(thing, type) and kind is None) or (not callable(thing) and not isinstance(thing, cases.CaseStudy)):
        raise GaaError(f"register takes a rule, an attack, a role schedule or a CaseStudy; found {thing!r}.")
    known = homes.get(kind, cases.REGISTRY if isinstance(thing, cases.CaseStudy) else roles.REGISTRY)
    name = name or (thing.name if isinstance(thing, cases.CaseStudy) else registry.snake_case(thing.__name__))
    if known.get(name, thing) is not thing and known[name].__module__ != getattr(thing, "__module__", None):
        raise GaaError(f"'{name}' is taken by {known[name]!r}: give another name.")
    known[name] = thing
    return thing


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"gaa_core.{name}")
    raise AttributeError(f"module 'gaa_core' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
