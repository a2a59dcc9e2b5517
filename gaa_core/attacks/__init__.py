"""Tampering algorithms, one file an attack. `from gaa_core.attacks import Switcher`; `REGISTRY` has them by name.

A new file in this folder is found without being named here; the imports are what editors and type checkers see.
"""

from gaa_core import registry
from gaa_core.attacks.a_little_is_enough import ALittleIsEnough as ALittleIsEnough
from gaa_core.attacks.base import Attack as Attack
from gaa_core.attacks.blend import Blend as Blend
from gaa_core.attacks.defence_aware import DefenceAware as DefenceAware
from gaa_core.attacks.directed_deviation import DirectedDeviation as DirectedDeviation
from gaa_core.attacks.gradient_reversion import GradientReversion as GradientReversion
from gaa_core.attacks.inner_product_manipulation import InnerProductManipulation as InnerProductManipulation
from gaa_core.attacks.label_flip import LabelFlip as LabelFlip
from gaa_core.attacks.mimic import Mimic as Mimic
from gaa_core.attacks.mimic_then_turn import MimicThenTurn as MimicThenTurn
from gaa_core.attacks.min_max import MinMax as MinMax
from gaa_core.attacks.min_sum import MinSum as MinSum
from gaa_core.attacks.missing_label import MissingLabel as MissingLabel
from gaa_core.attacks.non_finite import NonFinite as NonFinite
from gaa_core.attacks.one_coordinate import OneCoordinate as OneCoordinate
from gaa_core.attacks.optimized import OptimizedALittleIsEnough as OptimizedALittleIsEnough
from gaa_core.attacks.optimized import OptimizedInnerProductManipulation as OptimizedInnerProductManipulation
from gaa_core.attacks.random_fault import RandomFault as RandomFault
from gaa_core.attacks.relocated_orthogonal import RelocatedOrthogonal as RelocatedOrthogonal
from gaa_core.attacks.sampled import ComposedAttack as ComposedAttack
from gaa_core.attacks.sign_flip import SignFlip as SignFlip
from gaa_core.attacks.slow_drift import SlowDrift as SlowDrift
from gaa_core.attacks.steer_linear import SteerLinear as SteerLinear
from gaa_core.attacks.switcher import Switcher as Switcher

REGISTRY = registry.collect(__name__, __path__, Attack)


def __getattr__(name: str) -> type:
    return registry.member(__name__, name, REGISTRY)
