"""Gradient aggregation rules, one file a rule. `from gaa_core.aggregators import Krum`; `REGISTRY` has them by name.

Pre-aggregators are in `PRE_AGGREGATORS`, and come before a rule: `NearestNeighbourMixing(f=3) | TrimmedMean(f=3)`.
"""

from gaa_core import registry
from gaa_core.aggregators.base import Aggregator, LearningAggregator, Server, WeightedAggregator
from gaa_core.aggregators.composition import PreAggregator

REGISTRY = registry.collect(__name__, __path__, Aggregator)
PRE_AGGREGATORS = registry.collect(__name__, __path__, PreAggregator)
_CLASSES = {cls.__name__: cls for cls in (*REGISTRY.values(), *PRE_AGGREGATORS.values())}
globals().update(_CLASSES)

__all__ = [
    "PRE_AGGREGATORS",
    "REGISTRY",
    "Aggregator",
    "LearningAggregator",
    "PreAggregator",
    "Server",
    "WeightedAggregator",
    *sorted(_CLASSES),
]
