"""Tampering algorithms, one file an attack. `from gaa_core.attacks import Switcher`; `REGISTRY` has them by name."""

from gaa_core import registry
from gaa_core.attacks.base import Attack

REGISTRY = registry.collect(__name__, __path__, Attack)
globals().update({cls.__name__: cls for cls in REGISTRY.values()})

__all__ = ["REGISTRY", "Attack", *sorted(cls.__name__ for cls in REGISTRY.values())]
