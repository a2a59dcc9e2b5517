"""Which rules play, and how each is set: found in the registry, so that a new file in `aggregators` plays as well.

A rule that needs `f` is told the greatest number of workers that attack at one step, or the largest `f` that it admits
for `n` workers if that is less. This flatters such rules: no server knows that number.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from gaa_core import aggregators, registry, studies
from gaa_core.aggregators import Aggregator, LearningAggregator, PreAggregator
from gaa_core.errors import GaaError, TooFewWorkers, one_of
from gaa_core.options import label

#: Registered rules that do not compete, and why.
ABSENT = {
    "MDA": "another name of BruteForce",
    "LinearGAR": "with equal weights it is Mean",
    "Oracle": "the yardstick",
    "ServerOnly": "the reference",
}

#: A rule that searches subsets of workers -> the most workers for which its search ends in reasonable time.
MOST_WORKERS = {"BruteForce": 20, "SMEA": 20}

#: A pre-aggregator -> the rule that follows it where its own paper names one; of others CoordinateMedian.
PARTNERS = {"NearestNeighbourMixing": "TrimmedMean", "Bucketing": "GeometricMedian", "NormClipping": "Mean"}


@dataclass(frozen=True)
class Entrant:
    """A rule under one name, whatever `f` it is told: `make(f, n)` is the rule."""

    name: str
    make: Callable[[int, int], Callable]

    def rule(self, n: int, attackers: int) -> Callable:
        """The rule for n workers, told of as many attackers as it admits. Raises GaaError with why it cannot run."""
        if n > MOST_WORKERS.get(self.name, n):
            raise GaaError(f"{self.name} searches subsets: not run above n={MOST_WORKERS[self.name]}; found {n}.")
        for f in range(attackers, -1, -1):
            rule = self.make(f, n)
            try:
                getattr(rule, "check_workers", lambda n: None)(n)
            except TooFewWorkers as error:
                reason = error
            else:
                return rule
        raise reason


def _told(cls: type) -> Callable[[int, int], object] | None:
    """How to make a rule of a class: `f`, and as `pivot` the last worker, which no schedule of ours compromises.

    None for a class that needs more than that.
    """
    fields = {each.name: each for each in dataclasses.fields(cls) if each.init}
    needed = {name for name, each in fields.items() if each.default is each.default_factory is dataclasses.MISSING}
    if needed - {"f"}:
        return None

    def make(f: int, n: int) -> object:
        values = {"f": f} if "f" in needed else {}
        return cls(**values | ({"pivot": n - 1} if "pivot" in fields else {}))

    return make


def _registered() -> dict[str, Entrant]:
    """Every rule of the registry that can be made, the agent with its bound, and each pre-aggregator with a rule."""
    classes = {cls.__name__: cls for cls in aggregators.REGISTRY.values()}
    makers = {name: _told(cls) for name, cls in classes.items() if name not in ABSENT}
    makers["GAA, bounded"] = lambda f, n: studies.BOUNDED_GAA
    for cls in aggregators.PRE_AGGREGATORS.values():
        partner = PARTNERS.get(cls.__name__, "CoordinateMedian")
        makers[f"{cls.__name__} | {partner}"] = _pipe(_told(cls), makers.get(partner))
    return {name: Entrant(name, make) for name, make in makers.items() if make is not None}


def _pipe(before: Callable | None, rule: Callable | None) -> Callable | None:
    return None if before is None or rule is None else lambda f, n: before(f, n) | rule(f, n)


def _looks(cls: type) -> bool:
    return issubclass(cls, LearningAggregator) and cls.__name__ not in ABSENT


#: The rules that look at the quasi-validation set, the agents first: those that can survive a majority.
RIVALS = (
    *("GAA", "GAA, bounded", "GAAPlus"),
    *sorted(cls.__name__ for cls in aggregators.REGISTRY.values() if _looks(cls) and "GAA" not in cls.__name__),
)


def entrants(rules: Iterable[str | Callable] | Mapping[str, Callable] = ()) -> list[Entrant]:
    """Entrants of these names, rules or named rules; every registered one without any. Raises UnknownName.

    A rule of one's own is an Aggregator or a plain function from [n, d] to [d]; "my.py:Half" takes it from a file.
    """
    known = _registered()
    if not rules:
        return list(known.values())
    if isinstance(rules, Mapping):
        return [Entrant(name, lambda f, n, rule=rule: rule) for name, rule in rules.items()]
    found = []
    for each in rules:
        if isinstance(each, str) and ":" in each:
            own = registry.lookup("rule", each, {})
            make = _told(own) if isinstance(own, type) else lambda f, n, rule=own: rule
            if make is None:
                raise GaaError(f"{each} cannot be made by the league: it needs more than f.")
            found.append(Entrant(each.rpartition(":")[2], make))
        elif isinstance(each, str):
            one_of("rule of the league", each, known)
            found.append(known[each])
        elif isinstance(each, type) and issubclass(each, Aggregator | PreAggregator):
            raise GaaError(f"The league needs a rule, not its class: write {each.__name__}(...).")
        else:
            found.append(Entrant(label(each), lambda f, n, rule=each: rule))
    return found
