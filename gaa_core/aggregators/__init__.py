"""Gradient aggregation rules, one file a rule. `from gaa_core.aggregators import Krum`; `REGISTRY` has them by name.

Pre-aggregators are in `PRE_AGGREGATORS`, and come before a rule: `NearestNeighbourMixing(f=3) | TrimmedMean(f=3)`.
A new file in this folder is found without being named here; the imports are what editors and type checkers see.
"""

from gaa_core import registry
from gaa_core.aggregators.arc import ARC as ARC
from gaa_core.aggregators.base import Aggregator as Aggregator
from gaa_core.aggregators.base import LearningAggregator as LearningAggregator
from gaa_core.aggregators.base import Server as Server
from gaa_core.aggregators.base import WeightedAggregator as WeightedAggregator
from gaa_core.aggregators.brute_force import BruteForce as BruteForce
from gaa_core.aggregators.bucketing import Bucketing as Bucketing
from gaa_core.aggregators.bulyan import Bulyan as Bulyan
from gaa_core.aggregators.bygars import ByGARS as ByGARS
from gaa_core.aggregators.caf import CAF as CAF
from gaa_core.aggregators.centered_clipping import CenteredClipping as CenteredClipping
from gaa_core.aggregators.cge import CGE as CGE
from gaa_core.aggregators.composition import PreAggregator as PreAggregator
from gaa_core.aggregators.coordinate_median import CoordinateMedian as CoordinateMedian
from gaa_core.aggregators.dnc import DnC as DnC
from gaa_core.aggregators.fed_greed import FedGreed as FedGreed
from gaa_core.aggregators.flame import FLAME as FLAME
from gaa_core.aggregators.fltrust import FLTrust as FLTrust
from gaa_core.aggregators.gaa import GAA as GAA
from gaa_core.aggregators.gaa_plus import GAAPlus as GAAPlus
from gaa_core.aggregators.geo_med import GeoMed as GeoMed
from gaa_core.aggregators.geometric_median import GeometricMedian as GeometricMedian
from gaa_core.aggregators.krum import Krum as Krum
from gaa_core.aggregators.linear_gar import LinearGAR as LinearGAR
from gaa_core.aggregators.mda import MDA as MDA
from gaa_core.aggregators.mean import Mean as Mean
from gaa_core.aggregators.mean_around_median import MeanAroundMedian as MeanAroundMedian
from gaa_core.aggregators.monna import MoNNA as MoNNA
from gaa_core.aggregators.multi_krum import MultiKrum as MultiKrum
from gaa_core.aggregators.nearest_neighbour_mixing import NearestNeighbourMixing as NearestNeighbourMixing
from gaa_core.aggregators.norm_clipping import NormClipping as NormClipping
from gaa_core.aggregators.oracle import Oracle as Oracle
from gaa_core.aggregators.server_only import ServerOnly as ServerOnly
from gaa_core.aggregators.sign_guard import SignGuard as SignGuard
from gaa_core.aggregators.smea import SMEA as SMEA
from gaa_core.aggregators.trimmed_mean import TrimmedMean as TrimmedMean
from gaa_core.aggregators.zeno import Zeno as Zeno
from gaa_core.aggregators.zeno_plus_plus import ZenoPlusPlus as ZenoPlusPlus

REGISTRY = registry.collect(__name__, __path__, Aggregator)
PRE_AGGREGATORS = registry.collect(__name__, __path__, PreAggregator)


def __getattr__(name: str) -> type:
    return registry.member(__name__, name, {**REGISTRY, **PRE_AGGREGATORS})
