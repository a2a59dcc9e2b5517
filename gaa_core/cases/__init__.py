"""The case studies, one file a task. `from gaa_core.cases import MNIST`; `REGISTRY` has them by name.

A new file in this folder is found without being named here; the imports are what editors and type checkers see.
"""

from gaa_core import registry
from gaa_core.cases.base import CaseData as CaseData
from gaa_core.cases.base import CaseStudy as CaseStudy
from gaa_core.cases.base import Settings as Settings
from gaa_core.cases.base import Split as Split
from gaa_core.cases.base import accuracy as accuracy
from gaa_core.cases.base import r2 as r2
from gaa_core.cases.cifar10 import CIFAR10 as CIFAR10
from gaa_core.cases.cms import CMS as CMS
from gaa_core.cases.cms import CMSInpatient as CMSInpatient
from gaa_core.cases.cms import CMSSurvival as CMSSurvival
from gaa_core.cases.mnist import MNIST as MNIST
from gaa_core.cases.mnist import MNIST_CNN as MNIST_CNN
from gaa_core.cases.yelp import Yelp as Yelp
from gaa_core.cases.yelp import YelpFull as YelpFull

_CONSTANTS = registry.constants(__name__, __path__, CaseStudy)
REGISTRY = registry.Registry({case.name: case for case in _CONSTANTS.values()}, __name__)


def __getattr__(name: str) -> CaseStudy:
    if name in _CONSTANTS:
        return _CONSTANTS[name]
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
