"""What can be chosen in the playground, and how a choice is written down."""

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gaa_core import aggregators, attacks, cases, datasets, roles
from gaa_core.cases import CaseStudy
from gaa_core.errors import GaaError, number, one_of, whole
from gaa_core.options import check

_NOT_OFFERED = {"missing_label"}  # needs a QV set that lacks classes, which the playground does not draw
#: Official files of the cases that have no real data without a download.
_OFFICIAL = {
    "cifar10": "cifar-10-batches-py",
    "yelp_full": "yelp_review_full_csv",
    "cms_inpatient": "cms/2008_BSA_Inpatient_Claims_PUF.csv",
}
#: Bounds of the settings that are numbers: what fits a page, and its memory.
LIMITS = {"ratio": (0, 1), "lr": (0, 100), "n": (2, 50), "qv_size": (1, 1000), "batch_size": (1, 10_000)}
LIMITS |= {"seed": (0, 9999)}
TURNS_AT, PERIOD = 100, 20  # steps after which `pretense` begins, and for which a random role stays: seconds to watch
_REVERSION = attacks.GradientReversion()


@dataclass(frozen=True)
class Setup:
    """Settings of a playground: case, rules and attack as `run` takes them; `ratio` is the share of Byzantine workers.

    Raises GaaError for settings that cannot run.
    """

    case: CaseStudy = cases.MNIST
    rules: tuple[Callable[[Tensor], Tensor], ...] = (aggregators.GAA(),)
    attack: Any = _REVERSION
    schedule: str = "static"
    ratio: float = 0.7
    n: int = 10
    qv_size: int = 10
    batch_size: int = 64
    lr: float = 0.05
    seed: int = 0

    def __post_init__(self):
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            fitting = number if name in ("ratio", "lr") else whole
            object.__setattr__(self, name, fitting(value, name, least, most))
        if not isinstance(self.case, CaseStudy):
            raise GaaError(f"case must be a CaseStudy such as gaa_core.cases.MNIST; found {self.case!r}.")
        one_of("schedule", self.schedule, roles.REGISTRY)
        if not isinstance(self.rules, tuple) or not 1 <= len(self.rules) <= 3:
            raise GaaError(f"rules must be a tuple of one to three rules; found {self.rules!r}.")
        if len({rule.f for rule in self.rules if declares_f(rule)}) > 1:
            raise GaaError(f"The rules of a playground must tolerate one and the same f; found {self.rules!r}.")
        settings = dataclasses.replace(self.case.settings, n=self.n)
        for rule in self.rules:
            check(rule, self.attack, lambda _: torch.ones(self.n, dtype=torch.bool), settings, given=True)

    def make_roles(self) -> Callable[[int], Tensor]:
        """The schedule, step -> bool [n]."""
        options = {"n": self.n, "byzantine": round(self.ratio * self.n), "beta": self.ratio}
        options |= {"until": TURNS_AT, "period": PERIOD, "seed": self.seed}
        taken = inspect.signature(roles.REGISTRY[self.schedule]).parameters
        return roles.REGISTRY[self.schedule](**{name: value for name, value in options.items() if name in taken})


def needs_download(case: CaseStudy) -> bool:
    """Whether a case has no real data here: `fetch` brings them, and until then it is a stand-in or cannot run."""
    return case.name in _OFFICIAL and datasets.locate(_OFFICIAL[case.name]) is None


def offered_rules(f: int) -> list:
    """Each rule with its defaults, told `f` where it needs one; the paper's agent first, then its bounded form."""
    known = [cls for cls in aggregators.REGISTRY.values() if cls is not aggregators.GAA and _required(cls) <= {"f"}]
    agents = [aggregators.GAA(), aggregators.GAA(norm_bound=2.0, policy_lr=0.05)]
    return agents + [cls(**dict.fromkeys(_required(cls), f)) for cls in known]


def offered_attacks() -> list:
    """No attack, each attack with its defaults, and two with a scale that is often tried."""
    known = [cls for name, cls in attacks.REGISTRY.items() if name not in _NOT_OFFERED and not _required(cls)]
    return [None, *(cls() for cls in known), attacks.GradientReversion(scale=10.0), attacks.RandomFault(std=2.0)]


def declares_f(part: object) -> bool:
    """Whether a rule needs to be told how many Byzantine workers to tolerate."""
    return dataclasses.is_dataclass(part) and "f" in _required(type(part))


def text_of(part: object, without: str = "") -> str:
    """A dataclass instance as code: the class with the fields that differ from their defaults. Others: their name."""
    if not dataclasses.is_dataclass(part):
        return getattr(part, "__name__", repr(part))
    values = [(each, getattr(part, each.name)) for each in dataclasses.fields(part) if each.init]
    # A NaN is unequal to itself: identity shows that it is the default.
    shown = {each.name: value for each, value in values if value is not each.default and value != each.default}
    told = ", ".join(f"{name}={value!r}" for name, value in shown.items() if name != without)
    return f"{type(part).__name__}({told})"


def _required(cls: type) -> set[str]:
    parameters = inspect.signature(cls).parameters.values()
    return {each.name for each in parameters if each.default is inspect.Parameter.empty}
