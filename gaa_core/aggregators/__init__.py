"""Gradient aggregation rules, one file a rule. `from gaa_core.aggregators import Krum`; `REGISTRY` has them by name."""

from gaa_core import registry
from gaa_core.aggregators.base import Aggregator, LearningAggregator, Server, WeightedAggregator

REGISTRY = registry.collect(__name__, __path__, Aggregator)
globals().update({cls.__name__: cls for cls in REGISTRY.values()})

__all__ = [
    "REGISTRY",
    "Aggregator",
    "LearningAggregator",
    "Server",
    "WeightedAggregator",
    *sorted(cls.__name__ for cls in REGISTRY.values()),
]
