"""The case studies, one file a case. `from gaa_core.cases import MNIST`; `REGISTRY` has them by name."""

from gaa_core import registry
from gaa_core.cases.base import CaseData, CaseStudy, Settings, Split, accuracy, r2

_CONSTANTS = registry.constants(__name__, __path__, CaseStudy)
globals().update(_CONSTANTS)
REGISTRY = {case.name: case for case in _CONSTANTS.values()} | registry.plugins(__name__)

__all__ = ["REGISTRY", "CaseData", "CaseStudy", "Settings", "Split", "accuracy", "r2", *_CONSTANTS]
